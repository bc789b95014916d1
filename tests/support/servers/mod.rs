//! Real servers for tests: each on free ports of this machine, gone with the test's process. A test that needs one
//! fails when it does not start.

pub(crate) mod dynamodb;
pub(crate) mod kafka;
pub(crate) mod s3;

use std::path::Path;
use std::sync::LazyLock;

use penstock_servers::{Installed, Server, Service};

/// Where `cargo xtask test` installs servers.
static INSTALLED: LazyLock<Installed> = LazyLock::new(|| {
    // The test's own program lies in <target>/debug/deps.
    let program = std::env::current_exe().expect("a test has a file");
    let target = program.ancestors().nth(3).map(Path::to_owned);
    Installed::below(&target.expect("three folders up is the target folder"))
});

/// Starts a server for one test, which may do with it what it likes.
#[track_caller]
pub(crate) fn start<S: Service + Clone>(service: S) -> Server<S> {
    Server::start(service, &INSTALLED).unwrap_or_else(|error| panic!("{error:#}"))
}
