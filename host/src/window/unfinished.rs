//! Windows that a transform could not finish: kept with the states that go into each, and tried again by the next one.
//!
//! What is kept of a window goes when the same window is finished after all, by a row that corrects it or by another
//! version: whatever comes out of it then is newer than what the kept states would give. A window that fails once more
//! is kept with the states that it has by then. Of an unbounded value the last that failed is kept, for each key.
//!
//! Trying again is as if the windows closed once more: states are merged in the order in which they were, finished, and
//! what comes out is emitted with the next revision.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::error::ArrowError;

use super::WindowError;
use super::calls::Calls;
use super::chains::{Chain, End, Link, fold};
use super::emission::{Emit, Emitter, Finishing, Moment, Revision};
use super::state::{Codec, Edit, RecordId, StateError, UnfinishedWindow, UnfinishedWindows};
use super::states::{NONE, States};
use super::windows::Windows;
use crate::transform::bytes_of;

/// A change of what is kept: this is to be at a key, or nothing.
pub type UnfinishedChange = (Vec<u8>, Option<Vec<u8>>);

/// How many windows could not be finished, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnfinishedCounts {
    /// Those that are kept now.
    pub kept: u64,
    /// Those that were not kept, as there was no room.
    pub dropped: u64,
    /// Those that were tried again.
    pub tried: u64,
    /// Those of them that were finished.
    pub finished: u64,
}

impl UnfinishedCounts {
    /// Adds what was counted since: `more` says how many are kept now.
    pub fn add(&mut self, more: &Self) {
        self.kept = more.kept;
        self.dropped += more.dropped;
        self.tried += more.tried;
        self.finished += more.finished;
    }
}

/// The windows of a lane that could not be finished.
pub struct Unfinished {
    codec: Codec,
    /// The digest of the transform at work.
    transform: String,
    /// Bytes that may be kept.
    most: u64,
    bytes: u64,
    kept: BTreeMap<RecordId, BTreeMap<Vec<u8>, Size>>,
    /// What changed since changes were taken: of each key the last, so that a window that fails again and again until
    /// then takes no more room than one that failed once.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    counts: UnfinishedCounts,
    /// Whether what is finished now was kept before.
    is_trial: bool,
}

/// What a window takes.
#[derive(Debug, Clone, Copy)]
struct Size {
    states: usize,
    bytes: u64,
}

impl Unfinished {
    /// None yet, of lanes at which this transform is at work. So many bytes may be kept.
    pub fn new(codec: Codec, transform: &str, most: u64) -> Self {
        Self {
            codec,
            transform: transform.to_owned(),
            most,
            bytes: 0,
            kept: BTreeMap::new(),
            changes: BTreeMap::new(),
            counts: UnfinishedCounts::default(),
            is_trial: false,
        }
    }

    /// From now on another transform is at work.
    pub fn set_transform(&mut self, transform: &str) {
        transform.clone_into(&mut self.transform);
    }

    /// Turns kept bytes into windows.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// How many are kept, and since this was made what became of others.
    pub fn counts(&self) -> UnfinishedCounts {
        let kept = self.kept.values().map(BTreeMap::len).sum::<usize>() as u64;
        UnfinishedCounts {
            kept,
            ..self.counts
        }
    }

    /// What changed since this was asked, by rising keys.
    pub fn changes(&mut self) -> Vec<UnfinishedChange> {
        std::mem::take(&mut self.changes).into_iter().collect()
    }

