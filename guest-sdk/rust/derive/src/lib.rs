//! The derive macros of `penstock-sdk`: `Row`, `State` and `Output`.
//!
//! All three make a struct a record of columns; their names say what the struct is for, and let
//! them refuse what could not work there.

mod record;
mod shape;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use shape::{Role, Shape};

/// Makes a struct one row of an event, or one key. Its fields are the columns that the transform
/// wants; `#[column("name")]` on a field gives the column's name where it is not the field's.
///
/// A field of type `Option` takes nulls. A row in which another field is null is rejected with the
/// code `null`. The struct may have one lifetime, and borrow text and bytes from the batch with it.
#[proc_macro_derive(Row, attributes(column))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    derive(parse_macro_input!(input), Role::Row)
}

/// Makes a struct the state of a group. Its fields, which own their data, are the columns that the
/// host stores; `#[column("name")]` on a field gives the column's name where it is not the field's.
#[proc_macro_derive(State, attributes(column))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    derive(parse_macro_input!(input), Role::State)
}

/// Makes a struct one row of output. Its fields, which own their data, are the output's columns;
/// `#[column("name")]` on a field gives the column's name where it is not the field's. The host
/// adds the key, `window_start`, `window_end`, and `revision` and `withdrawn` for windows that may be
/// corrected.
#[proc_macro_derive(Output, attributes(column))]
pub fn derive_output(input: TokenStream) -> TokenStream {
    derive(parse_macro_input!(input), Role::Output)
}

fn derive(input: DeriveInput, role: Role) -> TokenStream {
    Shape::of(&input, role)
        .map(|shape| record::implement(&shape))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
