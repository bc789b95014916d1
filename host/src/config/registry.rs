//! The registry of transforms of an environment, and whose signatures it wants:
//!
//! ```toml
//! [environments.local]
//! registry = "s3://bucket/transforms"      # or a folder; default ".penstock/registry"
//!
//! [environments.local.signatures]
//! required = true                          # default: false
//! keys = { ci = "ed25519:jWk0…" }          # as `penstock keygen` prints them
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::store_place::StorePlace;
use super::table::Node;

/// What a public key is written with.
pub const PUBLIC_KEY: &str = "ed25519:";

/// Where versions of transforms are, and which of them are trusted.
#[derive(Debug, Clone)]
pub struct TransformRegistry {
    /// A folder, or a place on object storage; it need not exist yet.
    pub place: StorePlace,
    /// Whose signatures count.
    pub trust: Trust,
}

/// Whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Whether a version without a signature of one of the keys is refused.
    pub required: bool,
    /// Public keys of ed25519 by their names here.
    pub keys: Vec<(String, [u8; 32])>,
}

/// Reads `[environments.NAME.signatures]`.
pub(super) fn read_trust(node: &Node<'_>) -> Option<Trust> {
    const EXAMPLE: &str = "{ ci = \"ed25519:…\" }, as `penstock keygen` prints it";
    let mut table = node.table("`required = true` and `keys = { … }`")?;
    let required = table
        .optional("required")
        .map_or(Some(false), |node| node.boolean());
    let keys = table.optional("keys");
    table.finish(&[], &[("require", "write `required`")]);
    let mut trusted = Vec::new();
    if let Some(keys) = &keys {
        for (name, node) in keys.table(EXAMPLE)?.entries() {
            let text = node.string("\"ed25519:…\"")?.value;
            let Some(key) = parse_key(&text) else {
                node.report(
                    "is no public key of ed25519",
                    "write `ed25519:` and 32 bytes in base64, as `penstock keygen` prints them",
                );
                return None;
            };
            trusted.push((name.value, key));
        }
    }
    let trust = Trust {
        required: required?,
        keys: trusted,
    };
    if trust.required && trust.keys.is_empty() {
        node.report(
            "wants signatures and names no key",
            "add `keys = { ci = \"ed25519:…\" }`; `penstock keygen` makes one",
        );
        return None;
    }
    Some(trust)
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let bytes = BASE64.decode(text.strip_prefix(PUBLIC_KEY)?).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn load(text: &str) -> Result<Environment, String> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[environments.local]\n{text}\n");
        std::fs::write(folder.path().join("penstock.toml"), text).unwrap();
        Environment::find_and_load(folder.path(), "local").map_err(|error| error.to_string())
    }

    #[test]
    fn a_registry_has_a_place_and_keys_that_are_trusted() {
        let found = load("").unwrap().registry;
        assert!(found.place.to_string().ends_with(".penstock/registry"));
        assert_eq!(found.trust, Trust::default());
        let key = BASE64.encode([7; 32]);
        let found = load(&format!(
            "registry = \"s3://b/transforms\"\nsignatures = {{ required = true, keys = {{ ci = \"ed25519:{key}\" }} }}"
        ));
        let found = found.unwrap().registry;
        assert_eq!(found.place.to_string(), "s3://b/transforms");
        let expected = Trust {
            required: true,
            keys: vec![("ci".to_owned(), [7; 32])],
        };
        assert_eq!(found.trust, expected);
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for (wrong, says) in [
            ("signatures = { keys = { ci = \"AAAA\" } }", "no public key"),
            (
                "signatures = { keys = { ci = \"ed25519:AAAA\" } }",
                "no public key",
            ),
            ("signatures = { required = true }", "names no key"),
            ("signatures = { require = true }", "write `required`"),
            ("registry = \"https://h/x\"", "no place that a store"),
        ] {
            let error = load(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
