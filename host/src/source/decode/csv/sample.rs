//! Looks at the first records of a CSV file, to find out what its columns hold.

use super::super::DecodeError;
use super::super::batch::Sizes;
use super::super::content::Content;
use super::super::infer::{SAMPLE_BYTES, SAMPLE_RECORDS};
use super::super::lines::Lines;
use super::{next_record, read_header};

/// Gives `each` the name of every column of the header with none, and then of every field of the sampled records with
/// its text; not those of nothing.
pub(in super::super) fn sample(
    file: &str,
    content: Content,
    mut each: impl FnMut(&str, Option<&str>),
) -> Result<(), DecodeError> {
    let limit = Sizes::default().line;
    let mut lines = Lines::new(content, SAMPLE_BYTES, limit);
    let mut line = 0;
    let Some(header) = read_header(file, &mut lines, limit, &mut line)? else {
        return Ok(());
    };
    header.iter().for_each(|name| each(name, None));
    for _ in 0..SAMPLE_RECORDS {
        if lines.bytes_consumed() >= SAMPLE_BYTES as u64 {
            break;
        }
        match next_record(&mut lines, limit, &mut line) {
            Ok(Some(Ok(record))) if record.fields.len() == header.len() => {
                for (name, (text, _)) in header.iter().zip(&record.fields) {
                    if !text.is_empty() {
                        each(name, Some(text));
                    }
                }
            }
            // Decoding will refuse it, with the reason.
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                let failure = lines.source().failure(lines.bytes_read(), error);
                return match failure {
                    // What stands before the damage is to be read.
                    DecodeError::Damaged { .. } => Ok(()),
                    other => Err(other),
                };
            }
        }
    }
    Ok(())
}
