//! `export_window!`: what makes a transform a component.

/// Exports a [`Window`](crate::Window) or [`KeyedWindow`](crate::KeyedWindow) as a component. Once
/// a crate.
///
/// - `export_window!(Transform)`
/// - `export_window!(columnar Transform)` for a [`ColumnarWindow`](crate::ColumnarWindow)
/// - `export_window!(Transform, migrating)` and `export_window!(columnar Transform, migrating)` for
///   one that also is [`Migrate`](crate::Migrate)
///
/// Natively it only checks that the transform could be exported.
#[macro_export]
macro_rules! export_window {
    (columnar $transform:ty) => {
        $crate::export_window!(@ $crate::native::ByColumns<$transform>);
    };
    (columnar $transform:ty, migrating) => {
        $crate::export_window!(@ $crate::native::ByColumns<$transform>, migrating);
    };
    (@ $transform:ty $(, $migrating:ident)?) => {
        const _: fn() = $crate::__private::can_be_exported::<$transform>;
        $(const _: fn() = $crate::__private::$migrating::<$transform>;)?

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Place;

            ::std::thread_local! {
                static PLACE: ::std::cell::RefCell<::std::option::Option<$transform>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::__private::Instance for Place {
                type Transform = $transform;
                const MIGRATES_FROM: &'static [u32] = $crate::export_window!(@versions $transform $(, $migrating)?);
                fn with<T>(
                    look: impl ::std::ops::FnOnce(&::std::cell::RefCell<::std::option::Option<$transform>>) -> T,
                ) -> T {
                    PLACE.with(look)
                }
            }

            type Exports = $crate::__private::Component<Place>;
            $crate::bindings::windowing::export_windowing!(Exports with_types_in $crate::bindings::windowing);
            $($crate::bindings::$migrating::export_migrating!(Exports with_types_in $crate::bindings::$migrating);)?
        };
    };
    (@versions $transform:ty) => { &[] };
    (@versions $transform:ty, migrating) => { <$transform as $crate::__private::Migrating>::FROM };
    ($transform:ty) => {
        $crate::export_window!(@ $crate::native::ByRows<$transform>);
    };
    ($transform:ty, migrating) => {
        $crate::export_window!(@ $crate::native::ByRows<$transform>, migrating);
    };
}
