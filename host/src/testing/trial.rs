//! One run of a pipeline for a test: over chosen events, into a folder of its own.
//!
//! The store and the outputs of the environment are never touched: values go to no store, and the
//! files to a temporary folder that is gone afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::TestError;
use super::exact::cast_exactly;
use super::layout::Layout;
use crate::config::{Emit, Environment, Located, OutputFile, OutputFormat, Pipeline, Span};
use crate::pipeline::{self, Host, MapAgain, Opened, Opener, Progress, RunReport};
use crate::source::replay::ReplaySpec;
use crate::store::offline::OfflineStore;

/// A pipeline over chosen events, to be run as often as needed.
pub struct Trial<'a> {
    host: &'a Host,
    pipeline: Pipeline,
    environment: Environment,
    stop: Arc<AtomicBool>,
}

/// How a run is cut, which must make no difference. None stands for what the pipeline says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// Rows of a batch at most.
    pub batch_rows: Option<usize>,
    /// Number of lanes.
    pub lanes: Option<u32>,
}

/// The files of a run by what they hold. One that was not written is not there.
pub(super) type Files = BTreeMap<&'static str, Vec<u8>>;

/// What a run gave.
pub struct Outcome {
    /// Its accounts.
    pub report: RunReport,
    /// The columns of its features.
    pub layout: Layout,
    /// Its features, in the order of the file.
    pub features: RecordBatch,
    /// Every file, byte by byte.
    pub(super) files: Files,
    /// The events it read.
    pub(super) replay: ReplaySpec,
    /// What opens the windowed transform again, if there is one.
    pub(super) opener: Option<Opener>,
    /// What maps the events again, if they are mapped.
    pub(super) map_again: Option<MapAgain>,
    /// Whether its windows are put together of several states.
    pub(super) merges: bool,
    /// How long after their end windows are corrected, in microseconds.
    pub(super) lateness: i64,
}

impl Outcome {
    /// The rejected and late rows, a line each.
    pub(super) fn refused(&self) -> impl Iterator<Item = &str> {
        let files = ["rejects", "late"].into_iter();
        let files = files.filter_map(|name| self.files.get(name));
        files.flat_map(|bytes| std::str::from_utf8(bytes).unwrap_or_default().lines())
    }
}

impl<'a> Trial<'a> {
    /// `events` take the place of the environment's files; without any, those are read.
    ///
    /// # Errors
    ///
    /// The environment cannot be found, or has no such event.
    pub fn new(
        host: &'a Host,
        pipeline: &Pipeline,
        environment: &str,
        events: Option<&[PathBuf]>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, TestError> {
        let mut environment = Environment::find_and_load(pipeline.source.path(), environment)?;
        // Outputs go to a folder of the trial's own.
        environment.output_elsewhere = true;
        // Whether there is such an event is found out with its own message.
        let name = environment.event(pipeline)?.name.value.clone();
        if let Some(files) = events {
            environment.read_files(&name, files);
        }
        Ok(Self {
            host,
            pipeline: pipeline.clone(),
            environment,
            stop: Arc::clone(stop),
        })
    }

    /// Whether what comes out shows where batches are cut, as the pipeline asks for.
    pub(super) fn emits_batches(&self) -> bool {
        self.pipeline.window.value.emit == Emit::Batch
    }

    /// Runs it. `wrap` may put something around the lanes' transforms.
    ///
    /// # Errors
    ///
    /// The pipeline does not open, or the run fails.
    pub fn run(&self, cut: Cut, wrap: impl FnOnce(Opened) -> Opened) -> Result<Outcome, TestError> {
        let folder = Folder::new()?;
        let features = folder.path("features.parquet");
        let opened = wrap(self.open(cut, &folder, &features, OutputFormat::Parquet)?);
        let (layout, replay) = (Layout::of(&opened), opened.replay.clone());
        let (opener, map_again) = (opened.opener(), opened.map_again());
        let windows = opened.plan.windows();
        let merges = windows.is_some_and(|windows| windows.shape.merges());
        let lateness = windows.map_or(0, |windows| windows.shape.lateness);
        let report = self.finish(opened)?;
        let rows = read_parquet(&features, &layout.schema)?;
        Ok(Outcome {
            report,
            layout,
            features: rows,
            files: folder.files()?,
            replay,
            opener,
            map_again,
            merges,
            lateness,
        })
    }

    /// Runs it for nothing but the features file, in another format, and gives its bytes.
    ///
    /// # Errors
    ///
    /// As [`Trial::run`].
    pub(super) fn features_as(&self, format: OutputFormat) -> Result<Vec<u8>, TestError> {
        let folder = Folder::new()?;
        let path = folder.path(match format {
            OutputFormat::Parquet => "features.parquet",
            OutputFormat::Csv => "features.csv",
            OutputFormat::Ndjson => "features.ndjson",
        });
        self.finish(self.open(Cut::default(), &folder, &path, format)?)?;
        std::fs::read(&path).map_err(TestError::io("read", &path))
    }

    fn open(
        &self,
        cut: Cut,
        folder: &Folder,
        features: &Path,
        format: OutputFormat,
    ) -> Result<Opened, TestError> {
        let mut pipeline = self.apart(folder);
        pipeline.outputs.store = false;
        pipeline.outputs.features = Some(output(features.to_owned(), format));
        pipeline.run.lanes = cut.lanes.or(pipeline.run.lanes);
        pipeline.run.batch_rows = cut.batch_rows.unwrap_or(pipeline.run.batch_rows);
        Ok(pipeline::open(self.host, pipeline, &self.environment)?)
    }

    /// The pipeline with its files in a folder: nothing of the environment is touched.
    fn apart(&self, folder: &Folder) -> Pipeline {
        let mut pipeline = self.pipeline.clone();
        pipeline.run.commit_every = None;
        pipeline.outputs.features = None;
        let ndjson = |name: &str| output(folder.path(name), OutputFormat::Ndjson);
        pipeline.outputs.rejects.file = ndjson("rejects.ndjson");
        pipeline.outputs.late.file = ndjson("late.ndjson");
        pipeline.outputs.invalid.file = ndjson("invalid.ndjson");
        pipeline
    }

    /// Runs it with a store and a history of features in a folder, and gives that history.
    ///
    /// # Errors
    ///
    /// As [`Trial::run`].
    pub(super) fn run_kept(&self, folder: &Folder) -> Result<OfflineStore, TestError> {
        let environment = self.environment.clone().moved_to(&folder.0);
        let mut pipeline = self.apart(folder);
        pipeline.outputs.store = true;
        self.finish(pipeline::open(self.host, pipeline, &environment)?)?;
        let history = environment.offline.as_ref().expect("it was moved");
        Ok(OfflineStore::open(history)?)
    }

    /// The environment, with the events in their place.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    fn finish(&self, opened: Opened) -> Result<RunReport, TestError> {
        let pipelines = vec![(opened, Arc::new(Progress::default()))];
        let mut reports = pipeline::run(self.host, pipelines, &self.stop)?;
        Ok(reports.remove(0)?)
    }
}

