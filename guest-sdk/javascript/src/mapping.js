/** Runs a mapper over the columns of batches: the functions of the contract's `mapper` interface. */

import { openWith } from "./definitions.js";
import { Failure, Reject } from "./failures.js";
import { destructuring, Input, literal, numbers32, Record, rowsOf } from "./rows.js";
import { selectEvent } from "./schema.js";
import { firstEventOnly, Rows } from "./windowed.js";

export class Mapping {
  constructor(definition, opening) {
    this.definition = definition;
    this.row = new Record(definition.row);
    this.output = new Record(definition.output);
    this.settings = openWith(definition, opening.config);
    const { reads, needs } = selectEvent(this.row.fields, opening);
    this.reads = reads;
    this.loop = rowLoop(this.row.fields);
    this.spec = { needs, output: this.output.schema(), options: [] };
  }

  mapRows(event, input) {
    firstEventOnly(event);
    const rows = new Input(this.row.fields, this.reads, input);
    const made = [];
    const source = [];
    if (this.definition.penstock === "columnarMapper") this.byColumns(rows, made, source);
    else this.byRows(rows, made, source);
    return { output: this.output.write(made, "`output`"), sourceRow: numbers32(source), rejects: rows.rejected() };
  }

  byRows(rows, made, source) {
    const at = { row: 0 };
    for (;;) {
      try {
        this.loop(this.definition.map, rows.columns, this.settings, rows.count, at, (returned, row) => {
          for (const output of rowsOf(returned)) {
            made.push(output);
            source.push(rows.number(row));
          }
        });
        return;
      } catch (error) {
        if (!(error instanceof Reject)) throw error;
        rows.rejects.set(rows.number(at.row), { code: error.code, detail: error.detail });
        at.row += 1;
      }
    }
  }

  byColumns(rows, made, source) {
    const batch = new Rows(this.row.fields, rows, []);
    const push = (row, output) => {
      source.push(rows.number(row));
      made.push(output);
    };
    this.definition.map(batch, push, this.settings);
    source.forEach((row, at) => {
      if (at > 0 && row < source[at - 1]) throw new Failure("the mapper pushed outputs out of the order of their rows");
      if (rows.rejects.has(row)) throw new Failure(`the mapper rejected row ${row} and mapped it too`);
    });
  }
}

/** The loop over rows, written for these columns, as in windows. A generator is run before the next row. */
function rowLoop(fields) {
  return new Function("map", "columns", "settings", "count", "at", "take", `${destructuring(fields)}
let i = at.row;
try {
  for (; i < count; i++) {
    const returned = map(${literal(fields)}, settings);
    if (returned !== null && returned !== undefined) take(returned, i);
  }
} finally { at.row = i; }`);
}
