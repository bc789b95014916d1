/** Unit tests of a transform: rows go in as objects, outputs come back, and the component's own code runs between. */

import type { Bounds, Fields, Mapper, Values, Window } from "./index.js";

export interface RejectedRow {
  row: number;
  code: string;
  detail: string;
}
/** A row that may have nulls where the transform's has none. */
export type Nullable<R extends Fields> = { [N in keyof Values<R>]?: Values<R>[N] | null };

/** Drives a window as the host would, with all its groups in every call. What goes wrong is thrown. */
export class Native<R extends Fields, S extends Fields, O extends Fields, K extends Fields> {
  /** Opens it with a configuration: an object, or JSON text. There is one group, unless the transform looks at its
   * key: then there are none until `addGroup`. */
  constructor(transform: Window<R, S, O, K>, config?: unknown);
  states: Values<S>[];
  readonly spec: { stateVersion: number; migratesFrom: number[]; [name: string]: unknown };
  /** Adds a group with this key, and gives its number. The first is 0. */
  addGroup(key?: Values<K>): number;
  /** Adds rows to group 0, in one call, and gives those that were rejected. */
  accumulate(rows: Iterable<Nullable<R>>): RejectedRow[];
  /** Adds rows to the groups beside them. */
  accumulateInto(rows: [number, Nullable<R>][]): RejectedRow[];
  /** Merges two groups into the first; the other starts anew. */
  merge(earlier: number, later: number): void;
  /** The output of all groups, for a window of the first ten minutes of 1970 if none is given. */
  finish(bounds?: Bounds): Values<O>[];
  /** States of now, made of those of an older version. */
  migrate(version: number, old: object[]): Values<S>[];
}

/** Drives a mapper as the host would. */
export class NativeMapper<R extends Fields, O extends Fields> {
  constructor(transform: Mapper<R, O>, config?: unknown);
  map(rows: Iterable<Nullable<R>>): { rows: Values<O>[]; sourceRow: number[]; rejects: RejectedRow[] };
}

/** Where log lines and figures go. A test may put its own functions here. */
export const sinks: {
  log(level: string, message: string): void;
  count(name: string, amount: number): void;
  observe(name: string, value: number): void;
};
