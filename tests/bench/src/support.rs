//! What the hostile guests of the tests want of their surroundings, for the benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use penstock::clock::SystemClock;
use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Host, Progress, RunReport};
use penstock::sandbox::{Compiler, Sandbox};
use tempfile::TempDir;

/// One host for all attacks that do not want one of their own, and for their neighbours: with as many threads as that of
/// the program, and as there components are compiled by a child, once each.
pub(crate) static HOST: LazyLock<Host> = LazyLock::new(|| {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().build().expect("threads start")
    };
    let compiler = Compiler::Child {
        program: program(),
        arguments: vec!["compile-component".into()],
    };
    let sandbox = Sandbox::start(compiler, Some(&CACHE.path().join("cache")));
    Host {
        sandbox: sandbox.expect("the engine starts"),
        lanes: runtime(),
        io: runtime(),
        clock: Arc::new(SystemClock::start()),
        stores: Arc::default(),
    }
});

/// What is compiled once is kept here until the process ends.
static CACHE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("there is room"));

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("tests/bench is two folders deep")
}

fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a program has a file");
    let target = program.ancestors().nth(2);
    target.expect("it lies in <target>/release").join(name)
}

/// The program itself.
pub(crate) fn program() -> PathBuf {
    built("release/penstock")
}

/// The path of a transform that was built for the tests.
pub(crate) fn transform(name: &str) -> PathBuf {
    built("transforms").join(format!("{name}.wasm"))
}

/// A folder with a pipeline in it, which is gone when this is dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("written");
        path
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it was written")
    }

    pub(crate) fn run_in(&self, host: &Host, tuning: Tuning) -> Result<RunReport, String> {
        let path = self.path("pipeline.toml");
        let mut pipelines = load_pipelines(&[&path]).map_err(|error| error.to_string())?;
        let mut pipeline = pipelines.remove(0);
        pipeline.run.lanes = Some(tuning.lanes);
        pipeline.run.batch_rows = tuning.batch_rows;
        let environment = Environment::find_and_load(&path, "local");
        let environment = environment.map_err(|error| error.to_string())?;
        let opened = pipeline::open(host, pipeline, &environment);
        let opened = opened.map_err(|error| error.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let runs = vec![(opened, Arc::new(Progress::default()))];
        let mut reports = pipeline::run(host, runs, &stop).map_err(|error| error.to_string())?;
        reports.remove(0).map_err(|error| error.to_string())
    }

    pub(crate) fn penstock(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(self.0.path())
            .env("PENSTOCK_CACHE", self.path("cache"))
            .output();
        Ended(output.expect("the program starts"))
    }
}

/// How a run is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub(crate) lanes: u32,
    pub(crate) batch_rows: usize,
}

/// How the program ended.
pub(crate) struct Ended(Output);

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}
