//! Fuzzing of what comes from outside: mutations of known inputs, for as long as somebody waits.
//!
//! Each target is a test, `fuzz_NAME`, beside what it tries. An ordinary test run tries what is kept in
//! `tests/fuzz/corpus` and some mutations; `cargo xtask fuzz --seconds N` goes on for N seconds with others each time. An
//! input that makes a target panic is kept in `tests/fuzz/corpus/NAME`, so that it is tried in every run from then on.
//!
//! `cargo xtask fuzz` builds this crate so that it counts which code runs (`coverage`). A mutation that comes to new code
//! is mutated further, and in the end the smallest inputs that come to all of it are kept in `tests/fuzz/corpus/NAME.inputs`:
//! each with its length in front, four bytes, little-endian.

#[allow(unsafe_code)] // Counters that the compiler puts into a build that is fuzzed.
mod coverage;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use self::coverage::Reached;

/// Mutations in an ordinary test run.
const USUAL: u64 = 200;
/// Bytes that an input has at most.
const MOST_BYTES: usize = 64 << 10;
/// Bytes of inputs that are kept of a target.
const KEPT_BYTES: usize = 128 << 10;
/// Numbers at which things change.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Tries `target` on `seeds`, on what is kept, and on mutations of both.
///
/// # Panics
///
/// The target does, on an input that is kept from now on.
pub(crate) fn run(name: &str, mut seeds: Vec<Vec<u8>>, target: impl Fn(&[u8])) {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    let (folder, kept) = (corpus.join(name), corpus.join(format!("{name}.inputs")));
    seeds.extend(found(&folder));
    seeds.extend(read(&kept));
    let set = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = set("PENSTOCK_FUZZ_SECONDS");
    let seed = set("PENSTOCK_FUZZ_SEED").unwrap_or(match seconds {
        None => 1,
        Some(_) => u64::from(std::process::id()) ^ 0x5eed,
    });
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut reached = seconds.and_then(|_| Reached::nothing());
    let check = |input: &[u8], what: &dyn Fn() -> String| {
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            let path = keep(&folder, input);
            panic!(
                "{name}: {} of seed {seed} panics; it is kept in {}",
                what(),
                path.display()
            );
        }
    };
    for (at, input) in seeds.iter().enumerate() {
        let check = || check(input, &|| format!("known input {at}"));
        match &mut reached {
            Some(reached) => drop(reached.is_new(check)),
            None => check(),
        }
    }
    let (began, known) = (Instant::now(), seeds.len());
    let mut tried = 0;
    loop {
        let is_over = match seconds {
            None => tried >= USUAL,
            Some(seconds) => began.elapsed() >= Duration::from_secs(seconds),
        };
        if is_over {
            break;
        }
        let input = mutated(&seeds, &mut random);
        let check = || check(&input, &|| format!("mutation {tried}"));
        match &mut reached {
            Some(reached) => {
                if reached.is_new(check) {
                    seeds.push(input);
                }
            }
            None => check(),
        }
        tried += 1;
    }
    if let Some(seconds) = seconds {
        let edges = reached.as_ref().map_or(0, Reached::edges);
        println!(
            "fuzz {name}: {tried} mutations in {seconds} s, {known} inputs known and {} added, {edges} edges, seed {seed}: \
             nothing found",
            seeds.len() - known
        );
    }
    if reached.is_some() {
        write(&kept, &smallest(seeds, target));
    }
}

/// Columns of a number, a float, a text and a list, with nulls, for seeds.
pub(crate) fn columns() -> Vec<ArrayRef> {
    let list = vec![Some(vec![Some(1), None]), None];
    vec![
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
        Arc::new(Float64Array::from(vec![-0.0, f64::NAN])),
        Arc::new(StringArray::from(vec![Some("zürich"), None])),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(list)),
    ]
}

/// What was found before.
fn found(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect()
}

/// Keeps an input that panics.
fn keep(folder: &Path, input: &[u8]) -> PathBuf {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    fs::create_dir_all(folder).expect("the corpus is in the repository");
    let path = folder.join(format!("{hash:016x}"));
    fs::write(&path, input).expect("the corpus can be written to");
    path
}

