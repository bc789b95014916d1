//! Compiling a component to native code, in a child process with limits of its own.
//!
//! The compiler works on bytes that nobody has read. Should it run away with time or memory, only
//! the child ends.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, setrlimit};

use super::engine::{self, Pool};
use super::limits::Limits;
use super::{ComponentError, SandboxError, text};

/// Where the child finds its limits: seconds of CPU time, and bytes of address space.
const LIMITS: &str = "PENSTOCK_COMPILE_LIMITS";

/// How much less of a processor the child gets than lanes where both want it ("nice", see sched(7)): nobody waits for a
/// compilation as lanes wait for batches.
const NICE: i32 = 10;

/// How many times its CPU time a child may take by the clock, on a machine that is busy with other things.
const PATIENCE: u32 = 5;

/// Bytes of messages of the child that are looked at.
const MESSAGE_BYTES: u64 = 64 << 10;

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
        limits: &Limits,
    ) -> Result<Vec<u8>, ComponentError> {
        match self {
            Self::InProcess => engine
                .precompile_component(component)
                .map_err(|error| ComponentError::Invalid(text::shown(&format!("{error:#}")))),
            Self::Child { program, arguments } => in_child(program, arguments, component, limits),
        }
    }
}

/// CPU time of a compilation in whole seconds, as the system counts it.
fn cpu_seconds(limits: &Limits) -> u64 {
    limits.compile_time.as_secs().max(1)
}

fn in_child(
    program: &PathBuf,
    arguments: &[String],
    component: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, ComponentError> {
    let failed = |error: std::io::Error| {
        ComponentError::Compile(format!(
            "cannot run the compiling child {}: {error}",
            program.display()
        ))
    };
    let allowed = format!("{} {}", cpu_seconds(limits), limits.compile_memory);
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env(LIMITS, allowed)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (code, message, ended) = converse(&mut child, component, limits).map_err(failed)?;
    let message = text::shown(String::from_utf8_lossy(&message).trim());
    match ended {
        Ended::Late => Err(ComponentError::Limit {
            name: "compile_time",
            limit: format!("{} s", cpu_seconds(limits)),
            requested: format!("{PATIENCE} times as long by the clock"),
        }),
        Ended::With(status) if status.success() => Ok(code),
        Ended::With(status) => Err(why(status, message, limits)),
    }
}

/// How a child came to its end.
enum Ended {
    With(ExitStatus),
    /// It took so long that it was ended.
    Late,
}

/// Hands the component over, and takes what comes back. A child that does nothing is ended: no limit of
/// the system is.
fn converse(
    child: &mut Child,
    component: &[u8],
    limits: &Limits,
) -> std::io::Result<(Vec<u8>, Vec<u8>, Ended)> {
    let mut stdin = child.stdin.take().expect("asked for a pipe");
    let stdout = child.stdout.take().expect("asked for a pipe");
    let stderr = child.stderr.take().expect("asked for a pipe");
    let patience = Duration::from_secs(cpu_seconds(limits)).saturating_mul(PATIENCE);
    let most = limits.compile_memory;
    std::thread::scope(|scope| {
        // A child that ends early breaks the pipe; its exit status says more than that error.
        scope.spawn(move || stdin.write_all(component));
        let message = scope.spawn(move || read(stderr, MESSAGE_BYTES));
        let (done, is_done) = sync_channel::<()>(1);
        let code = scope.spawn(move || {
            let code = read(stdout, most);
            // The other side may have run out of patience.
            let _ = done.send(());
            code
        });
        let is_late = is_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
        if is_late {
            child.kill()?;
        }
        let status = child.wait()?;
        let joined = |read: std::thread::ScopedJoinHandle<'_, std::io::Result<Vec<u8>>>| {
            let read = read.join();
            read.unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
        };
        let ended = match is_late {
            true => Ended::Late,
            false => Ended::With(status),
        };
        Ok((joined(code)?, joined(message)?, ended))
    })
}

