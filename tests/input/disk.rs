//! A disk that is full.

use std::path::PathBuf;
use std::process::Command;

use super::data;
use crate::support::{Folder, transform};

/// A file system of its own with little room, if this machine lets the test mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Folder, name: &str, bytes: u64) -> Option<Self> {
        let path = folder.path(name);
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&path)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        println!("left out: a full disk, because this user may not mount a small one");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A pipeline whose windows of ten minutes fit on a small disk, and one whose windows of a second do not.
fn two_pipelines(folder: &Folder) {
    let path = transform("driver_accept_proportion");
    data::pipeline(folder, path.to_str().unwrap(), "driver_id", "10m");
    let many = folder
        .text("pipeline.toml")
        .replace("\"10m\"", "\"1s\"")
        .replace(
            "name = \"driver_accept_proportion_10m\"",
            "name = \"share_1s\"\ncolumn = \"driver_accept_proportion_10m\"",
        );
    folder.write("many.toml", many);
}

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing_that_was_written() {
    let folder = data::rides(200_000);
    let Some(_disk) = SmallDisk::mount(&folder, "out", 300 << 10) else {
        return;
    };
    two_pipelines(&folder);
    folder.penstock(&["run", "pipeline.toml"]).fine();
    let before = folder.read("out/features.parquet");
    folder
        .penstock(&["run", "many.toml"])
        .fails(1, &["features.parquet", "No space left"]);
    assert_eq!(folder.read("out/features.parquet"), before);
}

#[test]
fn a_full_disk_under_the_store_ends_the_run() {
    let folder = data::rides(200_000);
    let Some(_disk) = SmallDisk::mount(&folder, "store", 700 << 10) else {
        return;
    };
    two_pipelines(&folder);
    folder.penstock(&["run", "pipeline.toml"]).fine();
    let rides = folder.text("rides/rides-000.ndjson");
    let first: serde_json::Value = serde_json::from_str(rides.lines().next().unwrap()).unwrap();
    let driver = first["driver_id"].to_string();
    let feature = "driver_accept_proportion_10m";
    let get = || folder.penstock(&["get", "driver", &driver, feature]).fine();
    let before = get();
    folder
        .penstock(&["run", "many.toml"])
        .fails(1, &["store", "No space left"]);
    assert_eq!(get(), before, "what was written before");
}
