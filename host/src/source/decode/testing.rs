//! A recording in memory, for tests.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;

use crate::source::recording::Recording;

/// Bytes with a name.
#[derive(Debug)]
pub(super) struct InMemory {
    name: &'static str,
    bytes: Bytes,
}

/// A recording of these bytes.
pub(super) fn in_memory(name: &'static str, bytes: impl Into<Vec<u8>>) -> Arc<dyn Recording> {
    let bytes = Bytes::from(bytes.into());
    Arc::new(InMemory { name, bytes })
}

impl Recording for InMemory {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.bytes.clone())))
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        match start.checked_add(length) {
            Some(end) if end <= self.bytes.len() => Ok(self.bytes.slice(start..end)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
