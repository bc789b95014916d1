//! From changes of files to rounds: which of them matter, and when the last of a burst has come.
//!
//! In: the paths that a watcher reports, as they come. Out: a round for each burst of changes that
//! matter, with their paths. Nothing here knows a file system.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A burst of changes is over when nothing has come for as long as this.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// One that does not end is cut after this: who saves wants to see something.
pub(super) const LONGEST: Duration = Duration::from_secs(2);

/// Folders in which tools write, and people do not.
const TOOLS_FOLDERS: [&str; 6] = [
    "target",
    "node_modules",
    ".git",
    ".penstock",
    "__pycache__",
    ".venv",
];

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Something about these paths is other than before: they were written, made, renamed, removed.
    Paths(Vec<PathBuf>),
    /// Changes were lost on the way.
    Lost,
    /// The user wants to stop.
    Stop,
}

/// Why a round begins, or that none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Round {
    /// These paths changed; none if nobody knows which.
    Changed(BTreeSet<PathBuf>),
    /// The user wants to stop, or nobody watches any more.
    Over,
}

/// Which changes matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Matters {
    /// Files and folders that are watched: only what is in them matters.
    pub(super) watched: Vec<PathBuf>,
    /// Files and folders that rounds write to themselves.
    pub(super) outputs: Vec<PathBuf>,
}

impl Matters {
    /// Whether a change of this path is a reason for a round.
    pub(super) fn is_reason(&self, path: &Path) -> bool {
        let Some(below) = self
            .watched
            .iter()
            .find_map(|root| path.strip_prefix(root).ok())
        else {
            return false;
        };
        let is_tools = below
            .components()
            .any(|part| TOOLS_FOLDERS.iter().any(|name| part.as_os_str() == *name));
        let is_output = self.outputs.iter().any(|output| path.starts_with(output));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !is_tools && !is_output && !is_of_an_editor(&name)
    }
}

/// Whether an editor keeps such a file beside the one that it edits, for a while.
fn is_of_an_editor(name: &str) -> bool {
    let ends = [
        "~", ".swp", ".swo", ".swx", ".tmp", ".temp", ".partial", ".bak", ".orig", ".crswap",
    ];
    // Vim tries whether it may write a folder with a file of this name.
    name == "4913"
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || name.starts_with(".goutputstream")
        || name.contains("___jb_")
        || (name.starts_with(".~") && name.ends_with('#'))
        || ends.iter().any(|end| name.ends_with(end))
}

/// Waits for the next round: for a change that matters, and then until none has come for `quiet`, or
/// for `longest` in all.
pub(super) fn next_round(
    changes: &Receiver<Change>,
    matters: &Matters,
    quiet: Duration,
    longest: Duration,
) -> Round {
    let mut changed = BTreeSet::new();
    let mut began: Option<Instant> = None;
    loop {
        let change = match began {
            None => changes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(began) => match longest.checked_sub(began.elapsed()) {
                Some(left) if !left.is_zero() => changes.recv_timeout(quiet.min(left)),
                _ => break,
            },
        };
        match change {
            Ok(Change::Paths(paths)) => {
                let reasons = paths.into_iter().filter(|path| matters.is_reason(path));
                changed.extend(reasons);
                if !changed.is_empty() {
                    began.get_or_insert_with(Instant::now);
                }
            }
            Ok(Change::Lost) => _ = began.get_or_insert_with(Instant::now),
            Ok(Change::Stop) | Err(RecvTimeoutError::Disconnected) => return Round::Over,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    Round::Changed(changed)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    /// Long enough that a test's thread is never taken for a pause, unless it pauses for ever.
    const LONG: Duration = Duration::from_secs(600);

    fn matters() -> Matters {
        Matters {
            watched: vec!["/transforms".into(), "/pipelines/one.toml".into()],
            outputs: vec!["/transforms/feature.wasm".into(), "/transforms/out".into()],
        }
    }

    fn sent(changes: &[Change]) -> (SyncSender<Change>, Receiver<Change>) {
        let (sender, receiver) = sync_channel(100);
        for change in changes {
            sender.send(change.clone()).unwrap();
        }
        (sender, receiver)
    }

    fn paths(paths: &[&str]) -> Change {
        Change::Paths(paths.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn a_burst_is_one_round() {
        let burst = [
            paths(&["/transforms/src/lib.rs"]),
            paths(&["/transforms/b.rs"]),
            paths(&["/transforms/b.rs"]),
        ];
        let (_sender, changes) = sent(&burst);
        let round = next_round(&changes, &matters(), Duration::ZERO, LONG);
        let expected = ["/transforms/b.rs", "/transforms/src/lib.rs"].map(PathBuf::from);
        assert_eq!(round, Round::Changed(expected.into()));
        assert!(changes.try_recv().is_err(), "all of it was taken");
    }

    #[test]
    fn a_burst_that_does_not_end_is_cut() {
        let burst = [paths(&["/transforms/a"]), paths(&["/transforms/b"])];
        let (_sender, changes) = sent(&burst);
        let round = next_round(&changes, &matters(), LONG, Duration::ZERO);
        assert_eq!(
            round,
            Round::Changed([PathBuf::from("/transforms/a")].into())
        );
        let round = next_round(&changes, &matters(), LONG, Duration::ZERO);
        assert_eq!(
            round,
            Round::Changed([PathBuf::from("/transforms/b")].into())
        );
    }

    #[test]
    fn what_does_not_matter_begins_no_round() {
        let (sender, changes) = sent(&[
            paths(&["/transforms/target/debug/x"]),
            paths(&[
                "/transforms/feature.wasm",
                "/transforms/out/a.csv",
                "/elsewhere/lib.rs",
            ]),
        ]);
        drop(sender);
        assert_eq!(next_round(&changes, &matters(), LONG, LONG), Round::Over);
    }

    #[test]
    fn a_stop_is_heard_before_and_within_a_round() {
        let (_sender, changes) = sent(&[Change::Stop]);
        assert_eq!(next_round(&changes, &matters(), LONG, LONG), Round::Over);
        let (_sender, changes) = sent(&[paths(&["/transforms/a"]), Change::Stop]);
        assert_eq!(next_round(&changes, &matters(), LONG, LONG), Round::Over);
    }

    #[test]
    fn lost_changes_are_a_reason() {
        let (_sender, changes) = sent(&[Change::Lost]);
        let round = next_round(&changes, &matters(), Duration::ZERO, LONG);
        assert_eq!(round, Round::Changed(BTreeSet::new()));
    }

    #[test]
    fn files_of_tools_and_editors_do_not_matter() {
        let matters = matters();
        for path in [
            "/transforms/src/.lib.rs.swp",
            "/transforms/src/lib.rs~",
            "/transforms/src/4913",
            "/transforms/src/.#lib.rs",
            "/transforms/src/#lib.rs#",
            "/transforms/src/lib.rs___jb_tmp___",
            "/transforms/.git/index",
            "/transforms/deep/target/x.rs",
            "/transforms/cases/a/expected.csv.partial",
            "/pipelines/two.toml",
        ] {
            assert!(!matters.is_reason(Path::new(path)), "{path}");
        }
        for path in [
            "/transforms/src/lib.rs",
            "/transforms/targets.rs",
            "/transforms/cases/a/events.ndjson",
            "/pipelines/one.toml",
            "/transforms",
        ] {
            assert!(matters.is_reason(Path::new(path)), "{path}");
        }
    }
}
