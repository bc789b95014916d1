//! Files that declare features by themselves, for those that no pipeline computes: TOML or JSON, with the same keys.
//!
//! ```toml
//! group = "driver"                     # of all features of the file, unless a feature says another
//! entity = ["driver_id"]
//! owner = "fleet@example.com"
//!
//! [[feature]]
//! name = "home_city"                   # and what a pipeline's `[[feature]]` may say: version, type, description, tags,
//! type = "utf8"                        # validation, ttl, freshness, alert
//! validation = { max_length = 64 }
//! ```
//!
//! Such a feature has no window: its pipeline is [`ELSEWHERE`], and its window's label `-`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::duration::parse_duration;
use super::types::parse_type;
use crate::store::declarations::{ELSEWHERE, FeatureDeclaration, NO_WINDOW, is_name};
use crate::store::validation::{Checker, Validation};

/// Why a file does not declare features.
#[derive(Debug, thiserror::Error)]
pub enum FeatureFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML or JSON with these keys.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A feature says something that makes no sense.
    #[error("{}: feature `{feature}`: {reason}", path.display())]
    Feature {
        /// The file.
        path: PathBuf,
        /// The feature's name.
        feature: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    group: Option<String>,
    entity: Option<Vec<String>>,
    #[serde(default)]
    owner: String,
    #[serde(alias = "features")]
    feature: Vec<Declared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    group: Option<String>,
    name: String,
    #[serde(default = "one")]
    version: u32,
    entity: Option<Vec<String>>,
    #[serde(rename = "type")]
    feature_type: String,
    owner: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    validation: Validation,
    ttl: Option<String>,
    freshness: Option<String>,
    #[serde(default)]
    alert: String,
}

fn one() -> u32 {
    1
}

/// Reads a file of features: JSON if its name ends so, and TOML otherwise.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn load_features(path: &Path) -> Result<Vec<FeatureDeclaration>, FeatureFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FeatureFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let is_json = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let parsed: Result<File, String> = match is_json {
        true => serde_json::from_str(&text).map_err(|error| error.to_string()),
        false => toml::from_str(&text).map_err(|error| error.to_string()),
    };
    let file = parsed.map_err(|reason| FeatureFileError::Format {
        path: path.to_owned(),
        reason: reason.trim_end().to_owned(),
    })?;
    let mut features: Vec<FeatureDeclaration> = Vec::with_capacity(file.feature.len());
    for declared in &file.feature {
        let fault = |reason: String| FeatureFileError::Feature {
            path: path.to_owned(),
            feature: declared.name.clone(),
            reason,
        };
        let feature = read(declared, &file).map_err(fault)?;
        if features
            .iter()
            .any(|other| other.to_string() == feature.to_string())
        {
            return Err(fault(format!(
                "{feature} is declared twice: rename one, or give it another version"
            )));
        }
        features.push(feature);
    }
    Ok(features)
}

fn read(declared: &Declared, file: &File) -> Result<FeatureDeclaration, String> {
    let name = |what: &str, name: &str| match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "`{name}` is no name of a {what}: it begins with a letter and has only a-z, 0-9 and _"
        )),
    };
    let group = declared.group.as_ref().or(file.group.as_ref());
    let group = group.ok_or("`group` is missing: add `group = \"driver\"` here or at the top")?;
    let entity = declared.entity.as_ref().or(file.entity.as_ref());
    let entity =
        entity.ok_or("`entity` is missing: add `entity = [\"driver_id\"]` here or at the top")?;
    let feature_type = parse_type(&declared.feature_type).map_err(|error| error.to_string())?;
    if declared.version == 0 {
        return Err("versions begin at 1".to_owned());
    }
    if let Err(senseless) = Checker::new(&declared.validation, &feature_type) {
        let told = senseless
            .iter()
            .map(|rule| format!("its validation {}; {}", rule.message, rule.hint));
        return Err(told.collect::<Vec<_>>().join(", and "));
    }
    let lasting = |key: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        match parse_duration(text) {
            Ok(micros) if micros > 0 => Ok(Some(micros)),
            Ok(_) => Err(format!("`{key}` must be longer than zero")),
            Err(error) => Err(format!("`{key}`: {error}")),
        }
    };
    Ok(FeatureDeclaration {
        group: name("group", group)?,
        name: name("feature", &declared.name)?,
        version: declared.version,
        entity: entity.clone(),
        feature_type,
        owner: declared.owner.clone().unwrap_or_else(|| file.owner.clone()),
        description: declared.description.clone(),
        tags: declared.tags.clone(),
        validation: declared.validation.clone(),
        ttl: lasting("ttl", &declared.ttl)?,
        freshness: lasting("freshness", &declared.freshness)?,
        alert: declared.alert.clone(),
        pipeline: ELSEWHERE.to_owned(),
        column: declared.name.clone(),
        window: NO_WINDOW.to_owned(),
        lineage: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, text: &str) -> Result<Vec<FeatureDeclaration>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let shown = format!("{}/", folder.path().display());
        load_features(&path).map_err(|error| error.to_string().replace(&shown, ""))
    }

    const TOML: &str = "group = \"driver\"\nentity = [\"driver_id\"]\nowner = \"a@b\"\n[[feature]]\nname = \"city\"\ntype = \"utf8\"\nttl = \"7d\"\nvalidation = { max_length = 64 }\n";

    #[test]
    fn toml_and_json_declare_the_same() {
        let json = r#"{"group":"driver","entity":["driver_id"],"owner":"a@b","feature":[
            {"name":"city","type":"utf8","ttl":"7d","validation":{"max_length":64}}]}"#;
        let declared = load("f.toml", TOML).unwrap();
        assert_eq!(declared, load("f.json", json).unwrap());
        assert_eq!(declared[0].to_string(), "driver/city@1");
        assert_eq!(declared[0].ttl, Some(7 * 24 * 3_600_000_000));
        assert_eq!(declared[0].pipeline, ELSEWHERE);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        for (wrong, right, reason) in [
            ("type = \"utf8\"", "type = \"utf9\"", "utf9"),
            ("max_length = 64", "min = 0", "its validation"),
            ("name = \"city\"", "name = \"City\"", "no name of a feature"),
            ("ttl = \"7d\"", "ttl = \"7\"", "ttl"),
            ("ttl = \"7d\"", "tll = \"7d\"", "tll"),
            ("group = \"driver\"", "", "`group` is missing"),
        ] {
            let error = load("f.toml", &TOML.replace(wrong, right)).unwrap_err();
            assert!(
                error.starts_with("f.toml: ") && error.contains(reason),
                "{error}"
            );
        }
        let twice = format!("{TOML}[[feature]]\nname = \"city\"\ntype = \"utf8\"\n");
        assert!(
            load("f.toml", &twice)
                .unwrap_err()
                .contains("declared twice")
        );
    }
}
