//! A partition reads its rows of files that have no offsets, before its stream.
//!
//! The files are merged by event time, as in a run over them, and each partition takes the rows that its producers
//! would have put there. The stream is asked for from a little before the greatest event time of the files, by when the
//! broker has it that messages came; what it has up to that time is passed over. So history and stream overlap nowhere,
//! and nothing is counted twice. What is not exact: events that came so late that they are in the stream behind the end
//! of the files, and are older than it, are in neither.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::partitioning::Partitioning;
use crate::pipeline::lane::{Place, Start};
use crate::pipeline::live::error::PartitionError;
use crate::pipeline::live::partition::{Lanes, Partition};
use crate::pipeline::reader::ReadError;
use crate::source::kafka::newest;
use crate::source::live::{HistoryRows, LiveSplit, Position, SplitCursor, Spot, StreamOptions};
use crate::source::replay::{Replay, ReplayError, ReplaySpec};
use crate::source::{SourceBatch, SourceReject};
use crate::text::instant;

/// Messages of a partition by which its partitioner is checked.
const LOOKED_AT: u16 = 500;
/// How much earlier than the greatest event time the stream is asked for, in microseconds: clocks differ, and what is
/// there twice is passed over.
const MARGIN: i64 = 60_000_000;
/// How often it is told how far a bootstrap has come.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How far the files were read.
struct Files {
    /// Rows of all partitions that were given out.
    row: u64,
    /// Rows that were judged before: they are not given out again.
    judged: u64,
    greatest: i64,
    /// Rejects behind the rows so far.
    rejects: Vec<SourceReject>,
    own: u64,
    told: Duration,
}

impl Partition {
    /// Reads the files from the row on that comes next, and asks for the stream.
    pub(super) fn begin_with_files(
        &self,
        lanes: &mut Lanes,
        spec: &ReplaySpec,
        partitioning: &Partitioning,
        goes_on: bool,
    ) -> Result<(), PartitionError> {
        let (pipeline, partition) = (self.shared.name(), self.number);
        if !goes_on {
            self.check_partitioner(partitioning)?;
        }
        let start = SplitCursor::in_history(0);
        if let Some(cursor) = lanes.splits.started(partition, Some(start)) {
            self.note(lanes, partition, cursor)?;
        }
        let judged = lanes.splits.at(partition).1.row_in_history();
        let place = self.shared.opened.bootstrap.as_ref().map(|it| &*it.place);
        tracing::warn!(
            pipeline,
            partition,
            from = judged,
            place,
            "bootstrap from files without partitions and offsets: history and stream are joined by event time, which is approximate"
        );
        let mut files = Files {
            row: 0,
            judged,
            greatest: i64::MIN,
            rejects: Vec::new(),
            own: 0,
            told: self.shared.clock.now(),
        };
        if !self.read_files(lanes, spec, partitioning, &mut files)? {
            return Ok(());
        }
        let Files { own, greatest, .. } = files;
        lanes.splits.end_history(partition, greatest);
        lanes.splits.hear(partition, self.shared.clock.now());
        tracing::warn!(
            pipeline,
            partition,
            rows = own,
            until = instant(greatest),
            "bootstrap is through; going on with what the stream has after that time, approximately: events that came later and are older are left out"
        );
        match greatest {
            i64::MIN => self.shared.source.start(partition, None),
            time => {
                let disorder = self.shared.opened.spec.disorder;
                let since = time.saturating_sub(disorder).saturating_sub(MARGIN);
                self.shared.source.start_since(partition, since);
            }
        }
        Ok(())
    }

    /// The stream begins at an offset, behind history.
    pub(in crate::pipeline::live) fn join(
        &self,
        lanes: &mut Lanes,
        from: Position,
    ) -> Result<(), PartitionError> {
        let first = self.shared.source.first_of(self.number);
        if let Some(offset) = first.filter(|first| *first > 0 && Some(*first) == from.offset()) {
            tracing::warn!(
                pipeline = self.shared.name(),
                partition = self.number,
                offset,
                "the topic may begin after history ends: nothing in it is known to be from before; what was deleted in between is in neither"
            );
        }
        match lanes.splits.skip_to(self.number, from) {
            Some(cursor) => self.note(lanes, self.number, cursor),
            None => Ok(()),
        }
    }

