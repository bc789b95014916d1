//! Avro's binary encoding, value by value. After the Apache Avro specification 1.12, "Binary Encoding".

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Elements that the lists of the message may have together. Elements may be of no bytes at all, so that a message
    /// of ten bytes could ask for as many as it likes.
    elements: usize,
}

/// Where a message stops being a record of its schema, and what was expected there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

/// Elements without bytes that are not worth asking about.
const FREE_ELEMENTS: usize = 4096;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            elements: bytes.len() + FREE_ELEMENTS,
        }
    }

    /// Whether all were.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    #[cold]
    pub(super) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed {
            at: self.at,
            expected,
        }
    }

    /// The next so many bytes.
    #[inline]
    pub(super) fn take(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            return Err(self.malformed(expected));
        };
        self.at += length;
        Ok(taken)
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.bytes.get(self.at) {
            Some(byte @ 0..=1) => {
                self.at += 1;
                Ok(*byte == 1)
            }
            _ => Err(self.malformed("a boolean: 0 or 1")),
        }
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        let before = *self;
        let long = self.long()?;
        i32::try_from(long).map_err(|_| before.malformed("an int of 32 bits"))
    }

    /// A number of at most 64 bits, seven of them in each byte, the lowest first, its sign in the lowest of all.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        let rest = &self.bytes[self.at..];
        if let Some(byte @ 0..=0x7f) = rest.first() {
            self.at += 1;
            return Ok(zigzag((*byte).into()));
        }
        let mut value = 0u64;
        for (place, byte) in rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.at += place + 1;
                return Ok(zigzag(value));
            }
        }
        Err(self.malformed("an integer of at most 64 bits"))
    }

    #[inline]
    pub(super) fn float(&mut self) -> Result<f32, Malformed> {
        let bytes = self.take(4, "the four bytes of a float")?;
        Ok(f32::from_le_bytes(
            bytes.try_into().expect("four were taken"),
        ))
    }

    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, Malformed> {
        let bytes = self.take(8, "the eight bytes of a double")?;
        Ok(f64::from_le_bytes(
            bytes.try_into().expect("eight were taken"),
        ))
    }

    /// A length, and so many bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let before = *self;
        let length = self.long()?;
        let Ok(length) = usize::try_from(length) else {
            return Err(before.malformed("a length"));
        };
        self.take(length, "as many bytes as were announced")
    }

    /// The beginning of a block of an array or a map: how many elements it has, and how many bytes if that is told.
    /// No elements: the end.
    pub(super) fn block(&mut self) -> Result<(usize, Option<usize>), Malformed> {
        let before = *self;
        let count = self.long()?;
        let mut size = None;
        if count < 0 {
            let bytes = self.long()?;
            let bytes = usize::try_from(bytes).map_err(|_| before.malformed("a block's length"))?;
            size = Some(bytes);
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let Some(left) = self.elements.checked_sub(count) else {
            return Err(before.malformed("no more elements than the message has bytes for"));
        };
        self.elements = left;
        Ok((count, size))
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let long = |bytes: &[u8]| Cursor::new(bytes).long().ok();
        assert_eq!(long(&[0]), Some(0));
        assert_eq!(long(&[1]), Some(-1));
        assert_eq!(long(&[0x80, 1]), Some(64));
        assert_eq!(
            long(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Some(i64::MAX)
        );
        assert_eq!(
            long(&[0xff; 9].iter().copied().chain([1]).collect::<Vec<_>>()),
            Some(i64::MIN)
        );
        assert_eq!(long(&[0xff; 10]), None);
        assert_eq!(long(&[0x80]), None);
        assert_eq!(long(&[]), None);
        assert_eq!(
            Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int().ok(),
            None
        );
    }

    #[test]
    fn a_block_cannot_have_more_elements_than_the_message_pays_for() {
        let many = [0x80, 0x80, 0x80, 0x80, 2];
        assert!(Cursor::new(&many).block().is_err());
        assert_eq!(Cursor::new(&[20]).block(), Ok((10, None)));
        assert_eq!(Cursor::new(&[19, 6]).block(), Ok((10, Some(3))));
    }
}
