//! The drivers: who is asked how often, where they drive, when they work, and how readily they accept.

use super::random::Random;

/// Acceptance is counted in units of 1/65,536.
pub(super) const CERTAIN: u64 = 65_536;

const MINUTES_PER_DAY: u64 = 24 * 60;

/// How often a draw of a driver who is off shift is repeated before the offer goes out all the same.
const MOST_DRAWS: u32 = 16;

/// A city of the service.
#[derive(Debug)]
pub(super) struct City {
    pub(super) name: &'static str,
    /// Out of the sum over all cities: its share of the drivers.
    weight: u64,
    /// Median time to the pickup, in seconds.
    pub(super) pickup_eta_s: u64,
    /// Local time less UTC, in hours, in winter.
    utc_offset_h: i64,
}

const fn city(name: &'static str, weight: u64, pickup_eta_s: u64, utc_offset_h: i64) -> City {
    City {
        name,
        weight,
        pickup_eta_s,
        utc_offset_h,
    }
}

/// Every city that a row may name.
pub(super) const CITIES: [City; 10] = [
    city("new_york", 22, 300, -5),
    city("san_francisco", 16, 240, -8),
    city("los_angeles", 14, 330, -8),
    city("chicago", 11, 270, -6),
    city("london", 10, 290, 0),
    city("mexico_city", 8, 310, -6),
    city("sao_paulo", 7, 320, -3),
    city("berlin", 5, 230, 1),
    city("singapore", 4, 210, 8),
    city("sydney", 3, 260, 11),
];

/// What is fixed about a driver.
#[derive(Debug, Clone, Copy)]
pub(super) struct Driver {
    /// From 1 to the number of drivers.
    pub(super) id: u32,
    /// How readily this driver accepts, in units of 1/65,536.
    pub(super) acceptance: u32,
    shift_start: u16,
    shift_minutes: u16,
    city: u8,
}

impl Driver {
    pub(super) fn city(&self) -> &'static City {
        &CITIES[usize::from(self.city)]
    }

    /// `minute` is a minute of the day in UTC.
    fn on_shift(&self, minute: u64) -> bool {
        let since_start =
            (minute + MINUTES_PER_DAY - u64::from(self.shift_start)) % MINUTES_PER_DAY;
        since_start < u64::from(self.shift_minutes)
    }
}

/// All drivers, and a table to draw one from in constant time.
#[derive(Debug)]
pub(super) struct Fleet {
    /// By rank: the busiest first.
    drivers: Vec<Driver>,
    columns: Vec<Column>,
}

/// A column of Walker's alias table (built as Vose describes, 1991, but with integers): of 2³² draws that hit it,
/// `own` go to its own driver and the rest to the one of rank `alias`.
#[derive(Debug, Clone, Copy)]
struct Column {
    own: u64,
    alias: u32,
}

impl Fleet {
    pub(super) fn new(drivers: u32, random: &mut Random) -> Self {
        let mut ids: Vec<u32> = (1..=drivers).collect();
        for place in (1..ids.len()).rev() {
            ids.swap(place, random.below(place as u64 + 1) as usize);
        }
        let drivers = ids
            .into_iter()
            .map(|id| hire(id, random))
            .collect::<Vec<_>>();
        let weights: Vec<u64> = (0..drivers.len() as u64).map(activity).collect();
        Fleet {
            columns: alias_table(&weights),
            drivers,
        }
    }

    /// Draws the driver of an offer that goes out in `minute` of the day (UTC). Whoever is off shift gets fewer offers,
    /// not none: a short stream has every driver in it.
    pub(super) fn draw(&self, minute: u64, random: &mut Random) -> &Driver {
        let mut draws = 0;
        loop {
            let bits = random.bits();
            let rank = ((bits >> 32) * self.drivers.len() as u64) >> 32;
            let column = self.columns[rank as usize];
            let coin = bits & 0xffff_ffff;
            let driver = &self.drivers[if coin < column.own {
                rank as usize
            } else {
                column.alias as usize
            }];
            draws += 1;
            // The lowest bits of the coin are as good as independent of its comparison above.
            if driver.on_shift(minute) || coin & 7 == 0 || draws == MOST_DRAWS {
                return driver;
            }
        }
    }
}

