//! `penstock dev`: builds, tests and runs a transform again whenever something of it is saved.

mod build;
mod round;
mod watch;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::Failure;
use super::build::is_for_our_build;
use super::show::say;
use crate::config::{DEFAULT_ENVIRONMENT, Environment};
use build::Build;
use round::{Outcomes, Workbench};
use watch::{Change, LONGEST, Matters, QUIET, Round, next_round};

/// Changes that may wait while a round is at work. A watcher that finds no place waits too.
const CHANGES: usize = 1024;

/// Watches a transform's source, its pipeline and its cases. On every save it builds the transform,
/// tests the cases, and shows what changed in the features since the last run. Touches neither the
/// store nor the outputs of the environment.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock dev pipeline.toml                       cargo builds the package that the pipeline is in
  penstock dev pipelines/rides.toml --source transforms/rides
  penstock dev pipelines/rides.toml --source transforms/rides --source transforms/cells
  penstock dev pipeline.toml --source src --build 'make transform'
  penstock dev pipeline.toml --events sample.ndjson --once

Without --build, a project in another language than Rust is built as by `penstock build`. In Rust `cargo
build --release --target wasm32-unknown-unknown` builds the package that each source is in, and what it
leaves becomes the component of that name that the pipeline has. Ctrl-C ends it.")]
pub(super) struct Arguments {
    /// The pipeline's file.
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// The folder of a transform's source; default: the pipeline's. May be given several times, for a
    /// pipeline with a mapper of its own.
    #[arg(long, value_name = "FOLDER")]
    source: Vec<PathBuf>,
    /// The command that builds the transforms, run in the first source's folder by the shell. It leaves
    /// the components where the pipeline names them.
    #[arg(long, value_name = "COMMAND")]
    build: Option<String>,
    /// Files or folders whose changes do not matter, such as those that the build writes.
    #[arg(long, value_name = "PATH")]
    ignore: Vec<PathBuf>,
    /// A folder of cases; default: `cases` beside the pipeline, if there is one.
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,
    /// Files of events, in place of those that the environment has.
    #[arg(long, value_name = "FILES", num_args = 1..)]
    events: Vec<String>,
    /// How many differences to show.
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// One round, without watching.
    #[arg(long)]
    once: bool,
    /// The environment of penstock.toml that says what the events are.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let cases = arguments.cases.clone();
    let cases =
        cases.unwrap_or_else(|| folder_of(&arguments.pipeline).join(crate::testing::CASES_FOLDER));
    let mut setting = Setting::of(arguments, &cases)?;
    let host = super::host()?;
    let stop = Arc::new(AtomicBool::new(false));
    let workbench = Workbench {
        host: &host,
        pipeline: &arguments.pipeline,
        cases: &cases,
        events: super::test::events_of(&arguments.events)?,
        environment: &arguments.env,
        show: arguments.show,
        stop: Arc::clone(&stop),
    };
    let mut outcomes = Outcomes::default();
    if arguments.once {
        return workbench.round(&setting.build, &mut outcomes);
    }

    let (sender, changes) = sync_channel(CHANGES);
    stop_on_signal(&host, &stop, sender.clone());
    let mut watcher = watcher(&setting.matters, sender.clone())?;
    let mut number = 0;
    let mut changed = Vec::new();
    loop {
        number += 1;
        // The pipeline may name other components than in the round before.
        let begun = match Setting::of(arguments, &cases) {
            Ok(now) if now != setting => {
                watcher = self::watcher(&now.matters, sender.clone())?;
                setting = now;
                Ok(())
            }
            same => same.map(|_| ()),
        };
        // Before the round: what is saved from here on begins the next one.
        register(&mut watcher, &setting.matters)?;
        clear_screen();
        say!("round {number}{}", because(&changed));
        let ended = begun.and_then(|()| workbench.round(&setting.build, &mut outcomes));
        if let Err(Failure::Input(message) | Failure::Work(message)) = ended {
            say!("{}", message.trim_end());
        }
        if !stop.load(Ordering::Relaxed) {
            let folders = setting.build.folders();
            let folders = folders.iter().map(|folder| folder.display().to_string());
            let folders: Vec<String> = folders.collect();
            say!("watching {}; Ctrl-C ends it", folders.join(", "));
        }
        match next_round(&changes, &setting.matters, QUIET, LONGEST) {
            Round::Changed(paths) => changed = paths.into_iter().collect(),
            Round::Over => return Err(Failure::Stopped("stopped watching".to_owned())),
        }
    }
}

/// What is built and what is watched, as the pipeline says when a round begins.
#[derive(PartialEq)]
struct Setting {
    build: Build,
    matters: Matters,
}

impl Setting {
    fn of(arguments: &Arguments, cases: &Path) -> Result<Self, Failure> {
        let components = components_of(&arguments.pipeline)?;
        let beside = folder_of(&arguments.pipeline);
        let source = arguments.source.first().unwrap_or(&beside);
        let own = || is_for_our_build(source).then(our_build).flatten();
        let command = arguments.build.clone().or_else(own);
        let build = Build::find(command, &arguments.source, &beside, &components)?;
        let matters = matters(arguments, &build, cases);
        Ok(Self { build, matters })
    }
}

/// The command that builds a project which is not cargo's, for the shell.
fn our_build() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let program = program.to_str()?.replace('\'', r"'\''");
    Some(format!("'{program}' build"))
}

