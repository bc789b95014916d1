/**
 * How many different riders there were, within a few per cent, in one kilobyte however many came. It gives the same
 * bytes as the example in Rust, states included.
 */

import { binary, int64, uint64, window } from "@penstock/sdk";

import { add, estimate, union } from "./sketch.js";

export default window({
  /** A request for a ride. */
  row: { rider_id: int64 },

  /** What is remembered of a cell's requests: the sketch, as the bytes of its registers. */
  state: { registers: binary },

  output: { distinct_riders: uint64.asNumber },

  accumulate(riders, request) {
    riders.registers = add(riders.registers, request.rider_id);
  },

  merge(earlier, later) {
    return { registers: union(earlier.registers, later.registers) };
  },

  finish(riders) {
    return { distinct_riders: Math.round(estimate(riders.registers)) };
  },
});
