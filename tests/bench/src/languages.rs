//! One transform in every language, in both forms: rows a second of one core through the sandbox, beside the same
//! natively, the size of the component, and how long it takes to open it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use penstock::sandbox::{Compiler, Instance, Limits, Sandbox};

use crate::boundary::{Input, opening};
use crate::native::Native;
use crate::{Arguments, Figures};

const ROWS: usize = 65_536;
const GROUPS: usize = 1_000;

/// A language, and its components: over columns, and row by row.
const LANGUAGES: [(&str, &str, &str); 5] = [
    (
        "rust",
        "driver_accept_proportion_columnar",
        "driver_accept_proportion",
    ),
    ("c", "bench_c_columnar", "driver_accept_proportion_c"),
    ("go", "bench_go_columnar", "driver_accept_proportion_go"),
    (
        "javascript",
        "bench_javascript_columnar",
        "driver_accept_proportion_javascript",
    ),
    (
        "python",
        "bench_python_columnar",
        "driver_accept_proportion_python",
    ),
];

/// One that is opened, and the best time of a call so far.
struct Candidate {
    name: String,
    guest: Instance,
    best: Duration,
    /// Compared with the others of its form.
    is_columnar: bool,
}

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    crate::pin_to_one_processor()?;
    let cache = tempfile::tempdir()?;
    // The sandbox makes it, closed to others.
    let kept = cache.path().join("kept");
    let mut candidates = Vec::new();
    for (language, columnar, by_row) in LANGUAGES {
        for (component, is_columnar) in [(columnar, true), (by_row, false)] {
            let path = crate::component(component)?;
            if !path.exists() {
                println!("left out: {language}, for want of {}", path.display());
                continue;
            }
            let guest = start(figures, language, &path, &kept, is_columnar)?;
            let name = match is_columnar {
                true => format!("{language}_rows_per_s"),
                false => format!("{language}_by_row_rows_per_s"),
            };
            candidates.push(Candidate {
                name,
                guest,
                best: Duration::MAX,
                is_columnar,
            });
        }
    }
    let Some(first) = candidates.first() else {
        anyhow::bail!("no component is built: run `cargo xtask transforms`");
    };
    let spec = first.guest.spec().clone();
    let mut native = Native::open(&spec)?;
    let mut best_native = Duration::MAX;
    let input = Input::new(ROWS, GROUPS, &spec.initial);
    // One after the other, many times, so that a busy neighbour slows all of them.
    for _ in 0..arguments.rounds * 4 {
        best_native = best_native.min(input.time(&mut native)?);
        for candidate in &mut candidates {
            candidate.best = candidate.best.min(input.time(&mut candidate.guest)?);
        }
    }
    let rate = |time: Duration| ROWS as f64 / time.as_secs_f64();
    figures.insert("native_rows_per_s".into(), rate(best_native));
    println!(
        "{:<12} {:<8} {:>14} {:>10}",
        "language", "form", "rows/s", "of native"
    );
    for candidate in &candidates {
        let rows = rate(candidate.best);
        let language = candidate.name.split('_').next().unwrap_or_default();
        let form = if candidate.is_columnar {
            "columns"
        } else {
            "rows"
        };
        println!(
            "{language:<12} {form:<8} {rows:>14.0} {:>10.3}",
            rows / rate(best_native)
        );
        figures.insert(candidate.name.clone(), rows);
    }
    Ok(())
}

/// Opens a component twice: when it has to be compiled, and when it was before.
fn start(
    figures: &mut Figures,
    language: &str,
    path: &PathBuf,
    cache: &std::path::Path,
    is_columnar: bool,
) -> anyhow::Result<Instance> {
    let bytes = std::fs::read(path)?;
    let open = || -> anyhow::Result<(Instance, Duration)> {
        // A sandbox of its own: one that has loaded a component keeps nothing of it but its cache's files.
        let sandbox = Sandbox::start(Compiler::InProcess, Some(cache))?;
        let began = Instant::now();
        let component = sandbox.load(&bytes)?;
        let guest = block_on(component.open_windowed(&opening(), &Limits::default(), "bench"))?;
        let took = began.elapsed();
        // Guests that run need the sandbox's ticks, for as long as this process lives.
        std::mem::forget(sandbox);
        Ok((guest, took))
    };
    let (_, cold) = open()?;
    let (guest, warm) = open()?;
    if is_columnar {
        let mut note = |what: &str, value: f64| figures.insert(format!("{language}_{what}"), value);
        note("component_kib", bytes.len() as f64 / 1024.0);
        note("cold_start_ms", cold.as_secs_f64() * 1e3);
        note("warm_start_ms", warm.as_secs_f64() * 1e3);
    }
    Ok(guest)
}
