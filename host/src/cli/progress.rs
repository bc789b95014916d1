//! The live line of a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{logs, show};
use crate::pipeline::Progress;

/// A line per pipeline that is kept up to date until it is dropped.
pub(super) struct ProgressLine {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Shows how far `pipelines` have come: on a terminal as bars, elsewhere as a line every ten seconds.
    pub(super) fn start(pipelines: Vec<(String, Arc<Progress>)>) -> Self {
        let (stop, stopped) = sync_channel::<()>(0);
        let terminal = logs::is_for_a_person();
        let every = Duration::from_millis(if terminal { 100 } else { 10_000 });
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let bars = terminal.then(|| Bars::new(&pipelines));
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                for (at, (name, progress)) in pipelines.iter().enumerate() {
                    let line = line(progress, began.elapsed());
                    match &bars {
                        Some(bars) => bars.show(at, progress, line),
                        None => logs::note(&format!("{name}: {line}")),
                    }
                }
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A line that could not be drawn is no reason to fail.
            let _ = thread.join();
        }
    }
}

struct Bars {
    bars: Vec<ProgressBar>,
    _all: indicatif::MultiProgress,
}

impl Bars {
    fn new(pipelines: &[(String, Arc<Progress>)]) -> Self {
        let all = indicatif::MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {bar:24} {percent:>3}%  {msg}")
            .expect("the template is valid");
        let bars = pipelines
            .iter()
            .map(|(name, progress)| {
                let bar = all.add(ProgressBar::new(
                    progress.read.bytes_total.load(Ordering::Relaxed),
                ));
                bar.set_style(style.clone());
                bar.set_prefix(name.clone());
                bar
            })
            .collect();
        Self { bars, _all: all }
    }

    fn show(&self, at: usize, progress: &Progress, line: String) {
        let bar = &self.bars[at];
        bar.set_length(progress.read.bytes_total.load(Ordering::Relaxed));
        bar.set_position(progress.read.bytes_read.load(Ordering::Relaxed));
        bar.set_message(line);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in &self.bars {
            bar.finish_and_clear();
        }
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let read = progress.read.records.load(Ordering::Relaxed);
    let per_second = read as f64 / elapsed.as_secs_f64().max(1e-9);
    let values = progress.delivered.values.load(Ordering::Relaxed);
    let watermark = match progress.delivered.watermark.load(Ordering::Relaxed) {
        i64::MIN => "none yet".to_owned(),
        watermark => show::instant(watermark),
    };
    format!(
        "{} events, {}/s, {} values, watermark {watermark}",
        show::count(read),
        show::count(per_second as u64),
        show::count(values),
    )
}