fn read(pipe: impl Read, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the end of a child that gave no code says.
fn why(status: ExitStatus, message: String, limits: &Limits) -> ComponentError {
    let is = |signal: Signal| status.signal() == Some(signal.as_raw());
    if is(Signal::XCPU) || is(Signal::KILL) {
        return ComponentError::Limit {
            name: "compile_time",
            limit: format!("{} s", cpu_seconds(limits)),
            requested: "more CPU time".into(),
        };
    }
    // Rust ends a process so that has asked for memory in vain, and its threads with this code.
    if is(Signal::ABORT) || is(Signal::SEGV) || status.code() == Some(PANICKED) {
        return ComponentError::Limit {
            name: "compile_memory",
            limit: format!("{} bytes", limits.compile_memory),
            requested: format!("more, it seems ({message})"),
        };
    }
    match status.code() {
        Some(EXHAUSTED) => ComponentError::Limit {
            name: "compile_memory",
            limit: format!("{} bytes", limits.compile_memory),
            requested: "more".into(),
        },
        Some(REFUSED) => ComponentError::Invalid(message),
        Some(FAILED) => ComponentError::Compile(message),
        _ => ComponentError::Compile(format!(
            "the compiling child ended with {status} (it may use {} s of CPU time, `limits.compile_time`, and {} bytes, `limits.compile_memory`): {message}",
            cpu_seconds(limits),
            limits.compile_memory
        )),
    }
}

/// Exit code of a Rust program whose main thread panicked.
const PANICKED: i32 = 101;
/// Exit code of the child for a component that is not valid: `EX_DATAERR` of sysexits.h. Not one of
/// the small numbers, which a program that was called wrongly ends with.
const REFUSED: i32 = 65;
/// Exit code of the child when it could not do its work: `EX_OSERR` of sysexits.h.
const FAILED: i32 = 71;

/// Exit code of the child when the system gave it no more memory: `EX_TEMPFAIL` of sysexits.h.
const EXHAUSTED: i32 = 75;

/// Why the child ends without code.
enum Ending {
    /// The component is not valid.
    Refused(String),
    /// There is no memory left for it.
    Exhausted(String),
    /// Something else went wrong.
    Failed(String),
}

/// The child: reads a component from standard input, writes native code to standard output.
/// Gives the exit code.
pub fn compile_stdin() -> i32 {
    let (code, message) = match compile_with_limits() {
        Ok(()) => return 0,
        Err(Ending::Refused(message)) => (REFUSED, message),
        Err(Ending::Exhausted(message)) => (EXHAUSTED, message),
        Err(Ending::Failed(message)) => (FAILED, message),
    };
    eprintln!("{message}");
    code
}

fn compile_with_limits() -> Result<(), Ending> {
    let (cpu_seconds, address_space) = limits_of_child()?;
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::As, address_space)?;
    // Nobody needs an image of it.
    limit(Resource::Core, 0)?;
    let is_nice = nice(NICE);
    is_nice.map_err(|error| Ending::Failed(format!("cannot give way to others: {error}")))?;
    let mut component = Vec::new();
    std::io::stdin()
        .read_to_end(&mut component)
        .map_err(|error| {
            let is_exhausted = error.kind() == std::io::ErrorKind::OutOfMemory;
            let message = format!("cannot read the component: {error}");
            match is_exhausted {
                true => Ending::Exhausted(message),
                false => Ending::Failed(message),
            }
        })?;
    let engine = engine::engine(Pool::None)
        .map_err(|error: SandboxError| Ending::Failed(error.to_string()))?;
    let code = engine
        .precompile_component(&component)
        .map_err(|error| Ending::Refused(format!("{error:#}")))?;
    std::io::stdout()
        .write_all(&code)
        .map_err(|error| Ending::Failed(format!("cannot hand the code back: {error}")))
}

/// What the parent allows. Whoever calls this by hand has the limits of every pipeline.
fn limits_of_child() -> Result<(u64, u64), Ending> {
    let Ok(text) = std::env::var(LIMITS) else {
        let limits = Limits::default();
        return Ok((cpu_seconds(&limits), limits.compile_memory));
    };
    let mut numbers = text.split(' ').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seconds)), Some(Ok(bytes))) => Ok((seconds, bytes)),
        _ => Err(Ending::Failed(format!(
            "{LIMITS} is not two numbers: {text}"
        ))),
    }
}

/// Sets a limit that not even the child itself can raise again; a stricter one of the machine stays.
fn limit(resource: Resource, most: u64) -> Result<(), Ending> {
    let most = getrlimit(resource)
        .maximum
        .map_or(most, |hard| hard.min(most));
    let limits = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, limits)
        .map_err(|error| Ending::Failed(format!("cannot limit the compiling child: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a child that runs `script` comes to.
    fn compile_with(script: &str, limits: &Limits) -> Result<Vec<u8>, ComponentError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        in_child(
            &PathBuf::from("/bin/sh"),
            &arguments,
            b"a component",
            limits,
        )
    }

    #[test]
    fn only_a_component_that_the_compiler_refuses_is_invalid() {
        let limits = Limits::default();
        let compile_with = |script: &str| compile_with(script, &limits);
        let refused = compile_with(&format!("echo unknown opcode >&2; exit {REFUSED}"));
        assert!(
            matches!(&refused, Err(ComponentError::Invalid(message)) if message == "unknown opcode"),
            "{refused:?}"
        );
        let failed = compile_with(&format!("echo no room >&2; exit {FAILED}"));
        assert!(
            matches!(&failed, Err(ComponentError::Compile(message)) if message == "no room"),
            "{failed:?}"
        );
        // As a program that does not know its arguments.
        let other = compile_with("exit 2");
        assert!(
            matches!(&other, Err(ComponentError::Compile(message)) if message.contains("120 s")),
            "{other:?}"
        );
        assert_eq!(compile_with("cat").unwrap(), b"a component");
    }

    #[test]
    fn a_limit_that_ended_the_child_is_named() {
        let limits = Limits {
            compile_time: Duration::from_secs(1),
            ..Limits::default()
        };
        for (script, expected) in [
            ("kill -XCPU $$", "compile_time"),
            ("kill -ABRT $$", "compile_memory"),
            // It uses no time at all, and would never end.
            ("exec sleep 1000", "compile_time"),
        ] {
            let ended = compile_with(script, &limits);
            assert!(
                matches!(&ended, Err(ComponentError::Limit { name, .. }) if *name == expected),
                "{script}: {ended:?}"
            );
        }
    }
}
