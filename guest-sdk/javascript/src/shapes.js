/**
 * How values of each type lie in buffers. A column is read as `{ values, valid, bad }`: `values` is a typed array
 * where there is one for the type and an array otherwise, `valid` a byte of 0 or 1 for each value or null if there
 * is no null, and `bad` tells of rows in which something is null that may not be, and where.
 */

import { isFull, pack, unpack } from "./bits.js";
import { Failure, shown } from "./failures.js";
import { decode, encode } from "./text.js";

/** Typed arrays over bytes, which may begin anywhere. */
export function view(Type, bytes, count) {
  const width = Type.BYTES_PER_ELEMENT;
  if (bytes.byteOffset % width === 0) return new Type(bytes.buffer, bytes.byteOffset, count);
  return new Type(bytes.slice(0, count * width).buffer, 0, count);
}

function bytesOf(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function misfit(value, what) {
  throw new Failure(`${shown(value)} (${value === null ? "null" : typeof value}) is no ${what}`);
}

class Shape {
  constructor(format, name) {
    this.format = format;
    this.typeName = name;
    this.nullable = false;
    this.columnName = null;
  }

  /** The type with nulls, and the type under another name of its column. */
  with(changes) {
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, changes);
  }

  describe(name, schema) {
    schema.push({ name: this.columnName ?? name, format: this.format, nullable: this.nullable, children: 0, metadata: [] });
  }

  zero() {
    return 0;
  }

  /** The value of a row that is not null. */
  get(column, row) {
    return column.values[row];
  }

  copy(value) {
    return value;
  }

  /** Room for a column that an author changes, beside what was read. */
  own(values) {
    return values.slice();
  }
}

class Bool extends Shape {
  zero() {
    return false;
  }

  read(first) {
    return (buffers, count) => ({ values: unpack(buffers[first + 1], count), bad: null });
  }

  get(column, row) {
    return column.values[row] === 1;
  }

  write(values, out) {
    const flags = new Uint8Array(values.length);
    for (let row = 0; row < values.length; row++) {
      const value = values[row];
      if (value === true || value === 1) flags[row] = 1;
      else if (value !== false && value !== 0) misfit(value, "bool");
    }
    out.push(pack(flags));
  }
}

/** Integers up to 32 bits, and floats of 32 and 64. */
class Plain extends Shape {
  constructor(format, name, Type) {
    super(format, name);
    this.Type = Type;
    const bits = Type.BYTES_PER_ELEMENT * 8;
    this.float = Type === Float32Array || Type === Float64Array;
    const signed = Type === Int8Array || Type === Int16Array || Type === Int32Array;
    this.least = signed ? -(2 ** (bits - 1)) : 0;
    this.most = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  }

  read(first) {
    const { Type } = this;
    return (buffers, count) => ({ values: view(Type, buffers[first + 1], count), bad: null });
  }

  write(values, out) {
    const { Type, float, least, most } = this;
    if (values instanceof Type) {
      out.push(bytesOf(values));
      return;
    }
    const made = new Type(values.length);
    for (let row = 0; row < values.length; row++) {
      const value = values[row];
      if (typeof value !== "number") misfit(value, this.typeName);
      if (!float && !(value >= least && value <= most && Math.floor(value) === value)) misfit(value, this.typeName);
      made[row] = value;
    }
    out.push(bytesOf(made));
  }
}

/** Integers of 64 bits: a BigInt each. */
class Big extends Shape {
  constructor(format, name, signed) {
    super(format, name);
    this.signed = signed;
    this.Type = signed ? BigInt64Array : BigUint64Array;
  }

  /** The same column as numbers. Rows with a value beyond 2^53 are rejected; writing one fails. */
  get asNumber() {
    return Object.assign(new AsNumber(this.format, this.typeName, this.signed), {
      nullable: this.nullable,
      columnName: this.columnName,
    });
  }

  zero() {
    return 0n;
  }

  read(first) {
    const { Type } = this;
    return (buffers, count) => ({ values: view(Type, buffers[first + 1], count), bad: null });
  }

