//! Which partition a key belongs to, and partial states as streams of a size that a topic takes.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;

use super::layout::Layout;
use crate::pipeline::kept_rows;
use crate::pipeline::lane::LaneError;
use crate::pipeline::live::rows::Keys;
use crate::transform::bytes_of;
use crate::window::TakenPartials;

/// Bytes of the partial states of a message, about. One that is larger is a message of its own.
const MESSAGE_BYTES: usize = 256 << 10;

/// Messages of partial states: the partition of each, and its Arrow IPC stream. Those of one partition are
/// in the order of their panes.
pub(in crate::pipeline::live) fn streams(
    taken: &TakenPartials,
    layout: &Layout,
    partitions: u32,
) -> Result<Vec<(u32, Vec<u8>)>, LaneError> {
    let rows = layout.rows(taken)?;
    let keys = Keys::of(&rows, layout.keys());
    let keys = keys.map_err(|error| LaneError::Key(error.to_string()))?;
    let mut of_partition: Vec<Vec<u32>> = vec![Vec::new(); partitions as usize];
    for row in 0..rows.num_rows() {
        let partition = hash(keys.get(row)) % u64::from(partitions);
        of_partition[partition as usize].push(row as u32);
    }
    let mut streams = Vec::new();
    for (partition, picked) in (0..).zip(of_partition) {
        if picked.is_empty() {
            continue;
        }
        let rows = take_record_batch(&rows, &UInt32Array::from(picked))?;
        pieces(&rows, &mut |stream| streams.push((partition, stream)))?;
    }
    Ok(streams)
}

/// Cuts rows until each piece is small enough, or a row.
fn pieces(rows: &RecordBatch, out: &mut dyn FnMut(Vec<u8>)) -> Result<(), ArrowError> {
    let count = rows.num_rows();
    if count > 1 && bytes_of(rows.columns()) > MESSAGE_BYTES {
        let half = count / 2;
        pieces(&rows.slice(0, half), out)?;
        return pieces(&rows.slice(half, count - half), out);
    }
    let mut stream = Vec::new();
    kept_rows::write(rows, &mut stream)?;
    out(stream);
    Ok(())
}

/// The 64-bit FNV-1a hash of a key, as it is written in stores, with its bits mixed (the finalizer of
/// MurmurHash3). Both are fixed for good: a key that went to another partition would have its state in two
/// halves.
fn hash(key: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_their_partitions_for_good() {
        // Worked out once; a change of these is a change of where every key's state is.
        let of = |key: &str| hash(key.as_bytes());
        assert_eq!(of(""), 0xefd0_1f60_ba99_2926);
        let mut counts = [0; 8];
        for key in 0..8_000 {
            counts[(of(&key.to_string()) % 8) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)));
    }
}
