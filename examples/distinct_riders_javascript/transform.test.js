/** Run with `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Native } from "@penstock/sdk/testing";

import transform from "./transform.js";

const requests = (count) => Array.from({ length: count }, (_, rider) => ({ rider_id: BigInt(rider) * 7919n - 5n }));

test("the estimate is within four standard errors", () => {
  for (const count of [0, 1, 10, 1000, 20_000]) {
    const window = new Native(transform);
    window.accumulate(requests(count));
    const [{ distinct_riders }] = window.finish();
    assert.ok(Math.abs(distinct_riders - count) <= count * 0.13, `${distinct_riders} of ${count}`);
  }
});

test("who comes back makes no difference, nor how time was cut", () => {
  const whole = new Native(transform);
  whole.accumulate([...requests(500), ...requests(300)]);
  const cut = new Native(transform);
  const later = cut.addGroup();
  cut.accumulateInto(requests(500).map((request, at) => [at % 2 === 0 ? 0 : later, request]));
  cut.merge(0, later);
  assert.deepEqual(cut.states[0], whole.states[0]);
});
