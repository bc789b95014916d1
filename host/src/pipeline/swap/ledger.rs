//! The ledger of a pipeline's generations: which there were, which one is wanted, and what became of the others.
//!
//! It is one JSON text that all hosts of a pipeline see, and that is written whole on the condition that nobody else has
//! written it meanwhile. Everything here works on the text's content alone, so each change is a pure function: whoever
//! loses a race reads it again and decides again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::shadows::{Shadow, ShadowFate};
use crate::config::ComponentPlace;

/// The layout of the text that this code writes, and the only one that it reads.
const LAYOUT: u32 = 1;

/// Generations that are remembered, those apart that somebody may still go back to. Of the others before them it is known
/// which were undone, and nothing else.
const REMEMBERED: usize = 1_000;

/// The generations of a pipeline's transform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    layout: u32,
    /// The number of the one that every lane is to have.
    wanted: u64,
    /// The digest that the pipeline's file had when a host was started last.
    declared: String,
    /// By rising numbers, the wanted one among them.
    generations: Vec<Generation>,
    /// Those that are remembered no more, and whose work is to be undone: a lane that nobody has opened since may still
    /// name one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    undone_before: BTreeSet<u64>,
    /// Versions that are or were tried, by rising numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shadows: Vec<Shadow>,
}

/// A version of the transform as it runs in the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number, from 1 on.
    pub number: u64,
    /// What it is, for people: `driver@1.2.0`, or a file.
    pub component: String,
    /// The component's digest.
    pub digest: String,
    /// The last generation before it that a host had begun with, to which a rollback leads; none for the first.
    pub from: Option<u64>,
    /// When it was asked for, in microseconds since 1970-01-01T00:00:00Z.
    pub asked: i64,
    /// Whether nothing is taken over of the state before it.
    #[serde(default)]
    pub fresh: bool,
    /// Whether a host has begun to take lanes to it. From then on they may have given up the snapshot of before, which leads
    /// back from the generation before this one.
    #[serde(default = "is_begun")]
    pub begun: bool,
    /// What became of it.
    pub fate: Fate,
    /// What hosts have to say about it, in order.
    #[serde(default)]
    pub notes: Vec<Note>,
}

/// What is taken for granted of a generation of which nothing is said.
fn is_begun() -> bool {
    true
}

/// What became of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is wanted, and no host has said that it works.
    Wanted,
    /// A host has it at work.
    Running,
    /// Another one took its place.
    Replaced,
    /// A host found that it cannot take over, for this reason. If another host had it at work, that is taken back.
    Refused(String),
    /// It was taken back after it had worked, for this reason, with what it had done.
    Revoked(String),
}

impl Fate {
    /// Whether what it did is to be undone.
    pub fn is_undone(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Revoked(_))
    }
}

/// What a host has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, in microseconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// What.
    pub text: String,
}

/// Why the ledger cannot be changed as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The text is of another layout, or damaged.
    #[error("what the store says of the pipeline's generations cannot be used: {0}")]
    Unreadable(String),
    /// It is what runs.
    #[error("generation {number} is wanted already, and is this very component ({digest})")]
    Same {
        /// The generation.
        number: u64,
        /// The digest.
        digest: String,
    },
    /// There is nothing to go back to.
    #[error(
        "there is no way back from generation {0}: either it was the first, or it is itself what was gone back to, and lanes keep one snapshot"
    )]
    First(u64),
    /// It works elsewhere, so it is not the generation that is at fault.
    #[error("generation {0} is at work on another host, so it is not refused for what ails one")]
    AtWork(u64),
    /// A version of the registry was made anew.
    #[error(
        "{component} is {found} now, and was {known} in generation {number}: a version never changes, so what the registry says of it is not believed; push what is wanted under another version"
    )]
    Rewritten {
        /// Its name and version.
        component: String,
        /// The generation that it was.
        number: u64,
        /// Its digest then.
        known: String,
        /// Its digest now.
        found: String,
    },
    /// Another generation is wanted by now.
    #[error("generation {asked} is not wanted any more: that is generation {wanted}")]
    Moved {
        /// The one that was meant.
        asked: u64,
        /// The one that is wanted.
        wanted: u64,
    },
}

/// A component that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What it is, for people.
    pub component: String,
    /// Its digest.
    pub digest: String,
    /// When, in microseconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// Whether nothing is to be taken over.
    pub fresh: bool,
}

