//! `penstock-training-set`: reads a request as JSON from standard input, makes the training set, and prints what came of
//! it as JSON. With the argument `times` it tells from when to when rows are, and does nothing else. `penstock training-set`
//! starts it, and says what may be asked for.
//!
//! Exit codes: 0 for success, 1 for a failure while working, 2 for what cannot be asked for, 3 when none of the files has a
//! feature (there may be others), 130 when somebody stopped it: nothing is left then.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::process::ExitCode;

use penstock_training_set::{Request, Spine, TrainingError, make, times, work_folder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a program that somebody stopped.
const STOPPED: i32 = 130;
/// How often a folder is removed until nothing is left of it.
const TRIES: u32 = 16;

fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        return refuse(2, &format!("the request cannot be read: {error}"));
    }
    match std::env::args().nth(1).as_deref() {
        None => work(&text, join),
        Some("times") => work(&text, |spine: Spine| Ok(tell(&times(&spine)?))),
        Some(other) => refuse(
            2,
            &format!("`{other}` is nothing to ask for: use `penstock training-set`"),
        ),
    }
}

fn work<R: DeserializeOwned>(
    text: &str,
    work: impl FnOnce(R) -> Result<ExitCode, TrainingError>,
) -> ExitCode {
    match serde_json::from_str(text) {
        Ok(request) => {
            work(request).unwrap_or_else(|error| refuse(code(&error), &error.to_string()))
        }
        Err(error) => refuse(
            2,
            &format!("this is no request ({error}): use `penstock training-set`"),
        ),
    }
}

fn join(request: Request) -> Result<ExitCode, TrainingError> {
    // Whoever finds it locked leaves the folder alone, also when the process that started this one is gone.
    let lock = File::open(request.scratch.join("lock"));
    let _lock = lock.ok().filter(|lock| lock.lock_shared().is_ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(until_stopped(request)),
        Err(error) => Ok(refuse(1, &format!("cannot start threads: {error}"))),
    }
}

async fn until_stopped(request: Request) -> Result<ExitCode, TrainingError> {
    let caught = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = caught else {
        return Ok(refuse(1, "cannot catch signals"));
    };
    let work = work_folder(&request.scratch);
    // Sorting gives up its thread seldom, so this one listens.
    let making = tokio::spawn(async move { make(&request).await });
    tokio::select! {
        made = making => match made {
            Ok(made) => Ok(tell(&made?)),
            Err(panic) => Ok(refuse(1, &panic.to_string())),
        },
        _ = interrupt.recv() => stop(&work),
        _ = terminate.recv() => stop(&work),
    }
}

/// Ends the process, of which nothing stays.
fn stop(work: &Path) -> ! {
    // Who is still at work may put something there while it is being removed.
    for _ in 0..TRIES {
        if std::fs::remove_dir_all(work).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            break;
        }
    }
    eprintln!("stopped");
    std::process::exit(STOPPED)
}

fn tell(told: &impl Serialize) -> ExitCode {
    match serde_json::to_string(told) {
        Ok(text) => println!("{text}"),
        Err(error) => return refuse(1, &error.to_string()),
    }
    ExitCode::SUCCESS
}

fn code(error: &TrainingError) -> u8 {
    match error {
        TrainingError::NoHistory { .. } => 3,
        error if error.is_bad_input() => 2,
        _ => 1,
    }
}

fn refuse(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}
