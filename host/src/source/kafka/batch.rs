//! Messages of the client into Arrow, without a copy in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, ListArray, StringBuilder, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

use crate::config::live::headers_type;
use crate::source::messages::Messages;

/// What a message takes beside its bytes: offset, time, and where its parts begin.
const OVERHEAD: usize = 32;

/// The name of a header whose own name is no UTF-8.
const NO_NAME: &str = "\u{FFFD}";

/// A batch that is being built.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    headers: Option<HeaderBuilder>,
    bytes: usize,
}

impl BatchBuilder {
    pub(super) fn new(headers: bool) -> Self {
        Self {
            offsets: Vec::new(),
            timestamps: Vec::new(),
            keys: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            headers: headers.then(HeaderBuilder::new),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let (key, value) = (message.key(), message.payload());
        self.offsets.push(message.offset());
        let millis = message.timestamp().to_millis();
        self.timestamps
            .push(millis.map_or(i64::MIN, |millis| millis.saturating_mul(1000)));
        self.keys.append_option(key);
        self.values.append_option(value);
        self.bytes += OVERHEAD + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if let Some(headers) = &mut self.headers {
            self.bytes += headers.push(message);
        }
    }

    pub(super) fn finish(mut self, split: u32) -> Messages {
        Messages {
            split,
            offsets: ScalarBuffer::from(self.offsets),
            timestamps: ScalarBuffer::from(self.timestamps),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: self.headers.map(HeaderBuilder::finish),
        }
    }
}

#[derive(Debug)]
struct HeaderBuilder {
    /// Where each message's headers end.
    ends: Vec<i32>,
    names: StringBuilder,
    values: BinaryBuilder,
    count: i32,
}

impl HeaderBuilder {
    fn new() -> Self {
        Self {
            ends: vec![0],
            names: StringBuilder::new(),
            values: BinaryBuilder::new(),
            count: 0,
        }
    }

    /// Adds a message's headers, and gives how many bytes they have.
    fn push(&mut self, message: &BorrowedMessage<'_>) -> usize {
        let mut bytes = 0;
        if let Some(headers) = message.headers() {
            for index in 0..headers.count() {
                // rdkafka panics at a name that is no UTF-8, and has no other way to read it.
                let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
                let header = header.ok().flatten();
                let name = header.as_ref().map_or(NO_NAME, |header| header.key);
                let value = header.as_ref().and_then(|header| header.value);
                self.names.append_value(name);
                self.values.append_option(value);
                self.count += 1;
                bytes += OVERHEAD + name.len() + value.map_or(0, <[u8]>::len);
            }
        }
        self.ends.push(self.count);
        bytes
    }

    fn finish(mut self) -> ListArray {
        let DataType::List(item) = headers_type() else {
            unreachable!("headers are a list");
        };
        let DataType::Struct(fields) = item.data_type().clone() else {
            unreachable!("each header is a name and a value");
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.names.finish()),
            Arc::new(self.values.finish()),
        ];
        let headers = StructArray::new(fields, columns, None);
        // The ends rise, for each is the count at its time.
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        ListArray::new(item, ends, Arc::new(headers), None)
    }
}
