//! How long one entity's features take over gRPC, out of the cache, at half of the load that can be answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use penstock::serve::grpc::v1::BatchGetRequest;
use penstock::serve::grpc::{FeatureClient, client};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::client::batch_get;
use super::server::Penstock;
use super::{CONNECTIONS, FEATURES};
use crate::Figures;

/// Requests on their way at most: those of a second or two, so that a machine that stands still for a moment shows in how
/// long answers took, and a server that cannot keep up ends it.
const MOST: usize = 1 << 14;
/// Requests on their way while it is found out what can be answered.
const BUSY: usize = 8;

/// Different requests, made beforehand.
const REQUESTS: u64 = 1024;

/// What is asked of a server, from this process, by one thread.
struct Asking {
    clients: Vec<FeatureClient>,
    requests: Vec<BatchGetRequest>,
}

pub(super) fn measure(
    server: &Penstock,
    held: u64,
    seconds: f64,
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (most, took) = runtime.block_on(async {
        let clients = (0..CONNECTIONS).map(|_| Ok(client(server.grpc())?));
        // A fixed scramble in place of random numbers.
        let entity = |number: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % held;
        let asking = Arc::new(Asking {
            clients: clients.collect::<Result<_>>()?,
            requests: (0..REQUESTS).map(|it| batch_get(&[entity(it)])).collect(),
        });
        let most = most_per_s(&asking, seconds).await?;
        let mut best: Option<Took> = None;
        for _ in 0..rounds {
            let took = Took::of(at_pace(&asking, most / 2.0, seconds).await?)?;
            best = Some(best.map_or(took, |best| best.or(took)));
        }
        anyhow::Ok((most, best.context("there are rounds")?))
    })?;
    let mut alone: Option<Took> = None;
    for _ in 0..rounds {
        let took = machine_alone(most / 2.0, seconds)?;
        alone = Some(alone.map_or(took, |best| best.or(took)));
    }
    let alone = alone.context("there are rounds")?;
    println!(
        "\n{FEATURES} features of 1 entity at {:.0} requests/s, half of what can be answered: half within {:.2} ms, 99 of 100 within {:.2} ms; two threads that do nothing but work half of the time at this pace: half within {:.2} ms, 99 of 100 within {:.2} ms",
        most / 2.0,
        took.p50,
        took.p99,
        alone.p50,
        alone.p99
    );
    figures.insert("cache_requests_per_s".into(), most);
    figures.insert("cache_p50_ms".into(), took.p50);
    figures.insert("cache_p99_ms".into(), took.p99);
    figures.insert("machine_p99_ms".into(), alone.p99);
    Ok(())
}

/// How long half and 99 of 100 took at most, in milliseconds.
#[derive(Clone, Copy)]
struct Took {
    p50: f64,
    p99: f64,
}

impl Took {
    fn of(mut seconds: Vec<f64>) -> Result<Self> {
        ensure!(!seconds.is_empty(), "something was asked");
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share) as usize] * 1e3;
        Ok(Self {
            p50: at(0.5),
            p99: at(0.99),
        })
    }

    /// The better of two rounds.
    fn or(self, other: Self) -> Self {
        match self.p99 <= other.p99 {
            true => self,
            false => other,
        }
    }
}

/// How late two threads are that are woken at a pace and work for half of the time, and nothing else: no server answers sooner
/// than the machine lets it run.
fn machine_alone(per_s: f64, seconds: f64) -> Result<Took> {
    let count = (per_s * seconds) as u64;
    let due = |number: u64| Duration::from_secs_f64(number as f64 / per_s);
    let late = || -> Result<Vec<f64>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let timer = Timer::new()?;
            let began = Instant::now();
            let mut late = Vec::with_capacity(count as usize);
            for number in 0..count {
                while let Some(early) = due(number).checked_sub(began.elapsed()) {
                    timer.wait(early).await?;
                }
                late.push((began.elapsed() - due(number)).as_secs_f64());
                let works = Instant::now();
                while works.elapsed() < due(1) / 2 {
                    std::hint::spin_loop();
                }
            }
            Ok(late)
        })
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(late), scope.spawn(late)];
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("nothing there panics")?);
        }
        Took::of(all)
    })
}

impl Asking {
    /// Asks once.
    async fn ask(&self, number: u64) -> Result<()> {
        let mut client = self.clients[number as usize % self.clients.len()].clone();
        let request = self.requests[(number % REQUESTS) as usize].clone();
        let answer = client.batch_get(request).await?.into_inner();
        let states = answer.columns.iter().flat_map(|it| &it.states);
        let values = states.filter(|state| *state & 2 != 0).count();
        ensure!(values == FEATURES, "{values} values came");
        Ok(())
    }
}

/// How many requests are answered in a second, if a few are always on their way.
async fn most_per_s(asking: &Arc<Asking>, seconds: f64) -> Result<f64> {
    let limit = Duration::from_secs_f64(seconds);
    let began = Instant::now();
    let busy = (0..BUSY as u64).map(|number| {
        let asking = Arc::clone(asking);
        tokio::spawn(async move {
            let mut asked = 0;
            while began.elapsed() < limit {
                asking.ask(number + asked * BUSY as u64).await?;
                asked += 1;
            }
            anyhow::Ok(asked)
        })
    });
    let mut all = 0;
    for busy in busy.collect::<Vec<_>>() {
        all += busy.await??;
    }
    Ok(all as f64 / began.elapsed().as_secs_f64())
}

/// Asks so many times a second whether it is answered or not, and gives how many seconds each took from the moment at which
/// it was due.
async fn at_pace(asking: &Arc<Asking>, per_s: f64, seconds: f64) -> Result<Vec<f64>> {
    let count = (per_s * seconds) as u64;
    let took = Arc::new(Mutex::new(Vec::with_capacity(count as usize)));
    let timer = Timer::new()?;
    let began = Instant::now();
    for asked in 0..count {
        let due = Duration::from_secs_f64(asked as f64 / per_s);
        while let Some(early) = due.checked_sub(began.elapsed()) {
            timer.wait(early).await?;
        }
        let waiting = asked as usize - answered(&took).len();
        ensure!(waiting < MOST, "half of the load is not kept up with");
        let (asking, took) = (Arc::clone(asking), Arc::clone(&took));
        tokio::spawn(async move {
            // What is not answered is as slow as can be.
            let seconds = match asking.ask(asked).await {
                Ok(()) => (began.elapsed() - due).as_secs_f64(),
                Err(_) => f64::INFINITY,
            };
            answered(&took).push(seconds);
        });
    }
    while answered(&took).len() < count as usize {
        timer.wait(Duration::from_millis(1)).await?;
    }
    Ok(std::mem::take(&mut *answered(&took)))
}

/// What took how long so far. A panic between two pushes spoils nothing.
fn answered(took: &Mutex<Vec<f64>>) -> MutexGuard<'_, Vec<f64>> {
    took.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime's own timers are good to a millisecond, in which several requests would be sent at once.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(
        deprecated,
        reason = "what takes its place is unsafe; a timer that is owned has one number all its life"
    )]
    fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let made = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(AsyncFd::new(made)?))
    }

    async fn wait(&self, time: Duration) -> Result<()> {
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            // Of no time at all it would never ring.
            it_value: Timespec::try_from(time.max(Duration::from_nanos(1)))?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        let mut rung = self.0.readable().await.context("the timer rings")?;
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
        rung.clear_ready();
        Ok(())
    }
}
