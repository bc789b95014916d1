//! An attack: a pipeline whose transform means harm, and what has to come of it beside two pipelines that
//! mean none.

use std::sync::LazyLock;

use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Host, Opened};

use super::guest::{Entry, Guest};
use super::{migrating, unfinished};
use crate::support::{Folder, HOST, Tuning, transform};

/// Who attacks.
pub(crate) enum Attacker {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A guest of the tests, with this configuration.
    Guest(&'static str, &'static str),
}

/// What has to come of it.
pub(crate) enum Ends {
    /// It is refused, or a call fails: the error has these parts.
    Fails(&'static [&'static str]),
    /// It runs to its end, and something that it said was dropped.
    Drops,
    /// It runs to its end, and has got nothing.
    Nothing,
}

/// An attack.
pub(crate) struct Attack {
    /// Its name, and that of its pipeline.
    pub(crate) name: &'static str,
    pub(crate) entry: Entry,
    /// The limit that stops it by its name, or `checks` if it is what is checked of all that comes back.
    pub(crate) stopped_by: &'static str,
    pub(crate) ends: Ends,
    pub(crate) attacker: Attacker,
    /// Lines of `[limits]`.
    limits: &'static str,
    /// Those of them that say how often it may fail: never, unless that is what is tried.
    tolerance: &'static str,
    /// Lines of `[window]`.
    window: &'static str,
    pub(crate) lanes: u32,
    /// Whether it needs a host of its own, and how much memory guests have there.
    pub(crate) host: Option<usize>,
    /// Whether the program itself is to compile it, in a child.
    pub(crate) is_compiled_in_child: bool,
    /// What it is given to work on.
    work: Work,
}

/// What an attacker is given to work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Events,
    /// States of another version, to be taken over.
    States,
    /// Events of windows that are kept if it cannot finish them.
    KeptWindows,
}

const TUMBLING: &str = "kind = \"tumbling\"\nsize = \"10s\"";

impl Attack {
    pub(crate) fn new(
        name: &'static str,
        entry: Entry,
        stopped_by: &'static str,
        attacker: Attacker,
        ends: Ends,
    ) -> Self {
        Self {
            name,
            entry,
            stopped_by,
            ends,
            attacker,
            limits: "",
            tolerance: "failures = 0",
            window: TUMBLING,
            lanes: 1,
            host: None,
            is_compiled_in_child: false,
            work: Work::Events,
        }
    }

    /// By a windowed guest.
    pub(crate) fn windowed(
        name: &'static str,
        entry: Entry,
        stopped_by: &'static str,
        parts: &'static [&'static str],
        guest: Guest,
    ) -> Self {
        let attacker = Attacker::Bytes(guest.build());
        Self::new(name, entry, stopped_by, attacker, Ends::Fails(parts))
    }

    /// By a mapper.
    pub(crate) fn mapper(
        name: &'static str,
        entry: Entry,
        stopped_by: &'static str,
        parts: &'static [&'static str],
        guest: Guest,
    ) -> Self {
        Self::windowed(name, entry, stopped_by, parts, guest).windows("kind = \"none\"")
    }

    /// By a windowed guest that is asked to take over states.
    pub(crate) fn migrating(
        name: &'static str,
        entry: Entry,
        stopped_by: &'static str,
        parts: &'static [&'static str],
        guest: Guest,
    ) -> Self {
        Self {
            work: Work::States,
            ..Self::windowed(name, entry, stopped_by, parts, guest)
        }
    }

    /// By a windowed guest whose windows are kept for the version after it.
    pub(crate) fn keeping(
        name: &'static str,
        entry: Entry,
        stopped_by: &'static str,
        guest: Guest,
    ) -> Self {
        Self {
            work: Work::KeptWindows,
            ..Self::windowed(name, entry, stopped_by, &[], guest)
        }
    }

    pub(crate) fn limits(self, limits: &'static str) -> Self {
        Self { limits, ..self }
    }

    pub(crate) fn tolerating(self, tolerance: &'static str) -> Self {
        Self { tolerance, ..self }
    }

    pub(crate) fn windows(self, window: &'static str) -> Self {
        Self { window, ..self }
    }

    /// Windows that are merged.
    pub(crate) fn hopping(self) -> Self {
        self.windows("kind = \"hopping\"\nsize = \"20s\"\nslide = \"10s\"")
    }

    pub(crate) fn ending(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// How it ended, for the table.
    #[cfg(test)]
    pub(crate) fn outcome(&self) -> &'static str {
        match (&self.ends, self.entry) {
            (Ends::Fails(_), Entry::Load | Entry::Open | Entry::Start) => "refused",
            (Ends::Fails(_), _) => "the call fails",
            (Ends::Drops, _) => "dropped and counted",
            (Ends::Nothing, _) => "runs, and gets nothing",
        }
    }

    /// A folder with its pipeline.
    pub(crate) fn folder(&self) -> Folder {
        let folder = Folder::new();
        let (path, config) = match &self.attacker {
            Attacker::Bytes(bytes) => (folder.write(&format!("{}.wasm", self.name), bytes), "{}"),
            Attacker::Guest(name, config) => (transform(name), *config),
        };
        let pipeline = pipeline(
            self.name,
            &path,
            config,
            self.window,
            &format!("[limits]\n{}\n{}", self.tolerance, self.limits),
        );
        folder.write("pipeline.toml", pipeline);
        events(&folder, 40, 3);
        folder
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// What its operator sees: of opening it, or of running it.
    pub(crate) fn run(&self, host: &Host, folder: &Folder) -> Result<u64, String> {
        if self.is_compiled_in_child {
            let ended = folder.penstock(&["run", "pipeline.toml", "--quiet"]);
            return match ended.code() {
                Some(0) => Ok(0),
                _ => Err(ended.stderr()),
            };
        }
        match self.work {
            Work::Events => {}
            Work::States => return migrating::take_over(self.name, host, folder),
            Work::KeptWindows => return unfinished::keep(self.name, host, folder),
        }
        let tuning = Tuning {
            lanes: self.lanes,
            batch_rows: 7,
        };
        let report = folder.run_in(host, tuning)?;
        assert!(report.accounting.balances(), "{}", self.name);
        Ok(report.figures.dropped)
    }
}

