//! The description against what there is.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_route_is_described_and_nothing_else() {
    let description: Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            let methods = methods.filter(|method| *method != "parameters");
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let routed = PATHS.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(described, BTreeSet::from(routed));
    let schemas = &description["components"]["schemas"];
    for (name, field) in [("Swap", "component"), ("Rollback", "reason")] {
        assert_eq!(schemas[name]["required"], json!([field]));
        assert!(schemas[name]["properties"][field].is_object());
    }
}