fn output(path: PathBuf, format: OutputFormat) -> Located<OutputFile> {
    Located::new(OutputFile { path, format }, Span::WHOLE_FILE)
}

/// A temporary folder, gone when this is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, TestError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = std::env::temp_dir();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("penstock-test-{}-{number}", std::process::id()));
            // Events are nobody else's business.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // One that a killed process of the same number left behind.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(TestError::io("make the temporary folder", &path)(error)),
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What was written, by the part of the name that says what it is.
    fn files(&self) -> Result<Files, TestError> {
        let mut files = Files::new();
        let io = |error| TestError::io("read", &self.0)(error);
        for entry in std::fs::read_dir(&self.0).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let kind = ["features", "rejects", "late", "invalid"]
                .into_iter()
                .find(|kind| name.split('.').any(|part| part == *kind));
            if let Some(kind) = kind {
                let bytes = std::fs::read(&path).map_err(TestError::io("read", &path))?;
                files.insert(kind, bytes);
            }
        }
        Ok(files)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "a temporary folder stays");
        }
    }
}

/// Reads a Parquet file's columns of a schema, as far as it has them.
pub(super) fn read_parquet(path: &Path, schema: &SchemaRef) -> Result<RecordBatch, TestError> {
    let file = File::open(path).map_err(|error| not_read(path, error))?;
    let broken = |error: &dyn std::fmt::Display| {
        TestError::file(
            path,
            format!("this is no Parquet file that can be read: {error}"),
        )
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| broken(&error))?;
    let found = arrow::array::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>();
    let all = concat_batches(&found, &batches.map_err(|error| broken(&error))?)?;
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for (field, column) in found.fields().iter().zip(all.columns()) {
        let wanted = schema
            .field_with_name(field.name())
            .map_err(|_| TestError::file(path, unknown_column(field.name(), schema)))?;
        let column = match column.data_type() == wanted.data_type() {
            true => Arc::clone(column),
            false => cast_exactly(column, wanted.data_type()).map_err(|error| {
                TestError::file(
                    path,
                    format!(
                        "column `{}` has type {}, and the output has {}: {error}",
                        field.name(),
                        field.data_type(),
                        wanted.data_type()
                    ),
                )
            })?,
        };
        fields.push(wanted.clone().with_nullable(true));
        columns.push(column);
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// A file of what is expected that cannot be read.
pub(super) fn not_read(path: &Path, error: std::io::Error) -> TestError {
    match error.kind() {
        std::io::ErrorKind::NotFound => TestError::file(
            path,
            "there is no such file; --bless writes it from what comes out",
        ),
        _ => TestError::io("read", path)(error),
    }
}

pub(super) fn unknown_column(name: &str, schema: &SchemaRef) -> String {
    let known: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    format!(
        "the output has no column `{name}`; its columns are {}",
        known.join(", ")
    )
}
