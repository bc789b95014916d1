//! An object as a [`Recording`].

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use object_store::{ObjectMeta, ObjectStore};
use tokio::runtime::Handle;

use super::fetch::{Object, Traffic};
use super::reader::ObjectReader;
use crate::objects::Hidden;
use crate::source::recording::Recording;

/// Small reads are answered from blocks of this size at most, of which a few are kept: readers of
/// columns go through several places of a file by turns.
const BLOCK: u64 = 1 << 20;
const KEPT_BLOCKS: usize = 16;

/// An object of a store, in the version that is read first.
#[derive(Debug)]
pub(super) struct RemoteObject {
    object: Arc<Object>,
    io: Handle,
    /// By number, the one used last at the end.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl RemoteObject {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        found: ObjectMeta,
        name: String,
        traffic: Arc<Traffic>,
        hidden: Arc<Hidden>,
        io: Handle,
    ) -> Self {
        traffic.join();
        Self {
            object: Arc::new(Object {
                store,
                path: found.location,
                name,
                size: found.size,
                traffic,
                hidden,
                seen: OnceLock::new(),
            }),
            io,
            blocks: Mutex::default(),
        }
    }

    fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let object = Arc::clone(&self.object);
        let task = self.io.spawn(async move { object.fetch(range).await });
        match self.io.block_on(task) {
            Ok(fetched) => Ok(fetched?),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// A block that is at hand.
    fn kept(&self, number: u64) -> Option<Bytes> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = blocks.iter().position(|(kept, _)| *kept == number)?;
        let block = blocks.remove(at)?;
        blocks.push_back(block.clone());
        Some(block.1)
    }

    fn keep(&self, number: u64, block: Bytes) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() == KEPT_BLOCKS {
            blocks.pop_front();
        }
        blocks.push_back((number, block));
    }
}

impl Recording for RemoteObject {
    fn name(&self) -> String {
        self.object.name.clone()
    }

    fn local_path(&self) -> Option<PathBuf> {
        self.object.name.strip_prefix("file://").map(PathBuf::from)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.object.size)
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        let object = Arc::clone(&self.object);
        Ok(Box::new(ObjectReader::new(object, self.io.clone())))
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let size = self.object.size;
        let end = offset.saturating_add(length as u64);
        if end > size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let block = BLOCK.min(self.object.traffic.largest_range());
        if length as u64 >= 2 * block {
            return self.fetch(offset..end);
        }
        let mut bytes = BytesMut::with_capacity(length);
        let mut at = offset;
        while at < end {
            let number = at / block;
            let start = number * block;
            let whole = match self.kept(number) {
                Some(whole) => whole,
                None => {
                    let whole = self.fetch(start..(start + block).min(size))?;
                    self.keep(number, whole.clone());
                    whole
                }
            };
            let until = end.min(start + whole.len() as u64);
            let part = whole.slice((at - start) as usize..(until - start) as usize);
            if part.len() == length {
                return Ok(part);
            }
            bytes.extend_from_slice(&part);
            at = until;
        }
        Ok(bytes.freeze())
    }
}
