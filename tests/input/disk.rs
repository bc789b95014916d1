//! A disk that is full.

use std::process::Command;

use super::data;
use crate::support::{Folder, transform};

/// A file system of its own with room for `bytes`, if this machine lets the test mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &Folder, name: &str, bytes: u64) -> Option<Self> {
        let path = folder.path(name);
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&path)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing_that_was_written() {
    let folder = data::rides(60_000);
    let path = transform("driver_accept_proportion");
    data::pipeline(&folder, path.to_str().unwrap(), "driver_id", "1s");
    let Some(_disk) = SmallDisk::mount(&folder, "out", 600 << 10) else {
        println!("left out: a full disk, because this user may not mount a small one");
        return;
    };
    // An earlier result, of fewer events, fits.
    data::pipeline(&folder, path.to_str().unwrap(), "driver_id", "10m");
    folder.penstock(&["run", "pipeline.toml"]).fine();
    let before = folder.read("out/features.parquet");
    data::pipeline(&folder, path.to_str().unwrap(), "driver_id", "1s");
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(1, &["features.parquet", "No space left"]);
    assert_eq!(
        folder.read("out/features.parquet"),
        before,
        "the earlier result"
    );
    folder
        .penstock(&["get", "driver", "1", "driver_accept_proportion_10m"])
        .fine();
}

#[test]
fn a_full_disk_under_the_store_ends_the_run() {
    let folder = data::rides(60_000);
    let path = transform("driver_accept_proportion");
    let Some(_disk) = SmallDisk::mount(&folder, "store", 2 << 20) else {
        println!("left out: a full disk, because this user may not mount a small one");
        return;
    };
    data::pipeline(&folder, path.to_str().unwrap(), "driver_id", "10m");
    folder.penstock(&["run", "pipeline.toml"]).fine();
    let get = || {
        folder
            .penstock(&["get", "driver", "1", "driver_accept_proportion_10m"])
            .fine()
    };
    let before = get();
    // Windows of a second are many more values than the disk has room for. They are another
    // pipeline's, or the store would refuse the feature's new window.
    let text = folder.text("pipeline.toml").replace("\"10m\"", "\"1s\"");
    let text = text.replace(
        "name = \"driver_accept_proportion_10m\"",
        "name = \"share_1s\"\ncolumn = \"driver_accept_proportion_10m\"",
    );
    folder.write("small.toml", text);
    folder.penstock(&["run", "small.toml"]).fails(1, &["store"]);
    assert_eq!(get(), before, "what was written before");
}
