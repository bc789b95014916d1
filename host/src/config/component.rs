//! Where a component is: in a file, or in the environment's registry by its name and version.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a name or a version, at most: they become parts of paths.
const MOST: usize = 100;

/// A name and a version of a transform in a registry: `driver@1.2.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionedName {
    name: String,
    version: String,
}

impl VersionedName {
    /// Reads `NAME@VERSION`. Both have a-z, 0-9, `_`, `-` and `.` alone and begin with a letter or a digit; a version
    /// may have capital letters and `+` too.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, version) = text
            .split_once('@')
            .ok_or_else(|| format!("`{text}` has no version: write NAME@VERSION"))?;
        let is_plain = |part: &str, more: fn(char) -> bool| {
            let of_both = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(|c| of_both(c) || more(c) && c != '+')
                && part
                    .chars()
                    .all(|c| of_both(c) || "_-.".contains(c) || more(c))
                && part.len() <= MOST
        };
        if !is_plain(name, |_| false) || !is_plain(version, |c| c.is_ascii_uppercase() || c == '+')
        {
            return Err(format!(
                "`{text}` is no NAME@VERSION: both have letters, digits, `_`, `-` and `.` alone, begin with a letter or a digit, and are {MOST} bytes long at most; a name has small letters only"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl fmt::Display for VersionedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// A component that was fetched and whose digest was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldComponent {
    /// Where it came from, for messages.
    pub from: String,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for HeldComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.from, self.bytes.len())
    }
}

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentPlace {
    /// A file of this machine.
    File(PathBuf),
    /// A version in the environment's registry.
    Registered(VersionedName),
    /// In memory. No file says so: a swap puts it in the place of what the pipeline's file says.
    Held(HeldComponent),
}

impl ComponentPlace {
    /// Whether a text names a version in a registry, and not a file.
    pub fn is_registered(text: &str) -> bool {
        text.contains('@') && !text.contains(['/', '\\']) && !text.ends_with(".wasm")
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Registered(_) | Self::Held(_) => None,
        }
    }
}

impl fmt::Display for ComponentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Registered(name) => name.fmt(f),
            Self::Held(held) => f.write_str(&held.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_parts_of_paths_that_lead_nowhere_else() {
        for fine in ["driver@1", "a-b_c.d@1.2.0-RC1+7", "0@0"] {
            assert_eq!(VersionedName::parse(fine).unwrap().to_string(), fine);
            assert!(ComponentPlace::is_registered(fine));
        }
        for wrong in [
            "driver", "@1", "driver@", "Driver@1", "../x@1", "x@../1", ".x@1", "x@.1", "x@1@2",
            "x@+1", "x y@1", "é@1",
        ] {
            assert!(VersionedName::parse(wrong).is_err(), "{wrong}");
        }
        assert!(VersionedName::parse(&format!("{}@1", "x".repeat(101))).is_err());
        for file in ["a@b/c.wasm", "driver@1.wasm", "driver.wasm", "a/b@1"] {
            assert!(!ComponentPlace::is_registered(file), "{file}");
        }
    }
}
