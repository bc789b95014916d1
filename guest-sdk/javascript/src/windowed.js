/** Runs a window over the columns of batches: the functions of the contract's `windowed` interface. */

import { openWith } from "./definitions.js";
import { BadInput, Failure, Reject } from "./failures.js";
import { quietly } from "./operator.js";
import { destructuring, Input, literal, numbers32, pick, Record, refuse, rowsOf } from "./rows.js";
import { bind, readColumns, refuseReservedNames, selectEvent, trees } from "./schema.js";
import { view } from "./shapes.js";

export class Windowed {
  constructor(definition, opening) {
    this.definition = definition;
    this.columnar = definition.penstock === "columnarWindow";
    this.row = new Record(definition.row);
    this.state = new Record(definition.state);
    this.output = new Record(definition.output);
    this.key = definition.key === undefined ? null : new Record(definition.key);
    this.settings = openWith(definition, opening.config);
    const { reads, needs } = selectEvent(this.row.fields, opening);
    this.reads = reads;
    this.readStates = this.state.reader(this.state.schema(), "the state");
    this.readKeys = this.key?.reader(opening.key, "the pipeline's key") ?? null;
    refuseReservedNames(this.output.fields, opening.key);
    if (this.columnar) this.stateReads = bind(this.state.fields, trees(this.state.schema()), "the state");
    else this.loop = rowLoop(this.row.fields, this.key !== null);
    this.spec = {
      needs,
      state: this.state.schema(),
      stateVersion: definition.stateVersion ?? 1,
      migratesFrom: Object.keys(definition.migrations ?? {}).map(Number),
      initial: this.state.write([this.initial()], "`state`"),
      output: this.output.schema(),
      options: [],
    };
  }

  initial() {
    return this.definition.initial ? this.definition.initial() : this.state.zero();
  }

  accumulate(event, input, groupOfRow, keys, states) {
    firstEventOnly(event);
    sameRows("keys", keys, states.rows);
    if (groupOfRow.length !== input.rows * 4) throw new Failure(`the host sent ${groupOfRow.length} bytes of groups for ${input.rows} rows`);
    const allGroups = view(Uint32Array, groupOfRow, input.rows);
    const rows = new Input(this.row.fields, this.reads, input);
    const groups = rows.ofThoseLeft(allGroups);
    const run = this.columnar ? this.byColumns(rows, groups, keys, states) : this.byRows(rows, groups, keys, states);
    if (rows.rejects.size === 0) return { states: run(null), changed: null, rejects: [] };
    const touched = new Uint8Array(states.rows);
    for (let row = 0; row < input.rows; row++) if (!rows.rejects.has(row)) touched[allGroups[row]] = 1;
    const changed = [];
    for (let group = 0; group < states.rows; group++) if (touched[group] === 1) changed.push(group);
    return { states: run(changed), changed: numbers32(changed), rejects: rows.rejected() };
  }

  mergeStates(keys, earlier, later) {
    sameRows("keys", keys, earlier.rows);
    sameRows("later states", later, earlier.rows);
    const others = this.readStates(later);
    const merged = this.readStates(earlier).map((one, group) => this.definition.merge(one, others[group], this.settings));
    return this.state.write(merged, "what `merge` gives");
  }

  finishGroups(keys, bounds, states) {
    sameRows("keys", keys, states.rows);
    sameRows("window bounds", bounds, states.rows);
    const [starts, ends] = [1, 3].map((number) => view(BigInt64Array, bounds.buffers[number], states.rows));
    const keyOf = this.readKeys?.(keys);
    const output = [];
    const source = [];
    this.readStates(states).forEach((state, group) => {
      const returned = this.definition.finish(state, { start: starts[group], end: ends[group] }, keyOf?.[group], this.settings);
      for (const row of rowsOf(returned)) {
        output.push(row);
        source.push(group);
      }
    });
    return { output: this.output.write(output, "`output`"), sourceGroup: numbers32(source) };
  }

  migrateStates(oldVersion, oldSchema, states) {
    const found = this.definition.migrations?.[oldVersion];
    if (found === undefined) throw new Failure(`this transform takes over no states of version ${oldVersion}`);
    const whose = `the state of version ${oldVersion}`;
    const old = new Record(found.from).reader(oldSchema, whose, (bad) => refuseOld(bad, whose))(states);
    return this.state.write(old.map((state) => found.migrate(state, this.settings)), "what a migration gives");
  }

  byRows(rows, groups, keys, states) {
    const sent = this.readStates(states);
    const keyOf = this.readKeys?.(keys) ?? null;
    const { accumulate } = this.definition;
    let undo = null;
    const at = { row: 0 };
    for (;;) {
      try {
        this.loop(accumulate, rows.columns, groups, sent, keyOf, this.settings, rows.count, at);
        break;
      } catch (error) {
        if (!(error instanceof Reject)) throw error;
        const { code, detail } = error;
        rows.rejects.set(rows.number(at.row), { code, detail });
        undo ??= new Undo(this, rows, groups, keys, states);
        sent[groups[at.row]] = undo.stateBefore(at.row);
        at.row += 1;
      }
    }
    return (changed) => this.state.write(changed === null ? sent : pick(sent, changed), "`state`");
  }

