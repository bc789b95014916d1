//! Compiling a component to native code, in a child process with limits of its own.
//!
//! The compiler works on bytes that nobody has read. Should it run away with time or memory, only
//! the child ends.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::engine::{self, Pool};
use super::{ComponentError, SandboxError, text};

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
                .map_err(|error| ComponentError::Invalid(text::shown(&format!("{error:#}")))),
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
    let message = text::shown(String::from_utf8_lossy(&output.stderr).trim());
    match output.status.code() {
        Some(REFUSED) => Err(ComponentError::Invalid(message)),
        Some(FAILED) => Err(ComponentError::Compile(message)),
        _ => Err(ComponentError::Compile(format!(
            "the compiling child ended with {} (it may use {CPU_SECONDS} s of CPU time and {} GiB): {message}",
            output.status,
            ADDRESS_SPACE >> 30
        ))),
    }
}

/// Exit code of the child for a component that is not valid: `EX_DATAERR` of sysexits.h. Not one of
/// the small numbers, which a program that was called wrongly ends with.
const REFUSED: i32 = 65;
/// Exit code of the child when it could not do its work: `EX_OSERR` of sysexits.h.
const FAILED: i32 = 71;

/// Why the child ends without code.
enum Ending {
    /// The component is not valid.
    Refused(String),
    /// Something else went wrong.
    Failed(String),
}

/// The child: reads a component from standard input, writes native code to standard output.
/// Gives the exit code.
pub fn compile_stdin() -> i32 {
    let (code, message) = match compile_with_limits() {
        Ok(()) => return 0,
        Err(Ending::Refused(message)) => (REFUSED, message),
        Err(Ending::Failed(message)) => (FAILED, message),
    };
    eprintln!("{message}");
    code
}

fn compile_with_limits() -> Result<(), Ending> {
    limit(Resource::Cpu, CPU_SECONDS)?;
    limit(Resource::As, ADDRESS_SPACE)?;
    let mut component = Vec::new();
    std::io::stdin()
        .read_to_end(&mut component)
        .map_err(|error| Ending::Failed(format!("cannot read the component: {error}")))?;
    let engine = engine::engine(Pool::None)
        .map_err(|error: SandboxError| Ending::Failed(error.to_string()))?;
    let code = engine
        .precompile_component(&component)
        .map_err(|error| Ending::Refused(format!("{error:#}")))?;
    std::io::stdout()
        .write_all(&code)
        .map_err(|error| Ending::Failed(format!("cannot hand the code back: {error}")))
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
    fn compile_with(script: &str) -> Result<Vec<u8>, ComponentError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        in_child(&PathBuf::from("/bin/sh"), &arguments, b"a component")
    }

    #[test]
    fn only_a_component_that_the_compiler_refuses_is_invalid() {
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
        // As a program that does not know its arguments, and one that ran into a limit.
        for script in ["exit 2", "kill -XCPU $$"] {
            let other = compile_with(script);
            assert!(
                matches!(&other, Err(ComponentError::Compile(message)) if message.contains("120 s")),
                "{other:?}"
            );
        }
        assert_eq!(compile_with("cat").unwrap(), b"a component");
    }
}
