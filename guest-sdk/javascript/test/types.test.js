/** Every type survives the way in, through the state, and out. */

import assert from "node:assert/strict";
import { test } from "node:test";

import * as sdk from "../src/index.js";
import { isFull, pack, unpack } from "../src/bits.js";
import { Record } from "../src/rows.js";
import { Native } from "../src/testing.js";

const { nullable: n } = sdk;
const point = sdk.struct({ x: sdk.float64, y: n(sdk.float64) });
const place = sdk.struct({ name: n(sdk.utf8), point: n(point), visits: sdk.list(n(sdk.int32)) });

const TYPES = {
  bool: [sdk.bool, true], int8: [sdk.int8, -128], int16: [sdk.int16, -32768], int32: [sdk.int32, -(2 ** 31)],
  int64: [sdk.int64, -(2n ** 63n)], uint8: [sdk.uint8, 255], uint16: [sdk.uint16, 65535], uint32: [sdk.uint32, 2 ** 32 - 1],
  uint64: [sdk.uint64, 2n ** 64n - 1n], safe: [sdk.int64.asNumber, -(2 ** 53) + 1], unsigned: [sdk.uint64.asNumber, 2 ** 53 - 1],
  float16: [sdk.float16, 65504], float32: [sdk.float32, 1.5], float64: [sdk.float64, Math.PI],
  decimal: [sdk.decimal128(20, 4), -99999999999999999999n], decimal256: [sdk.decimal256(50, 10), 10n ** 50n - 1n],
  date: [sdk.date32, -1], dateMs: [sdk.date64, 86_400_000n], timeS: [sdk.timeOfDay("s"), 86_399], timeUs: [sdk.timeOfDay(), 86_399_999_999n],
  at: [sdk.timestamp(), -(2n ** 63n)], local: [sdk.timestamp("ns", null), 2n ** 63n - 1n], paris: [sdk.timestamp("ms", "Europe/Paris"), 2n ** 53n + 1n],
  took: [sdk.duration(), -5n], tookS: [sdk.duration("s").asNumber, 7], five: [sdk.fixedBinary(5), Uint8Array.of(0, 1, 2, 3, 255)],
  text: [sdk.utf8, "Zürich 🏔"], data: [sdk.binary, Uint8Array.of(255, 0)], numbers: [sdk.list(n(sdk.int64)), [2n ** 53n + 1n, null, -1n]],
  texts: [sdk.list(n(sdk.utf8)), ["a", null, "ß"]], flags: [sdk.list(n(sdk.list(n(sdk.bool)))), [[true, null], null, []]],
  place: [place, { name: "x", point: { x: 1, y: null }, visits: [1, null] }], places: [sdk.list(n(place)), [null, { name: null, point: null, visits: [] }]],
  other: [sdk.named("otherName", sdk.int32), 42],
};
const columns = Object.fromEntries(Object.entries(TYPES).map(([name, [type]]) => [name, n(type)]));
const full = Object.fromEntries(Object.entries(TYPES).map(([name, [, value]]) => [name, value]));
const empty = Object.fromEntries(Object.keys(TYPES).map((name) => [name, null]));

const last = sdk.window({
  row: columns, state: columns, output: columns,
  accumulate: (state, row) => void Object.assign(state, row),
  merge: (_, later) => later,
  finish: (state) => state,
});

test("all types come back", () => {
  for (const row of [full, empty]) {
    const window = new Native(last);
    window.accumulate([row]);
    assert.deepEqual(window.finish(), [row]);
  }
});

test("formats are those of the contract", () => {
  const formats = new Record(columns).schema().map((field) => field.format).join(" ");
  assert.equal(formats, "b c s i l C S I L l L e f g d:20,4 d:50,10,256 tdD tdm tts ttu tsu:UTC tsn: tsm:Europe/Paris tDu tDs w:5 u z +l l +l u +l +l b +s u +s g g +l i +l +s u +s g g +l i i");
});

test("floats that are no numbers come back", () => {
  for (const value of [Infinity, -Infinity, -0, NaN]) {
    const window = new Native(last);
    window.accumulate([{ ...empty, float16: value, float32: value, float64: value }]);
    const [{ float16, float32, float64 }] = window.states;
    for (const got of [float16, float32, float64]) assert.ok(Object.is(got, value), `${got}`);
  }
});

test("floats of 16 bits are the nearest", () => {
  const record = new Record({ half: sdk.float16 });
  const cases = [[1 + 2 ** -11 + 2 ** -40, 0x3c01], [1 + 2 ** -11 - 2 ** -40, 0x3c00], [2 ** -25 + 2 ** -60, 1], [2 ** -14 - 2 ** -26, 0x0400],
    [65519.9999999, 0x7bff], [2047.5, 0x6800], [5e-324, 0], [-0, 0x8000], [-1.5, 0xbe00], [Infinity, 0x7c00], [-1e300, 0xfc00], [0.1, 0x2e66], [65519, 0x7bff], [65520, 0x7c00], [2 ** -24, 1], [2 ** -25, 0], [1 + 2 ** -11, 0x3c00], [1 + 3 * 2 ** -11, 0x3c02]];
  for (const [value, bits] of cases) {
    const [, bytes] = record.write([{ half: value }], "it").buffers;
    assert.equal(bytes[0] | (bytes[1] << 8), bits, `${value}`);
  }
});

test("bitmaps", () => {
  for (const count of [0, 1, 7, 8, 9, 1000]) {
    const flags = Uint8Array.from({ length: count }, (_, at) => (at * 7919) % 5 !== 0);
    const bitmap = pack(flags);
    assert.equal(bitmap.length, (count + 7) >> 3);
    assert.deepEqual([...unpack(bitmap, count)], [...flags]);
    assert.equal(isFull(bitmap, count), !flags.includes(0));
    assert.ok(isFull(pack(new Uint8Array(count).fill(1)), count));
  }
});

test("what does not fit is told", () => {
  for (const [name, value, said] of [
    ["uint8", 300, /`state`.*uint8: 300 \(number\) is no uint8/],
    ["int64", 5, /5 is a number, and int64 takes a BigInt: declare it with .asNumber, or write 5n/],
    ["int64", 2n ** 63n, /is no int64/],
    ["safe", 2 ** 53, /that a number holds exactly/],
    ["text", 5, /text: 5 \(number\) is no utf8/],
    ["text", "\ud800", /surrogate/],
    ["five", Uint8Array.of(1), /is no Uint8Array of 5 bytes/],
    ["numbers", [1n, "x"], /numbers.item: "x" \(string\) is no int64/],
    ["place", { name: null, point: null }, /place.visits: missing/],
    ["bool", 2, /2 \(number\) is no bool/],
  ]) {
    const window = new Native(last);
    window.states[0] = { ...empty, [name]: value };
    assert.throws(() => window.finish(), said, name);
  }
});
