//! `[[feature]]`: what a pipeline computes, read into declarations.

use arrow::datatypes::DataType;
use toml::de::DeValue;

use super::diagnostic::{Located, Span};
use super::length::{self, Length};
use super::table::{Findings, Node, Table, integer_of};
use super::{duration, types};
use crate::store::declarations::FeatureDeclaration;
use crate::store::validation::{Checker, Literal, Rule, Validation};

/// A feature's declaration and where the parts of it stand that only an opened transform can prove
/// wrong.
#[derive(Debug, Clone)]
pub struct DeclaredFeature {
    /// The declaration.
    pub declaration: FeatureDeclaration,
    /// The length of the window that it is about, in microseconds: one of
    /// [`WindowKind::lengths`](super::WindowKind::lengths). The declaration has it as text.
    pub window: i64,
    /// Its places in the pipeline file.
    pub spans: FeatureSpans,
}

impl DeclaredFeature {
    /// The feature that this template stands for, of windows of one length.
    fn about(&self, length: &Length) -> Self {
        let mut feature = self.clone();
        feature.window = length.micros;
        let declaration = &mut feature.declaration;
        declaration.name = length.fill(&declaration.name);
        declaration.column = length.fill(&declaration.column);
        declaration.description = length.fill(&declaration.description);
        declaration.window = duration::print_duration(length.micros);
        feature
    }
}

/// Places of a `[[feature]]` table.
#[derive(Debug, Clone, Copy)]
pub struct FeatureSpans {
    /// The name.
    pub name: Span,
    /// The column, or the name where that is the column.
    pub column: Span,
    /// The type.
    pub feature_type: Span,
}

/// What a pipeline's features have in common.
pub(super) struct Shared<'a> {
    pub(super) pipeline: &'a str,
    pub(super) entity: Vec<String>,
    /// Of its windows; empty if they could not be read.
    pub(super) lengths: &'a [Length],
    pub(super) group: Option<Located<String>>,
    pub(super) owner: Option<Located<String>>,
}

/// Reads every `[[feature]]` that can be read.
pub(super) fn read_features(
    node: &Node<'_>,
    shared: &Shared<'_>,
    root_keys: &[&str],
) -> Vec<DeclaredFeature> {
    let Some(items) = node.items() else {
        node.report(
            "must be a list of tables",
            "begin each feature with a line `[[feature]]`",
        );
        return Vec::new();
    };
    let tables = items
        .iter()
        .filter_map(|item| item.table("`[[feature]]` and the feature's keys below it"));
    tables
        .filter_map(|table| read_feature(table, shared, root_keys))
        .flatten()
        .collect()
}

/// Reports features that are declared twice.
pub(super) fn refuse_twins(features: &[DeclaredFeature], findings: &Findings) {
    let id = |feature: &DeclaredFeature| feature.declaration.to_string();
    let mut reported = Vec::new();
    for (number, feature) in features.iter().enumerate() {
        if let Some(first) = features[..number]
            .iter()
            .find(|earlier| id(earlier) == id(feature))
        {
            // Two templates that are twins are so for every length; that is one mistake.
            let places = (first.spans.name, feature.spans.name);
            if reported.contains(&places) {
                continue;
            }
            reported.push(places);
            let file = findings.file();
            let twin = file.diagnostic(
                feature.spans.name,
                format!("feature {} is declared twice", id(feature)),
                "rename one, or give it another version",
            );
            findings.push(twin.with_note("first declared here", file.place(first.spans.name)));
        }
    }
}

fn read_feature(
    mut table: Table<'_>,
    shared: &Shared<'_>,
    root_keys: &[&str],
) -> Option<Vec<DeclaredFeature>> {
    const NAME: &str = "\"accept_proportion_10m\" or \"accept_proportion_{window}\"";
    let name_node = table.required("name", "name = \"accept_proportion_10m\"");
    let name = name_node.as_ref().and_then(|node| node.string(NAME));
    let window = table.optional("window");
    let version = table.optional("version").map_or(Some(1), |node| {
        node.integer(1..=u32::MAX.into())
            .and_then(|version| u32::try_from(version.value).ok())
    });
    let column = table
        .optional("column")
        .map(|node| node.string("\"accept_proportion\""));
    let feature_type = table
        .required("type", "type = \"float64\"")
        .and_then(|node| read_type(&node));
    let mut lasting = |key: &'static str, example: &str| {
        let node = table.optional(key);
        node.map_or(Some(None), |node| {
            node.positive_duration(example)
                .map(|micros| Some(micros.value))
        })
    };
    let ttl = lasting("ttl", "\"7d\"");
    let freshness = lasting("freshness", "\"5m\"");
    let alert = table.optional("alert").map_or(Some(String::new()), |node| {
        node.string("\"team@example.com\"").map(|text| text.value)
    });
    let own_group = table.optional("group").map(|node| node.name("\"driver\""));
    let own_owner = table
        .optional("owner")
        .map(|node| node.string("\"team@example.com\""));
    let description = table
        .optional("description")
        .map_or(Some(String::new()), |node| {
            node.string("\"Share of offers accepted.\"")
                .map(|text| text.value)
        });
    let tags = table.optional("tags").map_or(Some(Vec::new()), |node| {
        node.strings("[\"marketplace\"]")
            .map(|tags| tags.into_iter().map(|tag| tag.value).collect())
    });
    let validation = table
        .optional("validation")
        .map_or(Some(Validation::default()), |node| {
            read_validation(
                &node,
                feature_type
                    .as_ref()
                    .map(|feature_type| &feature_type.value),
            )
        });
    if own_group.is_none() && shared.group.is_none() {
        let hint = "add `group = \"driver\"` here, or at the top of the file for all features";
        table
            .findings()
            .report(table.span(), "`feature.group` is missing", hint);
    }
    let findings = table.findings();
    let misplaced: Vec<&str> = root_keys
        .iter()
        .copied()
        .filter(|key| *key != "name")
        .collect();
    table.finish(
        &misplaced,
        &[(
            "entity",
            "the key of the pipeline is the key of the entity: leave it out",
        )],
    );

    let lengths = match shared.lengths {
        // What is wrong with the windows was reported. Their lengths are not known, so any will do
        // to check the rest.
        [] => Some(vec![Length::new(0, "1d")]),
        known => name
            .as_ref()
            .and_then(|name| length::lengths_of(window.as_ref(), name, known, findings)),
    };
    let (name, name_node) = (name?, name_node?);
    // Before anything else is given up: a template is right for all lengths or for none.
    let lengths = lengths?;
    if !(lengths.iter()).all(|length| name_node.check_name(&length.fill(&name), NAME)) {
        return None;
    }
    let column =
        column.unwrap_or_else(|| Some(Located::new(length::column_of(&name), name.span)))?;
    let feature_type = feature_type?;
    let group = own_group.unwrap_or_else(|| shared.group.clone())?;
    let owner = own_owner.map_or_else(|| Some(shared.owner.clone()), |owner| owner.map(Some))?;
    let template = DeclaredFeature {
        spans: FeatureSpans {
            name: name.span,
            column: column.span,
            feature_type: feature_type.span,
        },
        window: 0,
        declaration: FeatureDeclaration {
            group: group.value,
            name: name.value,
            version: version?,
            entity: shared.entity.clone(),
            feature_type: feature_type.value,
            owner: owner.map_or_else(String::new, |owner| owner.value),
            description: description?,
            tags: tags?,
            validation: validation?,
            ttl: ttl?,
            freshness: freshness?,
            alert: alert?,
            pipeline: shared.pipeline.to_owned(),
            column: column.value,
            window: String::new(),
            lineage: None,
        },
    };
    Some(
        lengths
            .iter()
            .map(|length| template.about(length))
            .collect(),
    )
}

