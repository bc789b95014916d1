/** Write Penstock feature transforms in JavaScript and TypeScript. */

declare const held: unique symbol;

/** The type of a column whose values are `T`, and whose column as a whole is a `C`. */
export interface Type<T, C = T[]> {
  readonly [held]?: [T, C];
}

/** Integers of 64 bits are BigInts; `asNumber` makes numbers of them, checked: a row with a value beyond 2^53 is
 * rejected with the code `not-a-safe-integer`, and writing one is an error. */
export interface BigType<C> extends Type<bigint, C> {
  readonly asNumber: Type<number, Float64Array>;
}

export const bool: Type<boolean, Uint8Array>;
export const int8: Type<number, Int8Array>;
export const int16: Type<number, Int16Array>;
export const int32: Type<number, Int32Array>;
export const int64: BigType<BigInt64Array>;
export const uint8: Type<number, Uint8Array>;
export const uint16: Type<number, Uint16Array>;
export const uint32: Type<number, Uint32Array>;
export const uint64: BigType<BigUint64Array>;
export const float16: Type<number, Float32Array>;
export const float32: Type<number, Float32Array>;
export const float64: Type<number, Float64Array>;
/** Days since 1970-01-01. */
export const date32: Type<number, Int32Array>;
/** A date as milliseconds from 1970-01-01 to its start. */
export const date64: BigType<BigInt64Array>;
/** A row takes `large_utf8` too. */
export const utf8: Type<string>;
/** A row takes `large_binary` too. */
export const binary: Type<Uint8Array>;

export type Unit = "s" | "ms" | "us" | "ns";

/** An instant: units since 1970 in UTC, whatever the zone it is shown in. Without a zone (`null`) a date and time on
 * some wall. */
export function timestamp(unit?: Unit, zone?: string | null): BigType<BigInt64Array>;
export function duration(unit?: Unit): BigType<BigInt64Array>;
/** Units since midnight: a number for seconds and milliseconds, a BigInt for the others. */
export function timeOfDay(unit: "s" | "ms"): Type<number, Int32Array>;
export function timeOfDay(unit?: "us" | "ns"): BigType<BigInt64Array>;
/** The unscaled integer: 12.34 with a scale of 2 is `1234n`. */
export function decimal128(precision: number, scale: number): Type<bigint>;
export function decimal256(precision: number, scale: number): Type<bigint>;
/** Bytes of this very length. */
export function fixedBinary(length: number): Type<Uint8Array>;
/** A row takes `large_list` too. */
export function list<T>(item: Type<T, unknown>): Type<T[]>;
export function struct<const F extends Fields>(fields: F): Type<Values<F>>;
/** The same type with nulls. */
export function nullable<T, C>(type: Type<T, C>): Type<T | null, C extends readonly unknown[] ? (T | null)[] : C>;
/** A column of another name than its field. */
export function named<T, C>(name: string, type: Type<T, C>): Type<T, C>;

/** Columns: a type for each name. */
export type Fields = { readonly [name: string]: Type<any, any> };
/** A row of such columns. */
export type Values<F extends Fields> = { -readonly [N in keyof F]: F[N] extends Type<infer T, any> ? T : never };
/** Such columns as a whole. */
export type Columns<F extends Fields> = { -readonly [N in keyof F]: F[N] extends Type<any, infer C> ? C : never };

/** The window of an output, in microseconds since 1970 UTC: `start` is inside it, `end` is not. */
export interface Bounds {
  start: bigint;
  end: bigint;
}

type Some<T> = T | readonly T[] | Iterable<T> | null | undefined;

/** Takes over states of an older version. */
export interface Migration<S> {
  from: Fields;
  migrate(old: any, settings: any): S;
}
export function migration<const F extends Fields, S>(from: F, migrate: (old: Values<F>, settings: any) => S): Migration<S>;

interface Stateful<S extends Fields, O extends Fields, K extends Fields, C> {
  /** What is remembered of a group. It starts from zeros, empty texts and lists, and nulls. */
  state: S;
  /** A row that comes out. The host adds the key and the window. */
  output: O;
  /** The columns of the key that the transform looks at, if it does. */
  key?: K;
  /** Raise it whenever the columns of the state, or what they mean, change. */
  stateVersion?: number;
  /** What a group starts from, if not from zeros. Merging it with another state must change nothing. */
  initial?(): Values<S>;
  /** Makes settings of the pipeline's configuration. Without it any configuration is refused. */
  open?(config: any): C;
  /** Combines the states of two slices of time. It must be associative. */
  merge(earlier: Values<S>, later: Values<S>, settings: C): Values<S>;
  /** Turns the state of a closed window into a row, rows, or nothing. */
  finish(state: Values<S>, bounds: Bounds, key: Values<K>, settings: C): Some<Values<O>>;
  /** By the older version that each takes. */
  migrations?: { [version: number]: Migration<Values<S>> };
}

