//! `penstock push`, `list`, `pull` and `keygen`: versions of transforms in a registry.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::show::{self, say};
use super::{Failure, logs};
use crate::config::{DEFAULT_ENVIRONMENT, Environment, VersionedName};
use crate::registry::{Registry, RegistryError, Signer, Version};

/// Whose registry.
#[derive(Debug, clap::Args)]
struct Of {
    /// The environment whose registry it is.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// Print what there is to say as JSON.
    #[arg(long)]
    json: bool,
}

/// Puts a component into the registry as a version, which never changes from then on.
///
/// The registry is that of an environment of the nearest penstock.toml: `registry = "…"`, a folder or
/// s3://BUCKET/PREFIX. Pipelines name a version as `transform = "NAME@VERSION"`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock push target/transforms/driver.wasm driver@1.2.0
  penstock push driver.wasm driver@1.2.0 --sign ci.key --env production

Pushing equal bytes again changes nothing, and may add a signature. Exit code 2 says that the version is there with
other bytes, or that the file is no transform.")]
pub(super) struct PushArguments {
    /// The component.
    #[arg(value_name = "COMPONENT.wasm")]
    component: PathBuf,
    /// What it will be called.
    #[arg(value_name = "NAME@VERSION")]
    name: String,
    /// A file with a secret key to sign it with, which `penstock keygen` made.
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    of: Of,
}

/// Shows the versions in the registry: name, version, digest, size, and which trusted keys have signed them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock list
  penstock list driver --env production --json")]
pub(super) struct ListArguments {
    /// Only versions of this name.
    name: Option<String>,
    #[command(flatten)]
    of: Of,
}

/// Fetches a version from the registry into a file. Its digest, and its signatures where the environment wants them,
/// are checked first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock pull driver@1.2.0
  penstock pull driver@1.2.0 -o old.wasm && penstock inspect old.wasm")]
pub(super) struct PullArguments {
    /// The version.
    #[arg(value_name = "NAME@VERSION")]
    name: String,
    /// The file to write; by default NAME@VERSION.wasm in this folder.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    of: Of,
}

/// Makes a key to sign transforms with. The secret part goes to a new file that only this user may read; the public
/// part is printed, for `keys` of `[environments.NAME.signatures]` in penstock.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  penstock keygen ci.key")]
pub(super) struct KeygenArguments {
    /// The file of the secret key, which must not be there yet.
    file: PathBuf,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error.is_of_the_system() {
            true => Self::work(error),
            false => Self::input(error),
        }
    }
}

pub(super) fn push(arguments: &PushArguments) -> Result<(), Failure> {
    let name = name(&arguments.name)?;
    let sandbox = super::sandbox()?;
    let bytes = read(&arguments.component)?;
    // What could never run is refused here, where somebody is there to see it.
    let component = sandbox.load(&bytes);
    component
        .map_err(|error| Failure::input(format!("{}: {error}", arguments.component.display())))?;
    let signer = arguments.sign.as_deref().map(Signer::read).transpose()?;
    let registry = registry(&arguments.of)?;
    let pushed = runtime()?.block_on(registry.push(&name, bytes.into(), signer.as_ref()))?;
    if arguments.of.json {
        let mut shown = to_json(&registry, &pushed.version);
        shown["was_there"] = pushed.was_there.into();
        show::json(&shown);
        return Ok(());
    }
    if pushed.was_there {
        logs::note(&format!("{name} was there already, with these bytes"));
    }
    say!("{name}  {}", pushed.version.digest);
    Ok(())
}

pub(super) fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let registry = registry(&arguments.of)?;
    let versions = runtime()?.block_on(registry.list(arguments.name.as_deref()))?;
    if arguments.of.json {
        let shown = versions.iter().map(|version| to_json(&registry, version));
        show::json(&shown.collect::<Vec<_>>());
        return Ok(());
    }
    let width = versions
        .iter()
        .map(|version| version.name.to_string().len())
        .max();
    for version in &versions {
        say!(
            "{:<width$}  {}  {:>9}  {}",
            version.name.to_string(),
            version.digest,
            show::bytes(version.size),
            signed(&registry, version),
            width = width.unwrap_or(0)
        );
    }
    Ok(())
}

pub(super) fn pull(arguments: &PullArguments) -> Result<(), Failure> {
    let name = name(&arguments.name)?;
    let registry = registry(&arguments.of)?;
    let (version, bytes) = runtime()?.block_on(async {
        let version = registry.resolve(&name).await?;
        let bytes = registry.fetch(&version).await?;
        Ok::<_, RegistryError>((version, bytes))
    })?;
    let usual = || PathBuf::from(format!("{name}.wasm"));
    let file = arguments.output.clone().unwrap_or_else(usual);
    std::fs::write(&file, &bytes)
        .map_err(|error| Failure::work(format!("cannot write {}: {error}", file.display())))?;
    match arguments.of.json {
        true => {
            let mut shown = to_json(&registry, &version);
            shown["file"] = file.display().to_string().into();
            show::json(&shown);
        }
        false => say!("{}  {}", file.display(), version.digest),
    }
    Ok(())
}

pub(super) fn keygen(arguments: &KeygenArguments) -> Result<(), Failure> {
    let signer = Signer::make(&arguments.file)?;
    say!("{}", signer.public());
    Ok(())
}

fn to_json(registry: &Registry, version: &Version) -> serde_json::Value {
    let keys = version.signatures.iter().map(|signature| signature.key());
    json!({
        "name": version.name.name(),
        "version": version.name.version(),
        "digest": version.digest,
        "size": version.size,
        "signed_by": registry.signers_of(version).unwrap_or_default(),
        "refused": registry.signers_of(version).err().map(|error| error.to_string()),
        "signatures": keys.collect::<Vec<_>>(),
    })
}

fn signed(registry: &Registry, version: &Version) -> String {
    match registry.signers_of(version) {
        Ok(signers) if signers.is_empty() => String::new(),
        Ok(signers) => format!("signed by {}", signers.join(", ")),
        Err(RegistryError::Unsigned { .. }) => "not signed by a trusted key".to_owned(),
        Err(_) => "REFUSED: a signature is not of these bytes".to_owned(),
    }
}

pub(super) fn name(text: &str) -> Result<VersionedName, Failure> {
    VersionedName::parse(text).map_err(Failure::Input)
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::input(format!("cannot read {}: {error}", file.display())))
}

fn registry(of: &Of) -> Result<Registry, Failure> {
    let environment = Environment::find_and_load(&of.project, &of.env).map_err(Failure::input)?;
    Ok(Registry::open(&environment.registry)?)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))
}
