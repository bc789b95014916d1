//! Where one server runs: its programs, its folder, its ports.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::Service;
use crate::process::{LOG, STARTS_WITHIN, poll, tail};

/// Where one server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its programs, which other servers use too.
    pub installed: PathBuf,
    /// A folder of its own, for data, settings and its log.
    pub folder: PathBuf,
    /// The ports it listens to.
    pub ports: Vec<u16>,
}

impl Place {
    /// Makes the folder, which must not exist, and what the service wants in it.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or a program of the service fails.
    pub fn prepare(&self, service: &dyn Service) -> Result<()> {
        fs::create_dir(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        service
            .prepare(self)
            .with_context(|| format!("cannot prepare {} for its first start", service.name()))
    }

    /// What the server prints, over all of its starts.
    pub fn log(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// Starts the server in a process group of its own, so that Ctrl-C on the terminal does not reach it. It need not
    /// answer yet: see [`Self::wait`].
    ///
    /// # Errors
    ///
    /// If its program does not start, or one runs here already.
    pub fn spawn(&self, service: &dyn Service) -> Result<Child> {
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        // The server inherits the locked file as its output and so holds the lock for as long as it lives: that is how
        // others know whether it does, when its process number may long be another's.
        if log.try_lock().is_err() {
            bail!("a server runs in {} already", self.folder.display());
        }
        let errors = log.try_clone().context("cannot open its log twice")?;
        let mut command = service.command(self)?;
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .spawn()
            .with_context(|| format!("cannot start {}: `{program}` does not run", service.name()))
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    ///
    /// If it ends, or does not answer for minutes; then it is killed. The error has the end of its log.
    pub fn wait(&self, service: &dyn Service, child: &mut Child) -> Result<()> {
        let mut last = None;
        let ended = poll(STARTS_WITHIN, || match child.try_wait() {
            Ok(None) => match service.answers(&self.ports) {
                Ok(()) => Some(None),
                Err(error) => {
                    last = Some(error);
                    None
                }
            },
            Ok(Some(status)) => Some(Some(status.to_string())),
            Err(error) => Some(Some(error.to_string())),
        });
        let what = match ended {
            Some(None) => return Ok(()),
            Some(Some(status)) => format!("ended at its start ({status})"),
            None => {
                // It may have ended meanwhile, which is as well.
                let _ = child.kill();
                let _ = child.wait();
                let last = last.map_or_else(String::new, |error| format!(": {error:#}"));
                format!("did not answer within {} s{last}", STARTS_WITHIN.as_secs())
            }
        };
        let name = service.name();
        bail!("{name} {what}; the end of its log:\n{}", tail(&self.log()))
    }

    /// Runs a program of the service to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("`{program}` does not run"))?;
        if !output.status.success() {
            bail!(
                "`{program}` failed ({}):\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}
