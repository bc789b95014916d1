//! A partition reads what was recorded of it, before its stream.

use std::sync::Arc;
use std::time::Duration;

use crate::pipeline::lane::{Place, Start};
use crate::pipeline::live::error::PartitionError;
use crate::pipeline::live::opening::OnMissing;
use crate::pipeline::live::partition::{Lanes, Partition};
use crate::pipeline::live::splits::Splits;
use crate::source::live::recorded::{Piece, RecordedMessages, RecordedPartition, RecordedReader};
use crate::source::live::{Position, Spot};

/// How often it is told how far a bootstrap has come.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How far a bootstrap has come.
struct Told {
    rows: u64,
    at: Duration,
}

impl Partition {
    /// Reads what was recorded from an offset on, or from its beginning, and asks for what comes after it.
    pub(super) fn begin_with(
        &self,
        lanes: &mut Lanes,
        recorded: &RecordedPartition,
        from: Option<i64>,
    ) -> Result<(), PartitionError> {
        let first = recorded.first();
        let Some(first) = first.filter(|first| from.is_none_or(|from| *first <= from)) else {
            // The recording begins after what is to be read next.
            let from = from.map(Position::Offset);
            self.shared.source.start(self.number, from);
            return Ok(());
        };
        let start = Position::Offset(from.unwrap_or(first));
        if let Some(cursor) = lanes.splits.started(self.number, Some(start)) {
            self.note(lanes, self.number, cursor)?;
        }
        let goes_on = from.is_some();
        let from = from.unwrap_or(first);
        let spec = &self.shared.opened.spec;
        let reader = RecordedReader::new(
            spec,
            self.number,
            recorded,
            from,
            &lanes.splits.cuts(self.number),
        );
        let Some(until) = self.read_recorded(lanes, reader, goes_on)? else {
            return Ok(());
        };
        // The ends of transactions have positions, and no messages.
        let position = Position::Offset(until);
        if let Some(cursor) = lanes.splits.skip_to(self.number, position.clone()) {
            self.note(lanes, self.number, cursor)?;
        }
        lanes.splits.hear(self.number, self.shared.clock.now());
        lanes.recorded_until = Some(until);
        self.shared.source.start(self.number, Some(position));
        Ok(())
    }

    /// Reads a recording to its end, which it gives; none if it is time to go before that.
    fn read_recorded(
        &self,
        lanes: &mut Lanes,
        mut reader: RecordedReader,
        goes_on: bool,
    ) -> Result<Option<i64>, PartitionError> {
        let (pipeline, partition) = (self.shared.name(), self.number);
        let from = reader.position();
        let may_do_without = goes_on && self.shared.opened.on_missing == OnMissing::Stop;
        let mut told = Told {
            rows: 0,
            at: self.shared.clock.now(),
        };
        loop {
            if self.is_told_to_go() {
                return Ok(None);
            }
            self.telling.reading.heartbeat.work();
            let piece = match reader.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // The stream may have all that comes next, and else ends it with what is missing.
                Err(error) if told.rows == 0 && may_do_without && error.is_of_the_system() => {
                    tracing::warn!(pipeline, partition, %error, "going on with the stream");
                    return Ok(Some(from));
                }
                Err(error) => return Err(error.into()),
            };
            match piece {
                Piece::Gap { from, to } => self.gap(from, to)?,
                Piece::Messages(messages) => {
                    let Some(rows) = self.deal_recorded(lanes, &messages)? else {
                        return Ok(None);
                    };
                    if told.rows == 0 {
                        let place = self.shared.opened.bootstrap.as_ref().map(|it| &*it.place);
                        tracing::info!(
                            pipeline,
                            partition,
                            from,
                            place,
                            "bootstrap from recorded history"
                        );
                    }
                    told.rows += rows;
                }
            }
            let now = self.shared.clock.now();
            if now.saturating_sub(told.at) >= TOLD_EVERY {
                let (rows, offset) = (told.rows, reader.position());
                tracing::info!(pipeline, partition, rows, offset, "bootstrap goes on");
                told.at = now;
            }
        }
        let (rows, offset) = (told.rows, reader.position());
        if rows > 0 {
            tracing::info!(
                pipeline,
                partition,
                rows,
                offset,
                "bootstrap is through; going on with the stream"
            );
        }
        Ok(Some(offset))
    }

    /// Deals recorded messages out, and gives how many rows and rejects they were; none if it is time to go.
    fn deal_recorded(
        &self,
        lanes: &mut Lanes,
        recorded: &RecordedMessages,
    ) -> Result<Option<u64>, PartitionError> {
        let (name, cursor) = lanes.splits.at(self.number);
        let (name, greatest) = (Arc::clone(name), cursor.greatest);
        let read = |splits: &mut Splits| {
            splits.read_with(self.number, |split| split.read_recorded(recorded))
        };
        let Some(read) = self.decode(lanes, read)? else {
            return Ok(None);
        };
        let place = Place {
            split: name,
            start: Start::At(Spot::Offset(recorded.messages.offsets[0])),
            after: Some(read.cursor),
            greatest,
            placed: None,
        };
        let rows = (read.batch.rows.num_rows() + read.batch.rejects.len()) as u64;
        lanes.dealer.deal(read.batch, Some(place))?;
        self.shared.opened.telemetry.bootstrapped(rows);
        Ok(Some(rows))
    }

    /// Decides what is done where the recording itself lacks messages.
    fn gap(&self, from: i64, to: i64) -> Result<(), PartitionError> {
        let partition = self.number;
        if self.shared.opened.on_missing == OnMissing::Stop {
            return Err(PartitionError::RecordedGap {
                partition,
                from,
                to,
            });
        }
        tracing::error!(
            pipeline = self.shared.name(),
            partition,
            from,
            to,
            "the recording lacks offsets that were deleted before they were recorded; going on with what there is"
        );
        Ok(())
    }
}