export interface WindowDefinition<R extends Fields, S extends Fields, O extends Fields, K extends Fields, C> extends Stateful<S, O, K, C> {
  /** The columns of the event that are wanted. The host decodes no others. */
  row: R;
  /** Adds a row to a state, or throws a `Reject`, which undoes what was done to the state. */
  accumulate(state: Values<S>, row: Values<R>, key: Values<K>, settings: C): void;
}

/** A batch as columns. */
export interface Rows<R extends Fields> {
  length: number;
  /** A typed array for each column, or an array where there is none for its type. Those of `bool` hold 0 and 1. */
  columns: Columns<R>;
  /** For each nullable column 0 for each null and 1 for each value, or null if there is no null. */
  valid: { [N in keyof R]?: Uint8Array | null };
  /** The group of each row. Empty in mappers. */
  groups: Uint32Array;
  /** Refuses a row. It must not change any state. */
  reject(row: number, code: string, detail?: string): void;
}

export interface KeyedRows<R extends Fields, K extends Fields> extends Rows<R> {
  /** The key of each group. */
  keys: Values<K>[];
}

/** The states of a batch's groups as columns, to be changed in place. */
export interface StateColumns<S extends Fields> {
  length: number;
  columns: Columns<S>;
  /** For each nullable column in a typed array 0 for each null and 1 for each value. Arrays hold nulls themselves. */
  valid: { [N in keyof S]?: Uint8Array };
}

export interface ColumnarWindowDefinition<R extends Fields, S extends Fields, O extends Fields, K extends Fields, C> extends Stateful<S, O, K, C> {
  row: R;
  /** Adds rows to states. A row that is rejected changes none, and each group sees its rows in their order. */
  accumulate(states: StateColumns<S>, rows: KeyedRows<R, K>, settings: C): void;
}

export interface MapperDefinition<R extends Fields, O extends Fields, C> {
  row: R;
  output: O;
  open?(config: any): C;
  /** A row, rows, nothing (the row is filtered), or a thrown `Reject`. */
  map(row: Values<R>, settings: C): Some<Values<O>>;
}

export interface ColumnarMapperDefinition<R extends Fields, O extends Fields, C> {
  row: R;
  output: O;
  open?(config: any): C;
  /** Pushes rows, each with the number of the row that it came from. These numbers never fall. */
  map(rows: Rows<R>, push: (row: number, output: Values<O>) => void, settings: C): void;
}

export interface Window<R extends Fields, S extends Fields, O extends Fields, K extends Fields> {
  readonly penstock: string;
  readonly [held]?: [R, S, O, K];
}
export interface Mapper<R extends Fields, O extends Fields> {
  readonly penstock: string;
  readonly [held]?: [R, O];
}

/** A keyed aggregation over event-time windows, a row at a time. */
export function window<const R extends Fields, const S extends Fields, const O extends Fields, const K extends Fields = {}, C = undefined>(
  definition: WindowDefinition<R, S, O, K, C>,
): Window<R, S, O, K>;
/** A window that gets a batch as columns. */
export function columnarWindow<const R extends Fields, const S extends Fields, const O extends Fields, const K extends Fields = {}, C = undefined>(
  definition: ColumnarWindowDefinition<R, S, O, K, C>,
): Window<R, S, O, K>;
/** Rows in, rows out, before the windows. */
export function mapper<const R extends Fields, const O extends Fields, C = undefined>(definition: MapperDefinition<R, O, C>): Mapper<R, O>;
/** A mapper that gets a batch as columns. */
export function columnarMapper<const R extends Fields, const O extends Fields, C = undefined>(
  definition: ColumnarMapperDefinition<R, O, C>,
): Mapper<R, O>;

/** Checks the configuration against defaults: no other names, and values of the same types. */
export function settings<const D extends object>(config: unknown, defaults: D): { [N in keyof D]: Widened<D[N]> };
type Widened<T> = T extends Required_<infer U> ? U : T extends number ? number : T extends string ? string : T extends boolean ? boolean : T;
interface Required_<T> {
  readonly [held]?: T;
}
/** A setting without a default. */
export function required(type: "number"): Required_<number>;
export function required(type: "string"): Required_<string>;
export function required(type: "boolean"): Required_<boolean>;

/** Throw it in `accumulate` or `map` to refuse a row. */
export class Reject extends Error {
  /** `code` is short and stable: letters, digits, `-` and `_`. `detail` is for a person. */
  constructor(code: string, detail?: string);
  readonly code: string;
  readonly detail: string;
}
export class Failure extends Error {
  readonly kind: "internal" | "bad-config" | "bad-input";
}
/** Throw it in `open`: the configuration is wrong. */
export class BadConfig extends Failure {
  constructor(message: string);
}
export class BadInput extends Failure {
  constructor(message: string);
}

/** Lines for the operator. The host limits how many a call may write. `console` does the same. */
export const log: { [level in "debug" | "info" | "warn" | "error"]: (...parts: unknown[]) => void };
/** Figures for the operator. The host adds the pipeline's name, and limits how many names there may be. */
export const metrics: {
  count(name: string, amount?: number | bigint): void;
  observe(name: string, value: number): void;
};
