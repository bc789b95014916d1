//! What the footer of a file says of the memory that its rows take, and of how they are compressed.

use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::super::columnar::PIECE_BYTES;

/// Rows that are decoded at once, at most, of columns whose values are written as what they differ by from the one
/// before: a few bytes may stand for any number of them, each as long as a page.
const ROWS_OF_DELTAS: u64 = 1024;

/// How many rows of some root columns make a batch of a bearable size, at least one. Goes by the row group with the
/// widest rows, be it as they are written or as they are decoded, where texts and bytes are views.
pub(super) fn affordable_rows(metadata: &ParquetMetaData, roots: &[usize]) -> usize {
    let groups = metadata.row_groups().iter().map(|group| {
        let rows = group.num_rows().max(1) as u64;
        let columns = wanted(metadata, roots, group.columns());
        let (mut written, mut decoded, mut most) = (0u64, 0u64, u64::MAX);
        for column in columns {
            written = written.saturating_add(column.uncompressed_size().max(0) as u64);
            let values = column.num_values().max(0) as u64;
            decoded = decoded.saturating_add(values.saturating_mul(width(column)));
            if column
                .encodings()
                .any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY)
            {
                most = ROWS_OF_DELTAS;
            }
        }
        let widest = written.max(decoded).div_ceil(rows);
        most.min(PIECE_BYTES / widest.max(1))
    });
    groups.min().unwrap_or(u64::MAX).clamp(1, 1 << 30) as usize
}

/// The first of some root columns whose compression cannot be undone, and its name.
pub(super) fn unreadable_codec(
    metadata: &ParquetMetaData,
    roots: &[usize],
) -> Option<(String, &'static str)> {
    let groups = metadata.row_groups().iter();
    let mut columns = groups.flat_map(|group| wanted(metadata, roots, group.columns()));
    columns.find_map(|column| {
        let codec = match column.compression() {
            Compression::BROTLI(_) => "brotli",
            Compression::LZO => "lzo",
            _ => return None,
        };
        Some((column.column_path().string(), codec))
    })
}

fn wanted<'a>(
    metadata: &'a ParquetMetaData,
    roots: &'a [usize],
    columns: &'a [ColumnChunkMetaData],
) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
    let schema = metadata.file_metadata().schema_descr();
    let columns = columns.iter().enumerate();
    columns
        .filter(|(column, _)| roots.contains(&schema.get_column_root_idx(*column)))
        .map(|(_, column)| column)
}

/// Bytes of a value once it is decoded, less what a view leads to.
fn width(column: &ColumnChunkMetaData) -> u64 {
    match column.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 | Type::BYTE_ARRAY => 16,
        Type::FIXED_LEN_BYTE_ARRAY => column.column_descr().type_length().max(1) as u64,
    }
}
