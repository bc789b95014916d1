//! Where the programs of servers are kept: `<name>-<version>` below one folder, whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{Run, Service};

/// A folder that servers are installed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed(PathBuf);

impl Installed {
    /// The folder for a target folder of cargo.
    pub fn below(target: &Path) -> Self {
        Self(target.join("servers"))
    }

    /// Where this kind of server is, or would be.
    pub fn folder(&self, service: &dyn Service) -> PathBuf {
        self.0
            .join(format!("{}-{}", service.name(), service.version()))
    }

    /// As [`Self::folder`], for those who need it to be there.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn expect(&self, service: &dyn Service) -> Result<PathBuf> {
        let folder = self.folder(service);
        if !folder.is_dir() {
            let (name, version) = (service.name(), service.version());
            bail!(
                "{name} {version} is not installed: run `cargo xtask services install {name}`, or `cargo xtask test`, which installs all servers"
            );
        }
        Ok(folder)
    }
}

/// Installs a kind of server unless it is there, and gives how long that took.
///
/// # Errors
///
/// If a package cannot be had; nothing is left behind that a next attempt could take for whole.
pub fn install(
    service: &dyn Service,
    installed: &Installed,
    run: &mut Run<'_>,
) -> Result<Option<Duration>> {
    let folder = installed.folder(service);
    if folder.is_dir() {
        return Ok(None);
    }
    let root = &installed.0;
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    // Two that install at once would write into the same folder: the second waits, and then finds it done.
    let lock = root.join("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
    lock.lock()
        .context("cannot wait for others that install servers")?;
    if folder.is_dir() {
        return Ok(None);
    }
    let start = Instant::now();
    let unfinished = folder.with_added_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    fs::create_dir(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    service
        .install(&unfinished, run)
        .with_context(|| format!("cannot install {} {}", service.name(), service.version()))?;
    fs::rename(&unfinished, &folder)
        .with_context(|| format!("cannot rename {}", unfinished.display()))?;
    Ok(Some(start.elapsed()))
}

#[cfg(test)]
#[path = "installation_tests.rs"]
mod tests;
