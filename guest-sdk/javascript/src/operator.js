/** Lines and figures for the operator. Natively lines go to the console and figures nowhere. */

/** Where lines and figures go; inside a component, to the host. A test may put its own functions here. */
export const sinks = {
  log: (level, message) => globalThis.console?.error(`${level}: ${message}`),
  count: () => {},
  observe: () => {},
};

let quiet = false;

/** Holds back what is said by rows that are applied once more: they have said it already. */
export function quietly(work) {
  quiet = true;
  try {
    work();
  } finally {
    quiet = false;
  }
}

function write(level, parts) {
  if (!quiet) sinks.log(level, parts.map((part) => (typeof part === "string" ? part : text(part))).join(" "));
}

function text(value) {
  if (value instanceof Error || typeof value !== "object" || value === null) return String(value);
  return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner));
}

export const log = {
  debug: (...parts) => write("debug", parts),
  info: (...parts) => write("info", parts),
  warn: (...parts) => write("warn", parts),
  error: (...parts) => write("error", parts),
};

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

export const metrics = {
  /** Adds to a counter. */
  count(name, amount = 1) {
    if (quiet) return;
    if (typeof amount === "bigint") {
      if (amount < 0n || amount >= 1n << 64n) throw new RangeError(`a counter cannot take ${amount}: there are 64 bits, and no sign`);
      // The component's engine hands a number to the host: what it does not hold exactly goes in several.
      for (; amount > SAFE; amount -= SAFE) sinks.count(name, Number.MAX_SAFE_INTEGER);
    }
    sinks.count(name, Number(amount));
  },
  /** Adds a value to a histogram. */
  observe(name, value) {
    if (!quiet) sinks.observe(name, Number(value));
  },
};