/// Of some inputs the smallest that come to all that they come to together, as many as are kept.
fn smallest(mut inputs: Vec<Vec<u8>>, target: impl Fn(&[u8])) -> Vec<Vec<u8>> {
    inputs.sort_by_key(Vec::len);
    let mut reached = Reached::nothing().expect("it counted all the time");
    let mut bytes = 0;
    inputs.retain(|input| {
        bytes += input.len() + 4;
        let is_kept = bytes <= KEPT_BYTES && reached.is_new(|| target(input));
        if !is_kept {
            bytes -= input.len() + 4;
        }
        is_kept
    });
    inputs
}

fn read(kept: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(kept).unwrap_or_default();
    let (mut left, mut inputs) = (bytes.as_slice(), Vec::new());
    while let Some((length, rest)) = left.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (input, rest) = rest.split_at(length.min(rest.len()));
        inputs.push(input.to_vec());
        left = rest;
    }
    inputs
}

fn write(kept: &Path, inputs: &[Vec<u8>]) {
    let lengths = inputs
        .iter()
        .map(|input| (input.len() as u32).to_le_bytes());
    let pieces = lengths
        .zip(inputs)
        .flat_map(|(length, input)| [&length[..], input].concat());
    fs::write(kept, pieces.collect::<Vec<u8>>()).expect("the corpus can be written to");
}

/// One of the seeds with some changes.
fn mutated(seeds: &[Vec<u8>], random: &mut Pcg64Mcg) -> Vec<u8> {
    // Those that came last are at the edge of what is known.
    let first = match random.random_range(0..3_u32) {
        0 => seeds.len() * 3 / 4,
        _ => 0,
    };
    let mut input = seeds[random.random_range(first..seeds.len())].clone();
    for _ in 0..=random.random_range(0..6_u32) {
        change(&mut input, seeds, random);
    }
    input.truncate(MOST_BYTES);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Pcg64Mcg) {
    if input.is_empty() {
        input.push(random.random());
        return;
    }
    let at = random.random_range(0..input.len());
    let until = (at + random.random_range(1..=16_usize)).min(input.len());
    match random.random_range(0..9_u32) {
        0 => input[at] ^= 1 << random.random_range(0..8_u32),
        1 => input[at] = random.random(),
        2 => input[at] = input[at].wrapping_add(if random.random() { 1 } else { 255 }),
        3 => {
            // A number at an edge, of any width and both orders.
            let edge = EDGES[random.random_range(0..EDGES.len())];
            let width = 1 << random.random_range(0..4_u32);
            let bytes: Vec<u8> = match random.random() {
                true => edge.to_le_bytes()[..width].to_vec(),
                false => edge.to_be_bytes()[8 - width..].to_vec(),
            };
            let end = (at + width).min(input.len());
            input[at..end].copy_from_slice(&bytes[..end - at]);
        }
        4 => drop(input.drain(at..until)),
        5 => {
            let piece = input[at..until].to_vec();
            let times = random.random_range(1..=4_usize);
            input.splice(at..at, piece.repeat(times));
        }
        6 => {
            let piece: Vec<u8> = (at..until).map(|_| random.random()).collect();
            input.splice(at..at, piece);
        }
        7 => input.truncate(at),
        _ => {
            // Something of another one.
            let other = &seeds[random.random_range(0..seeds.len())];
            if !other.is_empty() {
                let from = random.random_range(0..other.len());
                let to = (from + random.random_range(1..=64_usize)).min(other.len());
                let end = until.min(input.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
}

#[test]
fn an_input_that_panics_is_kept() {
    let name = format!("nothing-{}", std::process::id());
    let found = catch_unwind(|| {
        run(&name, vec![vec![1; 8]], |input| {
            assert!(input.iter().all(|byte| *byte < 128), "a byte above 127");
        });
    });
    let message = found.expect_err("it finds one");
    let message = message.downcast_ref::<String>().expect("it says so");
    let path = message.rsplit(' ').next().expect("it ends with the path");
    assert!(fs::read(path).unwrap().iter().any(|byte| *byte >= 128));
    let folder = PathBuf::from(path);
    fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}
