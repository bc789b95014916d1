//! What a feature is said to be: its name and version, whose it is, its type, what values it may
//! have. Declared once, in a pipeline file, and written beside the values in JSON.

use std::fmt;

use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};

use super::Declaration;
use super::validation::Validation;
use crate::config::{parse_duration, types};

/// What stands for the pipeline of a feature that no pipeline computes: its values are put. No pipeline has this name.
pub const ELSEWHERE: &str = "elsewhere";
/// What stands for the window of such a feature.
pub const NO_WINDOW: &str = "-";

/// A feature as its pipeline declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureDeclaration {
    /// The features of one kind of entity: `driver`.
    pub group: String,
    /// Unique within its group and version; `[a-z][a-z0-9_]*`.
    pub name: String,
    /// From 1. A feature that means something else gets a new version.
    pub version: u32,
    /// The columns that identify an entity: the key of the pipeline, in its order.
    pub entity: Vec<String>,
    /// The type of the values. In JSON its name: see [`types`].
    #[serde(rename = "type", with = "types::as_name")]
    pub feature_type: DataType,
    /// Who answers for it; empty if nobody was named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// What it means, in a sentence or more; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What values it may have.
    #[serde(default, skip_serializing_if = "Validation::is_empty")]
    pub validation: Validation,
    /// For how long a value is of use after its event time, in microseconds: afterwards it is as if it had never been
    /// written. In JSON as a duration: `"7d"`. None is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration")]
    pub ttl: Option<i64>,
    /// How old a value may be before readers are told that it is stale, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration")]
    pub freshness: Option<i64>,
    /// Whom to tell when values are stale or invalid; empty if nobody was named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    /// The pipeline that computes it.
    pub pipeline: String,
    /// The column of the transform's output that holds it.
    pub column: String,
    /// The length of the window that it is computed over, as a label: `10m`.
    pub window: String,
    /// What it is computed from and by, as of the last time that its pipeline ran; empty before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
}

/// What a feature is computed from and by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The digest of the transform's component.
    pub transform: String,
    /// That of the mapper before it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapper: Option<String>,
    /// The event.
    pub event: String,
    /// The event's columns that are read for it, in their order.
    pub columns: Vec<String>,
}

/// What of a declaration matters to whoever reads values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// For how long a value is of use after its event time, in microseconds; none is for ever.
    pub ttl: Option<i64>,
    /// How old a value may be before it is stale, in microseconds; none if nobody said.
    pub freshness: Option<i64>,
}

impl Terms {
    /// Those of a declaration; none where its document is another program's.
    pub fn of(declaration: &Declaration) -> Self {
        let document: Result<serde_json::Value, _> = serde_json::from_str(&declaration.document);
        let document = document.unwrap_or_default();
        let duration = |name: &str| {
            let text = document.get(name)?.as_str()?;
            parse_duration(text).ok()
        };
        Self {
            ttl: duration("ttl"),
            freshness: duration("freshness"),
        }
    }
}

/// Durations as people write them.
mod duration {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::config::{parse_duration, print_duration};

    pub(super) fn serialize<S: Serializer>(
        micros: &Option<i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match micros {
            Some(micros) => serializer.serialize_str(&print_duration(*micros)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let micros = parse_duration(&text).map_err(|error| D::Error::custom(error.to_string()))?;
        Ok(Some(micros))
    }
}

impl FeatureDeclaration {
    /// The declaration as stores have it.
    pub fn stored(&self) -> Declaration {
        Declaration {
            group: self.group.clone(),
            feature: self.name.clone(),
            version: self.version,
            pipeline: self.pipeline.clone(),
            window: self.window.clone(),
            entity: self.entity.clone(),
            data_type: self.feature_type.clone(),
            document: serde_json::to_string(self)
                .expect("a declaration has only texts, numbers and lists"),
        }
    }

    /// Checks that a transform's output has this feature's column, of this feature's type.
    pub fn check_against_output(&self, output: &Schema) -> Result<(), OutputMismatch> {
        let Ok(field) = output.field_with_name(&self.column) else {
            let columns = output
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect();
            return Err(OutputMismatch::NoColumn {
                feature: self.to_string(),
                column: self.column.clone(),
                columns,
            });
        };
        if !types::fits(&self.feature_type, field.data_type()) {
            return Err(OutputMismatch::OtherType {
                feature: self.to_string(),
                column: self.column.clone(),
                declared: types::type_name(&self.feature_type),
                found: types::type_name(field.data_type()),
            });
        }
        Ok(())
    }
}

impl fmt::Display for FeatureDeclaration {
    /// `group/name@version`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.group, self.name, self.version)
    }
}

/// A declared feature that the transform does not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputMismatch {
    /// The output has no such column.
    #[error(
        "the transform's output has no column `{column}`, which is to be feature {feature}; it has {}",
        if columns.is_empty() { "no columns".to_owned() } else { columns.join(", ") }
    )]
    NoColumn {
        /// `group/name@version`
        feature: String,
        /// The column asked for.
        column: String,
        /// The columns there are.
        columns: Vec<String>,
    },
    /// The column has another type.
    #[error(
        "feature {feature} is declared as {declared}, but the transform's column `{column}` is {found}"
    )]
    OtherType {
        /// `group/name@version`
        feature: String,
        /// The column asked for.
        column: String,
        /// Name of the declared type.
        declared: String,
        /// Name of the column's type.
        found: String,
    },
}

