//! Windows of every kind over random streams, for the tests of rooms that run windows.

use proptest::prelude::*;

use arrow::datatypes::SchemaRef;

use super::super::{Emission, Kind, Panes, RowBatch, Shape};
use super::drive::{self, Plan, key_schema};
use super::stream::{Cut, Stream, cuts, streams};
use super::traced::{self, Traced};
use super::{lateness, lengths};
use crate::transform::{Windowed, WindowedSpec};

/// Windows, and the batches of rows that come to them.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) shape: Shape,
    stream: Stream,
    cut: Cut,
    wide: bool,
    odd: bool,
}

/// Of any kind but running values, the rows of which depend on batches.
pub(crate) fn offered() -> impl Strategy<Value = Offered> {
    let aligned = (lengths(), 1..13_i64, -6..7_i64, lateness()).prop_map(
        |(lengths, pane, offset, lateness)| Shape {
            kind: Kind::Aligned {
                panes: Panes::new(pane, offset).expect("it is above zero"),
                lengths,
            },
            lateness,
            per_batch: false,
        },
    );
    let every = prop::option::weighted(0.3, 1..40_i64);
    let session = (1..40_i64, every, lateness()).prop_map(|(gap, every, lateness)| Shape {
        kind: Kind::Session { gap, every },
        lateness,
        per_batch: false,
    });
    let unbounded = (1..200_i64, 1..60_i64).prop_map(|(ttl, every)| Shape {
        kind: Kind::Unbounded {
            ttl,
            every: Panes::new(every, 0),
        },
        lateness: 0,
        per_batch: false,
    });
    let shape = prop_oneof![3 => aligned, 2 => session, 2 => unbounded];
    let flags = (any::<bool>(), any::<bool>());
    (shape, streams(true), cuts(), flags).prop_map(|(shape, stream, cut, (wide, odd))| Offered {
        shape,
        stream,
        cut,
        wide,
        odd,
    })
}

impl Offered {
    /// The key's columns.
    pub(crate) fn key(&self) -> SchemaRef {
        key_schema(self.wide)
    }

    /// What the transform says of itself.
    pub(crate) fn spec() -> WindowedSpec {
        traced::spec()
    }

    /// A transform that tells what became of each row.
    pub(crate) fn transform(&self) -> Box<dyn Windowed> {
        Box::new(Traced::new(self.odd).0)
    }

    /// The rows, in order.
    pub(crate) fn batches(&self) -> Vec<RowBatch> {
        let plan = Plan {
            wide: self.wide,
            ..Plan::plain()
        };
        let pieces = self.cut.pieces(&self.stream).into_iter();
        let batches =
            pieces.map(|piece| drive::batch(&self.shape, &self.stream, &plan, &piece, 0).0);
        batches.collect()
    }

    /// What was emitted as text, a row each: in the order in which files have it, if that is left to
    /// them, or else as it came.
    pub(crate) fn told(&self, emissions: &[Emission]) -> Vec<String> {
        let revises = self.shape.revises();
        let rows = emissions.iter();
        let mut rows: Vec<_> = rows
            .flat_map(|emission| drive::emitted(emission, revises, self.wide))
            .collect();
        if revises {
            rows.sort_by_key(|row| row.place());
        }
        rows.iter().map(|row| format!("{row:?}")).collect()
    }
}
