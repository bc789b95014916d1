//! Confluent's framing: what stands before a message whose schema is in a registry.
//!
//! After the wire format of Confluent's schema registry: a zero byte, the schema's id as four bytes, the highest first;
//! for Protobuf, then the place of the message's type in its file.

use super::super::batch::Refusal;
use super::super::origin::code;

/// The schema's id, and what stands behind it.
pub(super) fn confluent(value: &[u8]) -> Result<(u32, &[u8]), Refusal> {
    match value {
        [0, a, b, c, d, rest @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        _ => Err(unframed(value)),
    }
}

#[cold]
fn unframed(value: &[u8]) -> Refusal {
    let found = match value {
        [] => "nothing".to_owned(),
        [0, ..] => format!("{} bytes", value.len()),
        [b'{', ..] => "`{`: is it JSON?".to_owned(),
        [byte, ..] => format!("the byte 0x{byte:02x}"),
    };
    bad_framing(format!(
        "expected a zero byte and the four bytes of a schema's id, found {found}"
    ))
}

pub(super) fn bad_framing(reason: String) -> Refusal {
    Refusal {
        code: code::BAD_FRAMING,
        reason,
    }
}
