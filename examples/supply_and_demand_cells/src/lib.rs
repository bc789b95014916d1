//! `geohash_cells` and `supply_and_demand` in one component, made of the very sources of the two: a
//! crate with an `export_mapper!` and an `export_window!` is both, and its rows go through the
//! mapper first.

#[path = "../../geohash_cells/src/lib.rs"]
pub mod geohash_cells;
#[path = "../../supply_and_demand/src/lib.rs"]
pub mod supply_and_demand;