fn read_type(node: &Node<'_>) -> Option<Located<DataType>> {
    let text = node.string("\"float64\"")?;
    match types::parse_type(&text) {
        Ok(data_type) => Some(Located::new(data_type, text.span)),
        Err(_) if text.ends_with('!') => {
            node.report(
                "says `!`, which is for columns of events",
                "leave out the `!` and write `validation = { nulls = false }`",
            );
            None
        }
        Err(error) => node.unreadable(error),
    }
}

/// Reads a validation and, when the type is known, tries it on the type.
fn read_validation(node: &Node<'_>, feature_type: Option<&DataType>) -> Option<Validation> {
    let mut table = node.table("`validation = { min = 0.0, max = 1.0 }`")?;
    let (min, max) = (table.optional("min"), table.optional("max"));
    let nulls = table.optional("nulls");
    let allowed = table.optional("allowed");
    let max_length = table.optional("max_length");
    table.finish(
        &[],
        &[
            ("not_null", "write `nulls = false`"),
            ("range", "write `min = …, max = …`"),
            ("enum", "write `allowed = […]`"),
        ],
    );

    let literals = allowed.as_ref().map(|node| read_literals(node));
    let validation = Validation {
        min: min
            .as_ref()
            .map_or(Some(None), |node| read_literal(node).map(Some))?,
        max: max
            .as_ref()
            .map_or(Some(None), |node| read_literal(node).map(Some))?,
        nulls: nulls.map_or(Some(true), |node| node.boolean())?,
        allowed: literals.map_or(Some(None), |literals| literals.map(Some))?,
        max_length: max_length.as_ref().map_or(Some(None), |node| {
            node.integer(0..=i64::MAX)
                .map(|length| Some(length.value.unsigned_abs()))
        })?,
    };
    let Err(senseless) = Checker::new(&validation, feature_type?) else {
        return Some(validation);
    };
    for found in senseless {
        let rule = match found.rule {
            Rule::Nulls => None,
            Rule::Min | Rule::NotANumber => min.as_ref(),
            Rule::Max => max.as_ref(),
            Rule::Allowed => allowed.as_ref(),
            Rule::MaxLength => max_length.as_ref(),
        };
        let items = rule.and_then(Node::items).unwrap_or_default();
        let item = found.item.and_then(|item| items.get(item));
        let span = item.or(rule).map_or(node.span, |node| node.span);
        node.findings().report(span, found.message, found.hint);
    }
    None
}

fn read_literals(node: &Node<'_>) -> Option<Vec<Literal>> {
    match node.items() {
        Some(items) => items.iter().map(read_literal).collect(),
        None => {
            node.report(
                "must be a list of values",
                "write it as in `allowed = [\"gold\", \"silver\"]`",
            );
            None
        }
    }
}

fn read_literal(node: &Node<'_>) -> Option<Literal> {
    let refuse = |problem: &str, hint: &str| {
        node.report(problem, hint);
        None
    };
    match node.value {
        DeValue::Boolean(value) => Some(Literal::Boolean(*value)),
        DeValue::String(text) => Some(Literal::Text(text.to_string())),
        DeValue::Datetime(moment) => Some(Literal::Text(moment.to_string())),
        DeValue::Integer(_) => match integer_of(node.value) {
            Some(number) => Some(Literal::Integer(number)),
            None => refuse(
                "does not fit 64 bits",
                "for a decimal, write it in quotes; otherwise leave it out",
            ),
        },
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Some(Literal::Float(number)),
            _ => refuse(
                "must be a finite number",
                "leave it out, if there is no such bound",
            ),
        },
        DeValue::Array(_) | DeValue::Table(_) => refuse(
            "must be a single value",
            "write a number, a string, a boolean or a date",
        ),
    }
}
