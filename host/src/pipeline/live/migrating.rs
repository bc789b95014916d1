//! States of another version: whether a transform takes them over, a trial on some that lanes have, and the pass in
//! which a lane's states are replaced before it works on.
//!
//! The pass is made while the lane is open and nobody works on it, after its snapshot was taken, and may break off
//! anywhere: whoever opens the lane next puts everything back to the snapshot and begins again. It becomes valid with the
//! commit that names the new generation.

use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::executor::block_on;
use tokio::runtime::Handle;

use super::following::Unfit;
use super::generations::StateShape;
use super::keeper::{META, states_of};
use super::opening::OpenedLive;
use super::steps;
use crate::pipeline::opener::Opener;
use crate::pipeline::residence::settle;
use crate::pipeline::swap::SwapError;
use crate::sandbox::Instance;
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedReader, Keyspace, LaneState};
use crate::transform::{CallError, bytes_of};
use crate::window::{Codec, Edit, StateError};

/// Records of each lane that a migration is tried on.
const SAMPLE: usize = 1_000;

/// What the keys of all records begin with that may have a state: those of windows, and of windows that could not be
/// finished.
const WITH_STATES: [&[u8]; 2] = [Codec::FIRST_RECORD, Codec::FIRST_UNFINISHED];

/// States that one call takes over, at most.
const STATES: usize = 1 << 13;

/// Why states cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The transform fails on them.
    #[error(transparent)]
    Call(#[from] CallError),
    /// They cannot be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MigrationError {
    /// Whether it is the transform that has failed, or what it gives or is given, and not what is around it.
    pub(super) fn is_of_the_transform(&self) -> bool {
        match self {
            Self::Call(error) => !error.is_pressure(),
            Self::State(_) => true,
            Self::Store(_) => false,
        }
    }
}

/// What takes over states of older versions.
#[derive(Debug, Clone)]
pub(super) struct Migration {
    opener: Opener,
    label: Arc<str>,
    key: SchemaRef,
    shape: StateShape,
    from: Vec<u32>,
    /// Bytes that one call hands over, at most.
    call_bytes: usize,
}

impl Migration {
    /// Of a pipeline's transform; none if it has no states.
    pub(super) fn of(opened: &OpenedLive) -> Option<Self> {
        let plan = &opened.plan;
        let (windows, opener) = (plan.windows()?, opened.opener.as_ref()?);
        Some(Self {
            opener: opener.clone(),
            label: format!("{}/migration", plan.pipeline).into(),
            key: Arc::clone(&plan.key_schema),
            shape: StateShape::of(&windows.spec),
            from: windows.spec.migrates_from.clone(),
            call_bytes: plan.call_bytes,
        })
    }

    /// Refuses to take over states like these, if the transform does not say that it does.
    pub(super) fn fits(&self, before: &StateShape) -> Result<(), Unfit> {
        let (then, now) = (before.version, self.shape.version);
        match before == &self.shape || self.takes(before) {
            true => Ok(()),
            false if then == now => Err(Unfit::Columns(now)),
            false => Err(Unfit::State { before: then, now }),
        }
    }

    /// Whether states like these, which are others than its own, are taken over.
    pub(super) fn takes(&self, before: &StateShape) -> bool {
        self.from.contains(&before.version)
    }

    /// Replaces the states of a lane that nobody works on. Of its journal, the entries before `journal` count. Gives how
    /// many states there were; what was written is durable with what is written next.
    pub(super) fn pass(
        &self,
        state: &LaneState,
        before: &StateShape,
        journal: u64,
        io: &Handle,
    ) -> Result<u64, MigrationError> {
        io.block_on(settle(state, journal))?;
        let mut migrating = self.start(before)?;
        let mut done = 0;
        for prefix in WITH_STATES {
            done += self.pass_over(prefix, state, &mut migrating, io)?;
        }
        Ok(done)
    }

