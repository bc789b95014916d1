/** The inside of a component: what the host calls, in front of windowed.js and mapping.js. */

import * as hostLog from "penstock:transform/log@0.1.0";
import * as hostMetrics from "penstock:transform/metrics@0.1.0";

import { Failure, told } from "./failures.js";
import { Mapping } from "./mapping.js";
import { log, sinks } from "./operator.js";
import { Windowed } from "./windowed.js";

sinks.log = (level, message) => hostLog.write(level, message);
sinks.count = (name, amount) => hostMetrics.count(name, amount);
sinks.observe = (name, value) => hostMetrics.observe(name, value);

// There is no console. What is printed becomes lines of the log.
globalThis.console = { debug: log.debug, log: log.info, info: log.info, warn: log.warn, error: log.error, trace: log.debug };

/** Whoever asks for a clock or for chance is told, rather than trapped. */
function seal() {
  const refuse = (what) => () => {
    throw new Error(`a transform has no ${what}: what it gives depends on its rows alone`);
  };
  const Clockless = new Proxy(Date, {
    construct: (target, given) => (given.length === 0 ? refuse("clock")() : new target(...given)),
    apply: refuse("clock"),
    get: (target, name) => (name === "now" ? refuse("clock") : target[name]),
  });
  globalThis.Date = Clockless;
  Math.random = refuse("random numbers");
  if (globalThis.performance !== undefined) globalThis.performance = { now: refuse("clock") };
}

/** Makes a failure of the contract of whatever is thrown. One that is about columns says where they are declared. */
function carefully(definition, work) {
  return (...given) => {
    try {
      return work(...given);
    } catch (error) {
      if (error instanceof Failure) {
        const declared = error.kind === "bad-config" ? undefined : globalThis.__penstock_lines?.declared[definition.penstock];
        throw { tag: error.kind, val: declared ? `${error.message} (${definition.penstock}() at ${declared})` : error.message };
      }
      throw { tag: "internal", val: told(error) };
    }
  };
}

/** The contract's interfaces, made of a window. */
export function windowed(definition) {
  let opened = null;
  const now = () => {
    if (opened === null) throw new Failure("the transform was called before it was opened");
    return opened;
  };
  return {
    windowed: {
      openWindowed: carefully(definition, (opening) => {
        seal();
        opened = new Windowed(definition, opening);
        return opened.spec;
      }),
      accumulate: carefully(definition, (event, input, groups, keys, states) => now().accumulate(event, input, groups, keys, states)),
      mergeStates: carefully(definition, (keys, earlier, later) => now().mergeStates(keys, earlier, later)),
      finishGroups: carefully(definition, (keys, bounds, states) => now().finishGroups(keys, bounds, states)),
    },
    migration: {
      migrateStates: carefully(definition, (version, schema, states) => now().migrateStates(version, schema, states)),
    },
  };
}

/** The contract's interface, made of a mapper. */
export function mapper(definition) {
  let opened = null;
  return {
    openMapper: carefully(definition, (opening) => {
      seal();
      opened = new Mapping(definition, opening);
      return opened.spec;
    }),
    mapRows: carefully(definition, (event, input) => {
      if (opened === null) throw new Failure("the mapper was called before it was opened");
      return opened.mapRows(event, input);
    }),
  };
}
