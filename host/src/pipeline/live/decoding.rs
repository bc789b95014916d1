//! Decoding with patience: a schema registry that does not answer is waited for.

use std::time::Duration;

use super::error::PartitionError;
use super::partition::{Lanes, Partition};
use super::splits::Splits;
use crate::pipeline::reader::ReadError;
use crate::source::live::{LiveBatch, LiveError};

/// How long to wait before a schema registry is asked again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Partition {
    /// Decodes messages, for as long as it takes a schema registry to answer. None when it is time to
    /// go before that: the messages will be read again.
    pub(super) fn decode(
        &self,
        lanes: &mut Lanes,
        mut read: impl FnMut(&mut Splits) -> Result<LiveBatch, LiveError>,
    ) -> Result<Option<LiveBatch>, PartitionError> {
        let clock = &self.shared.clock;
        let mut pause = FIRST_PAUSE;
        loop {
            self.telling.reading.heartbeat.work();
            match read(&mut lanes.splits) {
                Ok(read) => return Ok(Some(read)),
                Err(error) if error.is_temporary() => {
                    if pause == FIRST_PAUSE {
                        tracing::warn!(
                            pipeline = self.shared.name(),
                            partition = self.number,
                            %error,
                            "waiting for the schema registry"
                        );
                    }
                    self.telling.reading.heartbeat.wait();
                    clock.wait(clock.now().saturating_add(pause), &self.flags.leave);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    if self.is_told_to_go() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(ReadError::from(error).into()),
            }
        }
    }
}
