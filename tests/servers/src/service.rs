//! What a kind of server must say of itself.

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::Place;

/// Runs a command to its end, and fails unless it succeeds. Whoever installs something shows the commands in their own
/// way.
pub type Run<'a> = dyn FnMut(&mut Command) -> Result<()> + 'a;

/// What any server of an AWS API takes here, as variables of its clients.
pub const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "not-to-be-shown"),
    ("AWS_REGION", "us-east-1"),
];

/// A kind of server, with its settings.
pub trait Service: Debug + Send + Sync {
    /// What people call it: `kafka`.
    fn name(&self) -> &'static str;

    /// The version that is installed. Pinned: another one may answer differently.
    fn version(&self) -> &'static str;

    /// What it is, for people.
    fn about(&self) -> &'static str;

    /// Puts the programs into `folder`, which is there and empty, and is renamed afterwards.
    ///
    /// # Errors
    ///
    /// If a package cannot be had.
    fn install(&self, folder: &Path, run: &mut Run<'_>) -> Result<()>;

    /// How many ports it listens to. Clients talk to the first.
    fn ports(&self) -> usize {
        1
    }

    /// What is done once in a new place, before the first start.
    ///
    /// # Errors
    ///
    /// If a file cannot be written or a program fails.
    fn prepare(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    /// The command that is the server, and runs until it is stopped.
    ///
    /// # Errors
    ///
    /// If the installed programs are not as they should be.
    fn command(&self, place: &Place) -> Result<Command>;

    /// Asks the server something that only a working one can answer.
    ///
    /// # Errors
    ///
    /// If it does not answer, or not well: it starts, has ended, or is broken.
    fn answers(&self, ports: &[u16]) -> Result<()>;

    /// What clients need, as variables of their environment; [`CREDENTIALS`] come on top of it where they are asked
    /// for.
    fn variables(&self, ports: &[u16]) -> Vec<(&'static str, String)>;
}
