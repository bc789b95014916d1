//! Asking for another generation, and for the way back: changes of a pipeline's ledger in its store.

use std::sync::Arc;

use bytes::Bytes;

use super::{Asked, Fate, Ledger, LedgerError, Note, ShadowFate, ToTry};
use crate::config::HeldComponent;
use crate::pipeline::shadow::Report;
use crate::registry::digest;
use crate::store::StoreError;
use crate::store::embedded::EmbeddedStore;

/// Why a generation cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was asked does not go with what there is.
    #[error("pipeline {pipeline}: {error}")]
    Ledger {
        /// The pipeline.
        pipeline: String,
        /// Why not.
        error: LedgerError,
    },
    /// The pipeline was never started.
    #[error(
        "pipeline {0} has no generation in this store: start it once with `penstock run`; pipelines over recorded events, and those with a `repartition`, have none"
    )]
    Never(String),
    /// The component of a generation is not there, or not what it was.
    #[error(
        "pipeline {pipeline}: the component of generation {number} ({digest}) is {what} in the store; ask for it once more with `penstock swap`"
    )]
    Component {
        /// The pipeline.
        pipeline: String,
        /// The generation.
        number: u64,
        /// The digest.
        digest: String,
        /// `missing`, or `damaged`.
        what: &'static str,
    },
}

impl SwapError {
    /// Whether another generation is wanted by now.
    pub(in crate::pipeline) fn is_overtaken(&self) -> bool {
        let moved = |error: &LedgerError| matches!(error, LedgerError::Moved { .. });
        matches!(self, Self::Ledger { error, .. } if moved(error))
    }

    /// Whether it is not refused since others have it at work.
    pub(in crate::pipeline) fn is_at_work_elsewhere(&self) -> bool {
        let at_work = |error: &LedgerError| matches!(error, LedgerError::AtWork(_));
        matches!(self, Self::Ledger { error, .. } if at_work(error))
    }

    /// Whether what was asked for is wrong, and not the moment.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Store(error) => error.is_bad_input(),
            Self::Ledger { .. } | Self::Never(_) | Self::Component { .. } => true,
        }
    }
}

/// The generations of one pipeline, in its store.
#[derive(Clone)]
pub struct Swaps {
    store: Arc<EmbeddedStore>,
    pipeline: String,
}

impl Swaps {
    /// Of a pipeline whose lanes are in this store.
    pub fn new(store: Arc<EmbeddedStore>, pipeline: &str) -> Self {
        Self {
            store,
            pipeline: pipeline.to_owned(),
        }
    }

