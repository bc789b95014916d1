//! `cargo xtask services`: real servers on this machine, for people who try something and for tests.
//!
//! What was started is noted in `target/services.json` before it answers, so that `down` finds it also when `up` was
//! interrupted. Whether a server lives is asked of the lock on its log, never of a process number alone: numbers are
//! used again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use penstock_servers::{
    CREDENTIALS, Installed, Place, Service, free_ports, is_running, stop_what_runs,
};
use serde_json::{Value, json};

use crate::command;
use crate::machine::{self, JAVA, MAVEN, NODE, PYTHON, Part};
use crate::workspace::Workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask services up               # all of them
  cargo xtask services up kafka s3      # these two
  eval \"$(cargo xtask services env)\"    # their addresses for this shell
  cargo xtask services status
  cargo xtask services down             # stops them and removes their data

Servers listen to free ports of this machine alone. Their logs are in target/services/NAME/log.";

/// What is to be done with servers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Install what is missing, start servers, wait until they answer, and say where they are
    #[command(after_help = EXAMPLES)]
    Up(Names),
    /// Stop servers and remove their data
    Down(Names),
    /// Show which servers run, where, and whether they answer
    Status(Names),
    /// Print what clients need as commands for a shell: eval "$(cargo xtask services env)"
    Env(Names),
    /// Install servers below the target folder without starting them
    Install(Names),
}

#[derive(Debug, Args)]
struct Names {
    /// Which servers; all if none is named
    #[arg(value_name = "NAME", value_parser = ["kafka", "kinesis", "s3", "dynamodb"])]
    names: Vec<String>,
}

impl Names {
    fn services(&self) -> Vec<Box<dyn Service>> {
        let named = |name: &str| self.names.is_empty() || self.names.iter().any(|n| n == name);
        let mut services = penstock_servers::all();
        services.retain(|service| named(service.name()));
        services
    }
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    match &options.action {
        Action::Up(names) => up(workspace, &names.services()),
        Action::Down(names) => down(workspace, &names.services()),
        Action::Status(names) => status(workspace, &names.services()),
        Action::Env(names) => env(workspace, &names.services()),
        Action::Install(names) => install(workspace, &names.services()),
    }
}

/// Installs every server that tests may start.
///
/// # Errors
///
/// If the machine lacks something that cannot be installed from here, or a package cannot be had.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    install(workspace, &penstock_servers::all())
}

/// Installs servers unless they are there.
///
/// # Errors
///
/// As [`prepare`].
pub(crate) fn install(workspace: &Workspace, services: &[Box<dyn Service>]) -> Result<()> {
    let installed = Installed::below(&workspace.target);
    // All at once, so that a person hears of everything that is missing the first time.
    let mut parts: Vec<Part> = Vec::new();
    for service in services {
        let there = installed.folder(service.as_ref()).is_dir();
        for part in needs(service.name(), there) {
            if !parts.iter().any(|other| other.is(&part)) {
                parts.push(part);
            }
        }
    }
    machine::prepare(&parts)?;
    for service in services {
        let took = penstock_servers::install(service.as_ref(), &installed, &mut command::run)?;
        if let Some(took) = took {
            println!(
                "{} {} installed in {:.1} s",
                service.name(),
                service.version(),
                took.as_secs_f64()
            );
        }
    }
    Ok(())
}

/// What of a machine a server needs to run, and to be installed unless it is.
fn needs(service: &str, installed: bool) -> Vec<Part> {
    match (service, installed) {
        ("kafka", false) => vec![JAVA, MAVEN],
        ("dynamodb", false) => vec![JAVA, NODE],
        ("kafka" | "dynamodb", true) => vec![JAVA],
        ("kinesis", _) => vec![NODE],
        _ => vec![PYTHON],
    }
}

