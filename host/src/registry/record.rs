//! What a version is, as it is kept: `{"layout":1,"digest":"sha256:…","size":12345}`.

use serde::{Deserialize, Serialize};

use super::RegistryError;

const LAYOUT: u32 = 1;

/// Which bytes a version has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    layout: u32,
    pub(super) digest: String,
    pub(super) size: u64,
}

impl Record {
    pub(super) fn new(digest: String, size: u64) -> Self {
        Self {
            layout: LAYOUT,
            digest,
            size,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has only texts and numbers")
    }

    /// Reads one, of which `file` is where it is kept.
    pub(super) fn decode(bytes: &[u8], file: String) -> Result<Self, RegistryError> {
        let refuse = |reason: String| {
            let file = file.clone();
            Err(RegistryError::Unreadable { file, reason })
        };
        let record: Self = match serde_json::from_slice(bytes) {
            Ok(record) => record,
            Err(error) => return refuse(format!("it is no version: {error}")),
        };
        if record.layout != LAYOUT {
            return refuse(format!(
                "it has layout {}, and this build reads {LAYOUT}",
                record.layout
            ));
        }
        // It becomes a path.
        let digits = record.digest.strip_prefix("sha256:").unwrap_or_default();
        let is_digest = digits.len() == 64
            && digits
                .bytes()
                .all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
        match is_digest {
            true => Ok(record),
            false => refuse("its digest is none".to_owned()),
        }
    }
}
