//! `penstock componentize`: makes a component of the core module that a compiler leaves.

use std::path::{Path, PathBuf};

use super::Failure;
use super::build::encode;
use super::show::{self, say};

/// Makes a component of a core module, which has the contract's exports and needs no bindings' sections.
/// `penstock build` does this and all that comes before it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cargo build --release --target wasm32-unknown-unknown
  penstock componentize target/wasm32-unknown-unknown/release/my_feature.wasm -o my_feature.wasm")]
pub(super) struct Arguments {
    /// The core module.
    #[arg(value_name = "MODULE.wasm")]
    module: PathBuf,
    /// Where to write the component.
    #[arg(long, short, value_name = "COMPONENT.wasm")]
    output: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let bytes = write(&arguments.module, &arguments.output)?;
    say!("{}: {}", arguments.output.display(), show::bytes(bytes));
    Ok(())
}

/// Makes a component of a core module and writes it, whole or not at all; gives its size in bytes.
pub(super) fn write(module: &Path, output: &Path) -> Result<u64, Failure> {
    let path = module.display();
    let module = std::fs::read(module)
        .map_err(|error| Failure::input(format!("cannot read {path}: {error}")))?;
    if module.get(4..8) == Some(&[0x0d, 0, 1, 0]) {
        return Err(Failure::input(format!("{path} is a component already")));
    }
    let component = encode(&module).map_err(|error| {
        Failure::input(format!(
            "cannot make a component of {path}: {error}; `penstock build` does all of it, from the sources"
        ))
    })?;
    // Written aside and renamed, so that no half of a component is ever there to be loaded.
    let unfinished = output.with_extension("wasm.partial");
    std::fs::write(&unfinished, &component)
        .and_then(|()| std::fs::rename(&unfinished, output))
        .map_err(|error| Failure::work(format!("cannot write {}: {error}", output.display())))?;
    Ok(component.len() as u64)
}
