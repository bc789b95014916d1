//! HyperLogLog, of 2^10 registers of a byte each.
//!
//! P. Flajolet, É. Fusy, O. Gandouet, F. Meunier: *HyperLogLog: the analysis of a near-optimal
//! cardinality estimation algorithm*, AofA 2007.
//!
//! Each value is hashed. The first [`BITS`] bits of the hash choose a register; the register keeps
//! the greatest position of the first one-bit among the bits that follow. Many different values
//! make a late first one-bit likely, and the same value makes no difference however often it comes.
//! The standard error of the estimate is 1.04 / √1024 = 3.25 %.
//!
//! The bytes are a state that outlives a run: hash, registers and their order must never change
//! without a new `STATE_VERSION`.

/// The bits of a hash that choose a register: `p` in the paper.
pub const BITS: u32 = 10;

/// How many registers there are: `m` in the paper.
pub const REGISTERS: usize = 1 << BITS;

/// The relative standard error of an estimate.
pub const STANDARD_ERROR: f64 = 1.04 / 32.0;

/// `α_m · m²`: the paper's constant for 128 registers and more.
const SCALE: f64 = 0.7213 / (1.0 + 1.079 / REGISTERS as f64) * (REGISTERS * REGISTERS) as f64;

/// Registers to be written. No bytes at all stand for registers that are all zero.
pub struct Sketch<'a>(&'a mut Vec<u8>);

impl<'a> Sketch<'a> {
    /// The sketch that these bytes hold.
    pub fn of(registers: &'a mut Vec<u8>) -> Self {
        Self(registers)
    }

    /// Adds a value.
    pub fn add(&mut self, value: i64) {
        self.0.resize(REGISTERS, 0);
        let hash = hash(value);
        let register = &mut self.0[(hash >> (u64::BITS - BITS)) as usize];
        // The bits that chose the register are gone; without a one-bit after them the greatest rank stands.
        let rank = (hash << BITS).leading_zeros().min(u64::BITS - BITS) + 1;
        *register = (*register).max(rank as u8);
    }

    /// Adds all values of another sketch: what comes out is the sketch of the union, to the bit.
    pub fn add_all(&mut self, other: &[u8]) {
        self.0.resize(self.0.len().max(other.len()), 0);
        for (register, other) in self.0.iter_mut().zip(other) {
            *register = (*register).max(*other);
        }
    }
}

/// How many different values were added, about.
///
/// Of the paper's two corrections the one for small numbers is here: while registers are empty and
/// the estimate is at most 2.5 m, linear counting is nearer. The one for large numbers mends
/// collisions of 32-bit hashes, and is not needed for one of 64 bits.
pub fn estimate(registers: &[u8]) -> f64 {
    let empty = REGISTERS - registers.iter().filter(|rank| **rank > 0).count();
    let written: f64 = registers
        .iter()
        .map(|rank| 0.5_f64.powi((*rank).into()))
        .sum();
    let missing = (REGISTERS - registers.len()) as f64;
    let raw = SCALE / (written + missing);
    if raw <= 2.5 * REGISTERS as f64 && empty > 0 {
        let registers = REGISTERS as f64;
        return registers * (registers / empty as f64).ln();
    }
    raw
}

/// SplitMix64's output for the state `value` (S. Vigna, <https://prng.di.unimi.it/splitmix64.c>): a
/// bijection of 64 bits, so different values never have the same hash.
pub fn hash(value: i64) -> u64 {
    let hash = (value as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
