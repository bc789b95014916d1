//! A server that a test holds.

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::guard::Guard;
use crate::ports::is_free;
use crate::process::{send, stop_what_runs};
use crate::{Installed, Place, Service, free_ports};

/// How often ports are chosen, for somebody may take one between its choice and the server's start.
const ATTEMPTS: u32 = 4;

/// A server of this process. It ends with this value, or with the process, also when that is killed; so does its
/// folder.
#[derive(Debug)]
pub struct Server<S: Service> {
    service: S,
    place: Place,
    child: Option<Child>,
    guard: Guard,
}

impl<S: Service + Clone> Server<S> {
    /// Starts a new server in a temporary folder on free ports, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it is not installed or does not start; with the end of its log.
    pub fn start(service: S, installed: &Installed) -> Result<Self> {
        let programs = installed.expect(&service)?;
        let mut attempt = 1;
        loop {
            let mut server = Self::prepare(service.clone(), &programs)?;
            let Err(error) = server.start_again() else {
                return Ok(server);
            };
            let taken = server.place.ports.iter().any(|&port| !is_free(port));
            if !taken || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
        }
    }

    fn prepare(service: S, programs: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "penstock-{}-{}-{number}",
            service.name(),
            std::process::id()
        );
        let place = Place {
            installed: programs.to_owned(),
            folder: std::env::temp_dir().join(name),
            ports: free_ports(service.ports())?,
        };
        let guard = Guard::over(&place.folder)?;
        place.prepare(&service)?;
        Ok(Self {
            service,
            place,
            child: None,
            guard,
        })
    }
}

impl<S: Service> Server<S> {
    /// Starts a stopped or killed server on the same ports, over what it kept, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not start, or runs already.
    pub fn start_again(&mut self) -> Result<()> {
        let child = self.place.spawn(&self.service)?;
        self.guard.hold(Some(child.id()))?;
        let child = self.child.insert(child);
        self.place.wait(&self.service, child)
    }

    /// Asks the server to end, and waits for it.
    ///
    /// # Errors
    ///
    /// If it is stopped already, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        let id = self.id()?;
        stop_what_runs(&self.place.folder, id)?;
        self.reap()
    }

    /// Ends the server as a power cut would (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it is stopped already.
    pub fn kill(&mut self) -> Result<()> {
        send(self.id()?, Signal::KILL)?;
        self.reap()
    }

    /// Stops time for the server (SIGSTOP): connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// If it is stopped.
    pub fn freeze(&self) -> Result<()> {
        send(self.id()?, Signal::STOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// If it is stopped.
    pub fn thaw(&self) -> Result<()> {
        send(self.id()?, Signal::CONT)
    }

    /// The port that clients talk to.
    pub fn port(&self) -> u16 {
        self.place.ports[0]
    }

    /// The address that clients talk to: `127.0.0.1:12345`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// What clients need, as variables of their environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.service.variables(&self.place.ports)
    }

    /// Where it runs, and its log is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn id(&self) -> Result<u32> {
        let child = self.child.as_ref();
        let id = child.map(Child::id);
        id.with_context(|| format!("{} is stopped: start it again first", self.service.name()))
    }

    fn reap(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.wait().context("cannot wait for a server's end")?;
        }
        self.guard.hold(None)
    }
}

impl<S: Service> Drop for Server<S> {
    fn drop(&mut self) {
        if self.child.is_some() {
            // The guard, which ends next, does what fails here.
            let _ = self.kill();
        }
    }
}
