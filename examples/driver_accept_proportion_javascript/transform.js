/** The share of its offers that a driver accepted, and how many offers that were. */

import { bool, float64, uint64, window } from "@penstock/sdk";

export default window({
  /** An offer of a ride to a driver. */
  row: { accepted: bool },

  /** What is remembered of a driver's offers. Every group starts from zeros. */
  state: { offers: uint64.asNumber, accepted: uint64.asNumber },

  /** The driver's features. */
  output: { driver_accept_proportion_10m: float64, driver_offers_10m: uint64.asNumber },

  accumulate(counts, offer) {
    counts.offers += 1;
    if (offer.accepted) counts.accepted += 1;
  },

  merge(earlier, later) {
    return { offers: earlier.offers + later.offers, accepted: earlier.accepted + later.accepted };
  },

  finish(counts) {
    if (counts.offers === 0) return null;
    return { driver_accept_proportion_10m: counts.accepted / counts.offers, driver_offers_10m: counts.offers };
  },
});
