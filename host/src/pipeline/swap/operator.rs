//! What an operator may have done with a pipeline's generations, whichever way they ask: by a command, or over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Asked, Fate, Ledger, Shadow, ShadowFate, SwapError, Swaps, ToTry, live};
use crate::clock::Clock;
use crate::config::{Environment, EventSource, HeldComponent, VersionedName};
use crate::pipeline::kept::{self, KeptError, KeptLane};
use crate::pipeline::shadow::Report;
use crate::registry::{Registry, RegistryError, digest};
use crate::source::kafka::oldest;
use crate::source::live::StreamOptions;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Before, StoreError};

/// Items that are read at a time.
const SERVED: usize = 1_000;

/// Why an operator does not get what they asked for.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The pipeline's generations cannot be read, or changed so.
    #[error(transparent)]
    Swap(#[from] SwapError),
    /// The registry does not give the version.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What lanes keep cannot be read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// It cannot be known who has made it.
    #[error(
        "{0} is a file, and the environment requires signatures: push it with `penstock push {0} NAME@VERSION --sign KEY`, and swap to that"
    )]
    Unsigned(String),
    /// The stream has deleted what would be read again.
    #[error(
        "the stream no longer holds what generation {generation} would read again after a rollback: {}; `--anyway` goes back all the same, and then the pipeline ends with that error or goes on with what there is, by `on_missing` of its event",
        gone.join(", ")
    )]
    Gone {
        /// The generation.
        generation: u64,
        /// What is gone, by partition.
        gone: Vec<String>,
    },
    /// Nothing that it served was taken back.
    #[error("generation {0} was not taken back: `penstock history` shows which ones were")]
    NotTakenBack(u64),
}

impl OperatorError {
    /// Whether what was asked for is wrong, and not the moment.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Swap(error) => error.is_bad_input(),
            Self::Registry(error) => !error.is_of_the_system(),
            Self::Kept(_) => false,
            Self::Unsigned(_) | Self::NotTakenBack(_) | Self::Gone { .. } => true,
        }
    }
}

/// The generations of one pipeline in an environment, for somebody who may change them.
pub struct Operator {
    environment: Environment,
    pipeline: String,
    swaps: Swaps,
    clock: Arc<dyn Clock>,
}

impl Operator {
    /// Of a pipeline, whether it was ever started or not.
    ///
    /// # Errors
    ///
    /// There is no store, or it cannot be opened.
    pub async fn open(
        environment: &Environment,
        pipeline: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OperatorError> {
        let place = &environment.store;
        let open = async {
            // To open a store for writing would make one.
            EmbeddedStore::open_reader(place).await?.close().await;
            EmbeddedStore::open(place, &[]).await
        };
        let store = open.await.map_err(SwapError::from)?;
        Ok(Self {
            environment: environment.clone(),
            pipeline: pipeline.to_owned(),
            swaps: Swaps::new(Arc::new(store), pipeline),
            clock,
        })
    }

    /// The generations that there are.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`]; the pipeline was never started.
    pub async fn ledger(&self) -> Result<Ledger, OperatorError> {
        let ledger = self.swaps.read().await?;
        Ok(ledger.ok_or_else(|| SwapError::Never(self.pipeline.clone()))?)
    }

    /// How far each lane has come, and in which generation.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn lanes(&self) -> Result<Vec<KeptLane>, OperatorError> {
        let reader = EmbeddedStore::open_reader(&self.environment.store).await;
        let reader = reader.map_err(SwapError::from)?;
        let lanes = kept::lanes(&reader, &self.pipeline).await;
        reader.close().await;
        Ok(lanes?)
    }