impl Ledger {
    /// Reads the text; none if it is empty.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unreadable`].
    pub fn decode(text: &str) -> Result<Option<Self>, LedgerError> {
        if text.is_empty() {
            return Ok(None);
        }
        let refuse = |reason: String| Err(LedgerError::Unreadable(reason));
        let ledger: Self = match serde_json::from_str(text) {
            Ok(ledger) => ledger,
            Err(error) => return refuse(error.to_string()),
        };
        if ledger.layout != LAYOUT {
            let layout = ledger.layout;
            return refuse(format!(
                "it has layout {layout}, and this build reads {LAYOUT}"
            ));
        }
        if ledger.find(ledger.wanted).is_none() {
            return refuse(format!("it has no generation {}", ledger.wanted));
        }
        Ok(Some(ledger))
    }

    /// The text.
    pub fn encode(&self) -> String {
        serde_json::to_string_pretty(self).expect("it has only texts and numbers")
    }

    /// The ledger of a pipeline that nobody has started before.
    pub fn begin(asked: Asked) -> Self {
        let (declared, fresh) = (asked.digest.clone(), false);
        Self {
            layout: LAYOUT,
            wanted: 1,
            declared,
            generations: vec![Generation::new(1, None, Asked { fresh, ..asked })],
            undone_before: BTreeSet::new(),
            shadows: Vec::new(),
        }
    }

    /// A host is started whose pipeline's file names this component. Where that is another one than when a host was
    /// started last, it is wanted from now on; otherwise what was wanted still is.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Rewritten`].
    pub fn start(&mut self, asked: Asked) -> Result<(), LedgerError> {
        if self.declared == asked.digest {
            return Ok(());
        }
        self.check_name(&asked)?;
        self.declared.clone_from(&asked.digest);
        // That it may be wanted already is fine.
        let _ = self.ask(asked);
        Ok(())
    }

