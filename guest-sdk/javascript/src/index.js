/** Write Penstock feature transforms in JavaScript and TypeScript. What there is stands in index.d.ts. */

export { columnarMapper, columnarWindow, mapper, migration, required, settings, window } from "./definitions.js";
export { BadConfig, BadInput, Failure, Reject } from "./failures.js";
export { log, metrics } from "./operator.js";
export {
  binary, bool, date32, date64, decimal128, decimal256, duration, fixedBinary, float16, float32, float64, int16,
  int32, int64, int8, list, named, nullable, struct, timeOfDay, timestamp, uint16, uint32, uint64, uint8, utf8,
} from "./types.js";
