/** Run with `npm test`. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Native } from "@penstock/sdk/testing";

import transform from "./transform.js";

const order = (amount_cents, coupon = null) => ({ amount_cents, coupon });

test("a refused order leaves no trace", () => {
  const window = new Native(transform);
  const rejects = window.accumulate([order(1250), order(-990, "VIP"), order(3000, "SPRING")]);
  assert.deepEqual(rejects.map(({ row, code }) => [row, code]), [[1, "amount-out-of-range"]]);
  assert.deepEqual(window.finish(), [{ orders: 2, mean_cents: 2125, last_coupon: "SPRING" }]);
});

test("the later coupon wins", () => {
  const window = new Native(transform);
  const later = window.addGroup();
  window.accumulateInto([[later, order(100, "VIP")], [0, order(100, "SPRING")]]);
  window.merge(0, later);
  assert.equal(window.states[0].last_coupon, "VIP");
});
