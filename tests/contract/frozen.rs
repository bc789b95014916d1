//! The published contract is frozen: what `wit/` says must equal what was released under its version.

use wit_component::WitPrinter;
use wit_parser::Resolve;

use crate::support::root;

#[test]
fn the_contract_does_not_change_without_a_new_version() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root().join("wit")).unwrap();
    let version = resolve.packages[package].name.version.clone().unwrap();
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer.print(&resolve, package, &[]).unwrap();
    let now = printer.output.to_string();

    let released = root().join(format!("tests/contract/{version}.wit"));
    if std::env::var_os("PENSTOCK_RELEASE_CONTRACT").is_some() && !released.exists() {
        std::fs::write(&released, &now).unwrap();
    }
    let released = std::fs::read_to_string(&released).unwrap_or_else(|error| {
        panic!(
            "version {version} of the contract was never released ({}: {error}); run this test once \
             with PENSTOCK_RELEASE_CONTRACT=1 to release it",
            released.display()
        )
    });
    assert!(
        now == released,
        "wit/ differs from what was released as {version}. A published record, variant or exported \
         interface never changes: give the package a new version.\nreleased:\n{released}\nnow:\n{now}"
    );
}
