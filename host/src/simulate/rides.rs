//! The rows: one offer of a ride to a driver after another, in arrival order.
//!
//! Arrivals are evenly spaced. An event's time is its arrival less a delay of at most `disorder`; since no event time
//! is after its arrival, and no later arrival is before it, no row is further than `disorder` behind the greatest
//! event time so far. So disorder needs no buffer of rows.

use super::{
    GREATEST_LATENESS, RidesSpec,
    fleet::{CERTAIN, Fleet},
    random::{Random, Share},
};

/// Riders for each driver.
const RIDERS_PER_DRIVER: u64 = 200;

/// Each purpose has its own random stream, so that one setting does not change what another one decides.
mod purpose {
    pub(super) const FLEET: u64 = 0;
    pub(super) const OFFERS: u64 = 1;
    pub(super) const LATE: u64 = 2;
    pub(super) const MALFORMED: u64 = 3;
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// A UUID of version 7 (RFC 9562, section 5.7), whose time is `occurred_at`.
    pub(super) offer_id: u128,
    /// Milliseconds since 1970.
    pub(super) occurred_at_ms: i64,
    pub(super) driver_id: u32,
    pub(super) rider_id: u64,
    pub(super) city: &'static str,
    pub(super) pickup_eta_s: u32,
    pub(super) accepted: bool,
    /// Set when an NDJSON file shall hold a broken line instead: which kind of breakage, any number.
    pub(super) malformed: Option<u64>,
}

/// The stream of a spec that has been checked.
#[derive(Debug)]
pub(super) struct Offers {
    fleet: Fleet,
    offers: Random,
    late: Random,
    malformed: Random,
    late_share: Share,
    malformed_share: Share,
    microseconds_per_row: f64,
    start_ms: i64,
    disorder_ms: i64,
    riders: u64,
    row: u64,
    rows: u64,
}

impl Offers {
    pub(super) fn new(spec: &RidesSpec) -> Self {
        let random = |purpose| Random::new(spec.seed, purpose);
        Offers {
            fleet: Fleet::new(spec.drivers, &mut random(purpose::FLEET)),
            offers: random(purpose::OFFERS),
            late: random(purpose::LATE),
            malformed: random(purpose::MALFORMED),
            late_share: Share::new(spec.late_share),
            malformed_share: Share::new(spec.malformed_share),
            microseconds_per_row: 1e6 / spec.rate_per_s,
            // Rounded up: no event is before the start that was asked for.
            start_ms: (spec.start + 999) / 1_000,
            disorder_ms: spec.disorder.as_millis() as i64,
            riders: u64::from(spec.drivers) * RIDERS_PER_DRIVER,
            row: 0,
            rows: spec.events,
        }
    }

    /// The first arrival is `disorder` after the start, so that no delay reaches back before the start.
    fn arrival_ms(&self) -> i64 {
        let since_first = (self.row as f64 * self.microseconds_per_row) as i64 / 1_000;
        self.start_ms + self.disorder_ms + since_first
    }

    fn delay_ms(&mut self) -> i64 {
        // The fourth power of a uniform share, so that most rows are nearly in time and few use all that is allowed:
        // of 20 s, half are below 1.25 s and one in forty is above 18 s.
        let share = self.offers.bits() >> 48;
        let square = (share * share) >> 16;
        let fourth = (square * square) >> 16;
        let usual = ((self.disorder_ms as u128 * u128::from(fourth)) >> 16) as i64;
        if !self.late.chance(self.late_share) {
            return usual;
        }
        self.disorder_ms + 1 + self.late.below(GREATEST_LATENESS.as_millis() as u64) as i64
    }
}

impl Iterator for Offers {
    type Item = Offer;

    fn next(&mut self) -> Option<Offer> {
        if self.row == self.rows {
            return None;
        }
        let arrival_ms = self.arrival_ms();
        let occurred_at_ms = (arrival_ms - self.delay_ms()).max(self.start_ms);
        self.row += 1;

        let minute = (arrival_ms / 60_000) as u64 % (24 * 60);
        let driver = *self.fleet.draw(minute, &mut self.offers);
        let pickup_eta_s = pickup_eta_s(driver.city().pickup_eta_s, self.offers.bits());
        let rider = self.offers.bits();
        let id = (u128::from(self.offers.bits()) << 64) | u128::from(self.offers.bits());
        Some(Offer {
            offer_id: uuid_v7(occurred_at_ms, id),
            occurred_at_ms,
            driver_id: driver.id,
            rider_id: 1 + ((u128::from(rider) * u128::from(self.riders)) >> 64) as u64,
            city: driver.city().name,
            pickup_eta_s: pickup_eta_s as u32,
            accepted: accepts(
                u64::from(driver.acceptance),
                pickup_eta_s,
                self.offers.bits(),
            ),
            malformed: self
                .malformed
                .chance(self.malformed_share)
                .then(|| self.malformed.bits()),
        })
    }
}

/// About log-normal around `median`, from 20 s to an hour: the logarithm of a product of independent factors tends to
/// a normal distribution, and a product needs no `exp`. The factors are uniform from 0.55 to 1.55, the median of the
/// product of four is close to 1.
fn pickup_eta_s(median: u64, bits: u64) -> u64 {
    let mut eta = median << 16;
    for shift in [0, 16, 32, 48] {
        let factor = 36_045 + ((bits >> shift) & 0xffff);
        eta = (eta * factor) >> 16;
    }
    (eta >> 16).clamp(20, 3_600)
}

/// The further away the pickup, the fewer accept: at five minutes as the driver's character says, at an hour hardly any.
fn accepts(acceptance: u64, pickup_eta_s: u64, bits: u64) -> bool {
    let willingness = acceptance * 1_300 / (1_000 + pickup_eta_s);
    bits >> 48 < willingness.min(CERTAIN * 99 / 100)
}

/// RFC 9562: 48 bits of milliseconds, the version, 12 random bits, the variant, 62 random bits.
fn uuid_v7(unix_ms: i64, random: u128) -> u128 {
    let kept = random & !(0xf << 76) & !(0b11 << 62) & ((1 << 80) - 1);
    ((unix_ms as u128 & 0xffff_ffff_ffff) << 80) | (0x7 << 76) | (0b10 << 62) | kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_id_carries_its_time_version_and_variant() {
        for random in [0, u128::MAX] {
            let id = uuid_v7(0x0198_c1f2_7a3b, random);
            assert_eq!(id >> 80, 0x0198_c1f2_7a3b);
            assert_eq!((id >> 76) & 0xf, 7);
            assert_eq!((id >> 62) & 0b11, 0b10);
        }
    }

    #[test]
    fn pickups_centre_on_the_city_and_have_a_long_tail() {
        let mut random = Random::new(1, 0);
        let mut etas: Vec<u64> = (0..100_001)
            .map(|_| pickup_eta_s(240, random.bits()))
            .collect();
        etas.sort_unstable();
        let (median, least, greatest) = (etas[50_000], etas[0], etas[100_000]);
        assert!((220..=260).contains(&median), "{median}");
        assert!(least < 60 && greatest > 900, "{least} {greatest}");
    }

    #[test]
    fn drivers_refuse_far_pickups() {
        let mut random = Random::new(2, 0);
        let mut accepted = |eta| {
            (0..10_000)
                .filter(|_| accepts(50_000, eta, random.bits()))
                .count()
        };
        let (near, middle, far) = (accepted(30), accepted(300), accepted(3_600));
        assert!(near > middle && middle > far, "{near} {middle} {far}");
        assert!((7_400..=7_900).contains(&middle), "{middle}");
    }
}
