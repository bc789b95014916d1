//! Takes a line apart: one object, and nothing after it. Finds where the values of the wanted fields stand, and
//! checks the grammar of every byte.
//!
//! Lines of one file resemble each other: the same fields in the same order, with the same spaces. So each field
//! remembers which text led from its value to the value of the next field (`,"driver_id":`, or `}` and the end of the
//! line), and the next line is first compared with that text as a whole. Only where the guess fails are the tokens
//! read one by one, and the memory is corrected. What is accepted never depends on the guess: the same bytes that were
//! read token by token once mean the same when they stand at the same place again.

use hashbrown::HashMap;

use super::super::scan::{Quoted, Syntax, byte, member, skip_space, skip_value, unescape};

/// The value of a wanted field: from its first byte to behind its last. `start == end` if the line has no such field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What stood on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// An object; the next line begins at `next`.
    Object { next: usize },
    /// Nothing but spaces; the next line begins at `next`.
    Blank { next: usize },
}

/// Reads lines, and remembers their layout.
pub(super) struct Fields {
    /// Steps by number; the first three are [`START`], [`END`] and [`OTHER`].
    steps: Vec<Step>,
    /// The steps of the fields and their columns, by the raw text between the quotes of their names.
    by_name: HashMap<Box<[u8]>, (u32, u32)>,
    wanted: HashMap<Box<[u8]>, u32>,
    spans: Vec<Span>,
}

/// The step before the first field of a line.
const START: u32 = 0;
/// The step that ends a line.
const END: u32 = 1;
/// The step of all fields whose names are not remembered.
const OTHER: u32 = 2;
/// For a field that is not wanted.
const UNWANTED: u32 = u32::MAX;
/// Names that are remembered. A file that invents names on every line must not fill the memory.
const MAX_STEPS: usize = 4096;

/// One field of the layout: what followed its value last time.
///
/// The text is kept here, with the field that it follows, and not with the field that it leads to. Otherwise the `{`
/// before the first field of one line could be taken for the `,` before the same field in the middle of another.
struct Step {
    /// The text up to the next value, as it was last read token by token.
    lead: Lead,
    /// The step that it leads to.
    next: u32,
    /// The index of that step's field among the wanted columns, or [`UNWANTED`].
    column: u32,
}

/// A text of at most [`Lead::BYTES`] bytes, laid out for comparison sixteen at a time.
struct Lead {
    text: [u128; Lead::BYTES / 16],
    mask: [u128; Lead::BYTES / 16],
    /// 0: matches nothing.
    len: usize,
}

impl Lead {
    const BYTES: usize = 64;
    const NONE: Self = Self {
        text: [0; 4],
        mask: [0; 4],
        len: 0,
    };

    fn new(lead: &[u8]) -> Self {
        if lead.len() > Self::BYTES {
            return Self::NONE;
        }
        let mut this = Self {
            len: lead.len(),
            ..Self::NONE
        };
        for (block, bytes) in lead.chunks(16).enumerate() {
            let mut padded = [0; 16];
            padded[..bytes.len()].copy_from_slice(bytes);
            this.text[block] = u128::from_le_bytes(padded);
            this.mask[block] = u128::MAX >> (8 * (16 - bytes.len()));
        }
        this
    }

    /// Whether the text stands at `at`. The answer may be `false` within [`Lead::BYTES`] of the buffer's end, which
    /// costs time only.
    #[inline(always)]
    fn stands_at(&self, text: &[u8], at: usize) -> bool {
        let Some(window) = text
            .get(at..)
            .and_then(|rest| rest.first_chunk::<{ Lead::BYTES }>())
        else {
            return false;
        };
        let (blocks, _) = window.as_chunks::<16>();
        let differs = |block: usize| {
            (u128::from_le_bytes(blocks[block]) ^ self.text[block]) & self.mask[block]
        };
        if self.len == 0 || differs(0) | differs(1) != 0 {
            return false;
        }
        self.len <= 32 || differs(2) | differs(3) == 0
    }
}

impl Fields {
    /// `wanted` are the names of the columns, in order.
    pub(super) fn new<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Self {
        let wanted: HashMap<Box<[u8]>, u32> = wanted
            .into_iter()
            .zip(0..)
            .map(|(name, column)| (Box::from(name.as_bytes()), column))
            .collect();
        Self {
            steps: vec![Step::new(), Step::new(), Step::new()],
            by_name: HashMap::new(),
            spans: vec![Span::default(); wanted.len()],
            wanted,
        }
    }

