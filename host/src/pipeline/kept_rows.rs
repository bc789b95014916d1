//! Rows as bytes that a lane keeps or sends: an Arrow IPC stream of one batch.
//!
//! What comes back may be damaged. Nothing is made room for that is not there, and every column is checked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;

/// Writes rows behind what is in `bytes`.
pub(super) fn write(rows: &RecordBatch, bytes: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, rows.schema_ref())?;
    writer.write(rows)?;
    writer.finish()
}

/// Rows that were written so, and nothing else.
pub(super) fn read(bytes: impl Into<Buffer>) -> Result<RecordBatch, ArrowError> {
    let mut left = bytes.into();
    let mut decoder = StreamDecoder::new();
    let mut read = || {
        let rows = decoder.decode(&mut left)?;
        let more = decoder.decode(&mut left)?;
        decoder.finish()?;
        match (rows, more) {
            (Some(rows), None) => Ok(rows),
            _ => Err(ArrowError::IpcError("it is not one batch of rows".into())),
        }
    };
    // Arrow's reader panics at places that lie outside of the bytes. It keeps nothing of what it was reading.
    catch_unwind(AssertUnwindSafe(&mut read)).unwrap_or_else(|_| {
        let error = "its columns are not where they should be";
        Err(ArrowError::IpcError(error.into()))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn rows() -> RecordBatch {
        let list = vec![Some(vec![Some(1), None]), None, Some(vec![])];
        let columns: [(&str, ArrayRef); 4] = [
            (
                "n",
                Arc::new(Int64Array::from(vec![Some(1), None, Some(2)])),
            ),
            (
                "t",
                Arc::new(StringArray::from(vec![Some("zürich"), None, Some("")])),
            ),
            ("b", Arc::new(BooleanArray::from(vec![true, false, true]))),
            (
                "l",
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(list)),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn written(rows: &RecordBatch) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(rows, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn rows_come_back() {
        for count in 0..=3 {
            let rows = rows().slice(3 - count, count);
            assert_eq!(read(written(&rows)).unwrap(), rows);
        }
    }

    /// Every cut is told, and every changed bit gives an error or sound columns.
    #[test]
    fn what_is_damaged_is_told_or_sound() {
        let bytes = written(&rows());
        // Without the mark of its end, 8 bytes, it is whole as well.
        for end in (0..bytes.len()).filter(|end| *end != bytes.len() - 8) {
            assert!(read(bytes[..end].to_vec()).is_err(), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(rows) = read(damaged) {
                for column in rows.columns() {
                    column.to_data().validate_full().expect("it was checked");
                }
            }
        }
    }
}