    /// Reads all files; false if it is time to go before their end.
    fn read_files(
        &self,
        lanes: &mut Lanes,
        spec: &ReplaySpec,
        partitioning: &Partitioning,
        files: &mut Files,
    ) -> Result<bool, PartitionError> {
        let stopped = |error: ReplayError| match error {
            ReplayError::Stopped => Ok(false),
            error => Err(PartitionError::from(ReadError::Source(error))),
        };
        let opened = Replay::open_until(spec.clone(), Arc::default(), &self.flags.leave);
        let mut replay = match opened {
            Ok(replay) => replay,
            Err(error) => return stopped(error),
        };
        let names = spec.split_names();
        loop {
            if self.is_told_to_go() {
                return Ok(false);
            }
            self.telling.reading.heartbeat.work();
            let mut batch = match replay.next_batch() {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => return stopped(error),
            };
            for reject in &mut batch.rejects {
                let (file, at) = (&names[reject.origin.split as usize], reject.origin.position);
                let place = spec.format.position_name();
                reject.detail = format!("{} ({file}, {place} {at})", reject.detail);
            }
            self.deal_files(lanes, partitioning, files, batch)?;
            self.tell_files(files);
        }
        // What stands behind the last row counts as another one.
        let end = files.row;
        let nothing = RecordBatch::new_empty(Arc::clone(&self.shared.opened.spec.columns));
        self.deal_part(lanes, files, nothing, Vec::new(), &[], (end, end + 1))?;
        Ok(true)
    }

    /// Deals out what is this partition's of a batch, cut where lanes had committed.
    fn deal_files(
        &self,
        lanes: &mut Lanes,
        partitioning: &Partitioning,
        files: &mut Files,
        batch: SourceBatch,
    ) -> Result<(), PartitionError> {
        let partitions = self.shared.expected.partitions;
        let keys = batch.rows.column(partitioning.column);
        let owners = partitioning.partitions(keys, partitions);
        let owners = owners.map_err(ReadError::from)?;
        let times = batch.event_times.iter().copied();
        files.greatest = times.fold(files.greatest, i64::max);
        // Rejects have no key; one partition has them all.
        if self.number == 0 {
            files.rejects.extend(batch.rejects);
        }
        let (first, rows) = (files.row, batch.rows.num_rows() as u64);
        let cuts = lanes.splits.cuts(self.number);
        let mut start = first;
        while start < first + rows {
            let cuts = cuts.iter().map(|cut| Position::Offset(*cut));
            let mut cuts = cuts.map(|cut| SplitCursor::start(cut).row_in_history());
            let cut = cuts.find(|cut| *cut > start).unwrap_or(u64::MAX);
            let end = cut.min(first + rows);
            let own = (start..end).filter(|row| owners[(row - first) as usize] == self.number);
            let own: Vec<u64> = own.collect();
            let indices = own.iter().map(|row| (row - first) as u32);
            let indices: Vec<u32> = indices.collect();
            let times: Vec<i64> = indices
                .iter()
                .map(|row| batch.event_times[*row as usize])
                .collect();
            let rows = take_record_batch(&batch.rows, &UInt32Array::from(indices));
            let rows = rows.map_err(ReadError::from)?;
            self.deal_part(lanes, files, rows, times, &own, (start, end))?;
            start = end;
        }
        files.row = first + rows;
        Ok(())
    }

