//! An object from its start to its end, read ahead of whoever reads it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::fetch::Object;
use crate::objects::StorageError;

/// Ranges that are asked for beside the one at hand.
const IN_FLIGHT: usize = 2;
/// The first range: whoever only looks at the beginning shall not pay for more. Each further one is
/// twice as large, up to what the traffic allows.
const FIRST_RANGE: u64 = 256 << 10;

/// Reads an object range by range. Drops what is in flight when it is dropped.
pub(super) struct ObjectReader {
    object: Arc<Object>,
    io: Handle,
    /// Where the next range that nobody asked for begins, and how long it will be.
    next: u64,
    length: u64,
    in_flight: VecDeque<JoinHandle<Result<Bytes, StorageError>>>,
    at_hand: Bytes,
    /// What ended the reading; a reader that is asked once more says it again.
    failed: Option<StorageError>,
}

impl ObjectReader {
    pub(super) fn new(object: Arc<Object>, io: Handle) -> Self {
        Self {
            object,
            io,
            next: 0,
            length: FIRST_RANGE,
            in_flight: VecDeque::with_capacity(IN_FLIGHT),
            at_hand: Bytes::new(),
            failed: None,
        }
    }

    fn ask(&mut self) {
        while self.in_flight.len() < IN_FLIGHT && self.next < self.object.size {
            let largest = self.object.traffic.largest_range();
            let end = (self.next + self.length.min(largest)).min(self.object.size);
            let (object, range) = (Arc::clone(&self.object), self.next..end);
            let task = self.io.spawn(async move { object.fetch(range).await });
            self.in_flight.push_back(task);
            self.next = end;
            self.length = (self.length * 2).min(largest.max(1));
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        while self.at_hand.is_empty() {
            self.ask();
            let Some(task) = self.in_flight.pop_front() else {
                return Ok(0);
            };
            match self.io.block_on(task).map_err(io::Error::other)? {
                Ok(bytes) => self.at_hand = bytes,
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error.into());
                }
            }
            self.ask();
        }
        let length = buffer.len().min(self.at_hand.len());
        self.at_hand.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Drop for ObjectReader {
    fn drop(&mut self) {
        for task in &self.in_flight {
            task.abort();
        }
    }
}
