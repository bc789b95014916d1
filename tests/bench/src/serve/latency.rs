//! How long one entity's features take over gRPC, out of the cache, at half of the load that can be answered.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use penstock::serve::grpc::{FeatureClient, client};
use tokio::sync::Semaphore;

use super::client::batch_get;
use super::server::Penstock;
use super::{CONNECTIONS, FEATURES};
use crate::Figures;

/// Requests on their way at most: those of a second or two, so that a machine that stands still for a moment shows in how
/// long answers took, and a server that cannot keep up ends it.
const MOST: usize = 1 << 14;
/// Requests on their way while it is found out what can be answered.
const BUSY: usize = 8;

/// What is asked of a server, from this process.
struct Asking {
    runtime: tokio::runtime::Runtime,
    clients: Vec<FeatureClient>,
    held: u64,
}

pub(super) fn measure(
    server: &Penstock,
    held: u64,
    seconds: f64,
    figures: &mut Figures,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let clients = (0..CONNECTIONS).map(|_| Ok(client(server.grpc())?));
    let asking = Asking {
        runtime,
        clients: clients.collect::<Result<_>>()?,
        held,
    };
    let most = asking.most_per_s(seconds)?;
    let mut took = asking.at_pace(most / 2.0, seconds)?;
    ensure!(!took.is_empty(), "something was asked");
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] * 1e3;
    println!(
        "\n{FEATURES} features of 1 entity at {:.0} requests/s, half of what can be answered: half within {:.2} ms, 99 of 100 within {:.2} ms, all within {:.2} ms",
        most / 2.0,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    figures.insert("cache_requests_per_s".into(), most);
    figures.insert("cache_p50_ms".into(), at(0.5));
    figures.insert("cache_p99_ms".into(), at(0.99));
    Ok(())
}

impl Asking {
    /// A request, and who asks it.
    fn one(&self, number: u64) -> (FeatureClient, u64) {
        let client = &self.clients[number as usize % self.clients.len()];
        let entity = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % self.held;
        (client.clone(), entity)
    }

    /// How many requests are answered in a second, if a few are always on their way.
    fn most_per_s(&self, seconds: f64) -> Result<f64> {
        let limit = Duration::from_secs_f64(seconds);
        self.runtime.block_on(async {
            let began = Instant::now();
            let asking = (0..BUSY as u64).map(|number| {
                let (mut client, first) = self.one(number);
                let held = self.held;
                tokio::spawn(async move {
                    let mut asked = 0;
                    while began.elapsed() < limit {
                        let entity = (first + asked * 7) % held;
                        client.batch_get(batch_get(&[entity])).await?;
                        asked += 1;
                    }
                    anyhow::Ok(asked)
                })
            });
            let mut all = 0;
            for asking in asking.collect::<Vec<_>>() {
                all += asking.await??;
            }
            Ok(all as f64 / began.elapsed().as_secs_f64())
        })
    }

    /// Asks so many times a second whether it is answered or not, and gives how many seconds each took from the moment
    /// at which it was due.
    fn at_pace(&self, per_s: f64, seconds: f64) -> Result<Vec<f64>> {
        let took = Arc::new(Mutex::new(Vec::with_capacity(
            (per_s * seconds) as usize + 1,
        )));
        let room = Arc::new(Semaphore::new(MOST));
        let began = Instant::now();
        let mut asked = 0_u64;
        loop {
            let due = Duration::from_secs_f64(asked as f64 / per_s);
            if due.as_secs_f64() >= seconds {
                break;
            }
            if let Some(early) = due.checked_sub(began.elapsed()) {
                std::thread::park_timeout(early);
                continue;
            }
            let place = Arc::clone(&room).try_acquire_owned();
            let place = place.context("half of the load is not kept up with")?;
            let (mut client, entity) = self.one(asked);
            let took = Arc::clone(&took);
            self.runtime.spawn(async move {
                let answer = client.batch_get(batch_get(&[entity])).await;
                let seconds = (began.elapsed() - due).as_secs_f64();
                // What is not answered is as slow as can be.
                let seconds = if answer.is_ok() {
                    seconds
                } else {
                    f64::INFINITY
                };
                took.lock().expect("nobody panics with it").push(seconds);
                drop(place);
            });
            asked += 1;
        }
        self.runtime.block_on(async {
            // All are answered when nobody takes room any more.
            room.acquire_many(MOST as u32).await.map(drop)
        })?;
        Ok(std::mem::take(
            &mut *took.lock().expect("nobody panics with it"),
        ))
    }
}
