/** Run with `npm test`. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { NativeMapper } from "@penstock/sdk/testing";

import transform from "./transform.js";

test("test customers are left out and negative amounts refused", () => {
  const mapped = new NativeMapper(transform).map([
    { customer: "c-1", amount_cents: 2500 },
    { customer: "test-1", amount_cents: 100 },
    { customer: "c-2", amount_cents: -1 },
  ]);
  assert.deepEqual(mapped.rows, [{ customer: "c-1", amount: 25, is_large: true }]);
  assert.deepEqual(mapped.rejects.map(({ row, code }) => [row, code]), [[2, "negative-amount"]]);
});
