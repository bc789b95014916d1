//! Random integers that are the same on every machine and with every version of the `rand` crates.
//!
//! PCG64 is a published algorithm with reference vectors. The ways of sampling from it are written out here, because
//! those of `rand` may change between its versions.

use rand::Rng;
use rand_pcg::Pcg64;

/// 1.0 as a [`Share`].
const WHOLE: f64 = (1u64 << 32) as f64;

/// A probability, in units of 2⁻³².
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(u64);

impl Share {
    /// `share` is from 0 to 1.
    pub(super) fn new(share: f64) -> Self {
        Share((share * WHOLE) as u64)
    }
}

/// One of a seed's independent streams of random bits.
#[derive(Debug)]
pub(super) struct Random(Pcg64);

impl Random {
    /// `purpose` separates the streams of one seed, so that using more bits for one purpose changes no other.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        // PCG streams of neighbouring seeds are correlated in their first outputs, hence the mixing.
        let state = u128::from(mix(seed)) << 64 | u128::from(mix(!seed));
        Random(Pcg64::new(state, u128::from(mix(purpose))))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 to `bound` − 1. The bias is at most `bound` / 2⁶⁴, which no test of a simulation can see.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        scale(self.bits(), bound)
    }

    /// True with the given probability.
    pub(super) fn chance(&mut self, share: Share) -> bool {
        self.bits() >> 32 < share.0
    }
}

/// Maps 64 uniform bits to 0 ..= `bound` − 1 by multiplication, which needs no division.
fn scale(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_seeds_give_different_streams() {
        let first = |seed, purpose| Random::new(seed, purpose).bits();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_eq!(first(1, 0), first(1, 0));
    }

    #[test]
    fn the_ends_of_a_range_and_of_a_share_are_reached_and_kept() {
        assert_eq!(scale(0, 10), 0);
        assert_eq!(scale(u64::MAX, 10), 9);
        let mut random = Random::new(3, 0);
        assert!((0..1_000).all(|_| !random.chance(Share::new(0.0))));
        assert!((0..1_000).all(|_| random.chance(Share::new(1.0))));
    }
}
