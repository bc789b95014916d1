//! Entries of the log: what a lane sent on, as bytes.
//!
//! | kind (1 byte) | rest |
//! | --- | --- |
//! | 1 rows | which length (4 bytes), how many marks (4), the marks (16 each), then the rows as an Arrow IPC stream |
//! | 2 refused rows | a JSON array |
//! | 3 progress | closed up to, sequence, watermark (8 bytes each) |
//! | 4 rows, of some of which the windows failed | as 1, with two more columns of texts behind the others: codes and details |
//!
//! Numbers are little-endian.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Buf;

use crate::pipeline::kept_rows;
use crate::pipeline::lane::{FromLane, Output, Refused};
use crate::sink::Mark;
use crate::window::FailedWindows;

const ROWS: u8 = 1;
const REFUSED: u8 = 2;
const PROGRESS: u8 = 3;
const ROWS_AND_FAILED: u8 = 4;

/// What a lane sent on.
#[derive(Debug)]
pub(super) enum Entry {
    /// Rows, as bytes.
    Rows(Vec<u8>),
    Refused(Vec<Refused>),
    Progress {
        closed_up_to: i64,
        sequence: u64,
        watermark: i64,
    },
}

impl Entry {
    /// What is to be kept of a message.
    pub(super) fn of(message: &FromLane) -> Result<Option<Self>, ArrowError> {
        Ok(match message {
            FromLane::Emitted(output) => Some(Self::Rows(rows(output)?)),
            FromLane::Refused(refused) => Some(Self::Refused(refused.clone())),
            FromLane::Progress {
                closed_up_to,
                sequence,
                watermark,
            } => Some(Self::Progress {
                closed_up_to: *closed_up_to,
                sequence: *sequence,
                watermark: *watermark,
            }),
            FromLane::Relayed(_)
            | FromLane::Commit(_)
            | FromLane::Switched(_)
            | FromLane::SetAside(_)
            | FromLane::Done(_) => None,
        })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Rows(bytes) => bytes,
            Self::Refused(refused) => {
                let mut bytes = vec![REFUSED];
                serde_json::to_writer(&mut bytes, &refused)
                    .expect("refused rows are texts and numbers");
                bytes
            }
            Self::Progress {
                closed_up_to,
                sequence,
                watermark,
            } => {
                let mut bytes = vec![PROGRESS];
                bytes.extend_from_slice(&closed_up_to.to_le_bytes());
                bytes.extend_from_slice(&sequence.to_le_bytes());
                bytes.extend_from_slice(&watermark.to_le_bytes());
                bytes
            }
        }
    }
}

fn rows(output: &Output) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = vec![match output.failed {
        None => ROWS,
        Some(_) => ROWS_AND_FAILED,
    }];
    bytes.extend_from_slice(&(output.length as u32).to_le_bytes());
    bytes.extend_from_slice(&(output.marks.len() as u32).to_le_bytes());
    for mark in &output.marks {
        bytes.extend_from_slice(&mark.at.to_le_bytes());
        bytes.extend_from_slice(&mark.sequence.to_le_bytes());
    }
    let rows = match &output.failed {
        None => output.rows.clone(),
        Some(failed) => with_failed(&output.rows, failed)?,
    };
    kept_rows::write(&rows, &mut bytes)?;
    Ok(bytes)
}

fn with_failed(rows: &RecordBatch, failed: &FailedWindows) -> Result<RecordBatch, ArrowError> {
    let mut fields = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for (name, texts) in [("code", &failed.codes), ("detail", &failed.details)] {
        fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        columns.push(Arc::new(texts.clone()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Takes apart what [`with_failed`] put together.
fn without_failed(rows: &RecordBatch) -> Result<(RecordBatch, FailedWindows), String> {
    let all = rows.num_columns();
    let text = |back: usize| -> Result<StringArray, String> {
        let column = all.checked_sub(back).map(|at| rows.column(at));
        let texts = column.and_then(|column| column.as_string_opt::<i32>());
        texts
            .cloned()
            .ok_or_else(|| "an entry of its log lacks what failed".to_owned())
    };
    let failed = FailedWindows {
        codes: text(2)?,
        details: text(1)?,
    };
    let emitted: Vec<usize> = (0..all - 2).collect();
    let rows = rows.project(&emitted).map_err(|error| error.to_string())?;
    Ok((rows, failed))
}

/// What an entry says.
pub(super) fn decode(entry: &[u8]) -> Result<FromLane, String> {
    let short = |error: bytes::TryGetError| error.to_string();
    let mut rest = entry;
    match rest.try_get_u8().map_err(short)? {
        kind @ (ROWS | ROWS_AND_FAILED) => {
            let length = rest.try_get_u32_le().map_err(short)? as usize;
            let count = rest.try_get_u32_le().map_err(short)?;
            let mut marks = Vec::new();
            for _ in 0..count {
                marks.push(Mark {
                    at: rest.try_get_i64_le().map_err(short)?,
                    sequence: rest.try_get_u64_le().map_err(short)?,
                });
            }
            let mut rows = kept_rows::read(rest.to_vec()).map_err(|error| error.to_string())?;
            let mut failed = None;
            if kind == ROWS_AND_FAILED {
                let (emitted, texts) = without_failed(&rows)?;
                (rows, failed) = (emitted, Some(Box::new(texts)));
            }
            Ok(FromLane::Emitted(Output {
                length,
                rows,
                marks,
                failed,
            }))
        }
        REFUSED => {
            let refused = serde_json::from_slice(rest).map_err(|error| error.to_string())?;
            Ok(FromLane::Refused(refused))
        }
        PROGRESS => Ok(FromLane::Progress {
            closed_up_to: rest.try_get_i64_le().map_err(short)?,
            sequence: rest.try_get_u64_le().map_err(short)?,
            watermark: rest.try_get_i64_le().map_err(short)?,
        }),
        kind => Err(format!("an entry of its log has kind {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn output(failed: Option<Box<FailedWindows>>) -> Output {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let mark = |at| Mark { at, sequence: 7 };
        Output {
            length: 3,
            rows: RecordBatch::try_from_iter_with_nullable([("n", numbers, true)]).unwrap(),
            marks: vec![mark(1), mark(2)],
            failed,
        }
    }

    fn outputs() -> [Output; 2] {
        let texts = || StringArray::from(vec![None, Some("poison:trap")]);
        let failed = FailedWindows {
            codes: texts(),
            details: texts(),
        };
        [output(None), output(Some(Box::new(failed)))]
    }

    #[test]
    fn rows_come_back_with_what_failed() {
        for output in outputs() {
            let decoded = decode(&rows(&output).unwrap()).unwrap();
            let FromLane::Emitted(again) = decoded else {
                panic!("rows are rows");
            };
            assert_eq!(again.rows, output.rows);
            assert_eq!((again.length, again.marks), (output.length, output.marks));
            assert_eq!(again.failed, output.failed);
        }
    }
}
