/** driver_accept_proportion with its own loop over columns, for `cargo xtask bench languages`. */

import { bool, columnarWindow, float64, uint64 } from "@penstock/sdk";

export default columnarWindow({
  row: { accepted: bool },
  state: { offers: uint64.asNumber, accepted: uint64.asNumber },
  output: { driver_accept_proportion_10m: float64, driver_offers_10m: uint64.asNumber },

  accumulate(counts, offers) {
    const { groups, length } = offers;
    const { accepted } = offers.columns;
    const { offers: offered, accepted: yes } = counts.columns;
    for (let row = 0; row < length; row++) {
      const group = groups[row];
      offered[group] += 1;
      yes[group] += accepted[row];
    }
  },

  merge(earlier, later) {
    return { offers: earlier.offers + later.offers, accepted: earlier.accepted + later.accepted };
  },

  finish(counts) {
    if (counts.offers === 0) return null;
    return { driver_accept_proportion_10m: counts.accepted / counts.offers, driver_offers_10m: counts.offers };
  },
});
