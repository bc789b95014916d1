//! The content of a text file, decompressed while it is read.
//!
//! What is compressed shows in how the file begins: as gzip (RFC 1952, also several members one after the other) or
//! zstd (RFC 8878, also several frames). A file that is named as compressed and does not begin so is refused.
//!
//! Memory stays within the window of the compression (gzip 32 KiB, zstd at most 128 MiB: a frame that asks for more is
//! refused), however much comes out. Damage shows up only where the decompressor meets it; all that came out before
//! was handed over.

use std::io::{self, BufReader, Chain, Cursor, ErrorKind, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::DecodeError;
use crate::source::recording::Recording;

/// Compressed bytes that are read at a time.
const INPUT: usize = 128 << 10;
/// Decompressed bytes that are asked for at a time: what a failing call had ready is lost, so it must not be much.
const PIECE: usize = 16 << 10;
/// Bytes that are looked at to find out how the file is compressed.
const HEAD: usize = 16;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    fn of_name(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn of_head(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // A frame to be skipped: some writers begin with one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The content of a text file.
pub(super) struct Content {
    recording: Arc<dyn Recording>,
    reader: Reader,
}

type Stream = Chain<Cursor<Vec<u8>>, Counted>;

enum Reader {
    Plain(Stream),
    Gzip(Box<MultiGzDecoder<BufReader<Stream>>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Stream>>),
}

/// A file as it is kept, and what happened to it.
struct Counted {
    stream: Box<dyn Read + Send>,
    read: u64,
    failed: bool,
}

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(to);
        match &read {
            Ok(read) => self.read += *read as u64,
            Err(error) => self.failed = error.kind() != ErrorKind::Interrupted,
        }
        read
    }
}

impl Content {
    /// Opens a file, and looks at its first bytes.
    pub(super) fn open(recording: &Arc<dyn Recording>) -> Result<Self, DecodeError> {
        let file = || recording.name();
        let mut stream = Counted {
            stream: (recording.stream()).map_err(|source| DecodeError::Open {
                file: file(),
                source,
            })?,
            read: 0,
            failed: false,
        };
        let head = read_head(&mut stream).map_err(|source| DecodeError::Read {
            file: file(),
            at: stream.read,
            source,
        })?;
        let named = Compression::of_name(&file());
        let compression = Compression::of_head(&head);
        if let Some(named) = named
            && Some(named) != compression
            && !head.is_empty()
        {
            return Err(DecodeError::NotCompressed {
                file: file(),
                compression: named.name(),
            });
        }
        let stream = Cursor::new(head).chain(stream);
        let input = recording.size().map_or(INPUT, |size| {
            usize::try_from(size).map_or(INPUT, |size| size.clamp(HEAD, INPUT))
        });
        let buffered = |stream| BufReader::with_capacity(input, stream);
        let reader = match compression {
            None => Reader::Plain(stream),
            Some(Compression::Gzip) => {
                Reader::Gzip(Box::new(MultiGzDecoder::new(buffered(stream))))
            }
            Some(Compression::Zstd) => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(stream));
                Reader::Zstd(decoder.map_err(|source| DecodeError::Open {
                    file: file(),
                    source,
                })?)
            }
        };
        Ok(Self {
            recording: Arc::clone(recording),
            reader,
        })
    }

    /// How many bytes of a compressed file have been taken in; `None` if it is not compressed.
    pub(super) fn compressed_bytes_read(&self) -> Option<u64> {
        let buffered = match &self.reader {
            Reader::Plain(_) => return None,
            Reader::Gzip(decoder) => decoder.get_ref(),
            Reader::Zstd(decoder) => decoder.get_ref(),
        };
        let (head, stream) = buffered.get_ref().get_ref();
        let waiting = head.get_ref().len() as u64 - head.position();
        Some(stream.read - waiting - buffered.buffer().len() as u64)
    }

    /// What an error of reading means, after `at` bytes of content.
    pub(super) fn failure(&self, at: u64, error: io::Error) -> DecodeError {
        let (stream, compression) = match &self.reader {
            Reader::Plain(stream) => (stream, None),
            Reader::Gzip(decoder) => (decoder.get_ref().get_ref(), Some(Compression::Gzip)),
            Reader::Zstd(decoder) => (decoder.get_ref().get_ref(), Some(Compression::Zstd)),
        };
        let (_, stream) = stream.get_ref();
        let file = self.recording.name();
        match compression {
            Some(compression) if !stream.failed => DecodeError::Damaged {
                file,
                compression: compression.name(),
                at: self.compressed_bytes_read().unwrap_or(at),
                size: self.recording.size().unwrap_or(stream.read),
                reason: match error.kind() {
                    ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                    _ => error.to_string(),
                },
            },
            Some(_) => DecodeError::Read {
                file,
                at: stream.read,
                source: error,
            },
            None => DecodeError::Read {
                file,
                at,
                source: error,
            },
        }
    }
}

impl Read for Content {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = to.len().min(PIECE);
        match &mut self.reader {
            Reader::Plain(stream) => stream.read(to),
            Reader::Gzip(decoder) => decoder.read(&mut to[..most]),
            Reader::Zstd(decoder) => decoder.read(&mut to[..most]),
        }
    }
}

fn read_head(stream: &mut Counted) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD];
    let mut filled = 0;
    while filled < 4 {
        match stream.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
