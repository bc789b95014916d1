/** Run with `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Native } from "@penstock/sdk/testing";

import transform from "./transform.js";

test("the share is of all offers", () => {
  const window = new Native(transform);
  window.accumulate([true, true, false, true].map((accepted) => ({ accepted })));
  assert.deepEqual(window.finish(), [{ driver_accept_proportion_10m: 0.75, driver_offers_10m: 4 }]);
});

test("no offers give no share", () => {
  assert.deepEqual(new Native(transform).finish(), []);
});

test("an offer without an answer is rejected", () => {
  const window = new Native(transform);
  const rejects = window.accumulate([{ accepted: true }, { accepted: null }]);
  assert.deepEqual(rejects, [{ row: 1, code: "null", detail: "column `accepted` is null" }]);
  assert.equal(window.finish()[0].driver_offers_10m, 1);
});
