//! The splitter and the ledger in one component, made of the same sources as the two of them.

#[path = "../../ledger/src/lib.rs"]
pub mod ledger;
#[path = "../../splitter/src/lib.rs"]
pub mod splitter;
