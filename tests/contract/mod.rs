//! The contract: it does not change without a version, and every type of it crosses.

mod every_type;
mod frozen;
