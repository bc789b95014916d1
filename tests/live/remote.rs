//! Live pipelines whose store is on S3.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::killed::Kills;
use super::pipeline::Pipeline;
use super::topic::Topic;
use crate::crash::stream::WINDOWS;
use crate::support::proxy::{Fate, Proxy};
use crate::support::servers::s3;

/// Of each schedule.
const KILLS: Kills = Kills {
    events: 3_000,
    pieces: (30, Duration::from_millis(200)),
    kills: 2,
    lives: 1_500..4_000,
};

const RUN: &str = "lanes = 1\ncommit_every = \"50ms\"";

#[test]
fn a_killed_pipeline_on_a_faulty_s3_leaves_what_an_undisturbed_one_leaves() {
    let server = s3::start();
    server.make_bucket("state").unwrap();
    for seed in 0..2_u64 {
        let window = WINDOWS[seed as usize];
        let name = format!("remote-{seed}");
        let topic = Topic::new(&name, 2, seed);
        let mut fates = Pcg64::seed_from_u64(seed);
        let proxy = Proxy::by(server.port(), move || match fates.random_range(0..200) {
            0..10 => Fate::Refuse(503),
            10..15 => Fate::Break(fates.random_range(0..400)),
            15 => Fate::Stall(fates.random_range(0..400)),
            _ => Fate::Pass,
        });
        let store = format!("s3://state/live-{seed}");
        let options = s3::options(proxy.port);
        let disturbed = Pipeline::with_store(
            &topic,
            &format!("{name}-disturbed"),
            window,
            RUN,
            (&store, &options),
        );
        KILLS.change_nothing(&disturbed, topic, (window, RUN), seed);
    }
}