    /// Has `each` see the items that a generation had served last when it was taken back, lane by lane. Gives how many there
    /// were. They are known until the next rollback.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`]; there is no such generation, or it was not taken back.
    pub async fn served(
        &self,
        generation: u64,
        mut each: impl FnMut(&Before) + Send,
    ) -> Result<u64, OperatorError> {
        let ledger = self.ledger().await?;
        let found = ledger.find(generation);
        if !found.is_some_and(|it| matches!(it.fate, Fate::Revoked(_))) {
            return Err(OperatorError::NotTakenBack(generation));
        }
        let reader = EmbeddedStore::open_reader(&self.environment.store).await;
        let reader = reader.map_err(SwapError::from)?;
        let count = async {
            let mut count = 0;
            for lane in reader.lanes(&self.pipeline).await? {
                let (lane, mut after) = ((self.pipeline.as_str(), lane), None::<Bytes>);
                loop {
                    let page = reader.taken_back(lane, generation, after.as_deref(), SERVED);
                    let page = page.await?;
                    let Some((last, _)) = page.last() else {
                        break;
                    };
                    after = Some(last.clone());
                    page.iter().for_each(|(_, item)| each(item));
                    count += page.len() as u64;
                }
            }
            Ok::<u64, StoreError>(count)
        };
        let count = count.await;
        reader.close().await;
        Ok(count.map_err(SwapError::from)?)
    }