fn up(workspace: &Workspace, services: &[Box<dyn Service>]) -> Result<()> {
    install(workspace, services)?;
    let installed = Installed::below(&workspace.target);
    let mut noted = Noted::open(workspace)?;
    for service in services {
        let service = service.as_ref();
        let name = service.name();
        if let Some(running) = noted.running(name) {
            service.answers(&running.ports).with_context(|| {
                format!("{name} runs and does not answer: stop it with `cargo xtask services down {name}`")
            })?;
            println!("{name} is up already");
            continue;
        }
        let start = Instant::now();
        let place = Place {
            installed: installed.expect(service)?,
            folder: noted.folder(name),
            ports: free_ports(service.ports())?,
        };
        remove(&place.folder)?;
        place.prepare(service)?;
        let mut child = place.spawn(service)?;
        noted.set(name, Some((child.id(), &place.ports)))?;
        if let Err(error) = place.wait(service, &mut child) {
            noted.set(name, None)?;
            return Err(error);
        }
        println!("{name} is up after {:.1} s", start.elapsed().as_secs_f64());
    }
    println!();
    print!("{}", noted.table(services));
    println!("\nFor clients, or all at once with `eval \"$(cargo xtask services env)\"`:\n");
    print!("{}", noted.exports(services));
    Ok(())
}

fn down(workspace: &Workspace, services: &[Box<dyn Service>]) -> Result<()> {
    let mut noted = Noted::open(workspace)?;
    for service in services {
        let name = service.name();
        let Some(server) = noted.get(name) else {
            continue;
        };
        let folder = noted.folder(name);
        let ran = is_running(&folder);
        stop_what_runs(&folder, server.process).with_context(|| format!("cannot stop {name}"))?;
        remove(&folder)?;
        noted.set(name, None)?;
        println!("{name} {}", if ran { "is stopped" } else { "had ended" });
    }
    Ok(())
}

fn status(workspace: &Workspace, services: &[Box<dyn Service>]) -> Result<()> {
    print!("{}", Noted::open(workspace)?.table(services));
    Ok(())
}

fn env(workspace: &Workspace, services: &[Box<dyn Service>]) -> Result<()> {
    let exports = Noted::open(workspace)?.exports(services);
    if exports.is_empty() {
        bail!("no server runs: start them with `cargo xtask services up`");
    }
    print!("{exports}");
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// A server that `up` started. It may have ended since.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Started {
    process: u32,
    ports: Vec<u16>,
}

/// What is noted of servers. Others who change it wait until this one is dropped.
#[derive(Debug)]
struct Noted {
    file: PathBuf,
    folders: PathBuf,
    servers: BTreeMap<String, Started>,
    _lock: File,
}

impl Noted {
    fn open(workspace: &Workspace) -> Result<Self> {
        Self::below(&workspace.target)
    }

    fn below(target: &Path) -> Result<Self> {
        let folders = target.join("services");
        fs::create_dir_all(&folders)
            .with_context(|| format!("cannot make {}", folders.display()))?;
        let lock = File::create(folders.join("lock"))
            .with_context(|| format!("cannot write into {}", folders.display()))?;
        lock.lock().context("cannot wait for another `services`")?;
        let file = target.join("services.json");
        let servers = match fs::read_to_string(&file) {
            Ok(text) => read(&text).with_context(|| {
                format!(
                    "{} is damaged: remove it and end what it names",
                    file.display()
                )
            })?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self {
            file,
            folders,
            servers,
            _lock: lock,
        })
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folders.join(name)
    }

    fn get(&self, name: &str) -> Option<Started> {
        self.servers.get(name).cloned()
    }

    fn running(&self, name: &str) -> Option<Started> {
        self.get(name).filter(|_| is_running(&self.folder(name)))
    }