    /// Deals out rows of this partition, which are those of these numbers among the rows of a range.
    fn deal_part(
        &self,
        lanes: &mut Lanes,
        files: &mut Files,
        rows: RecordBatch,
        times: Vec<i64>,
        numbers: &[u64],
        (start, end): (u64, u64),
    ) -> Result<(), PartitionError> {
        let due = files.rejects.partition_point(|it| it.sequence < end);
        let rejects: Vec<SourceReject> = files.rejects.drain(..due).collect();
        // Cursors of lanes are where pieces end, so it was judged whole or not at all.
        if end <= files.judged {
            return Ok(());
        }
        let kept = numbers.partition_point(|number| *number < files.judged);
        let numbers = numbers[kept..].to_vec();
        let rejects = rejects.into_iter().filter(|it| it.sequence >= files.judged);
        let rejects = rejects.map(|reject| {
            let before = numbers.partition_point(|number| *number < reject.sequence);
            (before, reject)
        });
        let history = HistoryRows {
            split: self.number,
            rows: rows.slice(kept, rows.num_rows() - kept),
            event_times: times[kept..].to_vec().into(),
            rejects: rejects.collect(),
            numbers,
            until: end,
        };
        let (name, cursor) = lanes.splits.at(self.number);
        let (name, greatest) = (Arc::clone(name), cursor.greatest);
        let read = (lanes.splits).read_with(self.number, |split| split.read_history(history));
        let read = read.map_err(ReadError::from)?;
        let spot = SplitCursor::in_history(start.max(files.judged)).offset();
        let spot = Spot::Offset(spot.expect("it is an offset"));
        let place = Place {
            split: name,
            start: Start::At(spot),
            after: Some(read.cursor),
            greatest,
            placed: None,
        };
        let count = (read.batch.rows.num_rows() + read.batch.rejects.len()) as u64;
        files.own += count;
        lanes.dealer.deal(read.batch, Some(place))?;
        self.shared.opened.telemetry.bootstrapped(count);
        Ok(())
    }

    fn tell_files(&self, files: &mut Files) {
        let now = self.shared.clock.now();
        if now.saturating_sub(files.told) >= TOLD_EVERY {
            files.told = now;
            tracing::info!(
                pipeline = self.shared.name(),
                partition = self.number,
                rows = files.own,
                read = files.row,
                "bootstrap goes on"
            );
        }
    }

    /// Checks by the newest messages of the topic that its producers divide it as is declared, before anything is read.
    fn check_partitioner(&self, partitioning: &Partitioning) -> Result<(), PartitionError> {
        let opened = &self.shared.opened;
        let (partition, partitions) = (self.number, self.shared.expected.partitions);
        let StreamOptions::Kafka(settings) = &opened.stream else {
            return Ok(());
        };
        let messages = newest(settings, partition, LOOKED_AT)?;
        let split = LiveSplit::new(&opened.spec, SplitCursor::start(Position::Offset(0)));
        let mut split = split.map_err(ReadError::from)?;
        let rows = match messages.is_empty() {
            true => None,
            // A registry that does not answer is waited for where messages are read.
            false => split
                .read(&messages, 0, None)
                .ok()
                .map(|read| read.batch.rows),
        };
        let Some(rows) = rows.filter(|rows| rows.num_rows() > 0) else {
            tracing::warn!(
                pipeline = self.shared.name(),
                partition,
                partitioner = partitioning.partitioner.name(),
                "the partitioner cannot be checked: the topic has no message to check it by"
            );
            return Ok(());
        };
        let keys = rows.column(partitioning.column);
        let owners = partitioning.partitions(keys, partitions);
        let owners = owners.map_err(ReadError::from)?;
        let elsewhere = |row: &usize| owners[*row] != partition && keys.is_valid(*row);
        let mut wrong = (0..owners.len()).filter(elsewhere);
        let Some(first) = wrong.next() else {
            return Ok(());
        };
        let alone = rows
            .project(&[partitioning.column])
            .map_err(ReadError::from)?;
        Err(PartitionError::Partitioner {
            partition,
            name: partitioning.partitioner.name(),
            column: partitioning.name.clone(),
            looked: owners.len(),
            wrong: 1 + wrong.count(),
            key: crate::source::record_text(&alone, first as u32),
            other: owners[first],
        })
    }
}
