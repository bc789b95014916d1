//! What `wit-bindgen` makes of the contract in `wit/`: its types, its imports and, for Wasm, its
//! exports. Nothing here is written by hand.

#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]

/// The world of a windowed aggregation.
pub mod windowing {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "penstock:transform/windowing",
        pub_export_macro: true,
        export_macro_name: "export_windowing",
        default_bindings_module: "penstock_sdk::bindings::windowing",
        additional_derives: [PartialEq],
    });
}

/// What `windowing-migrating` has beyond `windowing`. A second set of bindings for the whole world
/// would define the same macros again; a component that exports both worlds is one of
/// `windowing-migrating`.
#[cfg(target_arch = "wasm32")]
pub mod migrating {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package penstock:sdk@0.1.0;
            world migrating {
                export penstock:transform/migration@0.1.0;
            }
        ",
        world: "penstock:sdk/migrating",
        pub_export_macro: true,
        export_macro_name: "export_migrating",
        default_bindings_module: "penstock_sdk::bindings::migrating",
        with: {
            "penstock:transform/types@0.1.0": crate::bindings::windowing::penstock::transform::types,
        },
    });
}

/// What a mapper has beyond the imports of `windowing`, which are those of every world. A component
/// that exports this and `windowing` is one of `mapping-windowing`.
pub mod mapping {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package penstock:sdk@0.1.0;
            world mapping {
                export penstock:transform/mapper@0.1.0;
            }
        ",
        world: "penstock:sdk/mapping",
        pub_export_macro: true,
        export_macro_name: "export_mapping",
        default_bindings_module: "penstock_sdk::bindings::mapping",
        additional_derives: [PartialEq],
        with: {
            "penstock:transform/types@0.1.0": crate::bindings::windowing::penstock::transform::types,
        },
    });
}
