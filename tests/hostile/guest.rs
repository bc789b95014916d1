//! Guests in the text form of Wasm: a transform that does nothing wrong, of which an attack replaces one
//! part. Componentised as every transform is, without a compiler.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::image::{Cols, Image, Reject, Spec, cols, field};
use crate::support::root;

/// Everything by which the host enters a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Start,
    Realloc,
    Open,
    Accumulate,
    Merge,
    Finish,
    Map,
    Migrate,
    /// After `accumulate`, `map-rows` or `migrate-states`.
    Post,
    /// No code of it runs.
    Load,
}

impl Entry {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start function",
            Self::Realloc => "`cabi_realloc`",
            Self::Open => "`open`",
            Self::Accumulate => "`accumulate`",
            Self::Merge => "`merge-states`",
            Self::Finish => "`finish-groups`",
            Self::Map => "`map-rows`",
            Self::Migrate => "`migrate-states`",
            Self::Post => "post-return",
            Self::Load => "the file",
        }
    }
}

/// Lays a result out, and says where it is.
type Answer = Box<dyn Fn(&mut Image) -> u32>;

/// Which world of the contract a guest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Mapping,
    Windowing,
    WindowingMigrating,
}

/// A function of the contract: its entry, interface, name, and how many numbers it is given.
type Call = (Entry, &'static str, &'static str, usize);

const MAPPER: [Call; 2] = [
    (Entry::Open, "mapper", "open-mapper", 8),
    (Entry::Map, "mapper", "map-rows", 4),
];

const WINDOWED: [Call; 4] = [
    (Entry::Open, "windowed", "open-windowed", 8),
    (Entry::Accumulate, "windowed", "accumulate", 12),
    (Entry::Merge, "windowed", "merge-states", 9),
    (Entry::Finish, "windowed", "finish-groups", 9),
];

const MIGRATION: [Call; 1] = [(Entry::Migrate, "migration", "migrate-states", 6)];

impl World {
    fn name(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Windowing => "windowing",
            Self::WindowingMigrating => "windowing-migrating",
        }
    }

    fn calls(self) -> Vec<Call> {
        match self {
            Self::Mapping => MAPPER.to_vec(),
            Self::Windowing => WINDOWED.to_vec(),
            Self::WindowingMigrating => [&WINDOWED[..], &MIGRATION].concat(),
        }
    }
}

/// A transform in the making.
pub(crate) struct Guest {
    world: World,
    pub(crate) spec: Spec,
    /// Static results of calls, each made when the guest is built.
    results: BTreeMap<Entry, Answer>,
    /// Bodies in the text form; they come before the static results.
    bodies: BTreeMap<Entry, String>,
    /// More items of the module.
    items: String,
    /// Imports of the module.
    imports: String,
    /// Pages of memory at the start.
    pages: u32,
}

/// The contract.
static RESOLVE: LazyLock<(Resolve, wit_parser::PackageId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    resolve
        .push_dir(root().join("wit"))
        .expect("the contract parses");
    for (path, text) in WASI {
        resolve.push_str(path, text).expect("it parses");
    }
    let package = resolve.push_str("attack.wit", ATTACK);
    (resolve, package.expect("it parses"))
});

/// What of WASI attacks ask for.
const WASI: [(&str, &str); 3] = [
    (
        "io.wit",
        "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }",
    ),
    (
        "clocks.wit",
        "package wasi:clocks@0.2.0; interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; }",
    ),
    (
        "random.wit",
        "package wasi:random@0.2.0; interface random { get-random-bytes: func(len: u64) -> list<u8>; }",
    ),
];

/// The worlds of the contract, with that.
const ATTACK: &str = "package penstock:attack;
world of-the-world { import wasi:io/poll@0.2.0; import wasi:clocks/monotonic-clock@0.2.0; import wasi:random/random@0.2.0; }
world mapping { include of-the-world; include penstock:transform/mapping@0.1.0; }
world windowing { include of-the-world; include penstock:transform/windowing@0.1.0; }
world windowing-migrating { include of-the-world; include penstock:transform/windowing-migrating@0.1.0; }";