    /// Takes note of windows that are kept already. Gives those that another transform failed on.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn found(&mut self, found: &UnfinishedWindows) -> Result<Vec<usize>, StateError> {
        let mut of_others = Vec::new();
        for (at, window) in found.windows.iter().enumerate() {
            let mut size = Size {
                states: window.states,
                bytes: 0,
            };
            let (row, states) = (&found.rows[at], found.states_of(at));
            self.codec.encode_unfinished(row, window, &states, |edit| {
                size.bytes += bytes_of_edit(&edit);
            })?;
            self.note(row.clone(), window.id, size);
            if window.failed_by != self.transform {
                of_others.push(at);
            }
        }
        Ok(of_others)
    }

    fn note(&mut self, row: Vec<u8>, id: RecordId, size: Size) {
        let before = self.kept.entry(id).or_default().insert(row, size);
        self.bytes = self.bytes + size.bytes - before.map_or(0, |before| before.bytes);
    }

    /// Whether anything is kept under an id, of whatever key.
    fn has(&self, id: RecordId) -> bool {
        self.kept.contains_key(&id)
    }

    /// Keeps a window that could not be finished, of which nothing is kept.
    fn keep(
        &mut self,
        row: &[u8],
        window: UnfinishedWindow,
        states: &[ArrayRef],
    ) -> Result<(), StateError> {
        let mut pairs = Vec::with_capacity(window.states);
        let mut bytes = 0;
        self.codec.encode_unfinished(row, &window, states, |edit| {
            bytes += bytes_of_edit(&edit);
            if let Edit::Put(key, value) = edit {
                pairs.push((key.to_vec(), Some(value.to_vec())));
            }
        })?;
        if self.bytes.saturating_add(bytes) > self.most {
            self.drop_one();
            return Ok(());
        }
        self.changes.extend(pairs);
        let states = window.states;
        self.note(row.to_vec(), window.id, Size { states, bytes });
        Ok(())
    }

    fn drop_one(&mut self) {
        self.counts.dropped += 1;
        // Whoever floods this with windows does not flood the log.
        if self.counts.dropped.is_power_of_two() {
            tracing::warn!(
                dropped = self.counts.dropped,
                limit = self.most,
                "windows that cannot be finished take more than `limits.unfinished_bytes`: this one is not tried again by the next version; its states are in the invalid values"
            );
        }
    }

    /// What is kept of a window is of no use any more. Says whether there was something.
    fn forget(&mut self, row: &[u8], id: RecordId) -> bool {
        let Some(of_id) = self.kept.get_mut(&id) else {
            return false;
        };
        let Some(size) = of_id.remove(row) else {
            return false;
        };
        if of_id.is_empty() {
            self.kept.remove(&id);
        }
        self.bytes -= size.bytes;
        let keys = (0..size.states).map(|state| Codec::unfinished_key(row, id, state));
        self.changes.extend(keys.map(|key| (key, None)));
        true
    }
}

fn bytes_of_edit(edit: &Edit<'_>) -> u64 {
    match edit {
        Edit::Put(key, value) => (key.len() + value.len()) as u64,
        Edit::Remove(_) => 0,
    }
}

/// What goes into a window, and how many of its states are the earlier part.
pub(super) enum Parts {
    /// The states in these slots.
    Slots(Vec<u32>, usize),
    /// These states.
    States(Vec<ArrayRef>, usize),
}

/// Slots whose states are gathered at once: those of a window of many panes may be more than there is room for.
const GATHERED: usize = 64;

impl Parts {
    /// The states, if they take no more than so many bytes, and how many are the earlier part.
    fn within(
        self,
        room: u64,
        states: &States,
    ) -> Result<Option<(Vec<ArrayRef>, usize)>, ArrowError> {
        let (slots, earlier) = match self {
            Self::States(columns, earlier) => return Ok(Some((columns, earlier))),
            Self::Slots(slots, earlier) => (slots, earlier),
        };
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        for slots in slots.chunks(GATHERED) {
            let piece = states.gather(slots)?;
            bytes += bytes_of(&piece) as u64;
            if bytes > room {
                return Ok(None);
            }
            pieces.push(piece);
        }
        let columns = pieces.first().map_or(0, Vec::len);
        if columns == 0 {
            return Ok(None);
        }
        let columns = (0..columns).map(|column| {
            let parts: Vec<&dyn Array> =
                pieces.iter().map(|piece| piece[column].as_ref()).collect();
            concat(&parts)
        });
        Ok(Some((columns.collect::<Result<_, _>>()?, earlier)))
    }
}

