//! `penstock record`: a live stream as Parquet files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Failure;
use super::replaying::parse_instant;
use super::show::{self, say};
use super::signals::Signals;
use crate::clock::{Clock, SystemClock};
use crate::config::{
    ConfigError, DEFAULT_ENVIRONMENT, Environment, EventSource, did_you_mean, parse_duration, types,
};
use crate::record::{
    Choice, HashKey, Layout, Place, Progress, RecordError, RecordSpec, Recorded, Sample, Until,
    record,
};
use crate::source::kafka::Start;
use crate::source::live::{DeclaredError, DeclaredStream};
use crate::source::storage::{KNOWN_OPTIONS, unknown_options};

/// Records a topic as Parquet files, which pipelines can be run and tested over.
///
/// Every partition has a folder of its own, with files that follow each other without a gap or an overlap.
/// Each is written whole or not at all. A recording that was stopped or killed goes on behind its newest file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock record ride_offer --env production --to recordings/rides --until end
  penstock record ride_offer --env production --to s3://bucket/rides/ --roll-every 5m
  penstock record ride_offer --env production --to sample --sample 1% --by rider_id --until end
  penstock record ride_offer --env production --to shared --drop note \\
    --hash rider_id,driver_id --hash-key-file key

With --columns, --drop or --hash the messages' keys and headers are left out, unless they are
named, and rejects say the reason alone. The key of hashes: `openssl rand -hex 32 > key`, for
those alone who may know whom rows are about. Without a key, whoever knows how ids look hashes
all of them and finds yours.

In penstock.toml a recording is `files = \"recordings/rides/**/*.parquet\"`. Exit code 1 says
that the recording failed, 2 that what was asked for is wrong, 130 that you stopped it; its files
are whole.")]
pub(super) struct Arguments {
    /// The event, a live stream of the environment.
    event: String,
    /// The environment of penstock.toml that says what the event is.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// Where files are written: a folder, or one of an object store (s3://bucket/rides/). It is to hold
    /// nothing else.
    #[arg(long, value_name = "FOLDER")]
    to: String,
    /// The columns to record; all unless given.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Columns to leave out.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    drop: Vec<String>,
    /// Columns of which only a keyed hash is recorded (HMAC-SHA-256, as hexadecimal text).
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    hash: Vec<String>,
    /// The file with the key of hashes, at least 16 bytes.
    #[arg(long, value_name = "FILE")]
    hash_key_file: Option<PathBuf>,
    /// Record a share of all entities, with all of their rows: `1%`, `0.5%`, `0.01`.
    #[arg(long, value_name = "SHARE", value_parser = parse_share, requires = "by")]
    sample: Option<f64>,
    /// The column that says which entity a row is about. The same ones are chosen in every recording.
    #[arg(long, value_name = "COLUMN", requires = "sample")]
    by: Option<String>,
    /// Where to begin, where nothing is recorded yet: `earliest`, `latest`, or a time.
    #[arg(long, value_name = "WHERE", default_value = "earliest", value_parser = parse_from)]
    from: Start,
    /// When to end: `end` (all that is there now has been read), or a time at which messages came. Unless
    /// given, it goes on until it is stopped.
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    until: Option<End>,
    /// Rows after which a file ends.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows_per_file: u64,
    /// How long a file may go on.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_roll)]
    roll_every: Duration,
    /// The format of files.
    #[arg(long, value_name = "FORMAT", default_value = "parquet", value_parser = ["parquet"])]
    format: String,
    /// The consumer group, if it must have a certain name. Recorders of one event and folder share one, and
    /// nobody else.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
}

