//! The functions that a component exports: they hold the opened transform, and hand the buffers on.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::{Groups, Mapping, Migrating, Windowed};
use crate::bindings::mapping::exports::penstock::transform::mapper;
use crate::bindings::migrating::exports::penstock::transform::migration;
use crate::bindings::windowing::exports::penstock::transform::windowed;
use crate::buffers::Batch;
use crate::contract::{
    Columns, Failure, Finished, Mapped, MapperSpec, Opening, Schema, Updated, WindowedSpec,
};
use crate::panics;

/// Where a component keeps its opened transform. Implemented by `export_window!`, because a
/// `static` cannot be generic.
pub trait Instance: 'static {
    /// The opened transform.
    type Transform: Windowed;
    /// The versions that the component's migration takes, if it exports one.
    const MIGRATES_FROM: &'static [u32];
    /// Lends out the place.
    fn with<T>(look: impl FnOnce(&RefCell<Option<Self::Transform>>) -> T) -> T;
}

/// The exports of a component whose transform lives in `I`.
pub struct Component<I>(PhantomData<I>);

fn open<I: Instance>(opening: &Opening) -> Result<WindowedSpec, Failure> {
    panics::log_before_trap();
    let (transform, mut spec) = I::Transform::open(opening)?;
    spec.migrates_from = I::MIGRATES_FROM.to_vec();
    I::with(|place| place.replace(Some(transform)));
    Ok(spec)
}

fn call<I: Instance, T>(
    call: impl FnOnce(&I::Transform) -> Result<T, Failure>,
) -> Result<T, Failure> {
    I::with(|place| call_in(place, call))
}

fn call_in<M, T>(
    place: &RefCell<Option<M>>,
    call: impl FnOnce(&M) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match place.borrow().as_ref() {
        Some(transform) => call(transform),
        None => Err(Failure::Internal(
            "the host called a transform that it had not opened".to_owned(),
        )),
    }
}

fn slices(columns: &Columns) -> Vec<&[u8]> {
    columns.buffers.iter().map(Vec::as_slice).collect()
}

fn batch<'a>(columns: &Columns, buffers: &'a [&'a [u8]]) -> Batch<'a> {
    Batch {
        rows: columns.rows,
        buffers,
    }
}

impl<I: Instance> windowed::Guest for Component<I> {
    fn open_windowed(opening: Opening) -> Result<WindowedSpec, Failure> {
        open::<I>(&opening)
    }

    fn accumulate(
        event: u32,
        input: Columns,
        group_of_row: Vec<u8>,
        keys: Columns,
        states: Columns,
    ) -> Result<Updated, Failure> {
        call::<I, _>(|transform| {
            transform.accumulate(
                event,
                batch(&input, &slices(&input)),
                Groups::from_bytes(&group_of_row)?,
                batch(&keys, &slices(&keys)),
                batch(&states, &slices(&states)),
            )
        })
    }

    fn merge_states(keys: Columns, earlier: Columns, later: Columns) -> Result<Columns, Failure> {
        call::<I, _>(|transform| {
            transform.merge(
                batch(&keys, &slices(&keys)),
                batch(&earlier, &slices(&earlier)),
                batch(&later, &slices(&later)),
            )
        })
    }

    fn finish_groups(keys: Columns, bounds: Columns, states: Columns) -> Result<Finished, Failure> {
        call::<I, _>(|transform| {
            transform.finish(
                batch(&keys, &slices(&keys)),
                batch(&bounds, &slices(&bounds)),
                batch(&states, &slices(&states)),
            )
        })
    }
}

impl<I: Instance<Transform: Migrating>> migration::Guest for Component<I> {
    fn migrate_states(
        old_version: u32,
        old_schema: Schema,
        states: Columns,
    ) -> Result<Columns, Failure> {
        call::<I, _>(|transform| {
            transform.migrate(old_version, &old_schema, batch(&states, &slices(&states)))
        })
    }
}

/// Where a component keeps its opened mapper. Implemented by `export_mapper!`. A component may have
/// a mapper and a windowed transform, each in a place of its own.
pub trait MapperInstance: 'static {
    /// The opened mapper.
    type Transform: Mapping;
    /// Lends out the place.
    fn with<T>(look: impl FnOnce(&RefCell<Option<Self::Transform>>) -> T) -> T;
}

/// The exports of a component whose mapper lives in `I`.
pub struct MapperComponent<I>(PhantomData<I>);

impl<I: MapperInstance> mapper::Guest for MapperComponent<I> {
    fn open_mapper(opening: Opening) -> Result<MapperSpec, Failure> {
        panics::log_before_trap();
        let (mapper, spec) = I::Transform::open(&opening)?;
        I::with(|place| place.replace(Some(mapper)));
        Ok(spec)
    }

    fn map_rows(event: u32, input: Columns) -> Result<Mapped, Failure> {
        I::with(|place| {
            call_in(place, |mapper| {
                mapper.map(event, batch(&input, &slices(&input)))
            })
        })
    }
}