    fn pass_over(
        &self,
        prefix: &[u8],
        state: &LaneState,
        migrating: &mut Migrating,
        io: &Handle,
    ) -> Result<u64, MigrationError> {
        let (mut done, mut after) = (0, None);
        loop {
            let page = io.block_on(state.pairs(prefix, after.as_deref()))?;
            let Some((last, _)) = page.last() else {
                return Ok(done);
            };
            after = Some(last.clone());
            for records in page.chunks(STATES) {
                let mut batch = state.batch();
                done += migrating.records(records, &mut |edit| match edit {
                    Edit::Put(key, value) => batch.put(key, value),
                    Edit::Remove(key) => batch.remove(key),
                })?;
                io.block_on(state.apply(batch))?;
                steps::done("half migrated");
            }
        }
    }

    /// Opens an instance, for states like these.
    pub(super) fn start(&self, before: &StateShape) -> Result<Migrating, MigrationError> {
        Ok(Migrating {
            instance: block_on(self.opener.instance(&self.label))?,
            from: Codec::new(&self.key, &before.columns)?,
            to: Codec::new(&self.key, &self.shape.columns)?,
            before: before.clone(),
            call_bytes: self.call_bytes,
        })
    }
}

/// A transform that takes over states.
pub(super) struct Migrating {
    instance: Instance,
    from: Codec,
    to: Codec,
    before: StateShape,
    call_bytes: usize,
}

impl Migrating {
    /// Takes over the states of some records, and says what is to be at their keys. Records without a state stay as they
    /// are. Gives how many states there were.
    pub(super) fn records(
        &mut self,
        records: &[(Bytes, Bytes)],
        each: &mut dyn FnMut(Edit<'_>),
    ) -> Result<u64, MigrationError> {
        let states = self
            .from
            .states(records.iter().map(|(_, value)| &value[..]))?;
        let rows = states.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(0);
        }
        if records.len() > 1 && bytes_of(&states) > self.call_bytes {
            let (one, other) = records.split_at(records.len() / 2);
            return Ok(self.records(one, each)? + self.records(other, each)?);
        }
        let StateShape { version, columns } = &self.before;
        let migrated = self.instance.migrate(*version, columns, &states, rows);
        let migrated = block_on(migrated)?;
        let pairs = records.iter().map(|(key, value)| (&key[..], &value[..]));
        self.to.put_states(pairs, &migrated, each)?;
        Ok(rows as u64)
    }
}

/// Tries a pipeline's transform on states that its lanes have left, in whichever host.
///
/// # Errors
///
/// [`Unfit`] when it does not take them over, or fails on them.
pub(super) fn try_on_lanes(
    io: &Handle,
    reader: &EmbeddedReader,
    opened: &OpenedLive,
) -> Result<(), Unfit> {
    let Some(migration) = Migration::of(opened) else {
        return Ok(());
    };
    let pipeline = opened.plan.pipeline.as_str();
    let unread = |error: StoreError| Unfit::from(SwapError::from(error));
    for lane in io.block_on(reader.lanes(pipeline)).map_err(unread)? {
        let meta = reader.kept(pipeline, lane, Keyspace::Live, META);
        let meta = io.block_on(meta).map_err(unread)?;
        // What cannot be read is told when the lane is opened.
        let before = meta.and_then(|meta| states_of(&meta).ok().flatten());
        let Some(before) = before.filter(|before| *before != migration.shape) else {
            continue;
        };
        migration.fits(&before)?;
        let mut samples = Vec::new();
        for prefix in WITH_STATES {
            let sample = reader.some_kept(pipeline, lane, Keyspace::Live, prefix, SAMPLE);
            samples.push(io.block_on(sample).map_err(unread)?);
        }
        let tried = migration.start(&before).and_then(|mut migrating| {
            let mut samples = samples.iter();
            samples.try_for_each(|sample| migrating.records(sample, &mut |_| {}).map(drop))
        });
        tried.map_err(|error| Unfit::Migration { lane, error })?;
    }
    Ok(())
}