/// When a recording is to end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    OfStream,
    Time(i64),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let environment = Environment::find_and_load(&arguments.project, &arguments.env);
    let environment = environment.map_err(Failure::input)?;
    let event = find_event(&environment, &arguments.event)?;
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))?;
    let signals = Signals::catch_on(io.handle())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    if let Some(name) = unknown_options(&environment.store_options).first() {
        let finding = environment.unknown_option(name, KNOWN_OPTIONS);
        return Err(Failure::input(ConfigError::from(finding)));
    }
    let group = group(arguments)?;
    let stream = DeclaredStream::of(&environment, event, &group, io.handle(), &clock)?;
    let layout = Layout::new(&stream, &choice(arguments)?)?;
    let place = Place::open(&arguments.to, &environment.store_options, io.handle())?;
    if !arguments.quiet {
        tell_columns(&layout);
    }
    let spec = RecordSpec {
        layout: Arc::new(layout),
        place: Arc::new(place),
        group,
        from: arguments.from,
        until: until(arguments.until, clock.as_ref()),
        rows_per_file: arguments.rows_per_file,
        roll_every: arguments.roll_every,
        clock,
        stream,
    };
    let stop = signals.stop_work();
    let progress = Arc::new(Progress::default());
    let line = (!arguments.quiet).then(|| Line::start(&arguments.event, &progress));
    let began = Instant::now();
    let recorded = record(spec, &stop, &progress);
    let elapsed = began.elapsed();
    drop(line);
    // A request that hangs is left behind.
    io.shutdown_background();
    let recorded = recorded?;
    if arguments.json {
        show::json(&to_json(&recorded, arguments, elapsed));
    } else {
        print(&recorded, arguments, elapsed);
    }
    match recorded.stopped {
        true => Err(Failure::Stopped(
            "stopped; all files are whole, and the same command goes on where this one ended"
                .to_owned(),
        )),
        false => Ok(()),
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error.is_bad_input() {
            true => Self::input(error),
            false => Self::work(error),
        }
    }
}

impl From<DeclaredError> for Failure {
    fn from(error: DeclaredError) -> Self {
        match error.of_the_system {
            true => Self::work(error),
            false => Self::input(error),
        }
    }
}

fn find_event<'a>(environment: &'a Environment, name: &str) -> Result<&'a EventSource, Failure> {
    environment.events.get(name).ok_or_else(|| {
        let known = environment.events.keys().map(String::as_str);
        Failure::Input(format!(
            "environment `{}` of {} has no event `{name}`; {}",
            environment.name,
            environment.source.path().display(),
            did_you_mean(name, "its events are", known)
        ))
    })
}

/// The same for all recorders of an event to a place.
fn group(arguments: &Arguments) -> Result<String, Failure> {
    if let Some(group) = &arguments.group {
        return Ok(group.clone());
    }
    let place = if arguments.to.contains("://") {
        arguments.to.trim_end_matches('/').to_owned()
    } else {
        let path = std::path::absolute(&arguments.to);
        let path =
            path.map_err(|error| Failure::input(format!("--to {}: {error}", arguments.to)))?;
        path.components().collect::<PathBuf>().display().to_string()
    };
    let digest = Sha256::digest(place);
    let digest: String = digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("penstock-record-{}-{digest}", arguments.event))
}

fn choice(arguments: &Arguments) -> Result<Choice, Failure> {
    let key = arguments
        .hash_key_file
        .as_deref()
        .map(HashKey::read)
        .transpose()?;
    let sample = arguments.sample.zip(arguments.by.clone());
    Ok(Choice {
        columns: (!arguments.columns.is_empty()).then(|| arguments.columns.clone()),
        drop: arguments.drop.clone(),
        hash: arguments.hash.clone(),
        key,
        sample: sample.map(|(share, by)| Sample { share, by }),
    })
}

fn until(end: Option<End>, clock: &dyn Clock) -> Until {
    match end {
        None => Until::Stopped,
        Some(End::OfStream) => Until::End,
        Some(End::Time(time)) => {
            let left = time.saturating_sub(jiff::Timestamp::now().as_microsecond());
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            Until::Time {
                time,
                reached: clock.now().saturating_add(left),
            }
        }
    }
}

fn tell_columns(layout: &Layout) {
    let columns = layout.schema().fields().iter().map(|field| {
        let name = types::type_name(field.data_type());
        format!(
            "{}: {}",
            show::printable(field.name()),
            show::printable(&name)
        )
    });
    eprintln!("recording {}", columns.collect::<Vec<_>>().join(", "));
    if layout.holds_back() {
        eprintln!("what is rejected is recorded with its offset and the reason alone");
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        // Whoever writes 1 may well mean a hundredth.
        None => text
            .parse::<f64>()
            .map(|share| if share < 1.0 { share } else { 0.0 }),
    };
    let share = share.ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "write a share above 0 and up to 100%, as in 1%, 0.5% or 0.01".to_owned())
}

fn parse_from(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        time => parse_instant(time)
            .map(Start::Timestamp)
            .map_err(|hint| format!("write earliest, latest, or a time: {hint}")),
    }
}

