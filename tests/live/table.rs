//! Live pipelines whose features go to a table of DynamoDB.

use std::time::Duration;

use penstock::store::dynamodb::DynamoDbStore;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::killed::Kills;
use super::pipeline::Pipeline;
use super::topic::Topic;
use crate::crash::stream::WINDOWS;
use crate::kinesis::proxy::{Fate, Proxy};
use crate::support::HOST;
use crate::support::servers::dynamodb::{SHARED, settings, table};

/// Of each schedule.
const KILLS: Kills = Kills {
    events: 3_000,
    pieces: (30, Duration::from_millis(200)),
    kills: 2,
    lives: 1_500..4_000,
};

const RUN: &str = "lanes = 2\ncommit_every = \"50ms\"";

#[test]
fn a_killed_pipeline_to_a_faulty_table_leaves_what_an_undisturbed_one_leaves() {
    for seed in 0..2_u64 {
        let window = WINDOWS[seed as usize];
        let name = format!("table-{seed}");
        HOST.io
            .block_on(DynamoDbStore::init(&table(&name)))
            .unwrap();
        let topic = Topic::new(&name, 2, seed);
        let mut fates = Pcg64::seed_from_u64(seed);
        let proxy = Proxy::start(SHARED.port(), move |action, _| {
            match fates.random_range(0..100) {
                _ if action != "UpdateItem" => Fate::Pass,
                0..4 => Fate::Refuse(500, "InternalServerError", "the test says so"),
                4..8 => Fate::Refuse(400, "ThrottlingException", "the test says so"),
                8..11 => Fate::Cut(fates.random_range(0..300)),
                _ => Fate::Pass,
            }
        });
        let store = format!("dynamodb://{name}\"\nstate = \"state");
        let settings = settings(&proxy.endpoint());
        let disturbed = Pipeline::with_store(
            &topic,
            &format!("{name}-disturbed"),
            window,
            RUN,
            (&store, &settings),
        );
        KILLS.change_nothing(&disturbed, topic, (window, RUN), seed);
    }
}
