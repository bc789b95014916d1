//! Windows: what comes out equals an oracle, and other engines, however the work is cut.

mod flights;
mod lengths;
pub(crate) mod oracle;
pub(crate) mod tumbling;
mod withdrawn;
