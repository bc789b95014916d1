//! A recording as the `parquet` crate reads one: pieces of it, by their places.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::source::recording::Recording;

/// Bytes fetched at a time where nobody says how many are needed: the header of a page is shorter, most often.
const AHEAD: u64 = 8 << 10;

/// A recording and its size, which is asked for once.
#[derive(Debug)]
pub(super) struct Chunks {
    recording: Arc<dyn Recording>,
    size: u64,
}

impl Chunks {
    /// The pieces of `recording`.
    pub(super) fn open(recording: &Arc<dyn Recording>) -> io::Result<Self> {
        Ok(Self {
            size: recording.size()?,
            recording: Arc::clone(recording),
        })
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = Ahead;

    fn get_read(&self, start: u64) -> Result<Ahead> {
        Ok(Ahead {
            recording: Arc::clone(&self.recording),
            next: start,
            end: self.size,
            fetched: Bytes::new(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A damaged footer may name any place; room is made only for what is there.
        if start
            .checked_add(length as u64)
            .is_none_or(|end| end > self.size)
        {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from byte {start} on are wanted of {}",
                self.size
            )));
        }
        Ok(self.recording.read_at(start, length)?)
    }
}

/// Reads on from a place, a little at a time.
pub(super) struct Ahead {
    recording: Arc<dyn Recording>,
    next: u64,
    end: u64,
    fetched: Bytes,
}

impl Read for Ahead {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.fetched.has_remaining() && !to.is_empty() {
            let length = (to.len() as u64)
                .max(AHEAD)
                .min(self.end.saturating_sub(self.next));
            self.fetched = self.recording.read_at(self.next, length as usize)?;
            self.next += length;
        }
        let length = to.len().min(self.fetched.len());
        self.fetched.copy_to_slice(&mut to[..length]);
        Ok(length)
    }
}
