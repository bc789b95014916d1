/** How a call fails, and how an error of the author's is told with its place in the author's file. */

/** Throw it in `accumulate` or `map` to refuse a row. A refused row leaves no trace in the state. */
export class Reject extends Error {
  /** @param {string} code short and stable: letters, digits, `-` and `_` @param {string} detail for a person */
  constructor(code, detail = "") {
    super(detail);
    this.name = "Reject";
    this.code = String(code);
    this.detail = String(detail);
  }
}

/** A call that cannot be carried out; `kind` is the contract's name for it. */
export class Failure extends Error {
  constructor(message, kind = "internal") {
    super(message);
    this.name = "Failure";
    this.kind = kind;
  }
}

/** The pipeline's configuration is wrong. Say what would be right. */
export class BadConfig extends Failure {
  constructor(message) {
    super(message, "bad-config");
    this.name = "BadConfig";
  }
}

/** The events or states offered are not what the transform can work on. */
export class BadInput extends Failure {
  constructor(message) {
    super(message, "bad-input");
    this.name = "BadInput";
  }
}

/**
 * Where in the author's files a stack passed, innermost first. Inside a component `lines` says for each line of the
 * bundle, counted from 1, which file and line it came from.
 */
export function placesOf(stack, lines = globalThis.__penstock_lines) {
  const places = [];
  for (const frame of String(stack ?? "").split("\n")) {
    const found = /^\s*at (?:(.*?) \()?.*?:(\d+)(?::\d+)?\)?\s*$/.exec(frame);
    const place = found && lines?.at[Number(found[2])];
    if (place) places.push({ place: `${lines.files[place[0]]}:${place[1]}`, name: found[1] });
  }
  return places;
}

/** One line: where in the author's file it happened, and what. */
export function told(error, lines = globalThis.__penstock_lines) {
  if (!(error instanceof Error)) return `the transform threw ${shown(error)}`;
  const what = error.message ? `${error.name}: ${error.message}` : error.name;
  const places = placesOf(error.stack, lines);
  if (places.length === 0) return what;
  const inside = places[0].name && places[0].name !== "<anonymous>" ? ` in ${places[0].name}` : "";
  const calls = places.slice(1, 4).map(({ place }) => `, called at ${place}`);
  return `${places[0].place}${inside}: ${what}${calls.join("")}`;
}

/** A value as a person reads it, not too long. */
export function shown(value) {
  let text;
  if (typeof value === "bigint") text = `${value}n`;
  else if (typeof value === "string") text = JSON.stringify(value);
  else if (typeof value === "object" && value !== null) {
    try {
      text = JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? `${inner}n` : inner));
    } catch {
      text = String(value);
    }
  } else text = String(value);
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
}
