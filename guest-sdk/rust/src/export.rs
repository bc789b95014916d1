//! `export_window!` and `export_mapper!`: what makes a transform a component.

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
            struct __Place;

            ::std::thread_local! {
                static __PLACE: ::std::cell::RefCell<::std::option::Option<$transform>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::__private::Instance for __Place {
                type Transform = $transform;
                const MIGRATES_FROM: &'static [u32] = $crate::export_window!(@versions $transform $(, $migrating)?);
                fn with<__R>(
                    look: impl ::std::ops::FnOnce(&::std::cell::RefCell<::std::option::Option<$transform>>) -> __R,
                ) -> __R {
                    __PLACE.with(look)
                }
            }

            type __Exports = $crate::__private::Component<__Place>;
            $crate::bindings::windowing::export_windowing!(__Exports with_types_in $crate::bindings::windowing);
            $($crate::bindings::$migrating::export_migrating!(__Exports with_types_in $crate::bindings::$migrating);)?
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

/// Exports a [`Mapper`](crate::Mapper) as a component. Once a crate.
///
/// - `export_mapper!(Transform)`
/// - `export_mapper!(columnar Transform)` for a [`ColumnarMapper`](crate::ColumnarMapper)
///
/// A crate that has an [`export_window!`](crate::export_window) too becomes one component with both:
/// its rows go through the mapper first, and the window sees what the mapper makes of them.
///
/// Natively it only checks that the mapper could be exported.
#[macro_export]
macro_rules! export_mapper {
    (columnar $mapper:ty) => {
        $crate::export_mapper!(@ $crate::native::MapByColumns<$mapper>);
    };
    (@ $mapper:ty) => {
        const _: fn() = $crate::__private::can_be_exported_as_mapper::<$mapper>;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct __Place;

            ::std::thread_local! {
                static __PLACE: ::std::cell::RefCell<::std::option::Option<$mapper>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::__private::MapperInstance for __Place {
                type Transform = $mapper;
                fn with<__R>(
                    look: impl ::std::ops::FnOnce(&::std::cell::RefCell<::std::option::Option<$mapper>>) -> __R,
                ) -> __R {
                    __PLACE.with(look)
                }
            }

            type __Exports = $crate::__private::MapperComponent<__Place>;
            $crate::bindings::mapping::export_mapping!(__Exports with_types_in $crate::bindings::mapping);
        };
    };
    ($mapper:ty) => {
        $crate::export_mapper!(@ $crate::native::MapByRows<$mapper>);
    };
}
