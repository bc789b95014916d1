//! A transform that misbehaves as its configuration says, when it meets a row of amount 13.

use penstock_sdk::prelude::*;

/// A row.
#[derive(Row)]
pub struct Entry {
    amount: f64,
}

/// What is remembered.
#[derive(State, Clone, Default)]
pub struct Memory {
    rows: u64,
    ballast: Vec<u64>,
}

/// What comes out.
#[derive(Output)]
pub struct Count {
    rows: u64,
}

/// What it does when it meets the row.
#[derive(Default)]
enum Misdeed {
    #[default]
    Nothing,
    Spin,
    Allocate,
    Panic,
    Recurse,
    Hoard,
    Chatter,
    Rant,
    Scrawl,
    Mislabel,
    Withhold,
    Choke,
    Stumble,
}

/// The transform.
#[derive(Default)]
pub struct Unruly {
    misdeed: Misdeed,
}

impl Window for Unruly {
    type Row<'a> = Entry;
    type State = Memory;
    type Output = Option<Count>;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let misdeeds = [
            ("nothing", Misdeed::Nothing),
            ("spin", Misdeed::Spin),
            ("allocate", Misdeed::Allocate),
            ("panic", Misdeed::Panic),
            ("recurse", Misdeed::Recurse),
            ("hoard", Misdeed::Hoard),
            ("chatter", Misdeed::Chatter),
            ("rant", Misdeed::Rant),
            ("scrawl", Misdeed::Scrawl),
            ("mislabel", Misdeed::Mislabel),
            ("withhold", Misdeed::Withhold),
            ("choke", Misdeed::Choke),
            ("stumble", Misdeed::Stumble),
        ];
        if config.is_empty() {
            return Ok(Self::default());
        }
        let asked = misdeeds
            .into_iter()
            .find(|(name, _)| config.json().contains(name));
        let (_, misdeed) =
            asked.ok_or_else(|| config.wrong("`misdeed` names none that there is"))?;
        Ok(Self { misdeed })
    }

    fn accumulate(&self, memory: &mut Memory, entry: Entry) -> Result<(), Reject> {
        memory.rows += 1;
        metrics::count("seen", 1);
        if entry.amount == 29.0 {
            return Err(Reject::new("twenty-nine", "an amount of 29"));
        }
        if entry.amount == 13.0 {
            return self.misbehave(memory);
        }
        Ok(())
    }

    fn merge(&self, earlier: Memory, later: Memory) -> Memory {
        let ballast = match self.misdeed {
            Misdeed::Choke | Misdeed::Stumble => [earlier.ballast, later.ballast].concat(),
            _ => Vec::new(),
        };
        if matches!(self.misdeed, Misdeed::Stumble) && !ballast.is_empty() {
            panic!("thirteen to merge");
        }
        Memory {
            rows: earlier.rows + later.rows,
            ballast,
        }
    }

    fn finish(&self, memory: &Memory, _bounds: Bounds) -> Option<Count> {
        if matches!(self.misdeed, Misdeed::Choke) && !memory.ballast.is_empty() {
            panic!("thirteen to finish");
        }
        metrics::count("groups", 1);
        metrics::observe("rows", memory.rows as f64);
        let withholds = matches!(self.misdeed, Misdeed::Withhold) && !memory.ballast.is_empty();
        (!withholds).then_some(Count { rows: memory.rows })
    }
}

impl Unruly {
    fn misbehave(&self, memory: &mut Memory) -> Result<(), Reject> {
        match self.misdeed {
            Misdeed::Nothing => {}
            Misdeed::Spin => loop {
                std::hint::black_box(memory.rows);
            },
            Misdeed::Allocate => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            Misdeed::Panic => panic!("thirteen"),
            Misdeed::Recurse => {
                std::hint::black_box(deeper(memory.rows));
            }
            Misdeed::Hoard => memory.ballast = vec![7; 1 << 18],
            Misdeed::Chatter => chatter(),
            Misdeed::Rant => {
                chatter();
                panic!("thirteen at last");
            }
            Misdeed::Scrawl => panic!("\u{1b}[2J\u{202e}thirteen"),
            // Such a row makes its group give nothing from then on.
            Misdeed::Withhold => memory.ballast = vec![13],
            // It fails later: when its window is finished, or when its group is merged with another.
            Misdeed::Choke | Misdeed::Stumble => memory.ballast = vec![13],
            Misdeed::Mislabel => return Err(Reject::new("\u{1b}[2J", "a code for terminals")),
        }
        Ok(())
    }
}

fn chatter() {
    for line in 0..1000 {
        log::info!("line {line}");
    }
}

fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if frame[0] == u64::MAX {
        return 0;
    }
    frame[7].wrapping_add(deeper(depth + 1))
}

export_window!(Unruly);