impl Guest {
    /// Windows without output, over a state of one number.
    pub(crate) fn windowed() -> Self {
        Self::new(
            World::Windowing,
            Spec {
                event: "entry".into(),
                needs: vec!["amount".into()],
                state: vec![field("n", "l", 0)],
                metadata: Vec::new(),
                takes: Vec::new(),
                initial: cols(1, [&[], &[0; 8]]),
                output: vec![field("rows", "L", 0)],
            },
        )
        .updates(Cols::empty(1), Some(&[]), &[])
        .finishes(Cols::empty(1), &[])
        // The earlier states are the merged ones.
        .body(
            Entry::Merge,
            "(i32.store (i32.const 16) (i32.const 0))
             (i32.store (i32.const 20) (local.get 3))
             (i32.store (i32.const 24) (local.get 4))
             (i32.store (i32.const 28) (local.get 5))
             (i32.const 16)",
        )
    }

    /// The same, which takes over states of version 0 as they are.
    pub(crate) fn migrating() -> Self {
        Self {
            world: World::WindowingMigrating,
            ..Self::windowed()
        }
        .spec(|spec| spec.takes = vec![0])
        .body(
            Entry::Migrate,
            "(i32.store (i32.const 16) (i32.const 0))
             (i32.store (i32.const 20) (local.get 3))
             (i32.store (i32.const 24) (local.get 4))
             (i32.store (i32.const 28) (local.get 5))
             (i32.const 16)",
        )
    }

    /// A mapper that filters every row.
    pub(crate) fn mapper() -> Self {
        Self::new(
            World::Mapping,
            Spec {
                event: "entry".into(),
                needs: vec!["amount".into()],
                state: Vec::new(),
                metadata: Vec::new(),
                takes: Vec::new(),
                initial: Cols::default(),
                output: vec![field("key", "l", 0), field("rows", "L", 0)],
            },
        )
        .maps(Cols::empty(2), &[], &[])
    }

    fn new(world: World, spec: Spec) -> Self {
        Self {
            world,
            spec,
            results: BTreeMap::new(),
            bodies: BTreeMap::new(),
            items: String::new(),
            imports: String::new(),
            pages: 4,
        }
    }

