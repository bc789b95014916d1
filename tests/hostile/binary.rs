//! Attacks by the file itself: what is no component, what asks for more than there is, what is broken.

use std::process::{Command, Stdio};

use super::attack::{Attack, Attacker, Ends};
use super::guest::{Entry, Guest};

fn file(
    name: &'static str,
    limit: &'static str,
    parts: &'static [&'static str],
    bytes: Vec<u8>,
) -> Attack {
    Attack::new(
        name,
        Entry::Load,
        limit,
        Attacker::Bytes(bytes),
        Ends::Fails(parts),
    )
}

fn text(
    name: &'static str,
    limit: &'static str,
    parts: &'static [&'static str],
    component: &str,
) -> Attack {
    let bytes = wat::parse_str(component).unwrap_or_else(|error| panic!("{name}: {error}"));
    file(name, limit, parts, bytes)
}

pub(super) fn attacks() -> Vec<Attack> {
    let good = Guest::windowed().build();
    let mut attacks = vec![
        file(
            "nothing_at_all",
            "checks",
            &["the file is empty"],
            Vec::new(),
        ),
        file(
            "a_page_of_text",
            "checks",
            &["magic number"],
            b"<html>".repeat(100),
        ),
        file(
            "a_core_module",
            "checks",
            &["core module"],
            wat::parse_str("(module)").expect("it is a module"),
        ),
        file(
            "a_precompiled_artefact",
            "checks",
            &["native code"],
            precompiled(&good),
        ),
        file(
            "a_program",
            "checks",
            &["native code"],
            b"\x7fELF\x02\x01\x01".repeat(100),
        ),
        file(
            "half_a_component",
            "checks",
            &["component"],
            good[..good.len() / 2].to_vec(),
        ),
        file(
            "a_component_and_more",
            "checks",
            &["not valid"],
            [&good[..], b"and more"].concat(),
        ),
        file(
            "a_large_file",
            "component_size",
            &["`component_size`", "1048576 bytes"],
            {
                // A section that nobody looks at.
                let mut large = good.clone();
                large.extend(section(0, &[&[1, b'x'][..], &vec![0; 2 << 20]].concat()));
                large
            },
        )
        .limits("component_size = \"1MiB\""),
        text(
            "import_files",
            "imports",
            &["imports `evil:host/files@1.0.0`"],
            "(component (import \"evil:host/files@1.0.0\" (instance (export \"read\" (func)))))",
        ),
        text(
            "import_the_network",
            "imports",
            &["imports `wasi:http/outgoing-handler@0.2.0`"],
            "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance (export \"handle\" (func)))))",
        ),
        text(
            "import_a_function",
            "imports",
            &["imports `give-me-a-shell`"],
            "(component (import \"give-me-a-shell\" (func)))",
        ),
        text(
            "import_with_an_escape",
            "imports",
            &["imports"],
            "(component (import \"url=<https://example.org/evil.wasm>\" (func)))",
        ),
        text(
            "import_what_wasi_has_not",
            "imports",
            &["wasi:filesystem"],
            "(component (import \"wasi:filesystem/types@0.2.0\" (instance (export \"open-everything\" (func)))))",
        ),
        text(
            "another_contract",
            "checks",
            &["version 0.1.0"],
            "(component (import \"penstock:transform/log@0.9.0\" (instance)))",
        ),
        text(
            "another_signature",
            "imports",
            &["cannot instantiate"],
            "(component (import \"penstock:transform/log@0.1.0\" (instance (export \"write\" (func (param \"all\" u64))))))",
        ),
        text(
            "exports_nothing",
            "checks",
            &["exports none"],
            "(component)",
        ),
        text(
            "shared_memory",
            "checks",
            &["not valid"],
            "(component (core module (memory 1 2 shared)))",
        ),
        text(
            "wide_memory",
            "checks",
            &["not valid"],
            "(component (core module (memory i64 1)))",
        ),
        text(
            "thousands_of_modules",
            "modules",
            &["`modules`: 64 instances", "200"],
            &format!(
                "(component (core module $m) {})",
                "(core instance (instantiate $m))".repeat(200)
            ),
        ),
        text(
            "elements_again_and_again",
            "table_elements",
            &["`table_elements`", "100000", "180000"],
            &format!(
                "(component (core module $m (func $f) (elem func {})) {})",
                "$f ".repeat(3_000),
                "(core instance (instantiate $m))".repeat(60)
            ),
        ),
        Attack::windowed(
            "data_beyond_memory",
            Entry::Start,
            "checks",
            &["open", "trapped"],
            Guest::windowed().items("(data (i32.const 100000000) \"x\")"),
        ),
        in_child(
            "a_million_functions",
            "compile_time",
            &["`compile_time`: 1 s"],
            "compile_time = \"1s\"",
        ),
        in_child(
            "a_million_functions_in_little_memory",
            "compile_memory",
            &["`compile_memory`: 67108864 bytes"],
            "compile_memory = \"64MiB\"",
        ),
    ];
    attacks.extend(MUTATIONS.map(|(name, seed)| mutated(name, &good, seed)));
    attacks
}

const MUTATIONS: [(&str, u64); 4] = [
    ("mutated_bytes_1", 1),
    ("mutated_bytes_2", 2),
    ("mutated_bytes_3", 3),
    ("mutated_bytes_4", 4),
];

/// A component of which some bytes are others. It may still be a good one, so this takes the first of its
/// seed that is not; that none makes the host fall is the matter of `every_mutation_is_survived`.
fn mutated(name: &'static str, good: &[u8], seed: u64) -> Attack {
    let bytes = (0..)
        .map(|round| mutation(good, seed * 1000 + round))
        .find(|bytes| crate::support::HOST.sandbox.load(bytes).is_err())
        .expect("most are broken");
    file(name, "checks", &["component"], bytes)
}

/// A few bytes changed, by a generator of random numbers (Marsaglia: "Xorshift RNGs", 2003).
pub(super) fn mutation(good: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut bytes = good.to_vec();
    for _ in 0..=next(8) {
        let at = 8 + next(bytes.len() - 8);
        bytes[at] = match next(3) {
            0 => bytes[at] ^ (1 << next(8)),
            1 => next(256) as u8,
            _ => bytes[at].wrapping_add(1),
        };
    }
    bytes
}

/// What the compiling child of a host gives.
fn precompiled(component: &[u8]) -> Vec<u8> {
    let mut child = Command::new(crate::support::program())
        .arg("compile-component")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("asked for a pipe");
    std::io::Write::write_all(&mut stdin, component).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends").stdout
}

/// A component with a module of nearly a million functions, compiled by the program itself.
fn in_child(
    name: &'static str,
    limit: &'static str,
    parts: &'static [&'static str],
    limits: &'static str,
) -> Attack {
    const FUNCTIONS: u32 = 900_000;
    let types = section(1, &[1, 0x60, 0, 0]);
    let declared = [leb(FUNCTIONS), vec![0; FUNCTIONS as usize]].concat();
    let bodies = [leb(FUNCTIONS), [2, 0, 0x0b].repeat(FUNCTIONS as usize)].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        types,
        section(3, &declared),
        section(10, &bodies),
    ];
    let component = [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module.concat())];
    let mut attack = file(name, limit, parts, component.concat()).limits(limits);
    attack.is_compiled_in_child = true;
    attack
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(contents.len() as u32), contents].concat()
}

/// An unsigned number as Wasm writes it.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
