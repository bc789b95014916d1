//! A recording as the `parquet` crate reads one: pieces of it, by their places.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use super::super::columnar::Watched;

/// Bytes fetched at a time where nobody says how many are needed: the header of a page is shorter, most often.
const AHEAD: u64 = 8 << 10;

/// The pieces of a recording.
#[derive(Debug)]
pub(super) struct Chunks(pub(super) Arc<Watched>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Chunks {
    type T = Ahead;

    fn get_read(&self, start: u64) -> Result<Ahead> {
        Ok(Ahead {
            recording: Arc::clone(&self.0),
            next: start,
            fetched: Bytes::new(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        Ok(self.0.read_at(start, length as u64)?)
    }
}

/// Reads on from a place, a little at a time.
pub(super) struct Ahead {
    recording: Arc<Watched>,
    next: u64,
    fetched: Bytes,
}

impl Read for Ahead {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.fetched.has_remaining() && !to.is_empty() {
            let left = self.recording.size().saturating_sub(self.next);
            let length = (to.len() as u64).max(AHEAD).min(left);
            if length == 0 {
                return Ok(0);
            }
            self.fetched = self.recording.read_at(self.next, length)?;
            self.next += length;
        }
        let length = to.len().min(self.fetched.len());
        self.fetched.copy_to_slice(&mut to[..length]);
        Ok(length)
    }
}
