//! Makes Rust of the protocols beside this package: run it with `cargo run -p penstock-proto` when one has changed. What
//! it writes is committed, and a test holds the two together.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use prost::Message as _;

/// The files that are made, and what tonic calls them.
const MADE: [(&str, &str); 2] = [
    ("penstock.v1.rs", "v1.rs"),
    ("features.bin", "features.bin"),
];

fn main() -> Result<()> {
    let made = tempfile::tempdir()?;
    make(made.path())?;
    for (name, kept) in MADE {
        let to = kept_in().join(kept);
        fs::copy(made.path().join(name), &to).with_context(|| format!("{}", to.display()))?;
        println!("{}", to.display());
    }
    Ok(())
}

fn make(to: &Path) -> Result<()> {
    let descriptors = protox::compile(["penstock/v1/features.proto"], [here()])?;
    let described = descriptors.encode_to_vec();
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(to)
        .compile_fds(descriptors)?;
    fs::write(to.join("features.bin"), described)?;
    Ok(())
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the host has it.
fn kept_in() -> PathBuf {
    here().join("../host/src/serve/grpc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_the_protocol_says() {
        let made = tempfile::tempdir().unwrap();
        make(made.path()).unwrap();
        for (name, kept) in MADE {
            let now = fs::read(made.path().join(name)).unwrap();
            let before = fs::read(kept_in().join(kept)).unwrap();
            assert!(
                now == before,
                "{kept} is not what the protocol says: run `cargo run -p penstock-proto`"
            );
        }
    }
}
