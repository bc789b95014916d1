//! Made-up event streams, for demos, benchmarks and tests.
//!
//! In: a [`RidesSpec`]. Out: files of ride-hailing offers, NDJSON or Parquet, in arrival order.
//!
//! The same spec gives the same bytes on every machine and in every run (Parquet: with the same version of the
//! `parquet` crate). So nothing here may read a clock, iterate a hash map, sample through a crate that may change
//! its algorithm, or use floating-point functions beyond `+ - * / sqrt`, whose results IEEE 754 fixes.

mod columns;
mod fleet;
mod ndjson;
mod random;
mod rides;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    columns::ColumnWriter,
    ndjson::LineWriter,
    rides::{Offer, Offers},
};

/// 2026-03-01T00:00:00Z in microseconds since 1970: where simulated time starts unless a spec says otherwise.
pub const DEFAULT_START: i64 = 1_772_323_200_000_000;

/// How much later than `disorder` a row of the `late_share` may arrive.
pub const GREATEST_LATENESS: Duration = Duration::from_secs(300);

/// More files than this would break the three digits in `rides-000.ndjson`.
const MOST_FILES: u32 = 1_000;

/// 9999-01-01T00:00:00Z in microseconds: what follows soon needs a fifth digit, or is out of a time library's range.
const LAST_INSTANT: i64 = 253_370_764_800_000_000;

/// How many rows pass between two calls of `progress`.
const ROWS_PER_REPORT: u64 = 65_536;

/// What to simulate: a city-wide ride-hailing service that offers rides to drivers.
///
/// Each knob leaves the rest alone: `late_share` moves some rows in time and changes nothing else of them,
/// `malformed_share` replaces some lines, and `files` and `format` only say where the rows go.
#[derive(Debug, Clone, PartialEq)]
pub struct RidesSpec {
    /// Rows to write, malformed ones included.
    pub events: u64,
    /// Chooses the stream; the same seed gives the same rows.
    pub seed: u64,
    /// Drivers are numbered from 1 to this. A few of them get many of the offers.
    pub drivers: u32,
    /// Offers per second of arrival time.
    pub rate_per_s: f64,
    /// A row's event time is at most this much before the greatest event time of the rows before it.
    pub disorder: Duration,
    /// Share of rows (0 to 1) that come later than `disorder` allows, by up to [`GREATEST_LATENESS`].
    pub late_share: f64,
    /// The least event time, in microseconds since 1970-01-01T00:00:00Z.
    pub start: i64,
    /// Splits to spread the rows over, one row each in turn.
    pub files: u32,
    /// How the files are written.
    pub format: RidesFormat,
    /// Share of lines (0 to 1) that no decoder can make a row of. NDJSON only.
    pub malformed_share: f64,
}

/// The format of simulated files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RidesFormat {
    /// One JSON object a line, `rides-000.ndjson`.
    Ndjson,
    /// Snappy, row groups of 1,048,576 rows, `rides-000.parquet`. The writer holds one row group per file in memory.
    Parquet,
}

impl RidesFormat {
    fn extension(self) -> &'static str {
        match self {
            RidesFormat::Ndjson => "ndjson",
            RidesFormat::Parquet => "parquet",
        }
    }
}

impl RidesSpec {
    /// A stream of `events` rows with the usual settings: 5,000 drivers, 1,000 offers a second, 20 s of disorder,
    /// one NDJSON file, nothing late, nothing malformed.
    pub fn new(events: u64, seed: u64) -> Self {
        RidesSpec {
            events,
            seed,
            drivers: 5_000,
            rate_per_s: 1_000.0,
            disorder: Duration::from_secs(20),
            late_share: 0.0,
            start: DEFAULT_START,
            files: 1,
            format: RidesFormat::Ndjson,
            malformed_share: 0.0,
        }
    }

    fn check(&self) -> Result<(), SimulateError> {
        let refuse = |setting, problem: &str| {
            Err(SimulateError::Setting {
                setting,
                problem: problem.to_owned(),
            })
        };
        if self.drivers == 0 {
            return refuse("drivers", "there must be at least one");
        }
        if self.files == 0 || self.files > MOST_FILES {
            return refuse("files", "must be from 1 to 1,000");
        }
        if !(self.rate_per_s.is_finite() && self.rate_per_s > 0.0) {
            return refuse("rate_per_s", "must be a number above 0");
        }
        for (setting, share) in [
            ("late_share", self.late_share),
            ("malformed_share", self.malformed_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(setting, "must be from 0 to 1");
            }
        }
        if self.malformed_share > 0.0 && self.format == RidesFormat::Parquet {
            return refuse(
                "malformed_share",
                "a Parquet file has no malformed rows: write NDJSON, or set it to 0",
            );
        }
        if self.start < 0 {
            return refuse("start", "must be 1970-01-01T00:00:00Z or later");
        }
        let microseconds = self.start as f64
            + self.disorder.as_secs_f64() * 1e6
            + self.events as f64 / self.rate_per_s * 1e6;
        if microseconds > LAST_INSTANT as f64 {
            return refuse(
                "events",
                "at this rate and start the stream would run past the year 9998: raise the rate or lower the number",
            );
        }
        Ok(())
    }
}

