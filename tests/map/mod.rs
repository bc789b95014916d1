//! Mappers: rows that are filtered, multiplied, refused and moved in time come out as an oracle says,
//! however the work is cut, and whether a mapper shares its component with the windows or not.

mod alone;
mod declared;
mod oracle;
mod random;