    fn set(&mut self, name: &str, server: Option<(u32, &[u16])>) -> Result<()> {
        match server {
            Some((process, ports)) => {
                let ports = ports.to_vec();
                self.servers
                    .insert(name.to_owned(), Started { process, ports });
            }
            None => {
                self.servers.remove(name);
            }
        }
        let servers: BTreeMap<&String, Value> = self
            .servers
            .iter()
            .map(|(name, server)| (name, json!({"pid": server.process, "ports": server.ports})))
            .collect();
        let text = format!("{:#}\n", json!(servers));
        fs::write(&self.file, text).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// A line for each service.
    fn table(&self, services: &[Box<dyn Service>]) -> String {
        let mut lines = String::new();
        for service in services {
            let (name, version) = (service.name(), service.version());
            let state = match self.get(name) {
                None => "down".to_owned(),
                Some(_) if !is_running(&self.folder(name)) => format!(
                    "ended by itself, see {}",
                    self.folder(name).join("log").display()
                ),
                Some(server) => {
                    let well = match service.answers(&server.ports) {
                        Ok(()) => "up",
                        Err(_) => "does not answer",
                    };
                    let (port, process) = (server.ports[0], server.process);
                    format!("{well:<6} 127.0.0.1:{port}  process {process}")
                }
            };
            let about = service.about();
            lines.push_str(&format!("{name:<10} {version:<7} {about:<24} {state}\n"));
        }
        lines
    }

    /// Commands for a shell.
    fn exports(&self, services: &[Box<dyn Service>]) -> String {
        let mut variables: Vec<(&str, String)> = Vec::new();
        for service in services {
            if let Some(server) = self.running(service.name()) {
                variables.extend(service.variables(&server.ports));
            }
        }
        if variables.iter().any(|(name, _)| name.starts_with("AWS_")) {
            variables.extend(CREDENTIALS.map(|(name, value)| (name, value.to_owned())));
        }
        variables
            .iter()
            .map(|(name, value)| format!("export {name}={value}\n"))
            .collect()
    }
}

fn read(text: &str) -> Result<BTreeMap<String, Started>> {
    let value: Value = serde_json::from_str(text)?;
    let object = value.as_object().context("it is no object")?;
    let server = |value: &Value| {
        let process = u32::try_from(value["pid"].as_u64()?).ok()?;
        let ports = value["ports"].as_array()?.iter();
        let ports: Option<Vec<u16>> = ports
            .map(|port| u16::try_from(port.as_u64()?).ok())
            .collect();
        let ports = ports.filter(|ports| !ports.is_empty())?;
        Some(Started { process, ports })
    };
    object
        .iter()
        .map(|(name, value)| {
            let started =
                server(value).with_context(|| format!("`{name}` has no pid and ports"))?;
            Ok((name.clone(), started))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let target = std::env::temp_dir().join(format!("penstock-noted-{}", std::process::id()));
        let mut noted = Noted::below(&target).expect("there is room");
        noted.set("kafka", Some((12, &[1, 2, 3]))).expect("written");
        noted.set("s3", Some((13, &[4]))).expect("written");
        noted.set("s3", None).expect("written");
        drop(noted);
        let noted = Noted::below(&target).expect("it is well");
        let kafka = Started {
            process: 12,
            ports: vec![1, 2, 3],
        };
        assert_eq!(noted.get("kafka"), Some(kafka));
        assert_eq!(noted.get("s3"), None);
        // No process holds the lock on its log.
        assert_eq!(noted.running("kafka"), None);
        let services = penstock_servers::all();
        assert_eq!(noted.exports(&services), "");
        let table = noted.table(&services);
        assert!(
            table.contains("ended by itself") && table.contains("down"),
            "{table}"
        );
        fs::remove_dir_all(&target).expect("it is ours");
    }

    #[test]
    fn a_damaged_note_is_told() {
        for text in [
            "",
            "[]",
            "{\"s3\": {}}",
            "{\"s3\": {\"pid\": 1, \"ports\": []}}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_service_has_a_name_on_the_command_line() {
        let all = Names { names: Vec::new() }.services();
        for service in &all {
            let arguments = ["cargo xtask", "services", "up", service.name()];
            clap::Parser::try_parse_from(arguments)
                .map(|_: crate::Arguments| ())
                .expect("it is a name");
            let one = Names {
                names: vec![service.name().to_owned()],
            };
            assert_eq!(one.services().len(), 1);
        }
    }
}