    /// Where the wanted values of the line that was read last stand. Of a field that stands there twice, the last.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Reads the line that begins at `at`. `text` must have the newline that ends it.
    pub(super) fn read_line(&mut self, text: &[u8], mut at: usize) -> Result<Line, Syntax> {
        self.spans.fill(Span::default());
        let mut step = START;
        loop {
            let guess = &self.steps[step as usize];
            let column;
            if guess.lead.stands_at(text, at) {
                at += guess.lead.len;
                (step, column) = (guess.next, guess.column);
            } else {
                match self.read_lead(text, at, step)? {
                    Found::Value {
                        step: field,
                        column: wanted,
                        start,
                    } => (step, column, at) = (field, wanted, start),
                    Found::Blank { next } => return Ok(Line::Blank { next }),
                }
            }
            if step == END {
                return Ok(Line::Object { next: at });
            }
            // The line that the text was learnt from may have had fewer spaces before this value.
            at = skip_space(text, at);
            let end = skip_value(text, at, 1)?;
            if let Some(span) = self.spans.get_mut(column as usize) {
                *span = Span { start: at, end };
            }
            at = end;
        }
    }

    /// Reads from the end of a value to the beginning of the next, token by token.
    #[cold]
    fn read_lead(&mut self, text: &[u8], begin: usize, from: u32) -> Result<Found, Syntax> {
        let mut at = skip_space(text, begin);
        if from == START {
            match byte(text, at) {
                b'{' => {}
                b'\n' => return Ok(Found::Blank { next: at + 1 }),
                _ => {
                    return Err(Syntax {
                        at,
                        expected: "an object: `{`",
                    });
                }
            }
            at = skip_space(text, at + 1);
        }
        match byte(text, at) {
            b'}' => {
                let newline = skip_space(text, at + 1);
                if byte(text, newline) != b'\n' {
                    return Err(Syntax {
                        at: newline,
                        expected: "the end of the line after the object",
                    });
                }
                self.learn(text, begin, newline + 1, from, (END, UNWANTED));
                return Ok(Found::Value {
                    step: END,
                    column: UNWANTED,
                    start: newline + 1,
                });
            }
            b',' if from != START => at = skip_space(text, at + 1),
            _ if from != START => {
                return Err(Syntax {
                    at,
                    expected: "`,` or `}`",
                });
            }
            _ => {}
        }
        let (name, value) = member(text, at)?;
        let (step, column) = self.step_of(text, name)?;
        self.learn(text, begin, value, from, (step, column));
        Ok(Found::Value {
            step,
            column,
            start: value,
        })
    }

    fn learn(
        &mut self,
        text: &[u8],
        begin: usize,
        end: usize,
        from: u32,
        (next, column): (u32, u32),
    ) {
        let lead = Lead::new(text.get(begin..end).unwrap_or_default());
        self.steps[from as usize] = Step { lead, next, column };
    }

    fn step_of(&mut self, text: &[u8], name: Quoted) -> Result<(u32, u32), Syntax> {
        let raw = &text[name.start..name.end];
        if let Some(&known) = self.by_name.get(raw) {
            return Ok(known);
        }
        let column = if raw.contains(&b'\\') {
            let plain = unescape(&text[name.start - 1..=name.end]).ok_or(Syntax {
                at: name.start,
                expected: "a field name without lone surrogates",
            })?;
            self.wanted.get(plain.as_bytes())
        } else {
            self.wanted.get(raw)
        };
        let column = column.copied().unwrap_or(UNWANTED);
        if self.steps.len() >= MAX_STEPS || raw.len() > Lead::BYTES {
            return Ok((OTHER, column));
        }
        let step = self.steps.len() as u32;
        self.steps.push(Step::new());
        self.by_name.insert(Box::from(raw), (step, column));
        Ok((step, column))
    }
}

impl Step {
    fn new() -> Self {
        Self {
            lead: Lead::NONE,
            next: END,
            column: UNWANTED,
        }
    }
}

/// What stood after a value, or at the beginning of a line.
enum Found {
    /// A field, whose value begins at `start`; or, if `step` is [`END`], the next line.
    Value {
        step: u32,
        column: u32,
        start: usize,
    },
    Blank {
        next: usize,
    },
}