    /// Asks for a version in the environment's registry. Gives the number of its generation.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn ask(
        &self,
        name: &VersionedName,
        fresh: bool,
    ) -> Result<(u64, Ledger), OperatorError> {
        let bytes = Self::fetch(&self.environment, name).await?;
        self.ask_for(name.to_string(), bytes, fresh).await
    }

    /// The bytes of a version in an environment's registry.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn fetch(
        environment: &Environment,
        name: &VersionedName,
    ) -> Result<Bytes, OperatorError> {
        let registry = Registry::open(&environment.registry)?;
        let version = registry.resolve(name).await?;
        Ok(registry.fetch(&version).await?)
    }

    /// The component of the generation that is wanted; none if the pipeline was never started.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn at_work(&self) -> Result<Option<HeldComponent>, OperatorError> {
        let Some(ledger) = self.swaps.read().await? else {
            return Ok(None);
        };
        Ok(Some(self.swaps.component(ledger.wanted()).await?))
    }

    /// Asks for the bytes of a file.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`]; the environment requires signatures.
    pub async fn ask_for_file(
        &self,
        file: &str,
        bytes: Bytes,
        fresh: bool,
    ) -> Result<(u64, Ledger), OperatorError> {
        if self.environment.registry.trust.required {
            return Err(OperatorError::Unsigned(file.to_owned()));
        }
        self.ask_for(file.to_owned(), bytes, fresh).await
    }

    /// Has a version in the environment's registry be tried beside the one at work. Gives the number of the trial.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn try_beside(
        &self,
        name: &VersionedName,
        fresh: bool,
        how: &ToTry,
    ) -> Result<(u64, Ledger), OperatorError> {
        let bytes = Self::fetch(&self.environment, name).await?;
        self.try_bytes(name.to_string(), bytes, fresh, how).await
    }

    /// The same with the bytes of a file.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`]; the environment requires signatures.
    pub async fn try_file_beside(
        &self,
        file: &str,
        bytes: Bytes,
        fresh: bool,
        how: &ToTry,
    ) -> Result<(u64, Ledger), OperatorError> {
        if self.environment.registry.trust.required {
            return Err(OperatorError::Unsigned(file.to_owned()));
        }
        self.try_bytes(file.to_owned(), bytes, fresh, how).await
    }

    async fn try_bytes(
        &self,
        component: String,
        bytes: Bytes,
        fresh: bool,
        how: &ToTry,
    ) -> Result<(u64, Ledger), OperatorError> {
        let asked = Asked {
            component,
            digest: digest(&bytes),
            at: self.clock.unix(),
            fresh,
        };
        Ok(self.swaps.try_beside(asked, how, bytes).await?)
    }

    /// Ends the trial that there is, if there is one. Gives the ledger after that.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn drop_shadow(&self, reason: String) -> Result<Ledger, OperatorError> {
        let ledger = self.ledger().await?;
        let Some(watched) = ledger.watched() else {
            return Ok(ledger);
        };
        let fate = ShadowFate::Dropped(reason);
        Ok(self.swaps.end_shadow(watched.number, fate).await?.1)
    }

    /// The last trial beside the wanted generation, and what all hosts together have found in it; none if there was none.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn found(&self, ledger: &Ledger) -> Result<Option<(Shadow, Report)>, OperatorError> {
        let wanted = ledger.wanted().number;
        let last = ledger.shadows().last().filter(|it| it.beside == wanted);
        let Some(shadow) = last else {
            return Ok(None);
        };
        let report = self.swaps.found_in_shadow(shadow.number).await?;
        Ok(Some((shadow.clone(), report)))
    }

    /// Whether it is a transform at all, each host finds out, which has to compile it in any case.
    async fn ask_for(
        &self,
        component: String,
        bytes: Bytes,
        fresh: bool,
    ) -> Result<(u64, Ledger), OperatorError> {
        let asked = Asked {
            component,
            digest: digest(&bytes),
            at: self.clock.unix(),
            fresh,
        };
        Ok(self.swaps.ask(asked, bytes).await?)
    }

    /// Has the wanted generation taken back, if its stream holds what would be read again, or anyway. Gives the ledger, in
    /// which the one before it is wanted again, and, if it could not be seen what the stream holds, why not.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`]; there is none before it, or it cannot read on.
    pub async fn take_back(
        &self,
        reason: String,
        anyway: bool,
    ) -> Result<(Ledger, Option<String>), OperatorError> {
        let wanted = self.ledger().await?.wanted().number;
        let unseen = match anyway {
            true => None,
            false => self.check_way_back(wanted).await?,
        };
        let taken = self.swaps.take_back(Some(wanted), Fate::Revoked(reason));
        Ok((taken.await?.1, unseen))
    }

    /// Refuses a rollback after which lanes could not read on. Gives why that could not be seen, if it could not.
    async fn check_way_back(&self, wanted: u64) -> Result<Option<String>, OperatorError> {
        let lanes = self.lanes().await?;
        let come = lanes.iter().filter_map(live);
        let come: Vec<_> = come.filter(|it| it.generation == Some(wanted)).collect();
        let mut next = BTreeMap::<u32, i64>::new();
        let backs = || come.iter().filter_map(|it| it.back.as_ref());
        for (partition, offset) in backs().flat_map(|back| &back.offsets) {
            let least = next.entry(*partition).or_insert(*offset);
            *least = (*least).min(*offset);
        }
        let (Some(back), false) = (backs().next(), next.is_empty()) else {
            return Ok(None);
        };
        let is_read = |event: &&EventSource| {
            let mut identities = come.iter().filter_map(|it| it.identity.as_ref());
            identities.all(|identity| identity.has("event", &event.name.value))
        };
        let Some(event) = self.environment.events.values().find(is_read) else {
            let reason = "penstock.toml does not declare the event that it reads";
            return Ok(Some(reason.to_owned()));
        };
        let options = match StreamOptions::of(&self.environment, event, &self.pipeline) {
            Ok(Some(StreamOptions::Kafka(options))) => options,
            Ok(_) => return Ok(None),
            Err(error) => return Ok(Some(error.to_string())),
        };
        let partitions: Vec<u32> = next.keys().copied().collect();
        let asked = tokio::task::spawn_blocking(move || oldest(&options, partitions));
        let oldest = match asked.await {
            Ok(Ok(oldest)) => oldest,
            Ok(Err(fault)) => return Ok(Some(fault.to_string())),
            Err(panic) => return Ok(Some(panic.to_string())),
        };
        let gone = oldest.into_iter().filter_map(|(partition, low)| {
            // Below zero lies recorded history.
            let next = next[&partition];
            (0..low).contains(&next).then(|| {
                format!("partition {partition} begins at offset {low}, and {next} would come next")
            })
        });
        let gone: Vec<String> = gone.collect();
        match gone.is_empty() {
            true => Ok(None),
            false => Err(OperatorError::Gone {
                generation: back.generation,
                gone,
            }),
        }
    }
}
