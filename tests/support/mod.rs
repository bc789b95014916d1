//! What the tests share: a host, pipelines in folders of their own, the program itself.

pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod servers;
pub(crate) mod types;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use penstock::clock::SystemClock;
use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Host, Progress, RunError, RunReport};
use penstock::sandbox::{Compiler, Sandbox};
use tempfile::TempDir;

/// One host for all tests of this process: engines are dear.
pub(crate) static HOST: LazyLock<Host> = LazyLock::new(|| {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads start")
    };
    // Every pipeline loads its component anew; each is compiled once.
    let cache = root().join("target").join("test-cache");
    Host {
        sandbox: Sandbox::start(Compiler::InProcess, Some(&cache)).expect("the engine starts"),
        lanes: runtime(),
        io: runtime(),
        clock: Arc::new(SystemClock::start()),
        stores: Arc::default(),
    }
});

/// How many random cases a property is tried on; `PENSTOCK_CASES` multiplies the usual number.
pub(crate) fn cases(usual: u32) -> proptest::test_runner::Config {
    let times = std::env::var("PENSTOCK_CASES").map_or(Ok(1), |times| times.parse::<u32>());
    let times = times.expect("PENSTOCK_CASES is a whole number");
    proptest::test_runner::Config::with_cases(usual * times)
}

/// What a `penstock run --listen` answers, and with which code.
pub(crate) fn ask(address: &str, path: &str) -> (u16, String) {
    let url = format!("http://{address}{path}");
    HOST.io.block_on(async {
        let answer = reqwest::get(url).await.expect("it answers");
        let code = answer.status().as_u16();
        (code, answer.text().await.expect("the answer is a text"))
    })
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the host's folder is in the repository's")
}

/// The program itself.
pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_penstock").into()
}

/// The path of a transform that was built for the tests.
pub(crate) fn transform(name: &str) -> PathBuf {
    // The test's own program lies in <target>/debug/deps.
    let program = std::env::current_exe().expect("a test has a file");
    let target = program
        .ancestors()
        .nth(3)
        .expect("three folders up is the target folder");
    let path = target.join("transforms").join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask transforms` first",
        path.display()
    );
    path
}

/// A folder with a pipeline in it, which is gone when this is dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for tests"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("files are in the folder")).expect("made");
        fs::write(&path, contents).expect("written");
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("UTF-8")
    }

    /// Runs the folder's `pipeline.toml` in this process, and asserts that it told what it reports.
    pub(crate) fn run(&self, tuning: Tuning) -> Result<RunReport, String> {
        let progress = Arc::new(Progress::default());
        let report = self.run_telling(tuning, &progress)?;
        if report.resumed.is_none() {
            let totals = progress.telemetry.totals();
            assert_eq!(totals.accounting, report.accounting);
            assert_eq!(totals.windows, report.windows.unwrap_or(0));
            assert_eq!(
                (totals.output_rows, totals.values, totals.invalid),
                (report.rows, report.values, report.invalid)
            );
        }
        Ok(report)
    }

    /// Runs the folder's `pipeline.toml` in this process.
    pub(crate) fn run_telling(
        &self,
        tuning: Tuning,
        progress: &Arc<Progress>,
    ) -> Result<RunReport, String> {
        self.run_on(&HOST, tuning, progress)
    }

    /// The same, in a host that may be another one than that of the other tests.
    pub(crate) fn run_in(&self, host: &Host, tuning: Tuning) -> Result<RunReport, String> {
        self.run_on(host, tuning, &Arc::new(Progress::default()))
    }

    fn run_on(
        &self,
        host: &Host,
        tuning: Tuning,
        progress: &Arc<Progress>,
    ) -> Result<RunReport, String> {
        let path = self.path("pipeline.toml");
        let mut pipeline = load_pipelines(&[&path])
            .map_err(|error| error.to_string())?
            .remove(0);
        pipeline.run.lanes = Some(tuning.lanes);
        pipeline.run.batch_rows = tuning.batch_rows;
        let environment =
            Environment::find_and_load(&path, "local").map_err(|error| error.to_string())?;
        let opened =
            pipeline::open(host, pipeline, &environment).map_err(|error| error.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut reports = pipeline::run(host, vec![(opened, Arc::clone(progress))], &stop)
            .map_err(|error: RunError| error.to_string())?;
        reports.remove(0).map_err(|error| error.to_string())
    }

    /// Runs the program in the folder.
    pub(crate) fn penstock(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("PENSTOCK_CACHE", self.path("cache"))
            .env_remove("PENSTOCK_LOG")
            .output()
            .expect("the program starts");
        Ended(output)
    }
}

/// How a run is cut, which must make no difference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub(crate) lanes: u32,
    pub(crate) batch_rows: usize,
}

/// How the program ended.
pub(crate) struct Ended(Output);

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self(output)
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Asserts that it ended well, and gives what it printed.
    pub(crate) fn fine(self) -> String {
        assert_eq!(
            self.code(),
            Some(0),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout(),
            self.stderr()
        );
        self.stdout()
    }

    /// Asserts that it ended with one error that says all of `expected`.
    pub(crate) fn fails(self, code: i32, expected: &[&str]) -> String {
        let stderr = self.stderr();
        assert_eq!(
            self.code(),
            Some(code),
            "stdout:\n{}\nstderr:\n{stderr}",
            self.stdout()
        );
        for part in expected {
            assert!(stderr.contains(part), "`{part}` is not in:\n{stderr}");
        }
        assert_eq!(
            stderr
                .lines()
                .filter(|line| line.starts_with("error"))
                .count(),
            1,
            "not one error:\n{stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }
}
