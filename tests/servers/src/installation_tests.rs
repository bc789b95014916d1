//! Tests of `installation.rs`, on a server that is a file.

use std::process::Command;

use super::*;
use crate::Place;

#[derive(Debug)]
struct Toy;

impl Service for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn version(&self) -> &'static str {
        "1.2.3"
    }

    fn about(&self) -> &'static str {
        "a file"
    }

    fn install(&self, folder: &Path, run: &mut Run<'_>) -> Result<()> {
        fs::write(folder.join("half"), "")?;
        run(&mut Command::new("true"))
    }

    fn command(&self, _place: &Place) -> Result<Command> {
        Ok(Command::new("true"))
    }

    fn answers(&self, _ports: &[u16]) -> Result<()> {
        Ok(())
    }

    fn variables(&self, _ports: &[u16]) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

#[test]
fn what_is_installed_is_whole_and_installed_once() {
    let target = std::env::temp_dir().join(format!("penstock-installs-{}", std::process::id()));
    let installed = Installed::below(&target);
    let folder = target.join("servers/toy-1.2.3");

    let error = installed.expect(&Toy).expect_err("nothing is there");
    assert!(
        error
            .to_string()
            .contains("cargo xtask services install toy"),
        "{error}"
    );
    let failed = install(&Toy, &installed, &mut |_| bail!("no network"));
    let failed = format!("{:#}", failed.expect_err("it was told to fail"));
    assert_eq!(failed, "cannot install toy 1.2.3: no network");
    assert!(!folder.exists());

    let mut runs = 0;
    let mut count = |_: &mut Command| {
        runs += 1;
        Ok(())
    };
    assert!(
        install(&Toy, &installed, &mut count)
            .expect("it installs")
            .is_some()
    );
    assert!(
        install(&Toy, &installed, &mut count)
            .expect("it is there")
            .is_none()
    );
    assert_eq!(runs, 1);
    assert_eq!(installed.expect(&Toy).expect("it is there"), folder);
    fs::remove_dir_all(&target).expect("it is ours");
}
