/** The types of columns. They are called as in pipelines. */

import { Big, Binary, Bool, Decimal, Fixed, Half, List, Plain, Shape, Struct, Text } from "./shapes.js";

export const bool = new Bool("b", "bool");
export const int8 = new Plain("c", "int8", Int8Array);
export const int16 = new Plain("s", "int16", Int16Array);
export const int32 = new Plain("i", "int32", Int32Array);
export const int64 = new Big("l", "int64", true);
export const uint8 = new Plain("C", "uint8", Uint8Array);
export const uint16 = new Plain("S", "uint16", Uint16Array);
export const uint32 = new Plain("I", "uint32", Uint32Array);
export const uint64 = new Big("L", "uint64", false);
export const float16 = new Half("e", "float16");
export const float32 = new Plain("f", "float32", Float32Array);
export const float64 = new Plain("g", "float64", Float64Array);
export const date32 = new Plain("tdD", "date32", Int32Array);
export const date64 = new Big("tdm", "date64", true);
export const utf8 = new Text("u", "utf8");
export const binary = new Binary("z", "binary");

const UNITS = { s: "s", ms: "m", us: "u", ns: "n" };

function unitCode(unit) {
  if (!(unit in UNITS)) throw new TypeError(`\`${unit}\` is not a unit of time: there are s, ms, us and ns`);
  return UNITS[unit];
}

export function timestamp(unit = "us", zone = "UTC") {
  return new Big(`ts${unitCode(unit)}:${zone ?? ""}`, zone ? `timestamp[${unit}, ${zone}]` : `timestamp[${unit}]`, true);
}

export function duration(unit = "us") {
  return new Big(`tD${unitCode(unit)}`, `duration[${unit}]`, true);
}

export function timeOfDay(unit = "us") {
  const format = `tt${unitCode(unit)}`;
  return unit === "s" || unit === "ms" ? new Plain(format, `time32[${unit}]`, Int32Array) : new Big(format, `time64[${unit}]`, true);
}

export function decimal128(precision, scale) {
  if (!(precision >= 1 && precision <= 38)) throw new TypeError("a decimal128 has 1 to 38 digits; decimal256 has up to 76");
  return new Decimal(`d:${precision},${scale}`, `decimal128[${precision}, ${scale}]`, 16, precision);
}

export function decimal256(precision, scale) {
  if (!(precision >= 1 && precision <= 76)) throw new TypeError("a decimal256 has 1 to 76 digits");
  return new Decimal(`d:${precision},${scale},256`, `decimal256[${precision}, ${scale}]`, 32, precision);
}

export function fixedBinary(length) {
  if (!(Number.isInteger(length) && length >= 1)) throw new TypeError("fixed bytes have a length of at least 1");
  return new Fixed(`w:${length}`, `fixed_size_binary[${length}]`, length);
}

function checked(shape, what) {
  if (shape instanceof Shape) return shape;
  throw new TypeError(`${what} is no type of a column: use one of the SDK's, as \`int64\` or \`utf8\``);
}

export function list(item) {
  return new List(checked(item, "the item of a list"));
}

export function struct(fields) {
  for (const [name, shape] of Object.entries(fields)) checked(shape, `\`${name}\` of a struct`);
  return new Struct(fields);
}

export function nullable(shape) {
  return checked(shape, "what is nullable").with({ nullable: true });
}

export function named(name, shape) {
  return checked(shape, `\`${name}\``).with({ columnName: name });
}