    /// The ledger; none if the pipeline was never started.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn read(&self) -> Result<Option<Ledger>, SwapError> {
        let said = self.store.swaps(&self.pipeline).await?;
        self.decode(&said.text)
    }

    /// A host is started whose pipeline's file names this component: see [`Ledger::start`].
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn start(&self, asked: Asked, bytes: Bytes) -> Result<Ledger, SwapError> {
        let known = self.store.component(&asked.digest).await?;
        if known.is_none_or(|known| digest(&known) != asked.digest) {
            self.store.keep_component(&asked.digest, bytes).await?;
        }
        let ((), ledger) = self
            .change(|ledger| {
                match ledger {
                    None => *ledger = Some(Ledger::begin(asked.clone())),
                    Some(ledger) => ledger.start(asked.clone())?,
                }
                Ok(())
            })
            .await?;
        Ok(ledger)
    }

    /// Asks for another component, whose bytes every host gets by way of the store. Gives the number of its generation.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn ask(&self, asked: Asked, bytes: Bytes) -> Result<(u64, Ledger), SwapError> {
        self.read_known().await?;
        self.store.keep_component(&asked.digest, bytes).await?;
        self.change_known(|ledger| ledger.ask(asked.clone())).await
    }

    /// Has generation `number`, or the wanted one, taken back. Gives the number of the one that is wanted again.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn take_back(
        &self,
        number: Option<u64>,
        fate: Fate,
    ) -> Result<(u64, Ledger), SwapError> {
        self.change_known(|ledger| {
            let number = number.unwrap_or(ledger.wanted().number);
            ledger.take_back(number, fate.clone())
        })
        .await
    }

    /// Says that a host does not take a generation on: see [`Ledger::refuse`]. Gives the number of the one that is wanted
    /// again.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn refuse(
        &self,
        number: u64,
        reason: String,
        is_of_the_system: bool,
    ) -> Result<(u64, Ledger), SwapError> {
        self.change_known(|ledger| ledger.refuse(number, reason.clone(), is_of_the_system))
            .await
    }

    /// Has a component be tried beside the wanted generation. Gives the number of the trial.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn try_beside(
        &self,
        asked: Asked,
        how: &ToTry,
        bytes: Bytes,
    ) -> Result<(u64, Ledger), SwapError> {
        let before = self.read_known().await?;
        self.store.keep_component(&asked.digest, bytes).await?;
        let begun = self.change_known(|ledger| ledger.try_beside(asked.clone(), how));
        let begun = begun.await?;
        // What was found of those before is seen as long as there is no other.
        if let Some(last) = before.shadows().last() {
            self.store
                .forget_shadow(&self.pipeline, last.number)
                .await?;
        }
        Ok(begun)
    }

    /// Says what became of a trial, unless that was said before.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn end_shadow(
        &self,
        number: u64,
        fate: ShadowFate,
    ) -> Result<(bool, Ledger), SwapError> {
        self.change_known(|ledger| Ok(ledger.end_shadow(number, fate.clone())))
            .await
    }

    /// Has the version of a trial take the place of the one at work, unless the trial has ended. Gives whether it does.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn promote(&self, number: u64, at: i64) -> Result<(bool, Ledger), SwapError> {
        self.change_known(|ledger| ledger.promote(number, at)).await
    }

    /// Says what a host has found in a trial.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn say_of_shadow(
        &self,
        number: u64,
        host: &str,
        report: &Report,
    ) -> Result<(), SwapError> {
        let text = serde_json::to_string(report).expect("it has only texts and numbers");
        let said = self.store.say_of_shadow(&self.pipeline, number, host, text);
        Ok(said.await?)
    }

    /// What all hosts together have found in a trial. What another build has written is left out.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn found_in_shadow(&self, number: u64) -> Result<Report, SwapError> {
        let said = self.store.said_of_shadow(&self.pipeline, number).await?;
        let mut all = Report::default();
        let reports = said
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok());
        reports.for_each(|report: Report| all.merge(&report));
        Ok(all)
    }

    /// Says that a host is about to take lanes to a generation: see [`Ledger::begins`].
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn begins(&self, number: u64) -> Result<(), SwapError> {
        let begun = self.change_known(|ledger| ledger.begins(number));
        begun.await.map(|_| ())
    }

    /// Says that a host has a generation at work.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn runs(&self, number: u64) -> Result<(), SwapError> {
        let ledger = self.read_known().await?;
        if ledger.clone().runs(number) {
            self.change_known(|ledger| Ok(ledger.runs(number))).await?;
        }
        Ok(())
    }

    /// Notes something about a generation.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn note(&self, number: u64, note: Note) -> Result<(), SwapError> {
        let noted = self.change_known(|ledger| {
            ledger.note(number, note.clone());
            Ok(())
        });
        noted.await.map(|_| ())
    }

    /// The same, unless it was noted before.
    ///
    /// # Errors
    ///
    /// See [`SwapError`].
    pub async fn note_once(&self, number: u64, note: Note) -> Result<(), SwapError> {
        let noted = self.change_known(|ledger| {
            ledger.note_once(number, note.clone());
            Ok(())
        });
        noted.await.map(|_| ())
    }

    /// The component of a generation, whose digest is checked.
    ///
    /// # Errors
    ///
    /// [`SwapError::Component`] when it is not there, or not what it was.
    pub async fn component(
        &self,
        generation: &super::Generation,
    ) -> Result<HeldComponent, SwapError> {
        let refuse = |what| SwapError::Component {
            pipeline: self.pipeline.clone(),
            number: generation.number,
            digest: generation.digest.clone(),
            what,
        };
        let bytes = self.store.component(&generation.digest).await?;
        let bytes = bytes.ok_or_else(|| refuse("missing"))?;
        if digest(&bytes) != generation.digest {
            return Err(refuse("damaged"));
        }
        Ok(HeldComponent {
            from: generation.component.clone(),
            bytes: bytes[..].into(),
        })
    }

    async fn read_known(&self) -> Result<Ledger, SwapError> {
        let ledger = self.read().await?;
        ledger.ok_or_else(|| SwapError::Never(self.pipeline.clone()))
    }

    async fn change_known<T>(
        &self,
        mut change: impl FnMut(&mut Ledger) -> Result<T, LedgerError>,
    ) -> Result<(T, Ledger), SwapError> {
        self.read_known().await?;
        self.change(|ledger| change(ledger.as_mut().expect("nobody takes one away")))
            .await
    }

    /// Changes the ledger, and again if somebody else was faster.
    async fn change<T>(
        &self,
        mut change: impl FnMut(&mut Option<Ledger>) -> Result<T, LedgerError>,
    ) -> Result<(T, Ledger), SwapError> {
        loop {
            let said = self.store.swaps(&self.pipeline).await?;
            let before = self.decode(&said.text)?;
            let mut ledger = before.clone();
            let given = change(&mut ledger).map_err(|error| self.refused(error))?;
            let ledger = ledger.expect("nobody takes one away");
            if before.as_ref() == Some(&ledger) {
                return Ok((given, ledger));
            }
            let text = ledger.encode();
            let done = self
                .store
                .set_swaps(&self.pipeline, said, text.clone())
                .await?;
            // Where the answer was lost, what is there is what was to be written.
            if done || self.store.swaps(&self.pipeline).await?.text == text {
                return Ok((given, ledger));
            }
        }
    }

    fn decode(&self, text: &str) -> Result<Option<Ledger>, SwapError> {
        Ledger::decode(text).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: LedgerError) -> SwapError {
        SwapError::Ledger {
            pipeline: self.pipeline.clone(),
            error,
        }
    }
}