/// Why a simulated stream could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A setting of the spec is outside what the simulator can do.
    #[error("cannot simulate rides: `{setting}` {problem}")]
    Setting {
        /// The field of [`RidesSpec`].
        setting: &'static str,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// The folder holds more files of an earlier, wider simulation; reading `rides-*` would mix the two.
    #[error(
        "{} is left from an earlier simulation with more files, and would be read together with this one: \
         delete it, or choose another folder",
        path.display()
    )]
    LeftOver {
        /// The file in the way.
        path: PathBuf,
    },
    /// The disk or the folder refused.
    #[error("cannot write {}: {source}; check that the folder is writable and that the disk has room", path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The Parquet writer refused, most likely because the disk did.
    #[error("cannot write Parquet to {}: {source}; check that the disk has room", path.display())]
    Parquet {
        /// The file concerned.
        path: PathBuf,
        /// What the writer said.
        source: parquet::errors::ParquetError,
    },
}

/// Writes the stream to `out_dir` (made if missing) and returns the paths of the files, in the order of the splits.
///
/// Files are named `rides-000.ndjson`, `rides-001.ndjson`, …; a file of that name is replaced, at the end and at once,
/// by renaming `rides-000.ndjson.partial`. `progress` hears the total number of rows written, now and then and at the end.
/// Memory does not grow with `events`.
///
/// # Errors
///
/// A setting out of range, files of an earlier simulation in the way, or a failing disk. No file with a final name has
/// changed then, unless the renaming itself failed.
pub fn write_rides(
    spec: &RidesSpec,
    out_dir: &Path,
    progress: impl FnMut(u64),
) -> Result<Vec<PathBuf>, SimulateError> {
    spec.check()?;
    fs::create_dir_all(out_dir).map_err(|source| SimulateError::Io {
        path: out_dir.to_owned(),
        source,
    })?;
    refuse_left_over(spec, out_dir)?;

    let mut splits = Vec::with_capacity(spec.files as usize);
    for number in 0..spec.files {
        splits.push(Split::create(spec, out_dir, number)?);
    }
    let paths = splits.iter().map(|split| split.path.clone()).collect();
    let written = write_splits(spec, splits, progress);
    if written.is_err() {
        for number in 0..spec.files {
            // The error that stopped the writing is the one to report.
            let _ = fs::remove_file(partial(&file_path(spec, out_dir, number)));
        }
    }
    written.map(|()| paths)
}

fn write_splits(
    spec: &RidesSpec,
    mut splits: Vec<Split>,
    mut progress: impl FnMut(u64),
) -> Result<(), SimulateError> {
    let mut next = 0;
    let mut rows = 0;
    for offer in Offers::new(spec) {
        splits[next].write(&offer)?;
        next = if next + 1 == splits.len() {
            0
        } else {
            next + 1
        };
        rows += 1;
        if rows % ROWS_PER_REPORT == 0 {
            progress(rows);
        }
    }
    // Every file is whole before the first takes its name.
    let finished: Vec<PathBuf> = splits
        .into_iter()
        .map(Split::finish)
        .collect::<Result<_, _>>()?;
    for path in finished {
        fs::rename(partial(&path), &path).map_err(|source| SimulateError::Io { path, source })?;
    }
    progress(rows);
    Ok(())
}

fn file_path(spec: &RidesSpec, out_dir: &Path, number: u32) -> PathBuf {
    out_dir.join(format!("rides-{number:03}.{}", spec.format.extension()))
}

fn partial(path: &Path) -> PathBuf {
    path.with_added_extension("partial")
}

fn refuse_left_over(spec: &RidesSpec, out_dir: &Path) -> Result<(), SimulateError> {
    for number in spec.files..MOST_FILES {
        let path = file_path(spec, out_dir, number);
        if path.exists() {
            return Err(SimulateError::LeftOver { path });
        }
    }
    Ok(())
}

/// One output file on its way.
struct Split {
    path: PathBuf,
    writer: SplitWriter,
}

enum SplitWriter {
    Ndjson(LineWriter<File>),
    Parquet(Box<ColumnWriter<File>>),
}

impl Split {
    fn create(spec: &RidesSpec, out_dir: &Path, number: u32) -> Result<Self, SimulateError> {
        let path = file_path(spec, out_dir, number);
        let file = File::create(partial(&path)).map_err(|source| SimulateError::Io {
            path: partial(&path),
            source,
        })?;
        let writer = match spec.format {
            RidesFormat::Ndjson => SplitWriter::Ndjson(LineWriter::new(file)),
            RidesFormat::Parquet => {
                SplitWriter::Parquet(Box::new(ColumnWriter::new(file).map_err(|source| {
                    SimulateError::Parquet {
                        path: partial(&path),
                        source,
                    }
                })?))
            }
        };
        Ok(Split { path, writer })
    }

    fn write(&mut self, offer: &Offer) -> Result<(), SimulateError> {
        match &mut self.writer {
            SplitWriter::Ndjson(writer) => {
                writer.write(offer).map_err(|source| SimulateError::Io {
                    path: partial(&self.path),
                    source,
                })
            }
            SplitWriter::Parquet(writer) => {
                writer
                    .write(offer)
                    .map_err(|source| SimulateError::Parquet {
                        path: partial(&self.path),
                        source,
                    })
            }
        }
    }

    fn finish(self) -> Result<PathBuf, SimulateError> {
        match self.writer {
            SplitWriter::Ndjson(writer) => writer
                .finish()
                .and_then(|mut file| file.flush())
                .map_err(|source| SimulateError::Io {
                    path: partial(&self.path),
                    source,
                })?,
            SplitWriter::Parquet(writer) => {
                writer.finish().map_err(|source| SimulateError::Parquet {
                    path: partial(&self.path),
                    source,
                })?
            }
        }
        Ok(self.path)
    }
}
