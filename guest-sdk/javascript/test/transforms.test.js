/** Windows and mappers: rejects, keys, configuration, merging, migration, both forms, mistakes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  Reject, columnarMapper, columnarWindow, int64, list, mapper, metrics, migration, nullable, required, settings, uint64, utf8, window,
} from "../src/index.js";
import { told } from "../src/failures.js";
import { Native, NativeMapper, sinks } from "../src/testing.js";
import { Windowed } from "../src/windowed.js";

const order = { cents: int64.asNumber, coupon: nullable(utf8) };
const orders = { orders: uint64.asNumber, cents: int64.asNumber, coupons: list(utf8) };

const spending = window({
  row: order, state: orders, output: orders,
  open: (config) => settings(config, { most: 1000, name: "x" }),
  accumulate(state, { cents, coupon }, _key, { most }) {
    state.orders += 1;
    state.cents += cents;
    if (coupon !== null) state.coupons.push(coupon);
    if (cents > most) {
      metrics.count("too_much");
      throw new Reject("too-much", `${cents} cents`);
    }
  },
  merge: (earlier, later) => ({ orders: earlier.orders + later.orders, cents: earlier.cents + later.cents, coupons: [...earlier.coupons, ...later.coupons] }),
  finish: (state) => (state.orders > 0 ? [state] : []),
});

const keyed = window({
  row: order, state: orders, output: orders, key: { name: utf8 }, stateVersion: 2,
  accumulate(state, _row, { name }) {
    if (name.startsWith("test-")) throw new Reject("test-customer", name);
    state.orders += 1;
  },
  merge: (_, later) => later,
  finish: (state, bounds, { name }) => (state.orders === 0 ? null : { ...state, cents: Number(bounds.end - bounds.start), coupons: [name] }),
  migrations: { 1: migration({ name: utf8 }, (old) => ({ orders: 1, cents: 0, coupons: [old.name] })) },
});

const byColumns = columnarWindow({
  row: order, state: orders, output: orders, key: { name: utf8 },
  accumulate(states, rows) {
    const { cents } = rows.columns;
    for (let row = 0; row < rows.length; row++) {
      const group = rows.groups[row];
      if (cents[row] > 1000) rows.reject(row, "too-much", `${cents[row]} cents of ${rows.keys[group].name}`);
      else {
        states.columns.orders[group] += 1;
        states.columns.cents[group] += cents[row];
      }
    }
  },
  merge: (_, later) => later,
  finish: (state) => state,
});

const of = (cents, coupon = null) => ({ cents, coupon });
const brief = (rejects) => rejects.map(({ row, code }) => [row, code]);

test("a rejected row leaves no trace", () => {
  const native = new Native(spending);
  const rejects = native.accumulate([of(1, "a"), of(5000, "b"), { cents: null }, of(2), of(9999, "c"), of(3)]);
  assert.deepEqual(brief(rejects), [[1, "too-much"], [2, "null"], [4, "too-much"]]);
  assert.equal(rejects[1].detail, "column `cents` is null");
  assert.deepEqual(native.finish(), [{ orders: 3, cents: 6, coupons: ["a"] }]);
});

test("any cut and any rejects give the same states", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 50; round++) {
    let rows = Array.from({ length: 40 }, () => [random(3), of(random(1500), [null, "x", "y"][random(3)])]);
    const expected = [0, 1, 2].map(() => ({ orders: 0, cents: 0, coupons: [] }));
    for (const [group, { cents, coupon }] of rows) {
      if (cents > 1000) continue;
      expected[group].orders += 1;
      expected[group].cents += cents;
      if (coupon !== null) expected[group].coupons.push(coupon);
    }
    const native = new Native(spending);
    native.addGroup(), native.addGroup();
    while (rows.length > 0) {
      const cut = 1 + random(20);
      native.accumulateInto(rows.slice(0, cut));
      rows = rows.slice(cut);
    }
    assert.deepEqual(native.states, expected);
  }
});

test("undoing says nothing twice", () => {
  let counted = 0;
  const before = sinks.count;
  sinks.count = (_, amount) => (counted += amount);
  new Native(spending).accumulate([of(5000), of(5000), of(1), of(5000)]);
  sinks.count = before;
  assert.equal(counted, 3);
});

test("counts beyond 2^53 are exact", () => {
  const counted = [];
  const before = sinks.count;
  sinks.count = (_, amount) => counted.push(BigInt(amount));
  metrics.count("a", 2n ** 64n - 1n);
  metrics.count("a", 0n);
  assert.throws(() => metrics.count("a", -1n), RangeError);
  assert.throws(() => metrics.count("a", 2n ** 64n), RangeError);
  sinks.count = before;
  assert.equal(counted.reduce((sum, amount) => sum + amount), 2n ** 64n - 1n);
  assert.ok(counted.every((amount) => amount <= Number.MAX_SAFE_INTEGER));
});

test("keys, bounds and versions", () => {
  const native = new Native(keyed);
  const [first, second] = [native.addGroup({ name: "ann" }), native.addGroup({ name: "test-1" })];
  assert.deepEqual(native.accumulateInto([[first, of(1)], [second, of(1)]]), [{ row: 1, code: "test-customer", detail: "test-1" }]);
  assert.deepEqual(native.finish({ start: 0n, end: 7n }), [{ orders: 1, cents: 7, coupons: ["ann"] }]);
  assert.deepEqual([native.spec.stateVersion, native.spec.migratesFrom], [2, [1]]);
  assert.deepEqual(native.migrate(1, [{ name: "bob" }]), [{ orders: 1, cents: 0, coupons: ["bob"] }]);
});

test("merging", () => {
  const native = new Native(spending);
  const later = native.addGroup();
  native.accumulateInto([[0, of(1, "a")], [later, of(2, "b")]]);
  native.merge(0, later);
  assert.deepEqual(native.states, [{ orders: 2, cents: 3, coupons: ["a", "b"] }, { orders: 0, cents: 0, coupons: [] }]);
});

test("the columnar form", () => {
  const native = new Native(byColumns);
  native.addGroup({ name: "ann" }), native.addGroup({ name: "bob" });
  const rejects = native.accumulateInto([[0, of(1)], [1, { cents: null }], [1, of(2000)], [1, of(3)]]);
  assert.deepEqual(rejects.map(({ row, detail }) => [row, detail]), [[1, "column `cents` is null"], [2, "2000 cents of bob"]]);
  assert.deepEqual(native.states.map(({ orders, cents }) => [orders, cents]), [[1, 1], [1, 3]]);
  assert.deepEqual(new Native(byColumns).accumulateInto([]), []);
});

test("numbers beyond 2^53 are rejected", () => {
  const exact = window({ row: { value: int64 }, state: { value: int64 }, output: { value: int64 }, accumulate: (s, r) => void (s.value = r.value), merge: (_, b) => b, finish: (s) => s });
  const native = new Native(exact);
  native.accumulate([{ value: 2n ** 53n + 1n }]);
  const bytes = native.windowed.state.write(native.states, "it");
  const { row } = spending;
  const opened = new Windowed({ ...spending, row: { cents: row.cents } }, { config: "{}", events: [{ name: "e", schema: [{ name: "cents", format: "l", nullable: true, children: 0 }] }], key: [] });
  const states = opened.state.write([opened.initial()], "it");
  const updated = opened.accumulate(0, bytes, new Uint8Array(4), { rows: 1, buffers: [] }, states);
  assert.deepEqual(brief(updated.rejects), [[0, "not-a-safe-integer"]]);
  assert.deepEqual(updated.states.rows, 0);
});

const keeping = window({
  row: { items: nullable(list(int64.asNumber)), refused: nullable(utf8) },
  state: { items: nullable(list(int64.asNumber)) },
  output: { items: nullable(list(int64.asNumber)) },
  accumulate(state, { items, refused }) {
    if (items !== null) state.items = items;
    else state.items?.push(7);
    if (refused !== null) throw new Reject("refused");
  },
  merge: (_, later) => later,
  finish: (state) => state,
  migrations: { 1: migration({ name: utf8, age: int64.asNumber }, (old) => ({ items: [old.age] })) },
});

test("an array of a row that a state took over and changed is read anew", () => {
  const native = new Native(keeping);
  const rows = [{ items: [1, 2] }, {}, { refused: "x" }, {}, { items: [9], refused: "x" }, {}];
  const rejects = native.accumulate(rows.map(({ items = null, refused = null }) => ({ items, refused })));
  assert.deepEqual(brief(rejects), [[2, "refused"], [4, "refused"]]);
  assert.deepEqual(native.states, [{ items: [1, 2, 7, 7, 7] }]);
});

test("an old state with what this version does not take is refused with its column", () => {
  const { windowed } = new Native(keeping);
  const schema = [{ name: "name", format: "u", nullable: true, children: 0 }, { name: "age", format: "l", nullable: true, children: 0 }];
  const offsets = new Uint8Array(Int32Array.of(0, 1, 1).buffer);
  const batch = (valid, age) => ({ rows: 2, buffers: [Uint8Array.of(valid), offsets, Uint8Array.of(65), new Uint8Array(0), new Uint8Array(BigInt64Array.of(1n, age).buffer)] });
  const refused = (said) => (error) => error.kind === "bad-input" && said.test(error.message);
  assert.throws(() => windowed.migrateStates(1, schema, batch(1, 2n)), refused(/version 1 has a null in column `name`, in row 1.*nullable\(\)/));
  assert.throws(() => windowed.migrateStates(1, schema, batch(3, 2n ** 60n)), refused(/beyond 2\^53 in column `age`/));
  assert.equal(windowed.migrateStates(1, schema, batch(3, 2n)).rows, 2);
});

test("columns of states that are arrays hold their nulls themselves", () => {
  const fields = { text: nullable(utf8), number: nullable(uint64.asNumber) };
  const seen = [];
  const last = columnarWindow({
    row: fields, state: fields, output: fields,
    accumulate(states, rows) {
      seen.push([...states.columns.text], [...states.valid.number], states.valid.text);
      for (let row = 0; row < rows.length; row++) {
        const group = rows.groups[row];
        states.columns.text[group] = rows.columns.text[row];
        states.columns.number[group] = rows.columns.number[row];
        states.valid.number[group] = rows.valid.number === null ? 1 : rows.valid.number[row];
      }
    },
    merge: (_, later) => later,
    finish: (state) => state,
  });
  const native = new Native(last);
  native.addGroup();
  native.accumulateInto([[0, { text: "a", number: 1 }], [1, { text: null, number: null }]]);
  assert.deepEqual(native.states, [{ text: "a", number: 1 }, { text: null, number: null }]);
  native.accumulateInto([[0, { text: null, number: null }], [1, { text: "b", number: 2 }]]);
  assert.deepEqual(native.states, [{ text: null, number: null }, { text: "b", number: 2 }]);
  assert.deepEqual(seen, [[null, null], [0, 0], undefined, ["a", null], [1, 0], undefined]);
});

test("configuration", () => {
  assert.deepEqual(new Native(spending, { most: 1 }).windowed.settings, { most: 1, name: "x" });
  assert.throws(() => new Native(spending, { least: 1 }), /there is no setting `least`; there are: `most`, `name`/);
  assert.throws(() => new Native(spending, { most: "1" }), /`most` must be of type number, not "1"/);
  assert.throws(() => new Native(keyed, { most: 1 }), /takes no configuration/);
  assert.throws(() => settings({}, { name: required("string") }), /the setting `name` is missing/);
});

test("mappers of both forms", () => {
  const output = { word: utf8 };
  function* words({ cents, coupon }) {
    if (cents < 0) throw new Reject("negative");
    for (const word of (coupon ?? "").split(" ")) if (word !== "") yield { word };
  }
  const rowwise = mapper({ row: order, output, map: words });
  const columnar = columnarMapper({
    row: order, output,
    map(rows, push) {
      for (let row = 0; row < rows.length; row++) {
        if (rows.columns.cents[row] < 0) rows.reject(row, "negative");
        else for (const made of words({ cents: 0, coupon: rows.columns.coupon[row] })) push(row, made);
      }
    },
  });
  for (const definition of [rowwise, columnar]) {
    const mapped = new NativeMapper(definition).map([of(1, "a b"), of(-1, "c"), { cents: null }, of(2), of(3, "d")]);
    assert.deepEqual(mapped.rows.map(({ word }) => word), ["a", "b", "d"]);
    assert.deepEqual(mapped.sourceRow, [0, 0, 4]);
    assert.deepEqual(brief(mapped.rejects), [[1, "negative"], [2, "null"]]);
  }
  const backwards = columnarMapper({ row: order, output, map: (_, push) => (push(1, { word: "a" }), push(0, { word: "b" })) });
  assert.throws(() => new NativeMapper(backwards).map([of(1), of(2)]), /out of the order/);
});

test("beginners' mistakes", () => {
  const open = (event, key = [], definition = spending) => new Windowed(definition, { config: "{}", events: [{ name: "order", schema: event }], key });
  const field = (name, format) => ({ name, format, nullable: true, children: 0 });
  const coupon = field("coupon", "U");
  assert.throws(() => open([field("amount", "l"), coupon]), /event `order` has no column `cents`, which the transform expects as int64; there are: `amount`, `coupon`/);
  assert.throws(() => open([field("cents", "g"), coupon]), /has a column `cents` of type float64, but the transform expects int64: declare it as `float64`/);
  assert.throws(() => open([field("cents", "l"), coupon], [], keyed), /the pipeline's key has no column `name`/);
  assert.throws(() => open([field("cents", "l"), coupon], [field("orders", "u")]), /`orders`, which the host adds itself/);
  assert.deepEqual(open([{ ...field("m", "+m"), children: 1 }, field("x", "+s"), coupon, field("cents", "l")]).spec.needs, [{ event: "order", columns: ["cents", "coupon"] }]);
  assert.throws(() => window({ ...spending, penstock: undefined, acumulate: 1 }), /has no `(penstock|acumulate)`/);
  assert.throws(() => window({ row: {}, state: {}, output: {} }), /needs `accumulate`/);
  assert.throws(() => mapper({ row: { a: "int64" }, output: {}, map() {} }), /`a` is no type of a column/);
});

test("an error names the line", () => {
  const error = Object.assign(new TypeError("x is not a function"), { stack: "TypeError: x\n    at deep (/bundle.js:3:18)\n    at accumulate (bundle.js:2:1)\n" });
  assert.equal(told(error, { files: ["transform.ts"], at: [null, null, [0, 12], [0, 7]] }), "transform.ts:7 in deep: TypeError: x is not a function, called at transform.ts:12");
  assert.equal(told("text"), 'the transform threw "text"');
});