impl Calls {
    /// From now on windows that cannot be finished are kept.
    pub fn keep_unfinished(&mut self, unfinished: Unfinished) {
        self.unfinished = Some(Box::new(unfinished));
    }

    /// Those that are kept; none if they never are.
    pub fn unfinished(&mut self) -> Option<&mut Unfinished> {
        self.unfinished.as_deref_mut()
    }

    /// What became of windows that could not be finished.
    pub fn unfinished_counts(&self) -> UnfinishedCounts {
        let unfinished = self.unfinished.as_ref();
        unfinished.map_or_else(UnfinishedCounts::default, |unfinished| unfinished.counts())
    }

    /// Notes what became of windows that have an id: those that `failed`, given by rising places, are kept with what
    /// `parts` gives for each, and of the others nothing is kept any more.
    pub(super) fn ended(
        &mut self,
        windows: &Finishing,
        failed: &[usize],
        states: &States,
        parts: impl Fn(usize) -> Parts,
    ) -> Result<(), WindowError> {
        let Some(unfinished) = &mut self.unfinished else {
            return Ok(());
        };
        let is_failed = |at: usize| failed.binary_search(&at).is_ok();
        let concerned =
            (0..windows.ids.len()).filter(|at| is_failed(*at) || unfinished.has(windows.ids[*at]));
        let concerned: Vec<usize> = concerned.collect();
        if concerned.is_empty() {
            return Ok(());
        }
        let keys: Vec<u32> = concerned.iter().map(|at| windows.keys[*at]).collect();
        let rows = unfinished.codec.key_rows(&states.keys.gather(&keys)?)?;
        for (at, row) in concerned.into_iter().zip(rows) {
            if !is_failed(at) {
                let was_kept = unfinished.forget(&row, windows.ids[at]);
                unfinished.counts.finished += u64::from(was_kept && unfinished.is_trial);
                continue;
            }
            unfinished.forget(&row, windows.ids[at]);
            let room = unfinished.most.saturating_sub(unfinished.bytes);
            let Some((states, earlier)) = parts(at).within(room, states)? else {
                unfinished.drop_one();
                continue;
            };
            let revision = windows.revisions.get(at);
            let window = UnfinishedWindow {
                id: windows.ids[at],
                bounds: windows.bounds[at],
                revision: revision.map(|revision| (revision.number, revision.stands)),
                states: states.first().map_or(0, |column| column.len()),
                earlier,
                failed_by: unfinished.transform.clone(),
            };
            unfinished.keep(&row, window, &states)?;
        }
        Ok(())
    }

    /// There is no such window of a key any more.
    pub(super) fn forget_unfinished(
        &mut self,
        key: u32,
        id: RecordId,
        states: &States,
    ) -> Result<(), WindowError> {
        let Some(unfinished) = self.unfinished.as_mut().filter(|it| it.has(id)) else {
            return Ok(());
        };
        for row in unfinished.codec.key_rows(&states.keys.gather(&[key])?)? {
            unfinished.forget(&row, id);
        }
        Ok(())
    }

    fn begin_trial(&mut self, is_trial: bool) {
        self.forgive(is_trial);
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.is_trial = is_trial;
        }
    }
}

/// What a kind of windows knows of those that are tried again.
pub(super) trait TriedAgain {
    /// What turns states into emissions, and the states.
    fn at_work(&mut self) -> (&Emitter, &mut States);

    /// Which emission of a window this is, where windows are emitted more than once; and what is known of it is that it
    /// was emitted.
    fn emits_again(&mut self, key: u32, window: &UnfinishedWindow) -> Option<Revision>;

    /// It was emitted; whether the transform gave no row for it.
    fn was_emitted(
        &mut self,
        key: u32,
        window: &UnfinishedWindow,
        revision: Revision,
        silent: bool,
    );
}

/// The revision of a window that is tried again, beside which nothing else is known of it.
pub(super) fn next_revision(window: &UnfinishedWindow, watermark: i64) -> Revision {
    let (times, stands) = window.revision.unwrap_or_default();
    Revision {
        number: times + 1,
        stands,
        moment: Moment {
            watermark,
            sequence: 0,
        },
    }
}

