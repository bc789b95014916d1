//! Finds the messages of an Arrow IPC file, in the order in which they are to be taken in, and checks what they ask
//! memory for before anybody makes room for it.
//!
//! The stream format is one message after the other: the schema, dictionaries, record batches. A file of the file format
//! begins with `ARROW1` and ends with a footer, which has the schema and says where the messages are.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::{MessageHeader, MetadataVersion, root_as_footer, root_as_message};

use super::super::DecodeError;
use super::super::columnar::{Watched, guarded};
use super::lz4;
use crate::source::recording::Recording;

const MAGIC: &[u8] = b"ARROW1";
/// What stands before a message, and before the length of its metadata.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The length of the footer, four bytes, and the magic once more.
const TRAILER: u64 = 10;
/// Bytes of a message, at most, also once it is decompressed.
pub(super) const MOST_BYTES: u64 = 1 << 30;
/// Rows of a record batch, at most.
const MOST_ROWS: i64 = i32::MAX as i64;

/// The messages of a file.
pub(super) struct Messages {
    file: Arc<Watched>,
    layout: Layout,
    /// Bytes of all messages but the last, and of the last.
    read: (u64, u64),
}

enum Layout {
    /// What is left of the dictionaries, and after them the record batches.
    File(VecDeque<Place>),
    /// Where the next message begins.
    Stream(u64),
}

/// Where a message stands. `metadata` counts what stands before it.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    metadata: u64,
    body: u64,
}

/// A message, not looked at.
pub(super) struct Message {
    /// A flatbuffer.
    metadata: Buffer,
    body: Buffer,
}

