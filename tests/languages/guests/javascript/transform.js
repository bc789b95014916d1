/** The conformance suite's transform in JavaScript: guest-sdk/CONFORMANCE.md says what it does. */

import {
  BadConfig, Reject, binary, bool, date32, date64, decimal128, decimal256, duration, fixedBinary, float16, float32, float64, int16, int32,
  int64, int8, list, log, mapper as defineMapper, metrics, migration, nullable, settings, struct, timeOfDay, timestamp, uint16, uint32,
  uint64, uint8, utf8, window,
} from "@penstock/sdk";

const place = struct({
  name: nullable(utf8),
  point: nullable(struct({ x: float64, y: nullable(float64) })),
  visits: list(nullable(int32)),
});

const types = {
  boolean: bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64,
  decimal128: decimal128(20, 4),
  decimal256: decimal256(50, 10),
  date32, date64,
  time_s: timeOfDay("s"),
  time_ms: timeOfDay("ms"),
  time_us: timeOfDay("us"),
  time_ns: timeOfDay("ns"),
  timestamp_s: timestamp("s"),
  timestamp_ms: timestamp("ms"),
  timestamp_us: timestamp("us"),
  timestamp_ns: timestamp("ns"),
  timestamp_paris: timestamp("us", "Europe/Paris"),
  timestamp_no_zone: timestamp("us", null),
  duration_s: duration("s"),
  duration_ms: duration("ms"),
  duration_us: duration("us"),
  duration_ns: duration("ns"),
  fixed_binary: fixedBinary(5),
  utf8, binary,
  large_utf8: utf8,
  large_binary: binary,
  list: list(nullable(int64)),
  list_utf8: list(nullable(utf8)),
  list_of_lists: list(nullable(list(nullable(bool)))),
  large_list: list(nullable(int16)),
  place,
  places: list(nullable(place)),
};
const names = Object.keys(types);
const values = Object.fromEntries(names.map((name) => [name, nullable(types[name])]));
const valuesOf = (record) => Object.fromEntries(names.map((name) => [name, record[name]]));

const row = { command: nullable(utf8), required: int64, ...values };
const state = { count: uint64, sum: int64, polynomial: uint64, ...values };

function obey({ command, utf8: text, float64: number }) {
  if (command === "reject") throw new Reject("refused", `a row of ${text ?? "nothing"}`);
  if (command === "fail") throw new Error("asked to fail");
  if (command === "log") log.info(`hello ${text ?? "nothing"}`);
  if (command === "count") {
    metrics.count("rows_counted");
    metrics.observe("float64_seen", number ?? 0);
  }
}

/** A power modulo 2^64. */
function power(base, exponent) {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n, base = BigInt.asUintN(64, base * base)) {
    if (exponent & 1n) result = BigInt.asUintN(64, result * base);
  }
  return result;
}

function failIn(name, { fails }) {
  if (fails === name) throw new Error("asked to fail");
}

const older = migration({ count: uint64 }, (old, given) => {
  failIn("migrate", given);
  return { count: old.count, sum: 0n, polynomial: 0n };
});

export default window({
  row,
  state,
  output: state,
  key: { key: int64 },
  stateVersion: 3,

  open(config) {
    const given = settings(config, { fails: "" });
    if (!["", "open", "merge", "finish", "migrate"].includes(given.fails)) throw new BadConfig(`there is no function ${given.fails}`);
    failIn("open", given);
    return given;
  },

  accumulate(last, given, { key }) {
    if (given.command === "reject") {
      last.count += 1000n;
      last.utf8 = null;
    }
    obey(given);
    last.count += 1n;
    last.sum = BigInt.asIntN(64, last.sum + given.required);
    last.polynomial = BigInt.asUintN(64, last.polynomial * 31n + given.required + key);
    for (const name of names) if (given[name] !== null) last[name] = given[name];
    if (given.command === "append") last.list?.push(given.required);
  },

  merge(earlier, later, given) {
    failIn("merge", given);
    const merged = {
      count: earlier.count + later.count,
      sum: BigInt.asIntN(64, earlier.sum + later.sum),
      polynomial: BigInt.asUintN(64, earlier.polynomial * power(31n, later.count) + later.polynomial),
    };
    for (const name of names) merged[name] = later[name] ?? earlier[name];
    return merged;
  },

  finish(last, { start, end }, { key }, given) {
    failIn("finish", given);
    return last.count === 0n ? null : { ...last, sum: BigInt.asIntN(64, last.sum + key + 3n * start + 5n * end) };
  },

  migrations: { 1: older, 2: older },
});

export const mapper = defineMapper({
  row,
  output: { copy: uint32, required: int64, ...values },

  map(given) {
    obey(given);
    const copies = Number(BigInt.asUintN(2, given.required));
    return Array.from({ length: copies }, (_, copy) => ({ copy, required: given.required, ...valuesOf(given) }));
  },
});
