//! `penstock-training-set`: reads a request as JSON from standard input, makes the training set, and prints what came of
//! it as JSON. `penstock training-set` starts it, and says what may be asked for.

use std::io::Read as _;
use std::process::ExitCode;

use penstock_training_set::{Made, Request, TrainingError, make};

fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        return refuse(2, &format!("the request cannot be read: {error}"));
    }
    let request: Request = match serde_json::from_str(&text) {
        Ok(request) => request,
        Err(error) => {
            return refuse(
                2,
                &format!("this is no request ({error}): use `penstock training-set`"),
            );
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(1, &format!("cannot start threads: {error}")),
    };
    match runtime.block_on(make(&request)) {
        Ok(made) => tell(&made),
        Err(error) => refuse(code(&error), &error.to_string()),
    }
}

fn tell(made: &Made) -> ExitCode {
    match serde_json::to_string(made) {
        Ok(text) => println!("{text}"),
        Err(error) => return refuse(1, &error.to_string()),
    }
    ExitCode::SUCCESS
}

fn code(error: &TrainingError) -> u8 {
    if error.is_bad_input() { 2 } else { 1 }
}

fn refuse(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}