impl Windows {
    /// Has the transform try windows again that another one could not finish, whose keys are here if anything is kept of
    /// them. What fails again is not held against it.
    ///
    /// # Errors
    ///
    /// As [`Windows::batch`].
    pub async fn try_again(
        &mut self,
        again: &UnfinishedWindows,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        if again.windows.is_empty() {
            return Ok(());
        }
        calls.begin_trial(true);
        let tried = match self {
            Self::Aligned(windows) => try_again(windows.as_mut(), again, calls, out).await,
            Self::Sessions(windows) => try_again(windows.as_mut(), again, calls, out).await,
            Self::Unbounded(windows) => try_again(windows.as_mut(), again, calls, out).await,
        };
        calls.begin_trial(false);
        if let Some(unfinished) = &mut calls.unfinished {
            unfinished.counts.tried += again.windows.len() as u64;
        }
        tried
    }
}

async fn try_again<W: TriedAgain + Send>(
    kind: &mut W,
    again: &UnfinishedWindows,
    calls: &mut Calls,
    out: &mut dyn Emit,
) -> Result<(), WindowError> {
    let (_, states) = kind.at_work();
    let keys = states.keys.assign(&again.keys)?;
    let mut slots = Vec::new();
    let (mut earlier, mut later, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (window, key) in again.windows.iter().zip(&keys) {
        let of_window: Vec<u32> = (0..window.states).map(|_| states.add(*key)).collect();
        let (first, rest) = of_window.split_at(window.earlier);
        let ends = [
            chain(first.iter().rev().copied(), &mut earlier),
            chain(rest.iter().copied(), &mut later),
        ];
        parts.push(match ends {
            [NONE, later] => (later, NONE),
            [earlier, later] => (earlier, later),
        });
        slots.extend(of_window);
    }
    states.put(slots.clone(), again.states.clone())?;
    fold(&mut earlier, End::Right, states, calls).await?;
    fold(&mut later, End::Left, states, calls).await?;
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, window) in again.windows.iter().enumerate() {
        by_length.entry(window.length()).or_default().push(at);
    }
    for (length, these) in by_length {
        let mut finishing = Finishing::default();
        for at in &these {
            let (key, window) = (keys[*at], &again.windows[*at]);
            let revision = kind.emits_again(key, window);
            finishing.push(key, parts[*at], window.bounds, revision);
            finishing.ids.push(window.id);
        }
        let (emitter, states) = kind.at_work();
        let ended = emitter
            .finish(length, &finishing, states, calls, out)
            .await?;
        calls.ended(&finishing, &ended.failed, states, |at| {
            let at = these[at];
            Parts::States(again.states_of(at), again.windows[at].earlier)
        })?;
        for (place, revision) in finishing.revisions.iter().enumerate() {
            let at = these[place];
            let silent = ended.silent.binary_search(&place).is_ok();
            kind.was_emitted(keys[at], &again.windows[at], *revision, silent);
        }
    }
    let (_, states) = kind.at_work();
    slots.into_iter().for_each(|slot| states.release(slot));
    states.keys.sweep();
    Ok(())
}

/// A chain of some slots, all of which are folded into the first; gives that, or [`NONE`] if there are none.
fn chain(slots: impl Iterator<Item = u32>, chains: &mut Vec<Chain>) -> u32 {
    let mut fold = NONE;
    let mut links = Vec::new();
    for (pane, slot) in (0..).zip(slots) {
        if fold == NONE {
            fold = slot;
        }
        links.push(Link { pane, slot, fold });
    }
    chains.push(Chain {
        wanted: links.len(),
        links,
        folded: 0,
    });
    fold
}

impl UnfinishedWindow {
    /// Which of the pipeline's lengths it has.
    fn length(&self) -> usize {
        match self.id {
            RecordId::Revision(_, length) => length as usize,
            _ => 0,
        }
    }
}