  byColumns(rows, groups, keys, states) {
    const { columns, bad } = readColumns(this.state.fields, this.stateReads, states.buffers, states.rows);
    refuse(bad);
    const own = {};
    const valid = {};
    this.state.fields.forEach(([name, shape], at) => {
      const values = withNulls(columns[at]);
      own[name] = shape.own(values);
      // What is no typed array holds its nulls itself.
      if (shape.nullable && !Array.isArray(values)) valid[name] = columns[at].valid ?? new Uint8Array(states.rows).fill(1);
    });
    const batch = new Rows(this.row.fields, rows, groups);
    batch.keys = this.readKeys?.(keys) ?? [];
    this.definition.accumulate({ length: states.rows, columns: own, valid }, batch, this.settings);
    for (const [name] of this.state.fields) {
      if (own[name].length !== states.rows) throw new Failure(`the transform changed the length of the state's column \`${name}\`: it must stay ${states.rows}`);
    }
    return (changed) => {
      const kept = (values) => (changed === null || values === undefined ? values : pick(values, changed));
      const names = this.state.fields.map(([name]) => name);
      const count = changed === null ? states.rows : changed.length;
      return this.state.writeColumns(names.map((name) => kept(own[name])), names.map((name) => kept(valid[name])), count, "`state`");
    };
  }
}

/** A column's values: with nulls, if they are in an array, which can hold them. */
function withNulls({ values, valid }) {
  return valid && Array.isArray(values) ? values.map((value, row) => (valid[row] === 0 ? null : value)) : values;
}

/** A batch as columns, as authors of the columnar forms get it. */
export class Rows {
  constructor(fields, input, groups) {
    this.length = input.count;
    this.groups = groups;
    this.columns = {};
    this.valid = {};
    this.input = input;
    fields.forEach(([name, shape], at) => {
      this.columns[name] = withNulls(input.columns[at]);
      if (shape.nullable) this.valid[name] = input.columns[at].valid;
    });
  }

  reject(row, code, detail = "") {
    if (!(row >= 0 && row < this.length)) throw new RangeError(`there is no row ${row}, as there are ${this.length}`);
    const number = this.input.number(row);
    if (!this.input.rejects.has(number)) this.input.rejects.set(number, { code: String(code), detail: String(detail) });
  }
}

/** The loop over rows, written for these columns. `at.row` tells where an error left it. */
function rowLoop(fields, keyed) {
  const key = keyed ? "keys[group]" : "undefined";
  return new Function("accumulate", "columns", "groups", "states", "keys", "settings", "count", "at", `${destructuring(fields)}
let i = at.row;
try {
  for (; i < count; i++) {
    const group = groups[i];
    accumulate(states[group], ${literal(fields)}, ${key}, settings);
  }
} finally { at.row = i; }`);
}

/**
 * Undoes what a rejected row did to its group's state, at no cost as long as none is rejected: the group starts
 * again from the state that the host sent, and its earlier rows of this call are applied once more. A copy of the
 * result stays behind, from which the group's next reject starts, so that no row is applied more than twice.
 * States, rows and keys are read anew: an array of a row may have become part of a state, and have been changed there.
 */
class Undo {
  constructor(windowed, rows, groups, keys, states) {
    Object.assign(this, { windowed, groups });
    this.keyOf = windowed.readKeys?.(keys) ?? null;
    this.sent = windowed.readStates(states);
    this.rows = windowed.row.objects(rows.anew().columns, rows.count);
    this.ofGroup = new Map();
    for (let index = 0; index < rows.count; index++) {
      const indexes = this.ofGroup.get(groups[index]);
      if (indexes === undefined) this.ofGroup.set(groups[index], [index]);
      else indexes.push(index);
    }
    /** For each group the state before its last rejected row, and how many of its rows that was. */
    this.restored = new Map();
  }

  stateBefore(index) {
    const { windowed } = this;
    const group = this.groups[index];
    const indexes = this.ofGroup.get(group);
    let [done, state] = this.restored.get(group) ?? [0, this.sent[group]];
    quietly(() => {
      for (; indexes[done] < index; done++) {
        windowed.definition.accumulate(state, this.rows[indexes[done]], this.keyOf?.[group], windowed.settings);
      }
    });
    this.restored.set(group, [done + 1, windowed.state.copy(state)]);
    return state;
  }
}

/** What an older version wrote may have nulls where this one takes none. */
function refuseOld(bad, whose) {
  if (bad === null || bad.size === 0) return;
  const [row, { path, unsafe }] = bad.entries().next().value;
  const why = unsafe ? "a number beyond 2^53" : "a null";
  const how = unsafe ? "without .asNumber" : "as nullable()";
  throw new BadInput(`${whose} has ${why} in column \`${path.slice(1)}\`, in row ${row}, where the transform takes none: declare it ${how}`);
}

export function firstEventOnly(event) {
  if (event !== 0) throw new Failure(`the host sent rows of event ${event}, and the pipeline has one`);
}

function sameRows(what, batch, rows) {
  if (batch.rows !== rows) throw new Failure(`the host sent ${batch.rows} ${what} for ${rows} states`);
}