    /// Refuses a version of the registry that was another component when it was asked for before.
    pub(super) fn check_name(&self, asked: &Asked) -> Result<(), LedgerError> {
        let is_other =
            |it: &&Generation| it.component == asked.component && it.digest != asked.digest;
        // A file may be written over.
        let is_version = ComponentPlace::is_registered(&asked.component);
        match self.generations.iter().find(is_other) {
            Some(known) if is_version => Err(LedgerError::Rewritten {
                component: asked.component.clone(),
                number: known.number,
                known: known.digest.clone(),
                found: asked.digest.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Another component is wanted. Gives the number of its generation.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Same`], [`LedgerError::Rewritten`].
    pub fn ask(&mut self, asked: Asked) -> Result<u64, LedgerError> {
        self.check_name(&asked)?;
        let wanted = self.wanted();
        if wanted.digest == asked.digest && !asked.fresh {
            return Err(LedgerError::Same {
                number: wanted.number,
                digest: asked.digest,
            });
        }
        // What no host has begun with is nothing to go back to.
        let from = match wanted.from {
            Some(before) if !wanted.begun => before,
            _ => wanted.number,
        };
        let (before, number) = (wanted.number, self.last() + 1);
        self.end_watched(|shadow| match shadow.digest == asked.digest {
            true => ShadowFate::Promoted(number),
            false => ShadowFate::Dropped(format!(
                "generation {number} is wanted in place of the one beside which it was tried"
            )),
        });
        self.set_fate(before, Fate::Replaced);
        self.generations
            .push(Generation::new(number, Some(from), asked));
        self.wanted = number;
        self.forget();
        Ok(number)
    }

    /// Forgets the oldest generations, but none to which a rollback may lead.
    fn forget(&mut self) {
        let over = self.generations.len().saturating_sub(REMEMBERED);
        let wanted = self.wanted();
        let from = wanted.from.and_then(|from| self.find(from));
        // Who takes back what no host has begun with finds the way back of the one before as it was.
        let before = from.and_then(|from| from.from);
        let stay = [Some(wanted.number), wanted.from, before];
        let mut at = 0;
        let undone_before = &mut self.undone_before;
        self.generations.retain(|it| {
            at += 1;
            let stays = at > over || stay.contains(&Some(it.number));
            if !stays && it.fate.is_undone() {
                undone_before.insert(it.number);
            }
            stays
        });
    }

    /// Generation `number` is not taken on by a host, for this reason. Where it is the host's machine or network that has
    /// failed, that is no reason to take it from others that have it at work. Gives the number of the one that is wanted
    /// again.
    ///
    /// # Errors
    ///
    /// As [`Self::take_back`], and [`LedgerError::AtWork`].
    pub fn refuse(
        &mut self,
        number: u64,
        reason: String,
        is_of_the_system: bool,
    ) -> Result<u64, LedgerError> {
        let wanted = self.wanted();
        match is_of_the_system && wanted.number == number && wanted.fate == Fate::Running {
            true => Err(LedgerError::AtWork(number)),
            false => self.take_back(number, Fate::Refused(reason)),
        }
    }

    /// Generation `number` is not wanted any more, and what it did is to be undone: the one before it is wanted again.
    /// Gives that one's number.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Moved`] when another one is wanted already, [`LedgerError::First`] when there is none before it.
    pub fn take_back(&mut self, number: u64, fate: Fate) -> Result<u64, LedgerError> {
        if number != self.wanted {
            return Err(LedgerError::Moved {
                asked: number,
                wanted: self.wanted,
            });
        }
        let from = self.wanted().from.filter(|from| self.find(*from).is_some());
        let from = from.ok_or(LedgerError::First(number))?;
        self.end_watched(|_| {
            let reason = "beside which it was tried, was taken back";
            ShadowFate::Dropped(format!("generation {number}, {reason}"))
        });
        let begun = self.wanted().begun;
        self.set_fate(number, fate);
        self.set_fate(from, Fate::Running);
        if begun {
            // Lanes have one snapshot, and it was used.
            let mut generations = self.generations.iter_mut();
            if let Some(before) = generations.find(|it| it.number == from) {
                before.from = None;
            }
        }
        self.wanted = from;
        Ok(from)
    }

    /// A host is about to take lanes to generation `number`.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Moved`] when another one is wanted by now.
    pub fn begins(&mut self, number: u64) -> Result<(), LedgerError> {
        let wanted = self.wanted;
        let mut generations = self.generations.iter_mut();
        match generations.find(|it| it.number == number && number == wanted) {
            Some(generation) => {
                generation.begun = true;
                Ok(())
            }
            None => Err(LedgerError::Moved {
                asked: number,
                wanted,
            }),
        }
    }

    /// A host has the wanted generation at work. Gives whether that is news.
    pub fn runs(&mut self, number: u64) -> bool {
        let is_news = self.wanted == number && self.wanted().fate == Fate::Wanted;
        if is_news {
            self.set_fate(number, Fate::Running);
        }
        is_news
    }

    /// Notes something about a generation, if it is remembered.
    pub fn note(&mut self, number: u64, note: Note) {
        let mut generations = self.generations.iter_mut();
        if let Some(generation) = generations.find(|it| it.number == number) {
            generation.notes.push(note);
        }
    }

    /// The same, unless it was noted before.
    pub fn note_once(&mut self, number: u64, note: Note) {
        let is_noted = |it: &Generation| it.notes.iter().any(|noted| noted.text == note.text);
        if !self.find(number).is_some_and(is_noted) {
            self.note(number, note);
        }
    }

    /// The generation after which the wanted one was gone back to, if it was. What it is was at work before, so nobody has
    /// to be asked for it again, and it is not to be refused: there is nothing before it.
    pub fn gone_back_from(&self) -> Option<&Generation> {
        let mut later = self.generations.iter().rev();
        later.find(|it| it.from == Some(self.wanted) && it.fate.is_undone())
    }

    /// The one that every lane is to have.
    pub fn wanted(&self) -> &Generation {
        self.find(self.wanted)
            .expect("decode and all changes see to it that it is there")
    }

    /// All that are remembered, by rising numbers.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The numbers of those whose work is to be undone.
    pub fn undone(&self) -> BTreeSet<u64> {
        let undone = self.generations.iter().filter(|it| it.fate.is_undone());
        let before = self.undone_before.iter().copied();
        undone.map(|it| it.number).chain(before).collect()
    }

    /// A generation, if it is remembered.
    pub fn find(&self, number: u64) -> Option<&Generation> {
        let mut generations = self.generations.iter();
        generations.find(|generation| generation.number == number)
    }

    fn last(&self) -> u64 {
        self.generations.last().map_or(0, |last| last.number)
    }

    fn set_fate(&mut self, number: u64, fate: Fate) {
        let mut generations = self.generations.iter_mut();
        if let Some(generation) = generations.find(|it| it.number == number) {
            generation.fate = fate;
        }
    }
}

impl Generation {
    fn new(number: u64, from: Option<u64>, asked: Asked) -> Self {
        Self {
            number,
            component: asked.component,
            digest: asked.digest,
            from,
            asked: asked.at,
            fresh: asked.fresh,
            begun: false,
            fate: Fate::Wanted,
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
