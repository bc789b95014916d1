/** Rows of columns as objects, and objects as columns. */

import { Failure, shown } from "./failures.js";
import { bind, readColumns, schemaOf, trees } from "./schema.js";
import { Bool, writeColumn } from "./shapes.js";

/** JavaScript that makes the object of row `i` of columns `v0`, `v1`… with null flags `n0`, `n1`…. */
export function literal(fields) {
  const parts = fields.map(([name, shape], at) => {
    const value = shape instanceof Bool ? `v${at}[i] === 1` : `v${at}[i]`;
    return `${JSON.stringify(name)}: ${shape.nullable ? `(n${at} !== null && n${at}[i] === 0 ? null : ${value})` : value}`;
  });
  return `{ ${parts.join(", ")} }`;
}

/** JavaScript that gives the columns their names. */
export function destructuring(fields) {
  return fields.map(([, shape], at) => `const v${at} = columns[${at}].values${shape.nullable ? `, n${at} = columns[${at}].valid` : ""};`).join("\n");
}

/** A record: fields, with what reads and writes objects of them. */
export class Record {
  constructor(fields) {
    this.fields = Object.entries(fields);
    // Written for these fields: an object that is made in one piece is far cheaper than one made field by field.
    this.objects = new Function("columns", "count", `${destructuring(this.fields)}
const out = new Array(count);
for (let i = 0; i < count; i++) out[i] = ${literal(this.fields)};
return out;`);
  }

  schema() {
    return schemaOf(this.fields);
  }

  /** What reads objects from a batch of the schema of `actual`. `refused` throws where there is a null that may not be. */
  reader(actual, whose, refused = refuse) {
    const reads = bind(this.fields, trees(actual), whose);
    return ({ rows, buffers }) => {
      const { columns, bad } = readColumns(this.fields, reads, buffers, rows);
      refused(bad);
      return this.objects(columns, rows);
    };
  }

  write(objects, what) {
    for (const object of objects) {
      if (typeof object !== "object" || object === null) throw new Failure(`${what} must be an object of ${this.fields.map(([name]) => name).join(", ")}, not ${shown(object)}`);
    }
    return this.writeColumns(this.fields.map(([name]) => objects.map((object) => object[name])), null, objects.length, what);
  }

  writeColumns(columns, valids, rows, what) {
    const buffers = [];
    this.fields.forEach(([name, shape], at) => {
      try {
        writeColumn(shape, columns[at], valids?.[at] ?? null, buffers, name);
      } catch (error) {
        if (error instanceof Failure) throw new Failure(`a value of ${what} does not fit its column ${error.message}`);
        throw error;
      }
    });
    return { rows, buffers };
  }

  zero() {
    return Object.fromEntries(this.fields.map(([name, shape]) => [name, shape.nullable ? null : shape.zero()]));
  }

  copy(object) {
    const copy = {};
    for (const [name, shape] of this.fields) copy[name] = object[name] === null || object[name] === undefined ? null : shape.copy(object[name]);
    return copy;
  }
}

/** Columns that nobody else has had in hand since they were written have no null where there may be none. */
export function refuse(bad) {
  if (bad === null || bad.size === 0) return;
  const [row, { path, unsafe }] = bad.entries().next().value;
  if (unsafe) throw new Failure(`\`${path.slice(1)}\` of row ${row} is beyond 2^53: declare it without .asNumber`);
  throw new Failure(`the host broke the contract: \`${path.slice(1)}\` is null in row ${row}, and may not be`);
}

/** The rows of a batch as columns, those that cannot be read left out and rejected. */
export class Input {
  constructor(fields, reads, batch) {
    this.of = [fields, reads, batch];
    const { rows, buffers } = batch;
    const { columns, bad } = readColumns(fields, reads, buffers, rows);
    this.columns = columns;
    this.count = rows;
    /** The numbers of the rows that are left, if some are not. */
    this.numbers = null;
    /** Code and detail by row. */
    this.rejects = new Map();
    if (bad === null || bad.size === 0) return;
    for (const [row, { path, unsafe }] of bad) {
      this.rejects.set(row, unsafe
        ? { code: "not-a-safe-integer", detail: `column \`${path.slice(1)}\` is beyond 2^53, which a number does not hold exactly` }
        : { code: "null", detail: `column \`${path.slice(1)}\` is null` });
    }
    const numbers = [];
    for (let row = 0; row < rows; row++) if (!bad.has(row)) numbers.push(row);
    this.numbers = numbers;
    this.count = numbers.length;
    this.columns = columns.map(({ values, valid }) => ({ values: pick(values, numbers), valid: valid && pick(valid, numbers) }));
  }

  /** The same rows, in values that nobody has had in hand. */
  anew() {
    return new Input(...this.of);
  }

  number(index) {
    return this.numbers === null ? index : this.numbers[index];
  }

  /** Those of the rows that are left, out of something that the host sent beside the rows. */
  ofThoseLeft(values) {
    return this.numbers === null ? values : pick(values, this.numbers);
  }

  rejected() {
    return [...this.rejects].sort(([a], [b]) => a - b).map(([row, { code, detail }]) => ({ row, code, detail }));
  }
}

/** Some of the values of an array or typed array. */
export function pick(values, numbers) {
  const picked = new values.constructor(numbers.length);
  for (let at = 0; at < numbers.length; at++) picked[at] = values[numbers[at]];
  return picked;
}

/** Numbers as u32, little-endian. */
export function numbers32(values) {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

/** What `finish` or `map` returned, as rows. */
export function rowsOf(returned) {
  if (returned === null || returned === undefined) return [];
  if (Array.isArray(returned)) return returned;
  return typeof returned[Symbol.iterator] === "function" ? [...returned] : [returned];
}