    pub(crate) fn spec(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// What an entry does, in place of anything else. Parameters are `local.get 0` and so on.
    pub(crate) fn body(mut self, entry: Entry, body: &str) -> Self {
        self.bodies.insert(entry, body.into());
        self
    }

    pub(crate) fn items(mut self, items: &str) -> Self {
        self.items.push_str(items);
        self
    }

    pub(crate) fn imports(mut self, imports: &str) -> Self {
        self.imports.push_str(imports);
        self
    }

    pub(crate) fn pages(self, pages: u32) -> Self {
        Self { pages, ..self }
    }

    fn result(mut self, entry: Entry, result: impl Fn(&mut Image) -> u32 + 'static) -> Self {
        self.bodies.remove(&entry);
        self.results.insert(entry, Box::new(result));
        self
    }

    /// What `accumulate` returns, whatever it is given.
    pub(crate) fn updates(self, states: Cols, changed: Option<&[u8]>, rejects: &[Reject]) -> Self {
        let (changed, rejects) = (changed.map(<[u8]>::to_vec), rejects.to_vec());
        self.result(Entry::Accumulate, move |image| {
            image.updated(&states, changed.as_deref(), &rejects)
        })
    }

    pub(crate) fn merges(self, states: Cols) -> Self {
        self.result(Entry::Merge, move |image| image.merged(&states))
    }

    pub(crate) fn migrates(self, states: Cols) -> Self {
        self.result(Entry::Migrate, move |image| image.merged(&states))
    }

    pub(crate) fn finishes(self, output: Cols, source_group: &[u8]) -> Self {
        let source = source_group.to_vec();
        self.result(Entry::Finish, move |image| image.finished(&output, &source))
    }

    pub(crate) fn maps(self, output: Cols, source_row: &[u8], rejects: &[Reject]) -> Self {
        let (source, rejects) = (source_row.to_vec(), rejects.to_vec());
        self.result(Entry::Map, move |image| {
            image.mapped(&output, &source, &rejects)
        })
    }

    pub(crate) fn fails(self, entry: Entry, message: &'static str) -> Self {
        self.result(entry, move |image| image.failure(message))
    }

    /// The core module as text.
    fn text(&self) -> String {
        let mut image = Image::default();
        let opened = match self.world {
            World::Mapping => image.mapper_spec(&self.spec),
            World::Windowing | World::WindowingMigrating => image.windowed_spec(&self.spec),
        };
        let results = self.results.iter();
        let results: BTreeMap<Entry, u32> = results
            .map(|(entry, result)| (*entry, result(&mut image)))
            .collect();
        let body = |entry: Entry| match self.bodies.get(&entry) {
            Some(body) => {
                // What the entry would have returned without it.
                let result = results.get(&entry).copied();
                let result = result.or((entry == Entry::Open).then_some(opened));
                body.replace("RESULT", &result.unwrap_or_default().to_string())
            }
            None => match results.get(&entry) {
                Some(at) => format!("(i32.const {at})"),
                None if entry == Entry::Open => format!("(i32.const {opened})"),
                None => "(global.set $heap (i32.const HEAP))".to_owned(),
            },
        };
        let mut text = format!("(module {}\n", self.imports);
        let mut add = |item: String| writeln!(text, "{item}").expect("a string takes all");
        add(format!("(memory (export \"memory\") {})", self.pages));
        add(
            "(global $heap (mut i32) (i32.const HEAP)) (global $calls (mut i32) (i32.const 0))"
                .into(),
        );
        add(self.items.clone());
        let realloc = self
            .bodies
            .get(&Entry::Realloc)
            .map_or(REALLOC, String::as_str);
        add(format!(
            "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (local $at i32) (local $end i32) {realloc})"
        ));
        if let Some(start) = self.bodies.get(&Entry::Start) {
            add(format!(
                "(func $begin (local $at i32) {start}) (start $begin)"
            ));
        }
        for (entry, interface, name, parameters) in self.world.calls() {
            let parameters = "i32 ".repeat(parameters);
            let name = format!("penstock:transform/{interface}@0.1.0#{name}");
            add(format!(
                "(func (export \"{name}\") (param {parameters}) (result i32) (local $at i32) {})",
                body(entry)
            ));
            let post = match entry {
                Entry::Accumulate | Entry::Map | Entry::Migrate => body(Entry::Post),
                _ => "(global.set $heap (i32.const HEAP))".into(),
            };
            add(format!(
                "(func (export \"cabi_post_{name}\") (param i32) (local $at i32) {post})"
            ));
        }
        let (at, bytes) = image.data();
        let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        add(format!("(data (i32.const {at}) \"{bytes}\"))"));
        text.replace("HEAP", &image.end().to_string())
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let text = self.text();
        let mut module =
            wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{}", head(&text)));
        let (resolve, package) = &*RESOLVE;
        let world = resolve
            .select_world(&[*package], Some(self.world.name()))
            .expect("the contract has it");
        embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false)
            .expect("the world is known");
        ComponentEncoder::default()
            .module(&module)
            .and_then(|encoder| encoder.encode())
            .unwrap_or_else(|error| panic!("{error:#}\n{}", head(&text)))
    }
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(2000)]
}

impl Cols {
    /// No rows of so many columns of fixed width.
    pub(crate) fn empty(columns: usize) -> Self {
        Self {
            rows: 0,
            buffers: vec![Vec::new(); 2 * columns],
        }
    }
}

/// Hands out memory from the heap's end on; what a call was given goes after it.
const REALLOC: &str = "
(local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
(local.set $end (i32.add (local.get $at) (local.get 3)))
(global.set $heap (local.get $end))
(if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536)))
  (then (drop (memory.grow (i32.add (i32.const 1)
    (i32.div_u (i32.sub (local.get $end) (i32.mul (memory.size) (i32.const 65536))) (i32.const 65536)))))))
(local.get $at)";
