//! Protobuf's wire format, field by field. After the Protocol Buffers documentation, "Encoding".

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Where the bytes begin in their message.
    start: usize,
    at: usize,
}

/// Where a message stops being one, and what was expected there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

/// What follows a field's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Bytes,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// How deep groups may nest.
const MAX_GROUPS: u32 = 100;

impl<'a> Cursor<'a> {
    /// `start` is where the bytes begin in their message, for reasons.
    pub(super) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self {
            bytes,
            start,
            at: 0,
        }
    }

    /// Where the next byte stands in the message.
    pub(super) fn position(&self) -> usize {
        self.start + self.at
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    #[cold]
    pub(super) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed {
            at: self.position(),
            expected,
        }
    }

    /// A number of at most 64 bits, seven of them in each byte, the lowest first.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let rest = &self.bytes[self.at..];
        if let Some(byte @ 0..=0x7f) = rest.first() {
            self.at += 1;
            return Ok((*byte).into());
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
                return Ok(value);
            }
        }
        Err(self.malformed("an integer of at most 64 bits"))
    }

    /// A field's number and how its value is written.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, WireType), Malformed> {
        let before = *self;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|_| tag <= u32::MAX.into());
        let wire_type = match tag & 7 {
            0 => Some(WireType::Varint),
            1 => Some(WireType::Fixed64),
            2 => Some(WireType::Bytes),
            3 => Some(WireType::GroupStart),
            4 => Some(WireType::GroupEnd),
            5 => Some(WireType::Fixed32),
            _ => None,
        };
        match (number, wire_type) {
            (Some(number @ 1..), Some(wire_type)) => Ok((number, wire_type)),
            _ => Err(before.malformed("the number of a field and how its value is written")),
        }
    }

    #[inline]
    pub(super) fn fixed32(&mut self) -> Result<u32, Malformed> {
        let taken = self.bytes[self.at..].first_chunk::<4>();
        let taken = taken.ok_or_else(|| self.malformed("four bytes"))?;
        self.at += 4;
        Ok(u32::from_le_bytes(*taken))
    }

    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let taken = self.bytes[self.at..].first_chunk::<8>();
        let taken = taken.ok_or_else(|| self.malformed("eight bytes"))?;
        self.at += 8;
        Ok(u64::from_le_bytes(*taken))
    }

    /// A length, and a cursor over so many bytes.
    #[inline]
    pub(super) fn inner(&mut self) -> Result<Cursor<'a>, Malformed> {
        let length = self.varint()?;
        let rest = self.rest();
        let Some(inner) = usize::try_from(length).ok().and_then(|l| rest.get(..l)) else {
            return Err(self.malformed("as many bytes as were announced"));
        };
        let cursor = Cursor::new(inner, self.position());
        self.at += inner.len();
        Ok(cursor)
    }

    /// Reads over the value of field `number`.
    pub(super) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<(), Malformed> {
        self.skip_nested(number, wire_type, 0)
    }

    fn skip_nested(
        &mut self,
        number: u32,
        wire_type: WireType,
        depth: u32,
    ) -> Result<(), Malformed> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.fixed64().map(drop),
            WireType::Fixed32 => self.fixed32().map(drop),
            WireType::Bytes => self.inner().map(drop),
            WireType::GroupEnd => Err(self.malformed("no end of a group that did not begin")),
            WireType::GroupStart if depth >= MAX_GROUPS => {
                Err(self.malformed("groups nested no deeper than 100"))
            }
            WireType::GroupStart => loop {
                let before = *self;
                match self.tag()? {
                    (end, WireType::GroupEnd) if end == number => return Ok(()),
                    (_, WireType::GroupEnd) => {
                        return Err(before.malformed("the end of the group that began"));
                    }
                    (inner, wire_type) => self.skip_nested(inner, wire_type, depth + 1)?,
                }
            },
        }
    }
}
