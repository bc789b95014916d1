//! Reads a file in chunks and gives out whole lines, many at a time.
//!
//! Memory stays within a chunk and the longest line allowed, whatever the file holds: what comes after the last newline
//! of a chunk waits in the buffer for the next, and a line over the limit is dropped as it comes in.

use std::io::{self, ErrorKind, Read};

use super::origin::RECORD_BYTES;

/// A file as runs of whole lines.
pub(super) struct Lines<R> {
    file: R,
    buffer: Vec<u8>,
    /// Where the lines begin that were not consumed yet.
    start: usize,
    /// Behind the last newline.
    whole: usize,
    /// Behind the last byte read.
    filled: usize,
    chunk: usize,
    limit: usize,
    started: bool,
    ended: bool,
    utf8: bool,
    read: u64,
}

/// What [`Lines::fill`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Whole lines, at [`Lines::region`].
    Lines,
    /// One line longer than the limit: how it began.
    TooLong(Vec<u8>),
    /// The end of the file.
    End,
}

/// What [`Lines::extend`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extended {
    /// At least one line more.
    More,
    /// The lines at hand, or the one behind them, are longer than the limit. They are as they were.
    TooLong,
    /// The end of the file. The lines at hand are as they were.
    End,
}

/// Room behind the lines, so that they can be looked at in blocks without asking where they end.
const SLACK: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R: Read> Lines<R> {
    /// Reads `chunk` bytes at a time; lines may have `limit` bytes without their newline.
    pub(super) fn new(file: R, chunk: usize, limit: usize) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            start: 0,
            whole: 0,
            filled: 0,
            chunk: chunk.max(1),
            limit,
            started: false,
            ended: false,
            utf8: true,
            read: 0,
        }
    }

    /// Text whose first bytes, up to [`Lines::remaining`], are whole lines. What follows them is of no meaning.
    #[inline]
    pub(super) fn region(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The length of the whole lines in [`Lines::region`]; each ends in a newline, also the last of the file.
    #[inline]
    pub(super) fn remaining(&self) -> usize {
        self.whole - self.start
    }

    /// Whether all of these lines are UTF-8.
    #[inline]
    pub(super) fn is_utf8(&self) -> bool {
        self.utf8
    }

    /// Marks bytes of the region as done with.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.whole, "only whole lines are consumed");
    }

    /// Bytes read from the file.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Bytes of the file up to the lines that were not consumed yet.
    pub(super) fn bytes_consumed(&self) -> u64 {
        self.read - self.filled.saturating_sub(self.start) as u64
    }

    /// Where they come from.
    pub(super) fn source(&self) -> &R {
        &self.file
    }

    /// Reads on behind the lines at hand, which stay: for a record that goes on behind them.
    pub(super) fn extend(&mut self) -> io::Result<Extended> {
        let at_hand = self.remaining();
        if at_hand > self.limit {
            return Ok(Extended::TooLong);
        }
        // The newline that was added to the last line stands behind `filled`.
        if self.ended && self.whole >= self.filled {
            return Ok(Extended::End);
        }
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        (self.start, self.whole) = (0, at_hand);
        let mut newline = None;
        // What is at hand will be looked at again, so it must grow by as much as it is long.
        while !self.ended && (newline.is_none() || self.filled < 2 * at_hand) {
            let before = self.filled;
            self.read_chunk()?;
            if let Some(found) = memchr::memrchr(b'\n', &self.buffer[before..self.filled]) {
                newline = Some(before + found);
            }
            if newline.is_none() && self.filled - at_hand > self.limit {
                return Ok(Extended::TooLong);
            }
        }
        let whole = newline.map_or(at_hand, |newline| newline + 1);
        if self.ended && self.filled > whole {
            self.reserve(1);
            self.buffer[self.filled] = b'\n';
            self.lines_up_to(self.filled + 1);
        } else if newline.is_some() {
            self.lines_up_to(whole);
        } else {
            return Ok(Extended::End);
        }
        Ok(Extended::More)
    }

    /// Reads on until there are whole lines. All earlier ones must have been consumed.
    pub(super) fn fill(&mut self) -> io::Result<Filled> {
        debug_assert!(self.start == self.whole, "unread lines would be lost");
        // The newline that was added to the last line stands behind `filled`.
        let done = self.whole.min(self.filled);
        self.buffer.copy_within(done..self.filled, 0);
        self.filled -= done;
        (self.start, self.whole) = (0, 0);
        if !self.started {
            self.skip_byte_order_mark()?;
        }
        let mut searched = 0;
        while !self.ended {
            if let Some(newline) = memchr::memrchr(b'\n', &self.buffer[searched..self.filled]) {
                return Ok(self.lines_up_to(searched + newline + 1));
            }
            if self.filled > self.limit {
                return self.drop_long_line().map(Filled::TooLong);
            }
            searched = self.filled;
            self.read_chunk()?;
        }
        if let Some(newline) = memchr::memrchr(b'\n', &self.buffer[searched..self.filled]) {
            return Ok(self.lines_up_to(searched + newline + 1));
        }
        if self.filled == 0 {
            // Nothing is read any more, and other files may be open for long.
            self.buffer = Vec::new();
            return Ok(Filled::End);
        }
        // The last line has no newline; here it gets one, which `filled` does not count.
        self.reserve(1);
        self.buffer[self.filled] = b'\n';
        Ok(self.lines_up_to(self.filled + 1))
    }

    fn lines_up_to(&mut self, whole: usize) -> Filled {
        self.whole = whole;
        self.utf8 = simdutf8::basic::from_utf8(&self.buffer[..whole]).is_ok();
        Filled::Lines
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.filled < BYTE_ORDER_MARK.len() && !self.ended {
            self.read_chunk()?;
        }
        if self.buffer[..self.filled].starts_with(BYTE_ORDER_MARK) {
            self.buffer
                .copy_within(BYTE_ORDER_MARK.len()..self.filled, 0);
            self.filled -= BYTE_ORDER_MARK.len();
        }
        self.started = true;
        Ok(())
    }

    /// Keeps how the line began, and reads past its end.
    fn drop_long_line(&mut self) -> io::Result<Vec<u8>> {
        let head = self.buffer[..self.filled.min(self.limit).min(RECORD_BYTES)].to_vec();
        loop {
            self.filled = 0;
            self.read_chunk()?;
            if let Some(newline) = memchr::memchr(b'\n', &self.buffer[..self.filled]) {
                self.start = newline + 1;
                self.whole = newline + 1;
                return Ok(head);
            }
            if self.ended {
                return Ok(head);
            }
        }
    }

    /// Makes room for bytes behind `filled`, and for the slack behind those.
    fn reserve(&mut self, bytes: usize) {
        let needed = self.filled + bytes + SLACK;
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
    }

    /// Reads up to a chunk; `ended` says if nothing was left.
    fn read_chunk(&mut self) -> io::Result<()> {
        self.reserve(self.chunk);
        loop {
            match self
                .file
                .read(&mut self.buffer[self.filled..self.filled + self.chunk])
            {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    self.filled += read;
                    self.read += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}
