//! What every log line of a part says: which pipeline, which lane, which generation.
//!
//! The spans are of the gravest level, so that no filter which shows a line hides whose it is.

use tracing::{Span, error_span};

/// Digits of a digest that tell generations apart.
const DIGITS: usize = 12;

/// Of a lane, whose transform has this digest.
pub(super) fn lane(pipeline: &str, lane: usize, digest: &str) -> Span {
    let generation = short(digest);
    error_span!("lane", pipeline, lane, generation)
}

/// Of the reader, the delivery or the member of a pipeline.
pub(super) fn part(pipeline: &str, part: &'static str, digest: &str) -> Span {
    let generation = short(digest);
    match part {
        "reader" => error_span!("reader", pipeline, generation),
        "member" => error_span!("member", pipeline, generation),
        _ => error_span!("delivery", pipeline, generation),
    }
}

/// Of the reader of a partition.
pub(super) fn partition(pipeline: &str, split: u32, digest: &str) -> Span {
    let generation = short(digest);
    error_span!("reader", pipeline, split, generation)
}

/// Of the delivery of one lane.
pub(super) fn delivery(pipeline: &str, lane: u32, digest: &str) -> Span {
    let generation = short(digest);
    error_span!("delivery", pipeline, lane, generation)
}

fn short(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..DIGITS).unwrap_or(digits)
}