/// How a reader names a feature: `name`, `name@2`, `group/name` or `group/name@2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeatureRef {
    /// The group; any if none.
    pub group: Option<String>,
    /// The name.
    pub name: String,
    /// The version; the caller's choice among the declared ones if none.
    pub version: Option<u32>,
}

/// A text that does not name a feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` does not name a feature: {reason}; write `name`, `name@2` or `group/name@2`")]
pub struct FeatureRefError {
    text: String,
    reason: &'static str,
}

impl FeatureRef {
    /// Reads a reference.
    pub fn parse(text: &str) -> Result<Self, FeatureRefError> {
        let refuse = |reason| {
            Err(FeatureRefError {
                text: text.to_owned(),
                reason,
            })
        };
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => match version.parse::<u32>() {
                Ok(number) if number > 0 && !version.starts_with('+') => (path, Some(number)),
                _ => return refuse("after `@` comes its version, a whole number from 1"),
            },
            None => (text, None),
        };
        let (group, name) = match path.split_once('/') {
            Some((group, name)) => (Some(group), name),
            None => (None, path),
        };
        if !is_name(name) || !group.is_none_or(is_name) {
            return refuse("a name begins with a letter and has only a-z, 0-9 and _");
        }
        Ok(FeatureRef {
            group: group.map(str::to_owned),
            name: name.to_owned(),
            version,
        })
    }

    /// Whether `declaration` is (one of) what is meant.
    pub fn matches(&self, declaration: &FeatureDeclaration) -> bool {
        self.name == declaration.name
            && self
                .group
                .as_ref()
                .is_none_or(|group| *group == declaration.group)
            && self
                .version
                .is_none_or(|version| version == declaration.version)
    }
}

impl std::str::FromStr for FeatureRef {
    type Err = FeatureRefError;
    fn from_str(text: &str) -> Result<Self, FeatureRefError> {
        FeatureRef::parse(text)
    }
}

impl fmt::Display for FeatureRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{group}/")?;
        }
        f.write_str(&self.name)?;
        match self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// Whether `text` may name a pipeline, group or feature: `[a-z][a-z0-9_]*`, at most 128 bytes. Such
/// a name can stand in a file name, a metric, a key of a store and a URL as it is.
pub fn is_name(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::store::validation::Literal;

    fn declaration() -> FeatureDeclaration {
        FeatureDeclaration {
            group: "driver".into(),
            name: "accept_proportion_10m".into(),
            version: 2,
            entity: vec!["driver_id".into()],
            feature_type: DataType::Float64,
            owner: String::new(),
            description: "Share of offers accepted.".into(),
            tags: vec![],
            validation: Validation {
                min: Some(Literal::Float(0.0)),
                nulls: false,
                ..Validation::default()
            },
            ttl: None,
            freshness: None,
            alert: String::new(),
            pipeline: "driver_accept_proportion_10m".into(),
            column: "accept_proportion".into(),
            window: "10m".into(),
            lineage: None,
        }
    }

    #[test]
    fn a_declaration_goes_through_json_unchanged() {
        let json = serde_json::to_string(&declaration()).unwrap();
        assert_eq!(
            json,
            r#"{"group":"driver","name":"accept_proportion_10m","version":2,"entity":["driver_id"],"type":"float64","description":"Share of offers accepted.","validation":{"min":0.0,"nulls":false},"pipeline":"driver_accept_proportion_10m","column":"accept_proportion","window":"10m"}"#
        );
        assert_eq!(
            serde_json::from_str::<FeatureDeclaration>(&json).unwrap(),
            declaration()
        );
        let unknown = json.replace("\"version\"", "\"vresion\"");
        assert!(serde_json::from_str::<FeatureDeclaration>(&unknown).is_err());
    }

    #[test]
    fn an_output_must_have_the_column_and_the_type() {
        let output = |name, data_type| Schema::new(vec![Field::new(name, data_type, false)]);
        let declaration = declaration();
        assert_eq!(
            declaration.check_against_output(&output("accept_proportion", DataType::Float64)),
            Ok(())
        );
        let missing = declaration
            .check_against_output(&output("proportion", DataType::Float64))
            .unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the transform's output has no column `accept_proportion`, which is to be feature driver/accept_proportion_10m@2; it has proportion"
        );
        let other = declaration
            .check_against_output(&output("accept_proportion", DataType::Float32))
            .unwrap_err();
        assert_eq!(
            other.to_string(),
            "feature driver/accept_proportion_10m@2 is declared as float64, but the transform's column `accept_proportion` is float32"
        );
    }

    #[test]
    fn references_are_read_and_refused() {
        for text in ["a", "a@2", "driver/a_1", "driver/a@4294967295"] {
            assert_eq!(FeatureRef::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "A",
            "a@",
            "a@0",
            "a@-1",
            "a@+1",
            "a@4294967296",
            "a@1@2",
            "/a",
            "driver/",
            "a/b/c",
            "1a",
            "a b",
        ] {
            assert!(FeatureRef::parse(text).is_err(), "{text}");
        }
        let declaration = declaration();
        for (text, matches) in [
            ("accept_proportion_10m", true),
            ("driver/accept_proportion_10m@2", true),
            ("accept_proportion_10m@1", false),
            ("rider/accept_proportion_10m", false),
        ] {
            assert_eq!(
                FeatureRef::parse(text).unwrap().matches(&declaration),
                matches,
                "{text}"
            );
        }
    }
}
