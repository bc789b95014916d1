/**
 * Unit tests of a transform: rows go in as objects, outputs come back as objects, and between them runs the very
 * code that runs in the component, columns and all.
 */

import { sinks } from "./operator.js";
import { Mapping } from "./mapping.js";
import { numbers32, Record } from "./rows.js";
import { nullable } from "./types.js";
import { Windowed } from "./windowed.js";

export { sinks };

function opening(row, key, config) {
  const schema = row.schema();
  for (let at = 0; at < schema.length; at++) schema[at].nullable = true;
  return {
    config: typeof config === "string" ? config : JSON.stringify(config ?? {}),
    events: [{ name: "event", schema }],
    key: key?.schema() ?? [],
    options: [],
  };
}

/** Writes rows as columns, any of which may be null. */
function columns(definition, rows) {
  const fields = Object.fromEntries(Object.entries(definition).map(([name, shape]) => [name, nullable(shape)]));
  return new Record(fields).write(rows, "a row");
}

function read(record, batch) {
  return record.reader(record.schema(), "the record")(batch);
}

/** Drives a window as the host would, with all its groups in every call. What goes wrong is thrown. */
export class Native {
  #keys = [];

  constructor(definition, config) {
    this.definition = definition;
    const key = definition.key === undefined ? null : new Record(definition.key);
    this.windowed = new Windowed(definition, opening(new Record(definition.row), key, config));
    this.spec = this.windowed.spec;
    this.states = [];
    if (key === null) this.addGroup();
  }

  addGroup(key) {
    this.#keys.push(key ?? {});
    this.states.push(this.windowed.initial());
    return this.states.length - 1;
  }

  accumulate(rows) {
    return this.accumulateInto([...rows].map((row) => [0, row]));
  }

  accumulateInto(pairs) {
    const { windowed } = this;
    const updated = windowed.accumulate(
      0,
      columns(this.definition.row, pairs.map(([, row]) => row)),
      numbers32(pairs.map(([group]) => group)),
      this.#keyColumns(this.#keys),
      windowed.state.write(this.states, "`state`"),
    );
    const states = read(windowed.state, updated.states);
    if (updated.changed === null) this.states = states;
    else new Uint32Array(updated.changed.buffer).forEach((group, at) => (this.states[group] = states[at]));
    return updated.rejects;
  }

  merge(earlier, later) {
    const { windowed } = this;
    const [one, other] = [earlier, later].map((group) => windowed.state.write([this.states[group]], "`state`"));
    [this.states[earlier]] = read(windowed.state, windowed.mergeStates(this.#keyColumns([this.#keys[earlier]]), one, other));
    this.states[later] = windowed.initial();
  }

  finish(bounds = { start: 0n, end: 600_000_000n }) {
    const groups = this.states.length;
    const moments = [bounds.start, bounds.end].map((moment) => new Uint8Array(new BigInt64Array(groups).fill(moment).buffer));
    const none = new Uint8Array(0);
    const batch = { rows: groups, buffers: [none, moments[0], none, moments[1]] };
    const finished = this.windowed.finishGroups(this.#keyColumns(this.#keys), batch, this.windowed.state.write(this.states, "`state`"));
    return read(this.windowed.output, finished.output);
  }

  migrate(version, old) {
    const from = new Record(this.definition.migrations[version].from);
    return read(this.windowed.state, this.windowed.migrateStates(version, from.schema(), from.write(old, "an old state")));
  }

  #keyColumns(keys) {
    return this.windowed.key === null ? { rows: keys.length, buffers: [] } : this.windowed.key.write(keys, "a key");
  }
}

/** Drives a mapper as the host would. */
export class NativeMapper {
  constructor(definition, config) {
    this.definition = definition;
    this.mapping = new Mapping(definition, opening(new Record(definition.row), null, config));
    this.spec = this.mapping.spec;
  }

  map(rows) {
    const mapped = this.mapping.mapRows(0, columns(this.definition.row, [...rows]));
    return {
      rows: read(this.mapping.output, mapped.output),
      sourceRow: [...new Uint32Array(mapped.sourceRow.buffer)],
      rejects: mapped.rejects,
    };
  }
}