fn parse_until(text: &str) -> Result<End, String> {
    match text {
        "end" => Ok(End::OfStream),
        time => parse_instant(time)
            .map(End::Time)
            .map_err(|hint| format!("write end, or a time: {hint}")),
    }
}

fn parse_roll(text: &str) -> Result<Duration, String> {
    let micros = parse_duration(text).map_err(|error| error.to_string())?;
    match u64::try_from(micros) {
        Ok(micros) if micros > 0 => Ok(Duration::from_micros(micros)),
        _ => Err("write a duration longer than zero, as in 10m".to_owned()),
    }
}

/// The live line of a recording: on a terminal one that changes, elsewhere one every ten seconds.
struct Line {
    stop: Option<std::sync::mpsc::SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Line {
    fn start(event: &str, progress: &Arc<Progress>) -> Self {
        let (stop, stopped) = sync_channel::<()>(0);
        let (event, progress) = (event.to_owned(), Arc::clone(progress));
        let bar = ProgressBar::new_spinner();
        let every = Duration::from_millis(if bar.is_hidden() { 10_000 } else { 200 });
        let thread = std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                let line = format!("{event}: {}", so_far(&progress));
                match bar.is_hidden() {
                    true => eprintln!("{line}"),
                    false => bar.set_message(line),
                }
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A line that could not be drawn is no reason to fail.
            let _ = thread.join();
        }
    }
}

fn so_far(progress: &Progress) -> String {
    let count = |of: &std::sync::atomic::AtomicU64| show::count(of.load(Ordering::Relaxed));
    format!(
        "{} messages, {} rows, {} rejects, {} files, {} left to read",
        count(&progress.read),
        count(&progress.rows),
        count(&progress.rejects),
        count(&progress.files),
        count(&progress.lag)
    )
}

fn print(recorded: &Recorded, arguments: &Arguments, elapsed: Duration) {
    let counts = &recorded.counts;
    let per_second = counts.read as f64 / elapsed.as_secs_f64().max(1e-9);
    say!("event      {}", arguments.event);
    say!(
        "messages   {} read in {:.2} s, {}/s",
        show::count(counts.read),
        elapsed.as_secs_f64(),
        show::count(per_second as u64)
    );
    let line = |what: &str, messages: u64| say!("  {what:<13}{:>14}", show::count(messages));
    line("written", counts.written);
    line("rejected", counts.rejected);
    for (code, records) in &recorded.rejected_by_code {
        say!("    {:<11}{:>14}  {code}", "", show::count(*records));
    }
    line("sampled out", counts.sampled_out);
    if counts.empty > 0 {
        line("empty", counts.empty);
    }
    say!("rows       {}", show::count(counts.rows));
    for (partition, part) in &recorded.partitions {
        say!(
            "partition  {partition}: offsets {} up to {}, {} rows in {} files",
            part.from,
            part.to,
            show::count(part.rows),
            show::count(part.files)
        );
        if part.passed_over > 0 {
            let passed_over = show::count(part.passed_over);
            say!(
                "warning    partition {partition}: {passed_over} offsets were deleted before they could be recorded"
            );
        }
    }
    let (files, bytes) = (show::count(recorded.files), show::bytes(recorded.bytes));
    say!("to         {} ({files} files, {bytes})", arguments.to);
}

fn to_json(recorded: &Recorded, arguments: &Arguments, elapsed: Duration) -> serde_json::Value {
    let mut shown = json!(recorded);
    shown["event"] = json!(arguments.event);
    shown["to"] = json!(arguments.to);
    shown["seconds"] = json!(elapsed.as_secs_f64());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents_or_fractions() {
        assert_eq!(parse_share("1%"), Ok(0.01));
        assert_eq!(parse_share("0.5 %"), Ok(0.005));
        assert_eq!(parse_share("100%"), Ok(1.0));
        for wrong in ["0", "1", "101%", "-1%", "x", "NaN", "%", ""] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn beginnings_and_ends_are_words_or_times() {
        assert_eq!(parse_from("latest"), Ok(Start::Latest));
        assert_eq!(
            parse_from("1970-01-02"),
            Ok(Start::Timestamp(86_400_000_000))
        );
        assert!(parse_from("end").is_err());
        assert_eq!(parse_until("end"), Ok(End::OfStream));
        assert_eq!(parse_until("1970-01-02"), Ok(End::Time(86_400_000_000)));
        assert!(parse_until("soon").is_err() && parse_roll("0s").is_err());
    }
}
