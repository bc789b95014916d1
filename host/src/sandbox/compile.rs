//! Compiling a component to native code, in a child process with limits of its own.
//!
//! The compiler works on bytes that nobody has read. Should it run away with time or memory, only
//! the child ends.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::engine::{self, Pool};
use super::{ComponentError, SandboxError};

/// CPU time, in seconds, that compiling one component may take. A Python component takes about 5.
const CPU_SECONDS: u64 = 120;
/// Address space, in bytes, that compiling one component may take.
const ADDRESS_SPACE: u64 = 8 << 30;

/// Where components are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// In a child: this program, called with these arguments, which must lead it to [`compile_stdin`].
    Child {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// In this process. For tests and benchmarks, whose components are their own.
    InProcess,
}

impl Compiler {
    pub(super) fn compile(
        &self,
        engine: &wasmtime::Engine,
        component: &[u8],
    ) -> Result<Vec<u8>, ComponentError> {
        match self {
            Self::InProcess => engine
                .precompile_component(component)
                .map_err(|error| ComponentError::Invalid(format!("{error:#}"))),
            Self::Child { program, arguments } => in_child(program, arguments, component),
        }
    }
}

fn in_child(
    program: &PathBuf,
    arguments: &[String],
    component: &[u8],
) -> Result<Vec<u8>, ComponentError> {
    let failed = |error: std::io::Error| {
        ComponentError::Compile(format!(
            "cannot run the compiling child {}: {error}",
            program.display()
        ))
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("asked for a pipe");
    let output = std::thread::scope(|scope| {
        // A child that ends early breaks the pipe; its exit status says more than that error.
        scope.spawn(move || stdin.write_all(component));
        child.wait_with_output()
    })
    .map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(REFUSED) => Err(ComponentError::Invalid(message)),
        _ => Err(ComponentError::Compile(format!(
            "the compiling child ended with {} (it may use {CPU_SECONDS} s of CPU time and {} GiB): {message}",
            output.status,
            ADDRESS_SPACE >> 30
        ))),
    }
}

/// Exit code of the child for a component that is not valid.
const REFUSED: i32 = 2;

/// The child: reads a component from standard input, writes native code to standard output.
/// Gives the exit code.
pub fn compile_stdin() -> i32 {
    match compile_with_limits() {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            REFUSED
        }
    }
}

fn compile_with_limits() -> Result<(), String> {
    let limit = |resource, value| {
        setrlimit(
            resource,
            Rlimit {
                current: Some(value),
                maximum: Some(value),
            },
        )
        .map_err(|error| format!("cannot limit the compiling child: {error}"))
    };
    limit(Resource::Cpu, CPU_SECONDS)?;
    limit(Resource::As, ADDRESS_SPACE)?;
    let mut component = Vec::new();
    std::io::stdin()
        .read_to_end(&mut component)
        .map_err(|error| format!("cannot read the component: {error}"))?;
    let engine = engine::engine(Pool::None).map_err(|error: SandboxError| error.to_string())?;
    let code = engine
        .precompile_component(&component)
        .map_err(|error| format!("{error:#}"))?;
    std::io::stdout()
        .write_all(&code)
        .map_err(|error| format!("cannot hand the code back: {error}"))
}
