//! Hostile guests: whatever a transform does, the host, its other pipelines and their results must not
//! notice, and the operator must see who did it. `docs/security.md` has the table that comes of it.

mod attack;
mod binary;
pub(crate) mod guest;
pub(crate) mod image;
mod memory;
mod migrating;
mod opening;
mod poison;
mod returned;
#[cfg(test)]
mod secrets;
mod talk;
mod time;
mod unfinished;

#[cfg(test)]
use std::collections::BTreeSet;
#[cfg(test)]
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use penstock::clock::SystemClock;
use penstock::pipeline::Host;
use penstock::sandbox::{Compiler, LIMITS, Sandbox};

pub(crate) use self::attack::Attack;
use self::attack::{Ends, Neighbours};
#[cfg(test)]
use self::guest::Guest;
use crate::support::{HOST, root};

pub(crate) fn attacks() -> Vec<Attack> {
    let all = [
        time::attacks(),
        memory::attacks(),
        migrating::attacks(),
        returned::attacks(),
        opening::attacks(),
        talk::attacks(),
        binary::attacks(),
        poison::attacks(),
        unfinished::attacks(),
    ];
    all.into_iter().flatten().collect()
}

/// A host in which guests have so much memory.
fn host(guest_memory: usize) -> Host {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(2).enable_all();
        builder.build().expect("threads start")
    };
    let cache = root().join("target").join("test-cache");
    let sandbox = Sandbox::start(Compiler::InProcess, Some(&cache)).expect("the engine starts");
    Host {
        sandbox: sandbox.with_guest_memory(guest_memory),
        lanes: runtime(),
        io: runtime(),
        clock: Arc::new(SystemClock::start()),
        stores: Arc::default(),
    }
}

/// Bytes of this process beside those of guests that an attack may take: what the host reads, compiles and checks of it.
const BESIDE_GUESTS: u64 = 512 << 20;

/// Runs an attack beside two neighbours, which work for as long as it takes, and says what is wrong with how it ended.
pub(crate) fn survive(attack: &Attack) -> Result<(), String> {
    // Whatever else goes on in this process takes memory as well, but not each time.
    let mut taken = 0;
    for _ in 0..3 {
        taken = tried(attack)?;
        if taken <= BESIDE_GUESTS {
            return Ok(());
        }
    }
    let name = attack.name;
    Err(format!(
        "{name}: the host took {taken} bytes beside those of guests"
    ))
}

/// The same; gives the memory that the process took meanwhile beside what guests had at most, in bytes.
fn tried(attack: &Attack) -> Result<u64, String> {
    let own = attack.host.map(host);
    let host = own.as_ref().unwrap_or(&HOST);
    let folder = attack.folder();
    let neighbours = Neighbours::new();
    let name = attack.name;
    let peak = forget_peak();
    let before = resident("VmRSS:");
    let is_over = AtomicBool::new(false);
    let (ended, beside) = std::thread::scope(|scope| {
        let beside = neighbours.each(|neighbour| {
            scope.spawn(|| {
                let expected = neighbour.undisturbed();
                while {
                    let is_last = is_over.load(Ordering::Relaxed);
                    assert!(neighbour.run(host) == expected, "it gave something else");
                    !is_last
                } {}
            })
        });
        let ended = attack.run(host, &folder);
        is_over.store(true, Ordering::Relaxed);
        (ended, beside.map(|neighbour| neighbour.join()))
    });
    if beside.iter().any(Result::is_err) {
        return Err(format!(
            "{name}: a neighbour failed, or gave something else"
        ));
    }
    let (_, _, of_guests) = host.sandbox.guest_memory();
    let grown = resident(peak).saturating_sub(before);
    let taken = grown.saturating_sub(of_guests as u64);
    let is_limit = LIMITS.iter().any(|limit| limit.name == attack.stopped_by);
    match (&attack.ends, ended) {
        (Ends::Fails(parts), Err(error)) => {
            let limit = is_limit.then_some(attack.stopped_by);
            let parts = parts.iter().copied().chain([name]).chain(limit);
            let missing: Vec<&str> = parts.filter(|part| !error.contains(part)).collect();
            match missing.is_empty() {
                true => Ok(taken),
                false => Err(format!("{name}: {missing:?} are not in: {error}")),
            }
        }
        (Ends::Fails(_), Ok(dropped)) => Err(format!("{name}: it ended well ({dropped} dropped)")),
        (Ends::Drops, Ok(0)) => Err(format!("{name}: nothing was dropped")),
        (Ends::Drops | Ends::Nothing, Ok(_)) => Ok(taken),
        (Ends::Drops | Ends::Nothing, Err(error)) => Err(format!("{name}: {error}")),
    }
}

