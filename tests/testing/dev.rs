//! `penstock dev`.
