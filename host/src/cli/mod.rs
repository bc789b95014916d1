//! The command line: arguments, exit codes, and what a person sees.
//!
//! Exit codes: 0 for success, 1 for a failure while working, 2 for bad input (arguments,
//! configuration, components, data that cannot be read), 130 when the user stopped it.

mod build;
mod componentize;
mod dev;
mod features;
mod get;
mod health;
mod inspect;
mod live;
mod logs;
mod new;
mod offline;
mod progress;
mod record;
mod registry;
mod replaying;
mod run;
mod serve;
mod served;
mod show;
mod signals;
mod simulate;
mod state;
mod store;
mod summary;
mod swap;
mod test;
mod training_set;
mod trying;
mod validate;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::clock::SystemClock;
use crate::pipeline::{Host, WiringError};
use crate::sandbox::{Compiler, Sandbox, SandboxError};

/// Runs feature transforms, compiled to WebAssembly, over streams of events.
#[derive(Debug, Parser)]
#[command(
    name = "penstock",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Which messages of the host and of transforms to show on standard error, as in
    /// `info,transform=debug`.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "PENSTOCK_LOG",
        default_value = "warn,slatedb=error,transform=info",
        hide_default_value = true
    )]
    log: String,
    /// How messages are written on standard error: as text, or as a JSON object a line.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "PENSTOCK_LOG_FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    log_format: logs::LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Arguments),
    Build(build::Arguments),
    Run(run::Arguments),
    Record(Box<record::Arguments>),
    Get(get::Arguments),
    Serve(serve::Arguments),
    Offline(offline::Arguments),
    TrainingSet(training_set::Arguments),
    State(state::Arguments),
    Features(features::Arguments),
    Store(store::Arguments),
    Health(health::Arguments),
    Test(test::Arguments),
    Dev(dev::Arguments),
    Verify(verify::Arguments),
    Validate(validate::Arguments),
    Inspect(inspect::Arguments),
    Push(registry::PushArguments),
    List(registry::ListArguments),
    Pull(registry::PullArguments),
    Keygen(registry::KeygenArguments),
    Swap(swap::SwapArguments),
    Rollback(swap::RollbackArguments),
    History(swap::HistoryArguments),
    Status(swap::StatusArguments),
    Simulate(simulate::Arguments),
    Componentize(componentize::Arguments),
    /// Compiles a component from standard input to native code on standard output.
    #[command(name = COMPILE, hide = true)]
    Compile,
}

/// The hidden command by which the program calls itself to compile components.
const COMPILE: &str = "compile-component";

/// How a command ended, if not well.
#[derive(Debug)]
enum Failure {
    /// The input was bad; nothing was written, or what was written before is whole.
    Input(String),
    /// Something failed on the way.
    Work(String),
    /// The user stopped it.
    Stopped(String),
}

impl Failure {
    fn input(error: impl std::fmt::Display) -> Self {
        Self::Input(error.to_string())
    }

    fn work(error: impl std::fmt::Display) -> Self {
        Self::Work(error.to_string())
    }
}

impl From<WiringError> for Failure {
    fn from(error: WiringError) -> Self {
        match error.is_of_the_system() {
            true => Self::work(error),
            false => Self::input(error),
        }
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        Self::work(error)
    }
}

/// Runs the program and gives its exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Compile = arguments.command {
        return ExitCode::from(crate::sandbox::compile_stdin() as u8);
    }
    if let Err(error) = logs::start(&arguments.log, arguments.log_format) {
        eprintln!("error: --log {}: {error}", arguments.log);
        return ExitCode::from(2);
    }
    let ended = match arguments.command {
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Offline(arguments) => offline::run(&arguments),
        Command::TrainingSet(arguments) => training_set::run(&arguments),
        Command::State(arguments) => state::run(&arguments),
        Command::Features(arguments) => features::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Push(arguments) => registry::push(&arguments),
        Command::List(arguments) => registry::list(&arguments),
        Command::Pull(arguments) => registry::pull(&arguments),
        Command::Keygen(arguments) => registry::keygen(&arguments),
        Command::Swap(arguments) => swap::swap(&arguments),
        Command::Rollback(arguments) => swap::rollback(&arguments),
        Command::History(arguments) => swap::history(&arguments),
        Command::Status(arguments) => swap::status(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Componentize(arguments) => componentize::run(&arguments),
        Command::Compile => unreachable!("it was dealt with above"),
    };
    let (code, message) = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Input(message)) => (2, message),
        Err(Failure::Work(message)) => (1, message),
        Err(Failure::Stopped(message)) => (130, message),
    };
    logs::error(&message);
    ExitCode::from(code)
}

/// Threads of each runtime that wait for files.
const FILE_THREADS: usize = 32;

/// Threads that stores, sources and sinks share. More than they need, so that a commit, which is short, does not wait
/// behind what takes long: the system divides processors more finely than tasks do.
const IO_THREADS: usize = 4;

/// Starts what pipelines share.
fn host() -> Result<Host, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = |name: &str, threads: usize| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            // They read and write files, and each has memory of its own.
            .max_blocking_threads(FILE_THREADS)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| Failure::work(format!("cannot start threads: {error}")))
    };
    Ok(Host {
        sandbox: sandbox()?,
        lanes: runtime("lane", threads)?,
        io: runtime("io", IO_THREADS)?,
        clock: Arc::new(SystemClock::start()),
        stores: Arc::default(),
    })
}

fn sandbox() -> Result<Sandbox, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::work(format!("cannot find this program's own file: {error}")))?;
    let compiler = Compiler::Child {
        program,
        arguments: vec![COMPILE.into()],
    };
    let sandbox = Sandbox::start(compiler, Some(&cache_folder()?))?;
    let Some(amount) = std::env::var_os(GUEST_MEMORY).filter(|value| !value.is_empty()) else {
        return Ok(sandbox);
    };
    let amount = amount.to_string_lossy();
    let bytes = crate::config::parse_bytes(&amount).map_err(|error| {
        Failure::Input(format!("{GUEST_MEMORY}: {}; {}", error.message, error.hint))
    })?;
    Ok(sandbox.with_guest_memory(usize::try_from(bytes).unwrap_or(usize::MAX)))
}

/// How much memory all transforms of a process may have together, such as `8GiB`.
const GUEST_MEMORY: &str = "PENSTOCK_GUEST_MEMORY";

/// `PENSTOCK_CACHE`, or `penstock` in the user's cache folder.
fn cache_folder() -> Result<PathBuf, Failure> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("PENSTOCK_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("penstock")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache").join("penstock")))
        .ok_or_else(|| {
            Failure::input(
                "there is no HOME to keep compiled components in; set PENSTOCK_CACHE to a folder",
            )
        })
}
