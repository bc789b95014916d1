//! Who may swap transforms over HTTP: `[environments.NAME.operators]`.
//!
//! ```toml
//! [environments.production.operators.release]
//! sha256 = "9f86d081884c7d65…"       # of the token, in hexadecimal; or `token = "${VARIABLE}"`, or `file`
//! ```
//!
//! They are answered where health is (`listen`). Without any, swaps are not to be had over HTTP.

use super::diagnostic::ConfigFile;
use super::serving::{KnownBy, read_known_by};
use super::table::Node;

/// The token of an operator, who may swap every pipeline of the environment and take swaps back.
#[derive(Debug, Clone)]
pub struct OperatorToken {
    /// Its name, for logs.
    pub name: String,
    /// How it is known.
    pub known_by: KnownBy,
}

pub(super) fn read_operators(file: &ConfigFile, node: &Node<'_>) -> Option<Vec<OperatorToken>> {
    let table = node.table("`[environments.NAME.operators.WHO]`")?;
    let tokens = table.entries().into_iter();
    // All are read, so that all findings are told.
    let tokens: Vec<_> = tokens
        .map(|(name, node)| {
            let mut table = node.table("`[environments.NAME.operators.WHO]` and its keys below")?;
            let known_by = read_known_by(file, &node, &mut table);
            table.finish(&[], &[("value", "write `token = \"${VARIABLE}\"`")]);
            Some(OperatorToken {
                name: name.value,
                known_by: known_by?,
            })
        })
        .collect();
    tokens.into_iter().collect()
}