/// What is in a message.
pub(super) enum Header<'a> {
    /// A dictionary.
    Dictionary(arrow_ipc::DictionaryBatch<'a>),
    /// A record batch.
    Rows(arrow_ipc::RecordBatch<'a>),
    /// Nothing.
    Nothing,
}

impl Messages {
    /// Opens a file, and reads its schema.
    pub(super) fn open(recording: &Arc<dyn Recording>) -> Result<(Self, Schema), DecodeError> {
        let mut this = Self {
            file: Watched::open(recording, "Arrow")?,
            layout: Layout::Stream(0),
            read: (0, 0),
        };
        // Some schemas that a flatbuffer can hold make the conversion panic.
        match guarded(|| this.read_schema()) {
            Ok(schema) => Ok((this, schema)),
            Err(reason) => Err(this.file.failure_or(DecodeError::Unreadable {
                file: recording.name(),
                format: "Arrow",
                reason,
            })),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &Arc<Watched> {
        &self.file
    }

    /// Bytes of all messages read but the last, and of the last.
    pub(super) fn bytes_read(&self) -> (u64, u64) {
        self.read
    }

    /// The next message; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Message>, ArrowError> {
        let place = match &mut self.layout {
            Layout::File(places) => places.pop_front(),
            Layout::Stream(next) => {
                let next = *next;
                let place = self.place_at(next)?;
                if let Some(place) = place {
                    self.layout = Layout::Stream(next + place.metadata + place.body);
                }
                place
            }
        };
        let Some(place) = place else {
            return Ok(None);
        };
        if place.metadata.saturating_add(place.body) > MOST_BYTES {
            return Err(too_large(&format!(
                "a message of {} bytes, of which {MOST_BYTES} are possible; write smaller record batches",
                place.metadata.saturating_add(place.body)
            )));
        }
        self.read = (self.read.0 + self.read.1, place.metadata + place.body);
        let metadata = self.read_at(place.offset, place.metadata)?;
        let prefix = match metadata.starts_with(&CONTINUATION) {
            true => 8,
            false => 4,
        };
        if metadata.len() < prefix {
            return Err(broken("a message without metadata"));
        }
        Ok(Some(Message {
            metadata: metadata.slice(prefix),
            body: self.read_at(place.offset + place.metadata, place.body)?,
        }))
    }

    fn read_schema(&mut self) -> Result<Schema, ArrowError> {
        let head = self.read_at(0, self.file.size().min(8))?;
        if head.starts_with(b"FEA1") {
            return Err(broken("it is Feather version 1, which is another format"));
        }
        if head.starts_with(MAGIC) {
            return self.read_footer();
        }
        let message = (self.next()?).ok_or_else(|| broken("it has no schema"))?;
        let message = root_as_message(&message.metadata).map_err(flatbuffer)?;
        let schema = message
            .header_as_schema()
            .ok_or_else(|| broken("it does not begin with a schema"))?;
        checked_schema(schema)
    }

    fn read_footer(&mut self) -> Result<Schema, ArrowError> {
        let cut_off = || broken("it has no footer");
        let trailer_at = self.file.size().checked_sub(TRAILER).ok_or_else(cut_off)?;
        let trailer = self.read_at(trailer_at, TRAILER)?;
        let (length, magic) = trailer.split_at(4);
        if magic != MAGIC {
            return Err(cut_off());
        }
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        let at = trailer_at.checked_sub(length.into()).ok_or_else(cut_off)?;
        let footer = self.read_at(at, length.into())?;
        let footer = root_as_footer(&footer).map_err(flatbuffer)?;
        let places = (footer.dictionaries().into_iter().flatten())
            .chain(footer.recordBatches().into_iter().flatten())
            .map(|block| {
                let bytes = |length: i64| u64::try_from(length).map_err(|_| cut_off());
                Ok(Place {
                    offset: bytes(block.offset())?,
                    metadata: bytes(block.metaDataLength().into())?,
                    body: bytes(block.bodyLength())?,
                })
            });
        self.layout = Layout::File(places.collect::<Result<_, ArrowError>>()?);
        checked_schema(footer.schema().ok_or_else(|| broken("it has no schema"))?)
    }

    /// Where the message that begins at `offset` of a stream stands; `None` at the end of the stream.
    fn place_at(&self, offset: u64) -> Result<Option<Place>, ArrowError> {
        let left = self.file.size().saturating_sub(offset);
        // A stream may end without saying so.
        if left == 0 {
            return Ok(None);
        }
        let head = self.read_at(offset, left.min(8))?;
        let (prefix, length) = match head.strip_prefix(&CONTINUATION) {
            Some(rest) => (8, rest),
            None => (4, &*head),
        };
        let length = length.first_chunk::<4>().ok_or_else(early)?;
        let length = u64::from(u32::from_le_bytes(*length));
        if length == 0 {
            return Ok(None);
        }
        let metadata = self.read_at(offset + prefix, length)?;
        let message = root_as_message(&metadata).map_err(flatbuffer)?;
        let body = u64::try_from(message.bodyLength()).map_err(|_| early())?;
        Ok(Some(Place {
            offset,
            metadata: prefix + length,
            body,
        }))
    }

    fn read_at(&self, offset: u64, length: u64) -> Result<Buffer, ArrowError> {
        match self.file.read_at(offset, length) {
            Ok(bytes) => Ok(Buffer::from(bytes)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(early()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Message {
    /// The buffers.
    pub(super) fn body(&self) -> &Buffer {
        &self.body
    }

    /// What the message is. Whether it fits into memory is to be checked.
    pub(super) fn header(&self) -> Result<(Header<'_>, MetadataVersion), ArrowError> {
        let message = root_as_message(&self.metadata).map_err(flatbuffer)?;
        let header = match message.header_type() {
            MessageHeader::NONE => Header::Nothing,
            MessageHeader::DictionaryBatch => {
                let batch = message.header_as_dictionary_batch();
                Header::Dictionary(batch.ok_or_else(|| broken("a dictionary without content"))?)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch();
                Header::Rows(batch.ok_or_else(|| broken("a record batch without content"))?)
            }
            other => {
                let name = other.variant_name().unwrap_or("of an unknown kind");
                return Err(broken(&format!("a message {name} among the rows")));
            }
        };
        Ok((header, message.version()))
    }

    /// As [`Message::check`], for the values of a dictionary.
    pub(super) fn check_dictionary(
        &self,
        batch: &arrow_ipc::DictionaryBatch<'_>,
    ) -> Result<(), ArrowError> {
        let values = batch.data();
        self.check(&values.ok_or_else(|| broken("a dictionary without values"))?)
    }

    /// Checks where the buffers stand, and what they are when they are decompressed.
    pub(super) fn check(&self, batch: &arrow_ipc::RecordBatch<'_>) -> Result<(), ArrowError> {
        if !(0..=MOST_ROWS).contains(&batch.length()) {
            return Err(broken(&format!(
                "a record batch of {} rows, of which {MOST_ROWS} are possible",
                batch.length()
            )));
        }
        let mut bytes = 0u64;
        for buffer in batch.buffers().into_iter().flatten() {
            let range = usize::try_from(buffer.offset()).ok().and_then(|start| {
                let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
                self.body.get(start..end)
            });
            let content = range.ok_or_else(|| broken("a buffer outside of its message"))?;
            if batch.compression().is_some()
                && let Some(length) = content.first_chunk::<8>()
            {
                let length = i64::from_le_bytes(*length).max(0);
                bytes = bytes.saturating_add(length.cast_unsigned());
                // The decoder of lz4 makes room for what comes, and looks at what was said afterwards.
                if lz4::most_bytes(&content[8..]) > MOST_BYTES + lz4::LARGEST_BLOCK {
                    return Err(too_large("a buffer that holds more than it says"));
                }
            }
        }
        if bytes > MOST_BYTES {
            return Err(too_large(&format!(
                "a message of {bytes} bytes once it is decompressed, of which {MOST_BYTES} are possible; write smaller record batches"
            )));
        }
        Ok(())
    }
}

/// See [`super::leading_schema`].
pub(super) fn leading_schema(bytes: &[u8]) -> Result<Option<usize>, ArrowError> {
    if bytes.starts_with(MAGIC) {
        return Ok(Some(0));
    }
    let (prefix, rest) = match bytes.strip_prefix(&CONTINUATION) {
        Some(rest) => (8, rest),
        None => (4, bytes),
    };
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(early)?;
    let length = u32::from_le_bytes(*length) as usize;
    let metadata = rest.get(..length).ok_or_else(early)?;
    let message = root_as_message(metadata).map_err(flatbuffer)?;
    match message.header_type() {
        MessageHeader::Schema => Ok(Some(prefix + length)),
        MessageHeader::RecordBatch | MessageHeader::DictionaryBatch => Ok(None),
        _ => Err(broken("it does not begin with a schema or a record batch")),
    }
}

fn checked_schema(schema: arrow_ipc::Schema<'_>) -> Result<Schema, ArrowError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(broken("its numbers are in the other byte order"));
    }
    Ok(fb_to_schema(schema))
}

fn broken(what: &str) -> ArrowError {
    ArrowError::IpcError(what.to_owned())
}

fn too_large(what: &str) -> ArrowError {
    ArrowError::MemoryError(what.to_owned())
}

fn early() -> ArrowError {
    broken("it ends too early")
}

fn flatbuffer(error: impl std::fmt::Display) -> ArrowError {
    broken(&format!("metadata that cannot be read: {error}"))
}
