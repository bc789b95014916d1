//! Servers that the tests of whole programs talk to, and where they come from.

use std::process::Command;

use anyhow::Result;

use crate::{command, workspace::Workspace};

/// The S3 API that tests read from. Pinned: another version may answer differently.
const MOTO: &str = "moto[server]==5.2.1";

/// Installs what is missing, below the target folder.
///
/// # Errors
///
/// If Python cannot make a virtual environment, or a package cannot be had.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    let folder = workspace.target.join("servers").join("moto");
    let installed = folder.join("bin").join("moto_server");
    let answers = |program: &str| command::succeeds(program, &["--help"]);
    if answers(&installed.to_string_lossy()) || answers("moto_server") {
        return Ok(());
    }
    println!("moto_server is missing and will be installed");
    command::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let pip = folder.join("bin").join("pip");
    let options = ["install", "--quiet", "--disable-pip-version-check", MOTO];
    command::run(Command::new(pip).args(options))
}