  write(values, out) {
    const { Type } = this;
    if (values instanceof Type) {
      out.push(bytesOf(values));
      return;
    }
    const made = new Type(values.length);
    for (let row = 0; row < values.length; row++) {
      const value = values[row];
      if (typeof value !== "bigint") {
        if (typeof value === "number") throw new Failure(`${shown(value)} is a number, and ${this.typeName} takes a BigInt: declare it with .asNumber, or write ${Number.isInteger(value) ? `${value}n` : "BigInt(…)"}`);
        misfit(value, this.typeName);
      }
      made[row] = value;
      if (made[row] !== value) misfit(value, this.typeName);
    }
    out.push(bytesOf(made));
  }
}

/** Integers of 64 bits as numbers, checked. */
class AsNumber extends Shape {
  constructor(format, name, signed) {
    super(format, name);
    this.signed = signed;
  }

  read(first) {
    const { signed } = this;
    return (buffers, count) => {
      const halves = view(Uint32Array, buffers[first + 1], count * 2);
      const values = new Float64Array(count);
      let bad = null;
      for (let row = 0; row < count; row++) {
        const high = halves[2 * row + 1];
        if (high === 0) {
          values[row] = halves[2 * row];
          continue;
        }
        const value = (signed ? high | 0 : high) * 4294967296 + halves[2 * row];
        values[row] = value;
        if (!Number.isSafeInteger(value)) (bad ??= new Map()).set(row, { unsafe: true, path: "" });
      }
      return { values, bad };
    };
  }

  write(values, out) {
    const { signed } = this;
    const halves = new Uint32Array(values.length * 2);
    for (let row = 0; row < values.length; row++) {
      const value = values[row];
      if (typeof value !== "number") misfit(value, `${this.typeName} as a number`);
      if (!Number.isSafeInteger(value)) misfit(value, `${this.typeName} that a number holds exactly`);
      if (value < 0 && !signed) misfit(value, this.typeName);
      halves[2 * row] = value;
      if (value < 0 || value > 4294967295) halves[2 * row + 1] = Math.floor(value / 4294967296);
    }
    out.push(bytesOf(halves));
  }
}

class Half extends Shape {
  read(first) {
    return (buffers, count) => {
      const halves = view(Uint16Array, buffers[first + 1], count);
      const values = new Float32Array(count);
      for (let row = 0; row < count; row++) values[row] = fromHalf(halves[row]);
      return { values, bad: null };
    };
  }

  write(values, out) {
    const made = new Uint16Array(values.length);
    for (let row = 0; row < values.length; row++) {
      if (typeof values[row] !== "number") misfit(values[row], this.typeName);
      made[row] = toHalf(values[row]);
    }
    out.push(bytesOf(made));
  }
}

