//! Live pipelines whose features go to a table of DynamoDB.

use std::time::Duration;

use penstock::store::dynamodb::DynamoDbStore;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::pipeline::{Pipeline, beside, pause};
use super::topic::Topic;
use crate::crash::stream::WINDOWS;
use crate::kinesis::proxy::{Fate, Proxy};
use crate::support::HOST;
use crate::support::servers::dynamodb::{SHARED, settings, table};

/// Events of a schedule, and the pieces in which they come.
const EVENTS: u32 = 3_000;
const PIECES: u32 = 30;

const RUN: &str = "lanes = 2\ncommit_every = \"50ms\"";

#[test]
fn a_killed_pipeline_to_a_faulty_table_leaves_what_an_undisturbed_one_leaves() {
    for seed in 0..2_u64 {
        let window = WINDOWS[seed as usize];
        let name = format!("table-{seed}");
        HOST.io
            .block_on(DynamoDbStore::init(&table(&name)))
            .unwrap();
        let mut topic = Topic::new(&name, 2, seed);
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
        let mut random = Pcg64::seed_from_u64(seed);
        let topic = beside(
            || {
                for _ in 0..PIECES {
                    topic.write(EVENTS / PIECES);
                    pause(Duration::from_millis(200));
                }
                topic
            },
            || {
                for _ in 0..2 {
                    let process = disturbed.start("one");
                    pause(Duration::from_millis(random.random_range(1_500..4_000)));
                    process.kill();
                }
            },
        );
        let disturbed = disturbed.finish(&topic, "one");
        let undisturbed = Pipeline::over(&topic, &format!("{name}-undisturbed"), window, RUN);
        let undisturbed = undisturbed.finish(&topic, "one");
        disturbed.is(&undisturbed, &format!("seed {seed}"));
    }
}
