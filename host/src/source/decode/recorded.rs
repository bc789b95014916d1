//! Decoding from a [`Recording`], wherever it is kept.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;

use super::{DecodeError, Format, SplitReader, check_columns, infer, ndjson, parquet};
use crate::source::recording::Recording;

/// As [`super::open`].
///
/// # Errors
/// As [`super::open`].
pub fn open_recording(
    recording: &Arc<dyn Recording>,
    format: Format,
    schema: &SchemaRef,
    batch_rows: usize,
) -> Result<Box<dyn SplitReader>, DecodeError> {
    let path = PathBuf::from(recording.name());
    check_columns(&path, schema)?;
    Ok(match format {
        Format::Ndjson => Box::new(ndjson::NdjsonReader::new(
            stream(recording)?,
            &path,
            schema,
            batch_rows,
            ndjson::Sizes::default(),
        )?),
        Format::Parquet => {
            let file = Chunks::open(recording)?;
            Box::new(parquet::ParquetReader::new(
                file, &path, schema, batch_rows,
            )?)
        }
    })
}

/// As [`super::infer`].
///
/// # Errors
/// As [`super::infer`].
pub fn infer_recordings(
    recordings: &[Arc<dyn Recording>],
    format: Format,
) -> Result<Schema, DecodeError> {
    let named = recordings.iter();
    let mut named = named.map(|recording| (recording, PathBuf::from(recording.name())));
    match format {
        Format::Ndjson => {
            let mut sample = infer::Sample::default();
            named.try_for_each(|(recording, path)| sample.add(stream(recording)?, &path))?;
            Ok(sample.schema())
        }
        Format::Parquet => {
            let mut union = parquet::Union::default();
            named.try_for_each(|(recording, path)| union.add(Chunks::open(recording)?, &path))?;
            Ok(union.schema())
        }
    }
}

fn stream(recording: &Arc<dyn Recording>) -> Result<Box<dyn Read + Send>, DecodeError> {
    recording
        .stream()
        .map_err(|source| cannot_open(recording, source))
}

fn cannot_open(recording: &Arc<dyn Recording>, source: std::io::Error) -> DecodeError {
    DecodeError::Open {
        path: recording.name().into(),
        source,
    }
}

/// A recording as the `parquet` crate reads one.
struct Chunks {
    recording: Arc<dyn Recording>,
    size: u64,
}

impl Chunks {
    fn open(recording: &Arc<dyn Recording>) -> Result<Self, DecodeError> {
        let size = recording.size();
        Ok(Self {
            size: size.map_err(|source| cannot_open(recording, source))?,
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
    type T = Piecewise;

    fn get_read(&self, start: u64) -> ParquetResult<Piecewise> {
        Ok(Piecewise {
            recording: Arc::clone(&self.recording),
            at: start,
            size: self.size,
            at_hand: Bytes::new(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.recording.read_at(start, length);
        bytes.map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a place, a little at a time: mostly the header of a page is wanted, and no more.
struct Piecewise {
    recording: Arc<dyn Recording>,
    at: u64,
    size: u64,
    at_hand: Bytes,
}

impl Read for Piecewise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        const PIECE: u64 = 4096;
        if self.at_hand.is_empty() {
            let length = PIECE.min(self.size.saturating_sub(self.at));
            self.at_hand = self.recording.read_at(self.at, length as usize)?;
            self.at += length;
        }
        let length = buffer.len().min(self.at_hand.len());
        buffer[..length].copy_from_slice(&self.at_hand.split_to(length));
        Ok(length)
    }
}
