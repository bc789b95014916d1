//! What the derive macros write.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};

use crate::shape::{Role, Shape};

/// Records with more columns than this are read and written by calls.
const INLINED_COLUMNS: usize = 8;

/// The implementation of `Record`, and of `StateRecord` for a state.
pub(crate) fn implement(shape: &Shape<'_>) -> TokenStream {
    let record = record(shape);
    let state = (shape.role == Role::State).then(|| state(shape));
    // The structs below are named in no other place, so they may not clash with anything.
    quote! {
        #[allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
        const _: () = {
            use ::penstock_sdk::__private as p;
            use ::std::option::Option;
            use ::std::primitive::{bool, str, u8, u32, usize};
            use ::std::result::Result;
            use ::std::string::String;
            use ::std::vec::Vec;
            #record
            #state
        };
    }
}

fn record(shape: &Shape<'_>) -> TokenStream {
    let Shape {
        name, visibility, ..
    } = shape;
    let (life, of) = match shape.lifetime {
        Some(lifetime) => (lifetime.to_token_stream(), quote!(#name<#lifetime>)),
        None => (quote!('columns), quote!(#name)),
    };
    let reader = format_ident!("{name}Reader");
    let writer = format_ident!("{name}Writer");
    let fields: Vec<_> = shape.columns.iter().map(|column| column.field).collect();
    let visibilities: Vec<_> = shape
        .columns
        .iter()
        .map(|column| column.visibility)
        .collect();
    let types: Vec<_> = shape.columns.iter().map(|column| column.of).collect();
    let names: Vec<_> = shape.columns.iter().map(|column| &column.name).collect();
    // Inlining is what makes a row of a few columns fast, and a component with many of them large.
    let inline = if fields.len() <= INLINED_COLUMNS {
        quote!(#[inline(always)])
    } else {
        quote!(#[inline(never)])
    };

    quote! {
        #visibility struct #reader<#life> {
            #(#visibilities #fields: <#types as p::Value<#life>>::Reader,)*
            of: ::std::marker::PhantomData<&#life ()>,
        }

        #visibility struct #writer<#life> {
            #(#fields: <#types as p::Value<#life>>::Writer,)*
            of: ::std::marker::PhantomData<&#life ()>,
        }

        #[automatically_derived]
        impl<#life> p::Record<#life> for #of {
            type Reader = #reader<#life>;
            type Writer = #writer<#life>;
            const NAMES: &'static [&'static str] = &[#(#names),*];

            fn describe(schema: &mut Vec<p::Field>) {
                #(<#types as p::Value<#life>>::describe(#names, false, schema);)*
            }

            fn bind(cursor: &mut p::Cursor<#life>, rows: usize) -> Result<Self::Reader, p::Failure> {
                Result::Ok(#reader {
                    #(#fields: <#types as p::Value<#life>>::bind(cursor, rows)?,)*
                    of: ::std::marker::PhantomData,
                })
            }

            fn has_nulls(reader: &Self::Reader) -> bool {
                false #(|| <#types as p::Value<#life>>::has_nulls(&reader.#fields))*
            }

            #inline
            fn get<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
                Option::Some(Self {
                    #(#fields: <#types as p::Value<#life>>::get::<NULLS>(&reader.#fields, row)?,)*
                })
            }

            fn null_path(reader: &Self::Reader, row: usize) -> Option<String> {
                #(
                    if let Option::Some(inside) = <#types as p::Value<#life>>::null_path(&reader.#fields, row) {
                        return Option::Some(p::path(#names, &inside));
                    }
                )*
                Option::None
            }

            fn writer(rows: usize) -> Self::Writer {
                #writer {
                    #(#fields: <#types as p::Value<#life>>::writer(rows),)*
                    of: ::std::marker::PhantomData,
                }
            }

            #inline
            fn put(value: &Self, writer: &mut Self::Writer) {
                #(<#types as p::Value<#life>>::put(&value.#fields, &mut writer.#fields);)*
            }

            fn put_zero(writer: &mut Self::Writer) {
                #(<#types as p::Value<#life>>::put_zero(&mut writer.#fields);)*
            }

            fn seal(writer: Self::Writer, buffers: &mut Vec<Vec<u8>>) {
                #(<#types as p::Value<#life>>::seal(writer.#fields, Vec::new(), buffers);)*
            }
        }
    }
}

fn state(shape: &Shape<'_>) -> TokenStream {
    let Shape {
        name, visibility, ..
    } = shape;
    let columns = format_ident!("{name}Columns");
    let fields: Vec<_> = shape.columns.iter().map(|column| column.field).collect();
    let visibilities: Vec<_> = shape
        .columns
        .iter()
        .map(|column| column.visibility)
        .collect();
    let types: Vec<_> = shape.columns.iter().map(|column| column.of).collect();
    let names: Vec<_> = shape.columns.iter().map(|column| &column.name).collect();

    quote! {
        #visibility struct #columns {
            #(#visibilities #fields: ::std::boxed::Box<[#types]>,)*
        }

        #[automatically_derived]
        impl p::StateRecord for #name {
            type Columns = #columns;

            fn read_columns<'columns>(
                reader: &<Self as p::Record<'columns>>::Reader,
                rows: usize,
            ) -> Option<Self::Columns> {
                Option::Some(#columns {
                    #(#fields: p::read_column::<#types>(&reader.#fields, rows)?,)*
                })
            }

            fn write_columns(
                columns: &Self::Columns,
                rows: usize,
                keep: Option<&[u32]>,
                buffers: &mut Vec<Vec<u8>>,
            ) -> Result<(), &'static str> {
                #(p::write_column::<#types>(#names, &columns.#fields, rows, keep, buffers)?;)*
                Result::Ok(())
            }
        }
    }
}
