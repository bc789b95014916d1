//! Signatures of versions: ed25519 (RFC 8032), over name, version and digest together.
//!
//! What is signed is the text `penstock-transform-1`, `NAME@VERSION` and the digest, each on a line of its own: so a
//! signature of one version is none of another one with the same bytes, and none of anything else that the key signs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{RegistryError, Version};
use crate::config::{PUBLIC_KEY, Trust, VersionedName};

/// What the file of a secret key begins with.
const SECRET_KEY: &str = "ed25519-secret:";

/// A signature of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: [u8; 32],
    signature: [u8; 64],
}

/// A signature as it is kept, in base64.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    signature: String,
}

impl Signature {
    /// The public key that it is to be of, as penstock.toml names it.
    pub fn key(&self) -> String {
        shown(&self.key)
    }

    pub(super) fn file_name(&self) -> String {
        self.key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let kept = Kept {
            key: BASE64.encode(self.key),
            signature: BASE64.encode(self.signature),
        };
        serde_json::to_vec(&kept).expect("it has only texts")
    }

    /// Reads one, of which `file` is where it is kept.
    pub(super) fn decode(bytes: &[u8], file: String) -> Result<Self, RegistryError> {
        let read = || {
            let kept: Kept = serde_json::from_slice(bytes).ok()?;
            Some(Self {
                key: BASE64.decode(kept.key).ok()?.try_into().ok()?,
                signature: BASE64.decode(kept.signature).ok()?.try_into().ok()?,
            })
        };
        read().ok_or(RegistryError::Unreadable {
            file,
            reason: "it is no signature; remove it".to_owned(),
        })
    }

    /// Whether it is of this version, by its key.
    fn is_of(&self, name: &VersionedName, digest: &str) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.key) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        // The strict way: of one message and key there is one signature, and weak keys have none.
        key.verify_strict(&signed(name, digest), &signature).is_ok()
    }
}

/// The names of the trusted keys that have signed a version.
pub(super) fn signers<'a>(
    trust: &'a Trust,
    version: &Version,
) -> Result<Vec<&'a str>, RegistryError> {
    let mut signers = Vec::new();
    for (name, key) in &trust.keys {
        let by_key = version.signatures.iter().find(|it| it.key == *key);
        let Some(signature) = by_key else {
            continue;
        };
        if !signature.is_of(&version.name, &version.digest) {
            return Err(RegistryError::BadSignature {
                name: version.name.clone(),
                key: name.clone(),
            });
        }
        signers.push(name.as_str());
    }
    if trust.required && signers.is_empty() {
        let keys = trust.keys.iter().map(|(name, _)| name.as_str());
        return Err(RegistryError::Unsigned {
            name: version.name.clone(),
            keys: keys.collect::<Vec<_>>().join(", "),
        });
    }
    Ok(signers)
}

fn signed(name: &VersionedName, digest: &str) -> Vec<u8> {
    format!("penstock-transform-1\n{name}\n{digest}\n").into_bytes()
}

fn shown(key: &[u8; 32]) -> String {
    format!("{PUBLIC_KEY}{}", BASE64.encode(key))
}

/// Who signs versions.
pub struct Signer(pub(super) SigningKey);

impl Signer {
    /// Makes a key, and writes it to a new file that this user alone may read.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Key`] when the file is there already, or cannot be written.
    pub fn make(path: &Path) -> Result<Self, RegistryError> {
        let refuse = |error: std::io::Error| RegistryError::Key {
            path: path.to_owned(),
            reason: match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    "it is there already, and a key is not written over".to_owned()
                }
                _ => error.to_string(),
            },
        };
        let mut seed = [0; 32];
        let mut random = fs::File::open("/dev/urandom").map_err(refuse)?;
        random.read_exact(&mut seed).map_err(refuse)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(refuse)?;
        let text = format!("{SECRET_KEY}{}\n", BASE64.encode(seed));
        file.write_all(text.as_bytes()).map_err(refuse)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key that [`Signer::make`] wrote.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Key`] when it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let refuse = |reason: String| RegistryError::Key {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let seed = text.trim().strip_prefix(SECRET_KEY);
        let seed = seed.and_then(|seed| BASE64.decode(seed).ok());
        let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
        let seed = seed.ok_or_else(|| {
            refuse("it has no secret key; `penstock keygen FILE` makes one".to_owned())
        })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Its public key, as penstock.toml names it.
    pub fn public(&self) -> String {
        shown(&self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, name: &VersionedName, digest: &str) -> Signature {
        Signature {
            key: self.0.verifying_key().to_bytes(),
            signature: self.0.sign(&signed(name, digest)).to_bytes(),
        }
    }
}
