//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);

/// The longest.
const LONGEST: Duration = Duration::from_secs(16);

/// Waits that double with each failure, and begin anew after a success. Nothing random is in them: a
/// shard is asked by one reader, and shards do not fail in step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waits(u32);

impl Waits {
    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1_u32 << self.0.min(16));
        self.0 = self.0.saturating_add(1);
        wait.min(LONGEST)
    }

    /// How many failures there were in a row.
    pub(super) fn count(self) -> u32 {
        self.0
    }

    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut waits = Waits::default();
        let told: Vec<u128> = (0..9).map(|_| waits.next().as_millis()).collect();
        assert_eq!(
            told,
            [250, 500, 1000, 2000, 4000, 8000, 16000, 16000, 16000]
        );
        assert_eq!(waits.count(), 9);
        waits.reset();
        assert_eq!(waits.next(), FIRST);
    }
}