/// From now on the peak of this process' memory is that of what comes. Gives the figure of it; where the system does not
/// let go of the old peak, that of what is there.
fn forget_peak() -> &'static str {
    match std::fs::write("/proc/self/clear_refs", "5") {
        Ok(()) => "VmHWM:",
        Err(_) => "VmRSS:",
    }
}

/// A figure of this process' memory, in bytes.
pub(crate) fn resident(figure: &str) -> u64 {
    let status =
        std::fs::read_to_string("/proc/self/status").expect("a process may look at itself");
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("the system tells it") << 10
}

/// `PENSTOCK_ATTACK=spin` runs those alone that have it in their names.
#[test]
fn no_attack_is_noticed_by_anybody_else() {
    let only = std::env::var("PENSTOCK_ATTACK").unwrap_or_default();
    let attacks = attacks();
    assert!(attacks.len() >= 60, "{} attacks", attacks.len());
    let names: BTreeSet<_> = attacks.iter().map(|attack| attack.name).collect();
    assert_eq!(names.len(), attacks.len(), "each has a name of its own");
    let tried = attacks.iter().filter(|attack| attack.name.contains(&only));
    let wrong: Vec<String> = tried.filter_map(|attack| survive(attack).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if only.is_empty() {
        check_page("attacks", &table_of(&attacks));
    }
}

#[test]
fn every_limit_is_in_the_documents() {
    let mut table = String::from(
        "| limit | by default | what it bounds | beyond it | who sets it |\n| --- | --- | --- | --- | --- |\n",
    );
    for limit in LIMITS {
        writeln!(
            table,
            "| `{}` | {} | {} | {} | {} |",
            limit.name, limit.default, limit.bounds, limit.beyond, limit.set_by
        )
        .unwrap();
    }
    check_page("limits", &table);
}

#[cfg(test)]
fn table_of(attacks: &[Attack]) -> String {
    let mut table = String::from(
        "| attack | by way of | stopped by | what comes of it |\n| --- | --- | --- | --- |\n",
    );
    let limits: BTreeSet<_> = LIMITS.iter().map(|limit| limit.name).collect();
    for attack in attacks {
        let stopped_by = match attack.stopped_by {
            limit if limits.contains(limit) => format!("`{limit}`"),
            other => other.to_owned(),
        };
        let name = attack.name.replace('_', " ");
        let entry = attack.entry.name();
        writeln!(
            table,
            "| {name} | {entry} | {stopped_by} | {} |",
            attack.outcome()
        )
        .unwrap();
    }
    writeln!(table, "\n{} attacks.", attacks.len()).unwrap();
    table
}

#[cfg(test)]
/// Checks a part of `docs/security.md`, between two marks. With `PENSTOCK_UPDATE_CASES=1` it is rewritten.
fn check_page(part: &str, table: &str) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let path = root().join("docs/security.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {part} -->\n"),
        format!("<!-- end of {part} -->"),
    );
    let (before, rest) = page.split_once(&begin).expect("the page has the mark");
    let (found, after) = rest.split_once(&end).expect("the page has the end's mark");
    if std::env::var_os("PENSTOCK_UPDATE_CASES").is_some() {
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert!(
        found == table,
        "docs/security.md says otherwise; PENSTOCK_UPDATE_CASES=1 rewrites it:\n{table}"
    );
}

#[test]
fn every_mutation_is_survived() {
    let good = Guest::windowed().build();
    let wasm = std::fs::read(crate::support::transform("unruly")).unwrap();
    for seed in 0..150 {
        for component in [&good, &wasm] {
            // Whatever it says, it says it and goes on.
            let bytes = binary::mutation(component, seed);
            let _ = HOST.sandbox.load(&bytes);
        }
    }
}
