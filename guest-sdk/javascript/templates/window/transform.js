/** What a customer spends. */

import { Reject, float64, int64, nullable, uint64, utf8, window } from "@penstock/sdk";

export default window({
  /** The columns of an order that are wanted. The host decodes no others. */
  row: { amount_cents: int64.asNumber, coupon: nullable(utf8) },

  /** What is remembered of a customer. A group starts from zeros and nulls. */
  state: { orders: uint64.asNumber, cents: int64.asNumber, last_coupon: nullable(utf8) },

  /** What comes out. The host adds the customer and the window. */
  output: { orders: uint64.asNumber, mean_cents: float64, last_coupon: nullable(utf8) },

  /** Adds an order to a state, or refuses it. */
  accumulate(state, order) {
    if (order.amount_cents < 0 || order.amount_cents > 100_000_000) {
      throw new Reject("amount-out-of-range", `an order of ${order.amount_cents} cents`);
    }
    state.orders += 1;
    state.cents += order.amount_cents;
    state.last_coupon = order.coupon ?? state.last_coupon;
  },

  /** Combines the states of two slices of time. */
  merge(earlier, later) {
    return {
      orders: earlier.orders + later.orders,
      cents: earlier.cents + later.cents,
      last_coupon: later.last_coupon ?? earlier.last_coupon,
    };
  },

  /** Makes output of the state of a window that has closed. */
  finish(state) {
    if (state.orders === 0) return null;
    return { orders: state.orders, mean_cents: state.cents / state.orders, last_coupon: state.last_coupon };
  },
});
