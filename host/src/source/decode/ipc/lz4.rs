//! What an lz4 frame may become at most, by the number of its blocks: nothing is decompressed.
//!
//! <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>

/// The largest block that there is.
pub(super) const LARGEST_BLOCK: u64 = 8 << 20;

/// Bytes that frames of lz4 hold at most; 0 for what is none.
pub(super) fn most_bytes(mut frames: &[u8]) -> u64 {
    let mut most = 0u64;
    while let Some((frame, mut blocks)) = Frame::read(frames) {
        // A length of 0 ends a frame.
        while let Some((head, rest)) = blocks.split_first_chunk::<4>()
            && *head != [0; 4]
        {
            most = most.saturating_add(frame.block);
            let length = u32::from_le_bytes(*head) & 0x7fff_ffff;
            let length = (length as usize).saturating_add(frame.after_block);
            blocks = rest.get(length..).unwrap_or_default();
        }
        let end = 4 + frame.after_blocks;
        frames = blocks.get(end..).unwrap_or_default();
    }
    most
}

/// What the head of a frame says.
struct Frame {
    /// Bytes of a block at most.
    block: u64,
    /// Bytes of checksums after each block, and after all of them.
    after_block: usize,
    after_blocks: usize,
}

impl Frame {
    /// The head, and what stands behind it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        match u32::from_le_bytes(*magic) {
            0x184d_2204 => {
                let [flags, block, ..] = *rest else {
                    return None;
                };
                let has = |bit: u8| usize::from(flags >> bit & 1);
                let frame = Self {
                    block: 1 << (8 + 2 * u32::from(block >> 4 & 7)),
                    after_block: 4 * has(4),
                    after_blocks: 4 * has(2),
                };
                let head = 3 + 8 * has(3) + 4 * has(0);
                Some((frame, rest.get(head..)?))
            }
            // The format of old has neither flags nor an end.
            0x184c_2102 => {
                let frame = Self {
                    block: LARGEST_BLOCK,
                    after_block: 0,
                    after_blocks: 0,
                };
                Some((frame, rest))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of blocks of 4 MiB, which hold nothing that can be decompressed.
    fn frame(flags: u8, blocks: usize) -> Vec<u8> {
        let mut bytes = vec![0x04, 0x22, 0x4d, 0x18, flags, 0x70];
        let has = |bit: u8| usize::from(flags >> bit & 1);
        bytes.extend(vec![9; 8 * has(3) + 4 * has(0) + 1]);
        for _ in 0..blocks {
            bytes.extend([5, 0, 0, 0, 1, 2, 3, 4, 5]);
            bytes.extend(vec![9; 4 * has(4)]);
        }
        bytes.extend([0; 4]);
        bytes.extend(vec![9; 4 * has(2)]);
        bytes
    }

    #[test]
    fn blocks_are_counted_in_all_frames() {
        for flags in [0x40, 0x60, 0x5c, 0x7d] {
            let frames = [frame(flags, 3), frame(flags, 2)].concat();
            assert_eq!(most_bytes(&frames), 5 * (4 << 20), "{flags:x}");
            for cut in 0..frames.len() {
                assert!(most_bytes(&frames[..cut]) <= 5 * (4 << 20));
            }
        }
        assert_eq!(most_bytes(b"nothing of the kind"), 0);
        let old = [&[0x02, 0x21, 0x4c, 0x18][..], &[1, 0, 0, 0, 7]].concat();
        assert_eq!(most_bytes(&old), LARGEST_BLOCK);
    }
}