function fromHalf(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const wide = new Float64Array(1);
const wideHalves = new Uint32Array(wide.buffer);

/** The nearest number of 16 bits, ties to even; infinity from 65,520 on. Rounded once: not to 32 bits on the way. */
function toHalf(value) {
  if (value !== value) return 0x7e00;
  wide[0] = value;
  const sign = (wideHalves[1] >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // Below 2^-14 numbers are equally far apart. All that is scaled is exact, as it is by a power of two.
  const exponent = Math.max(((wideHalves[1] >>> 20) & 0x7ff) - 1023, -14);
  const scaled = size * 2 ** (10 - exponent);
  const whole = Math.floor(scaled);
  const rest = scaled - whole;
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
  // A number that is rounded up to the next power of two carries into the exponent.
  return sign | (((exponent + 14) << 10) + rounded);
}

/** Decimals: the unscaled integer, a BigInt. */
class Decimal extends Shape {
  constructor(format, name, width, precision) {
    super(format, name);
    this.width = width;
    this.limit = 10n ** BigInt(precision);
  }

  zero() {
    return 0n;
  }

  read(first) {
    const words = this.width / 8;
    return (buffers, count) => {
      const parts = view(BigUint64Array, buffers[first + 1], count * words);
      const values = new Array(count);
      for (let row = 0; row < count; row++) {
        let value = 0n;
        for (let word = words - 1; word >= 0; word--) value = (value << 64n) | parts[row * words + word];
        values[row] = BigInt.asIntN(words * 64, value);
      }
      return { values, bad: null };
    };
  }

  write(values, out) {
    const words = this.width / 8;
    const made = new BigUint64Array(values.length * words);
    for (let row = 0; row < values.length; row++) {
      let value = values[row];
      if (typeof value !== "bigint") misfit(value, `${this.typeName} (its unscaled integer, a BigInt)`);
      if (value >= this.limit || value <= -this.limit) misfit(value, this.typeName);
      for (let word = 0; word < words; word++, value >>= 64n) made[row * words + word] = value;
    }
    out.push(bytesOf(made));
  }
}

class Fixed extends Shape {
  constructor(format, name, length) {
    super(format, name);
    this.length = length;
  }

  zero() {
    return new Uint8Array(this.length);
  }

  read(first) {
    const { length } = this;
    return (buffers, count) => {
      const bytes = buffers[first + 1];
      const values = new Array(count);
      for (let row = 0; row < count; row++) values[row] = bytes.slice(row * length, (row + 1) * length);
      return { values, bad: null };
    };
  }

  write(values, out) {
    const made = new Uint8Array(values.length * this.length);
    for (let row = 0; row < values.length; row++) {
      if (!(values[row] instanceof Uint8Array) || values[row].length !== this.length) misfit(values[row], `Uint8Array of ${this.length} bytes`);
      made.set(values[row], row * this.length);
    }
    out.push(made);
  }

  copy(value) {
    return value.slice();
  }
}

function readOffsets(buffers, number, count, large) {
  if (!large) return view(Int32Array, buffers[number], count + 1);
  const halves = view(Uint32Array, buffers[number], (count + 1) * 2);
  const offsets = new Float64Array(count + 1);
  for (let row = 0; row <= count; row++) offsets[row] = halves[2 * row] + halves[2 * row + 1] * 4294967296;
  return offsets;
}

class Text extends Shape {
  zero() {
    return "";
  }

  read(first, large) {
    return (buffers, count) => {
      const offsets = readOffsets(buffers, first + 1, count, large);
      return { values: decode(buffers[first + 2], offsets, count), bad: null };
    };
  }

  write(values, out) {
    for (const value of values) if (typeof value !== "string") misfit(value, this.typeName);
    const { bytes, offsets } = encode(values);
    out.push(bytesOf(offsets), bytes);
  }
}

class Binary extends Shape {
  zero() {
    return new Uint8Array(0);
  }

  read(first, large) {
    return (buffers, count) => {
      const offsets = readOffsets(buffers, first + 1, count, large);
      const bytes = buffers[first + 2];
      const values = new Array(count);
      for (let row = 0; row < count; row++) values[row] = bytes.slice(offsets[row], offsets[row + 1]);
      return { values, bad: null };
    };
  }

  write(values, out) {
    const offsets = new Int32Array(values.length + 1);
    for (let row = 0; row < values.length; row++) {
      if (!(values[row] instanceof Uint8Array)) misfit(values[row], "Uint8Array");
      offsets[row + 1] = offsets[row] + values[row].length;
    }
    const bytes = new Uint8Array(offsets[values.length]);
    for (let row = 0; row < values.length; row++) bytes.set(values[row], offsets[row]);
    out.push(bytesOf(offsets), bytes);
  }

  copy(value) {
    return value.slice();
  }
}

class List extends Shape {
  constructor(item) {
    super("+l", "list");
    this.item = item;
  }

  zero() {
    return [];
  }

  describe(name, schema) {
    schema.push({ name: this.columnName ?? name, format: "+l", nullable: this.nullable, children: 1, metadata: [] });
    this.item.with({ columnName: null }).describe("item", schema);
  }

  read(first, large, [readItems]) {
    const { item } = this;
    return (buffers, count) => {
      const offsets = readOffsets(buffers, first + 1, count, large);
      const items = readItems(buffers, offsets[count]);
      const values = new Array(count);
      let bad = null;
      for (let row = 0; row < count; row++) {
        const list = [];
        for (let at = offsets[row]; at < offsets[row + 1]; at++) {
          list.push(items.valid !== null && items.valid[at] === 0 ? null : item.get(items, at));
          const inside = items.bad?.get(at);
          if (inside !== undefined && !bad?.has(row)) (bad ??= new Map()).set(row, { ...inside, path: `.item${inside.path}` });
        }
        values[row] = list;
      }
      return { values, bad };
    };
  }

  write(values, out) {
    const offsets = new Int32Array(values.length + 1);
    const items = [];
    for (let row = 0; row < values.length; row++) {
      if (!Array.isArray(values[row])) misfit(values[row], "array");
      for (const item of values[row]) items.push(item);
      offsets[row + 1] = items.length;
    }
    out.push(bytesOf(offsets));
    writeColumn(this.item, items, null, out, "item");
  }

  copy(value) {
    return value.map((item) => (item === null ? null : this.item.copy(item)));
  }
}

class Struct extends Shape {
  constructor(fields) {
    super("+s", "struct");
    this.fields = Object.entries(fields);
  }

  zero() {
    return Object.fromEntries(this.fields.map(([name, shape]) => [name, shape.nullable ? null : shape.zero()]));
  }

  describe(name, schema) {
    schema.push({ name: this.columnName ?? name, format: "+s", nullable: this.nullable, children: this.fields.length, metadata: [] });
    for (const [field, shape] of this.fields) shape.describe(field, schema);
  }

  read(_first, _large, children) {
    const { fields } = this;
    return (buffers, count) => {
      const columns = children.map((read) => read(buffers, count));
      const values = new Array(count);
      for (let row = 0; row < count; row++) {
        const value = {};
        for (let field = 0; field < fields.length; field++) {
          const column = columns[field];
          value[fields[field][0]] = column.valid !== null && column.valid[row] === 0 ? null : fields[field][1].get(column, row);
        }
        values[row] = value;
      }
      return { values, bad: gatherBad(fields, columns) };
    };
  }

  write(values, out) {
    for (const value of values) if (value !== ABSENT && (typeof value !== "object" || value === null)) misfit(value, "object");
    for (const [name, shape] of this.fields) {
      const column = values.map((value) => {
        if (value !== ABSENT) return value[name];
        return shape.nullable ? null : shape instanceof Struct ? ABSENT : shape.zero();
      });
      writeColumn(shape, column, null, out, name);
    }
  }

  copy(value) {
    return Object.fromEntries(this.fields.map(([name, shape]) => [name, value[name] === null || value[name] === undefined ? null : shape.copy(value[name])]));
  }
}

/** What stands for the fields of a struct that is null. */
const ABSENT = Symbol("absent");

/** The rows in which something is bad, of several columns together. */
export function gatherBad(fields, columns) {
  let bad = null;
  columns.forEach((column, field) => {
    if (column.bad === null) return;
    bad ??= new Map();
    const name = fields[field][1].columnName ?? fields[field][0];
    for (const [row, inside] of column.bad) if (!bad.has(row)) bad.set(row, { ...inside, path: `.${name}${inside.path}` });
  });
  return bad;
}

/** Adds the validity to what reads a column's values. */
export function withValidity(shape, first, readValues) {
  return (buffers, count) => {
    const column = readValues(buffers, count);
    column.valid = null;
    const bitmap = buffers[first];
    if (bitmap.length === 0 || isFull(bitmap, count)) return column;
    const valid = unpack(bitmap, count);
    if (shape.nullable) {
      column.valid = valid;
      if (column.bad !== null) for (const row of [...column.bad.keys()]) if (valid[row] === 0) column.bad.delete(row);
      return column;
    }
    column.bad ??= new Map();
    for (let row = 0; row < count; row++) if (valid[row] === 0) column.bad.set(row, { unsafe: false, path: "" });
    return column;
  };
}

/** Adds all buffers of a column. `valid`, if given, says which values are not null; else null values do. */
export function writeColumn(shape, values, valid, out, name) {
  try {
    let kept = values;
    let bitmap = new Uint8Array(0);
    if (shape.nullable) {
      const flags = valid ?? Uint8Array.from(values, (value) => (value === null || value === undefined ? 0 : 1));
      if (flags.includes(0)) {
        bitmap = pack(flags);
        if (Array.isArray(values)) {
          const zero = shape instanceof Struct ? ABSENT : shape.zero();
          kept = values.map((value, row) => (flags[row] === 1 ? value : zero));
        }
      }
    } else if (Array.isArray(values)) {
      for (const value of values) {
        if (value === null || value === undefined) {
          throw new Failure(`${value === null ? "null" : "missing"}, but the column is not declared nullable()`);
        }
      }
    }
    out.push(bitmap);
    shape.write(kept, out);
  } catch (error) {
    if (error instanceof Failure) throw new Failure(`${name}${error.message.match(/^[\w.]+: /) ? "." : ": "}${error.message}`);
    throw error;
  }
}

export { AsNumber, Big, Binary, Bool, Decimal, Fixed, Half, List, Plain, Shape, Struct, Text };
