//! The description against what there is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{OPENAPI, PATHS};
use crate::serve::answers::{MOST_ENTITIES, MOST_FEATURES};

fn description() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let routed = PATHS.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(described, BTreeSet::from(routed));
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(entries) => entries.iter().for_each(|(key, value)| match value {
                Value::String(to) if key == "$ref" => found.push(to.clone()),
                other => references(other, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let description = description();
    let mut found = Vec::new();
    references(&description, &mut found);
    assert!(found.len() > 10);
    for to in found {
        let pointer = to.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{to}");
    }
}

#[test]
fn bounds_are_those_of_the_code() {
    let description = description();
    for schema in ["BatchGet", "Put"] {
        let of = |name: &str| {
            let path = format!("/components/schemas/{schema}/properties/{name}/maxItems");
            description.pointer(&path).unwrap().as_u64().unwrap() as usize
        };
        assert_eq!(of("entities"), MOST_ENTITIES);
        assert_eq!(of("features"), MOST_FEATURES);
    }
}
