/**
 * HyperLogLog, of 2^10 registers of a byte each: P. Flajolet, É. Fusy, O. Gandouet, F. Meunier, *HyperLogLog: the
 * analysis of a near-optimal cardinality estimation algorithm*, AofA 2007.
 *
 * Each value is hashed. The first ten bits of the hash choose a register, which keeps the greatest position of the
 * first one-bit among the bits that follow. The standard error of the estimate is 1.04 / √1024 = 3.25 %.
 */

const BITS = 10;
const REGISTERS = 2 ** BITS;
const SCALE = (0.7213 / (1 + 1.079 / REGISTERS)) * REGISTERS * REGISTERS;

/** A sketch with a value more. No bytes at all stand for registers that are all zero. */
export function add(registers, value) {
  const sketch = registers.length === 0 ? new Uint8Array(REGISTERS) : registers;
  const hash = hashOf(value);
  const register = Number(hash >> BigInt(64 - BITS));
  // The bits that chose the register are gone; without a one-bit after them the greatest rank stands.
  const rest = BigInt.asUintN(64, hash << BigInt(BITS));
  const rank = Math.min(leadingZeros(rest), 64 - BITS) + 1;
  if (rank > sketch[register]) sketch[register] = rank;
  return sketch;
}

/** The sketch of the values of both, to the bit. */
export function union(one, other) {
  if (one.length === 0) return other;
  const both = one.slice();
  other.forEach((rank, register) => {
    if (rank > both[register]) both[register] = rank;
  });
  return both;
}

/**
 * How many different values were added, about. While registers are empty and the estimate is at most 2.5 times their
 * number, linear counting is nearer.
 */
export function estimate(registers) {
  let empty = REGISTERS - registers.length;
  let sum = empty;
  for (const rank of registers) {
    if (rank === 0) empty += 1;
    sum += 2 ** -rank;
  }
  const raw = SCALE / sum;
  return raw <= 2.5 * REGISTERS && empty > 0 ? REGISTERS * Math.log(REGISTERS / empty) : raw;
}

/** SplitMix64's output for the state `value` (S. Vigna, https://prng.di.unimi.it/splitmix64.c). */
function hashOf(value) {
  const wrap = (number) => BigInt.asUintN(64, number);
  let hash = wrap(value + 0x9e3779b97f4a7c15n);
  hash = wrap((hash ^ (hash >> 30n)) * 0xbf58476d1ce4e5b9n);
  hash = wrap((hash ^ (hash >> 27n)) * 0x94d049bb133111ebn);
  return hash ^ (hash >> 31n);
}

function leadingZeros(number) {
  const high = Number(number >> 32n);
  return high === 0 ? 32 + Math.clz32(Number(number & 0xffffffffn)) : Math.clz32(high);
}
