/** What an order is worth. */

import { Reject, bool, float64, int64, mapper, utf8 } from "@penstock/sdk";

export default mapper({
  /** The columns of an order that are wanted. The host decodes no others. */
  row: { customer: utf8, amount_cents: int64.asNumber },

  /** What comes out. */
  output: { customer: utf8, amount: float64, is_large: bool },

  /** null leaves the order out; an array would make several rows of it. */
  map(order) {
    if (order.amount_cents < 0) throw new Reject("negative-amount", `an order of ${order.amount_cents} cents`);
    if (order.customer.startsWith("test-")) return null;
    return { customer: order.customer, amount: order.amount_cents / 100, is_large: order.amount_cents > 2000 };
  },
});