/// Puts the pipeline of an attack together, as a host does that is to run it.
///
/// # Errors
///
/// What is said of it.
pub(super) fn opened(host: &Host, folder: &Folder) -> Result<Opened, String> {
    let path = folder.path("pipeline.toml");
    let mut pipelines = load_pipelines(&[&path]).map_err(|error| error.to_string())?;
    let environment = Environment::find_and_load(&path, "local");
    let environment = environment.map_err(|error| error.to_string())?;
    let opened = pipeline::open(host, pipelines.remove(0), &environment);
    opened.map_err(|error| error.to_string())
}

fn pipeline(
    name: &str,
    component: &std::path::Path,
    config: &str,
    window: &str,
    more: &str,
) -> String {
    format!(
        "name = {name:?}\nevent = \"entry\"\ntransform = {component:?}\nkey = \"key\"\ngroup = {name:?}\nconfig = {config}\n\
         [window]\n{window}\n[[feature]]\nname = \"rows\"\ntype = \"uint64\"\n\
         [outputs]\nstore = false\nfeatures = \"{name}.ndjson\"\n{more}"
    )
}

/// Rows a second apart, of so many keys.
fn events(folder: &Folder, rows: u32, keys: u32) {
    let lines: String = (0..rows)
        .map(|row| {
            let (hour, minute, second) = (row / 3600, row / 60 % 60, row % 60);
            format!(
                "{{\"at\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}Z\",\"key\":{},\"amount\":{row}.0}}\n",
                row % keys
            )
        })
        .collect();
    folder.write("events.ndjson", lines);
    folder.write(
        "penstock.toml",
        "[environments.local]\noutput = \"out\"\n[environments.local.events.entry]\nfiles = \"events.ndjson\"\nevent_time = \"at\"\n",
    );
}

/// Two pipelines that mean no harm.
pub(crate) struct Neighbours([Neighbour; 2]);

/// One of them.
pub(crate) struct Neighbour {
    name: &'static str,
    folder: Folder,
    undisturbed: &'static LazyLock<String>,
}

static ORDERLY: LazyLock<String> = LazyLock::new(|| Neighbours::new().0[0].run(&HOST));
static TIDY: LazyLock<String> = LazyLock::new(|| Neighbours::new().0[1].run(&HOST));

impl Neighbours {
    pub(crate) fn new() -> Self {
        let of = |name, window: &str, undisturbed| {
            let folder = Folder::new();
            let pipeline = pipeline(name, &transform("unruly"), "{}", window, "");
            folder.write("pipeline.toml", pipeline);
            events(&folder, 5_000, 50);
            Neighbour {
                name,
                folder,
                undisturbed,
            }
        };
        let hopping = "kind = \"hopping\"\nsize = \"60s\"\nslide = \"20s\"";
        Self([
            of("orderly", TUMBLING, &ORDERLY),
            of("tidy", hopping, &TIDY),
        ])
    }

    /// Does something with each.
    pub(crate) fn each<'a, T>(&'a self, does: impl Fn(&'a Neighbour) -> T) -> [T; 2] {
        self.0.each_ref().map(does)
    }
}

impl Neighbour {
    /// What it writes when nobody disturbs it.
    pub(crate) fn undisturbed(&self) -> &'static str {
        self.undisturbed
    }

    /// Runs it to its end, and gives what it wrote.
    pub(crate) fn run(&self, host: &Host) -> String {
        let tuning = Tuning {
            lanes: 2,
            batch_rows: 500,
        };
        let name = self.name;
        let report = self.folder.run_in(host, tuning);
        report.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.folder.text(&format!("out/{name}.ndjson"))
    }
}