/// The components that a pipeline names, that of its mapper last. The pipeline itself loads only once
/// they are there.
fn components_of(pipeline: &Path) -> Result<Vec<PathBuf>, Failure> {
    let refuse = |what: String| Failure::Input(format!("{}: {what}", pipeline.display()));
    let text = std::fs::read_to_string(pipeline).map_err(|error| {
        refuse(format!(
            "this file cannot be read: {error}; name a pipeline's file"
        ))
    })?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    let transform = table.get("transform").and_then(toml::Value::as_str);
    let transform = transform.ok_or_else(|| {
        refuse("it names no `transform`, so there is nowhere to build one to".to_owned())
    })?;
    let mapper = table.get("map").and_then(|map| map.get("transform"));
    let mapper = mapper.and_then(toml::Value::as_str);
    let folder = folder_of(pipeline);
    let components = [transform].into_iter().chain(mapper);
    Ok(components.map(|path| folder.join(path)).collect())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn matters(arguments: &Arguments, build: &Build, cases: &Path) -> Matters {
    let mut matters = Matters {
        watched: vec![absolute(&arguments.pipeline), absolute(cases)],
        outputs: build.written().into_iter().map(absolute).collect(),
    };
    for folder in build.folders() {
        let folder = absolute(folder);
        matters.outputs.push(folder.join("Cargo.lock"));
        matters.watched.push(folder);
    }
    // Somebody else builds these.
    let others = build.others().iter().map(|path| absolute(path));
    matters.watched.extend(others);
    let ignored = arguments.ignore.iter().map(|path| absolute(path));
    matters.outputs.extend(ignored);
    // What a run beside this writes is no change of the transform.
    match Environment::find_and_load(&arguments.pipeline, &arguments.env) {
        Ok(environment) => {
            matters.watched.push(absolute(environment.source.path()));
            let written = [environment.store.folder(), Some(&*environment.output)];
            let written = written.into_iter().flatten();
            matters.outputs.extend(written.map(absolute));
        }
        // Each round says it, until it is mended.
        Err(error) => tracing::debug!(%error, "the environment's file is not watched"),
    }
    matters
}

/// As the watcher will name it: a path without links, as far as it is there.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|folder| {
        let real = folder.canonicalize().ok()?;
        // What is not there yet is taken as it is written; nothing at all would add a slash.
        match path.strip_prefix(folder).ok()? {
            all if all.as_os_str().is_empty() => Some(real),
            below => Some(real.join(below)),
        }
    });
    real.unwrap_or(path)
}

fn watcher(matters: &Matters, changes: SyncSender<Change>) -> Result<RecommendedWatcher, Failure> {
    let matters = matters.clone();
    let changes = Mutex::new(changes);
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let change = match event {
            Ok(event) if event.need_rescan() => Change::Lost,
            Ok(event) if is_change(event.kind) => {
                let paths = event.paths.into_iter();
                let paths: Vec<_> = paths.filter(|path| matters.is_reason(path)).collect();
                if paths.is_empty() {
                    return;
                }
                Change::Paths(paths)
            }
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "the watcher may have missed a change");
                Change::Lost
            }
        };
        // Without a receiver nobody watches any more.
        let _ = changes.lock().expect("sending does not panic").send(change);
    })
    .map_err(|error| Failure::Work(format!("cannot watch for changes: {error}")))
}

/// Whether a file may have another content after this. Reading it, or changing who may, is none.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

/// Watches every folder in which something may matter, also those that are new. Of files it is
/// their folder that is watched: editors put another file in a file's place.
fn register(watcher: &mut RecommendedWatcher, matters: &Matters) -> Result<(), Failure> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in &matters.watched {
        match root.is_dir() {
            true => folders.push(root.clone()),
            false => folders.extend(root.parent().map(Path::to_owned)),
        }
    }
    let mut seen = std::collections::HashSet::new();
    while let Some(folder) = folders.pop() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            // It was there a moment ago, and its going is a change of the folder above.
            Err(_) if !folder.exists() => continue,
            Err(error) => {
                let shown = folder.display();
                return Err(Failure::Work(format!(
                    "cannot watch {shown}: {error}; with many folders, raise fs.inotify.max_user_watches or --ignore some"
                )));
            }
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        // Links are not followed: they may lead in circles.
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(
            inner
                .map(|entry| entry.path())
                .filter(|path| matters.is_reason(path)),
        );
    }
    Ok(())
}

/// Ends the watch, and a run that is at work, at the first Ctrl-C or SIGTERM; the program at the
/// second.
fn stop_on_signal(
    host: &crate::pipeline::Host,
    stop: &Arc<AtomicBool>,
    changes: SyncSender<Change>,
) {
    let stop = Arc::clone(stop);
    host.io.spawn(async move {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .expect("the runtime has signals enabled");
        for asked_before in [false, true] {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if asked_before {
                std::process::exit(130);
            }
            stop.store(true, Ordering::Relaxed);
            let changes = changes.clone();
            // There may be no place for it until the round at work is over.
            tokio::task::spawn_blocking(move || changes.send(Change::Stop));
        }
    });
}

/// A round stands at the top, where there is a top.
fn clear_screen() {
    if std::io::stdout().is_terminal() {
        say!("\u{1b}[2J\u{1b}[3J\u{1b}[H");
    }
}

/// What began a round, in a few words.
fn because(changed: &[PathBuf]) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    match changed {
        [] => String::new(),
        [first, more @ ..] => {
            let first = first.strip_prefix(&here).unwrap_or(first).display();
            match more.len() {
                0 => format!(": {first} changed"),
                more => format!(": {first} and {more} more changed"),
            }
        }
    }
}
