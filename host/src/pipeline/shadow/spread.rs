//! How far numbers are apart: a distribution in bounded memory, of which two can be added.
//!
//! Distances are counted in buckets of which each ends 2 % above the one before, as in DDSketch (Masson, Rim and Lee,
//! 2019). So a quantile is at most 2 % too large. Beyond a number of buckets the smallest are counted together: then the
//! low quantiles are too large, and the high ones are what they were.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The logarithm of the ratio between the ends of neighbouring buckets.
const STEP: f64 = 0.02;

/// Buckets at most: they span 17 decimal places.
const BUCKETS: usize = 2_048;

/// The bucket of what is too small to be told from nothing.
const NOTHING: i32 = i32::MIN;

/// A distribution of distances, none of them negative or infinite.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many there are in each bucket, by its number.
    buckets: BTreeMap<i32, u64>,
    count: u64,
    largest: f64,
}

impl Spread {
    /// Adds a distance.
    pub(super) fn add(&mut self, distance: f64) {
        let bucket = match distance > 0.0 {
            // At most 710 divided by the step.
            true => (distance.ln() / STEP).ceil() as i32,
            false => NOTHING,
        };
        *self.buckets.entry(bucket).or_default() += 1;
        self.count += 1;
        self.largest = self.largest.max(distance);
        self.bound();
    }

    /// Adds all of another one.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.largest = self.largest.max(other.largest);
        self.bound();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The distance that a share of them is not above, between 0 and 1; none if there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        bucket.map(|(bucket, _)| match *bucket {
            NOTHING => 0.0,
            bucket => (f64::from(bucket) * STEP).exp().min(self.largest),
        })
    }

    /// The greatest; none if there are none.
    pub fn largest(&self) -> Option<f64> {
        (self.count > 0).then_some(self.largest)
    }

    fn bound(&mut self) {
        while self.buckets.len() > BUCKETS {
            let smallest = self.buckets.pop_first();
            let next = self.buckets.first_entry();
            if let (Some((_, count)), Some(mut next)) = (smallest, next) {
                *next.get_mut() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A quantile is never below the exact one, and at most 2 % above it, however the distances are divided.
        #[test]
        fn quantiles_are_close(
            distances in prop::collection::vec(prop_oneof![Just(0.0), 1e-6..1e6_f64], 1..200),
            cut in any::<prop::sample::Index>(),
            share in 0.01..1.0_f64,
        ) {
            let (one, other) = distances.split_at(cut.index(distances.len()));
            let of = |distances: &[f64]| {
                let mut spread = Spread::default();
                distances.iter().for_each(|distance| spread.add(*distance));
                spread
            };
            let mut spread = of(one);
            spread.merge(&of(other));
            prop_assert_eq!(&spread, &of(&distances));
            let mut sorted = distances.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = (share * sorted.len() as f64).ceil() as usize;
            let exact = sorted[rank.max(1) - 1];
            let found = spread.quantile(share).unwrap();
            prop_assert!(found >= exact * (1.0 - 1e-9) && found <= exact * 1.0203, "{found} for {exact}");
            prop_assert_eq!(spread.largest(), sorted.last().copied());
        }
    }

    #[test]
    fn there_is_a_bound_on_what_it_takes_and_the_largest_stay_exact() {
        let mut spread = Spread::default();
        for exponent in -300..300 {
            (1..10).for_each(|digit| spread.add(f64::from(digit) * 10_f64.powi(exponent)));
        }
        assert!(spread.buckets.len() <= BUCKETS);
        assert_eq!(spread.count(), 5_400);
        let median_of_the_upper = spread.quantile(0.999).unwrap();
        assert!(
            (4e299..=5.2e299).contains(&median_of_the_upper),
            "{median_of_the_upper}"
        );
        assert_eq!(spread.largest(), Some(9.0 * 10_f64.powi(299)));
        assert_eq!(Spread::default().quantile(0.5), None);
    }
}