fn hire(id: u32, random: &mut Random) -> Driver {
    let mut place = random.below(CITIES.iter().map(|city| city.weight).sum());
    let mut city = 0;
    while place >= CITIES[city].weight {
        place -= CITIES[city].weight;
        city += 1;
    }
    // The mean of two draws: few drivers refuse nearly all or accept nearly all. 15 % to 98 %.
    let acceptance =
        CERTAIN * 15 / 100 + (random.below(CERTAIN) + random.below(CERTAIN)) / 2 * 83 / 100;
    // Mornings, afternoons or evenings of the city, each with three hours of spread, for 6 to 11 hours.
    let local_start = [5, 10, 16][random.below(3) as usize] * 60 + random.below(180) as i64;
    let shift_start =
        (local_start - CITIES[city].utc_offset_h * 60).rem_euclid(MINUTES_PER_DAY as i64);
    Driver {
        id,
        acceptance: acceptance as u32,
        shift_start: shift_start as u16,
        shift_minutes: (360 + random.below(301)) as u16,
        city: city as u8,
    }
}

/// How often the driver of a rank (0 is the busiest) is asked: the Zipf-Mandelbrot law (rank + 10)^-0.75, so that of
/// 5,000 drivers the first gets about 1 offer in 150.
fn activity(rank: u64) -> u64 {
    let shifted = rank as f64 + 10.0;
    let square_root = shifted.sqrt();
    ((1u64 << 40) as f64 / (square_root * square_root.sqrt())) as u64
}

fn alias_table(weights: &[u64]) -> Vec<Column> {
    let mean = weights
        .iter()
        .map(|&weight| u128::from(weight))
        .sum::<u128>();
    // Scaled so that every column holds `mean`, without a fraction being lost.
    let mut left: Vec<u128> = weights
        .iter()
        .map(|&weight| u128::from(weight) * weights.len() as u128)
        .collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..left.len()).partition(|&rank| left[rank] < mean);
    let mut columns: Vec<Column> = (0..left.len())
        .map(|rank| Column {
            own: 1 << 32,
            alias: rank as u32,
        })
        .collect();
    while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
        small.pop();
        columns[poor] = Column {
            own: ((left[poor] << 32) / mean) as u64,
            alias: rich as u32,
        };
        left[rich] -= mean - left[poor];
        if left[rich] < mean {
            large.pop();
            small.push(rich);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let weights = [600, 300, 0, 100];
        let columns = alias_table(&weights);
        let mut of_rank = [0u64; 4];
        for (rank, column) in columns.iter().enumerate() {
            of_rank[rank] += column.own;
            of_rank[column.alias as usize] += (1 << 32) - column.own;
        }
        for (rank, &weight) in weights.iter().enumerate() {
            let expected = (((u128::from(weight) * 4) << 32) / 1_000) as i64;
            assert!(
                (of_rank[rank] as i64 - expected).abs() <= 4,
                "rank {rank}: {of_rank:?}"
            );
        }
    }

    #[test]
    fn every_driver_has_a_number_of_their_own_and_a_plausible_character() {
        let fleet = Fleet::new(500, &mut Random::new(9, 0));
        let mut ids: Vec<u32> = fleet.drivers.iter().map(|driver| driver.id).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=500));
        for driver in &fleet.drivers {
            assert!((9_830..=64_225).contains(&driver.acceptance), "{driver:?}");
            assert!((360..=660).contains(&driver.shift_minutes), "{driver:?}");
            assert!(
                u64::from(driver.shift_start) < MINUTES_PER_DAY,
                "{driver:?}"
            );
        }
    }

    #[test]
    fn a_shift_may_run_past_midnight() {
        let driver = Driver {
            id: 1,
            acceptance: 1,
            shift_start: 1_380,
            shift_minutes: 120,
            city: 0,
        };
        let on_shift = |minute| driver.on_shift(minute);
        assert!(on_shift(1_380) && on_shift(1_439) && on_shift(0) && on_shift(59));
        assert!(!on_shift(1_379) && !on_shift(60) && !on_shift(720));
    }

    #[test]
    fn one_driver_gets_everything() {
        let mut random = Random::new(1, 0);
        let fleet = Fleet::new(1, &mut random);
        assert!((0..100).all(|minute| fleet.draw(minute, &mut random).id == 1));
    }
}
