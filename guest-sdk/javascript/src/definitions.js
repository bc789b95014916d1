/** What an author writes: definitions of windows and mappers, checked when the file is loaded. */

import { BadConfig, Failure, told } from "./failures.js";
import { Shape } from "./shapes.js";

const WINDOW_KEYS = ["row", "state", "output", "key", "stateVersion", "initial", "open", "accumulate", "merge", "finish", "migrations"];
const MAPPER_KEYS = ["row", "output", "open", "map"];

function define(kind, definition, known, required, functions) {
  const name = kind.startsWith("columnar") ? `a ${kind}` : `a ${kind}()`;
  for (const key of Object.keys(definition)) {
    if (!known.includes(key)) throw new TypeError(`${name} has no \`${key}\`; there are: ${known.join(", ")}`);
  }
  for (const key of required) if (definition[key] === undefined) throw new TypeError(`${name} needs \`${key}\``);
  for (const key of functions) {
    if (definition[key] !== undefined && typeof definition[key] !== "function") throw new TypeError(`\`${key}\` of ${name} must be a function`);
  }
  for (const key of ["row", "state", "output", "key"]) fields(definition[key] ?? {}, `\`${key}\` of ${name}`);
  // Where it was written, for errors about its columns.
  return { ...definition, penstock: kind, stack: new Error("here").stack };
}

function fields(given, what) {
  for (const [name, shape] of Object.entries(given)) {
    if (!(shape instanceof Shape)) throw new TypeError(`${what}: \`${name}\` is no type of a column: use one of the SDK's, as \`int64\` or \`utf8\``);
  }
}

export function window(definition) {
  return define("window", definition, WINDOW_KEYS, ["row", "state", "output", "accumulate", "merge", "finish"], ["open", "accumulate", "merge", "finish", "initial"]);
}

export function columnarWindow(definition) {
  return define("columnarWindow", definition, WINDOW_KEYS, ["row", "state", "output", "accumulate", "merge", "finish"], ["open", "accumulate", "merge", "finish", "initial"]);
}

export function mapper(definition) {
  return define("mapper", definition, MAPPER_KEYS, ["row", "output", "map"], ["open", "map"]);
}

export function columnarMapper(definition) {
  return define("columnarMapper", definition, MAPPER_KEYS, ["row", "output", "map"], ["open", "map"]);
}

export function migration(from, migrate) {
  fields(from, "the state of a migration");
  return { from, migrate };
}

/** What the author's `open` makes of the pipeline's configuration. */
export function openWith(definition, text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new BadConfig(`the configuration is no JSON: ${error.message}`);
  }
  if (definition.open === undefined) {
    if (given !== null && (typeof given !== "object" || Object.keys(given).length > 0)) {
      throw new BadConfig(`this transform takes no configuration, but was given ${text}: remove \`config\` from the pipeline`);
    }
    return undefined;
  }
  try {
    return definition.open(given);
  } catch (error) {
    if (error instanceof Failure) throw error;
    // What an author's own check throws is about the configuration.
    throw new BadConfig(told(error));
  }
}

const REQUIRED = Symbol("required");

export function required(type) {
  return { [REQUIRED]: type };
}

/** The configuration, checked against defaults: no other names, and values of the same types. */
export function settings(config, defaults) {
  if (typeof config !== "object" || config === null || Array.isArray(config)) throw new BadConfig(`the configuration must be an object, not ${JSON.stringify(config)}`);
  const names = Object.keys(defaults);
  for (const name of Object.keys(config)) {
    if (!names.includes(name)) throw new BadConfig(`there is no setting \`${name}\`; there are: ${names.map((there) => `\`${there}\``).join(", ")}`);
  }
  const made = {};
  for (const name of names) {
    const wanted = defaults[name]?.[REQUIRED] ?? typeOf(defaults[name]);
    if (config[name] === undefined) {
      if (defaults[name]?.[REQUIRED] !== undefined) throw new BadConfig(`the setting \`${name}\` is missing`);
      made[name] = defaults[name];
      continue;
    }
    if (typeOf(config[name]) !== wanted) throw new BadConfig(`the setting \`${name}\` must be of type ${wanted}, not ${JSON.stringify(config[name])}`);
    made[name] = config[name];
  }
  return made;
}

function typeOf(value) {
  return Array.isArray(value) ? "array" : typeof value;
}
