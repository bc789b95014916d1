//! The same transform compiled in: the SDK's own glue over borrowed Arrow buffers, without a
//! sandbox or a copy on the way in.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use penstock::transform::{
    CallError, Finished, Groups, Merged, Rows, Updated, Windowed, WindowedSpec,
};
use penstock_sdk::contract::{Event, Opening};
use penstock_sdk::native::schema_of;

use crate::driver_accept_proportion::{DriverAcceptProportion, Offer};
use penstock_sdk::native::{self, Batch, ByRows, Windowed as _};

/// The transform, natively. It knows the columns of its own few schemas: fixed widths and booleans.
pub(crate) struct Native {
    transform: ByRows<DriverAcceptProportion>,
    state: SchemaRef,
    output: SchemaRef,
}

impl Native {
    /// Opens it; `spec` is what the component said.
    pub(crate) fn open(spec: &WindowedSpec) -> anyhow::Result<Self> {
        let opening = Opening {
            config: "{}".into(),
            events: vec![Event {
                name: "ride_offer".into(),
                schema: schema_of::<Offer>(),
            }],
            key: Vec::new(),
            options: Vec::new(),
        };
        let (transform, _) =
            ByRows::open(&opening).map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
        Ok(Self {
            transform,
            state: Arc::clone(&spec.state),
            output: Arc::clone(&spec.output),
        })
    }
}

impl Windowed for Native {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        let count = rows.group_of_row.len() as u32;
        let (input, keys, states) = (
            lower(rows.columns),
            lower(groups.keys),
            lower(groups.states),
        );
        let (input, keys, states) = (slices(&input), slices(&keys), slices(&states));
        let batch = |rows, buffers| Batch { rows, buffers };
        let numbers =
            native::Groups::from_bytes(rows.group_of_row.inner().as_slice()).expect("u32 values");
        let groups = groups.len as u32;
        let updated = self
            .transform
            .accumulate(
                0,
                batch(count, &input),
                numbers,
                batch(groups, &keys),
                batch(groups, &states),
            )
            .expect("rides are fine");
        let updated = Updated {
            states: lift(&self.state, updated.states.rows, updated.states.buffers),
            changed: None,
            rejects: Vec::new(),
        };
        async move { Ok(updated) }.boxed()
    }

    fn merge<'a>(
        &'a mut self,
        _earlier: Groups<'a>,
        _later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        unreachable!("tumbling windows merge nothing")
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        let (keys, bounds, states) = (lower(groups.keys), lower(bounds), lower(groups.states));
        let (keys, bounds, states) = (slices(&keys), slices(&bounds), slices(&states));
        let rows = groups.len as u32;
        let batch = |buffers| Batch { rows, buffers };
        let finished = self
            .transform
            .finish(batch(&keys), batch(&bounds), batch(&states))
            .expect("rides are fine");
        let output = lift(&self.output, finished.output.rows, finished.output.buffers);
        let source_group = finished
            .source_group
            .chunks_exact(4)
            .map(|group| u32::from_le_bytes(group.try_into().expect("four bytes")))
            .collect();
        let finished = Finished {
            output: RecordBatch::try_new(Arc::clone(&self.output), output)
                .expect("the transform's own schema"),
            source_group,
            failed: Vec::new(),
        };
        async move { Ok(finished) }.boxed()
    }
}

fn lower(columns: &[ArrayRef]) -> Vec<Buffer> {
    let mut buffers = Vec::with_capacity(columns.len() * 2);
    for column in columns {
        let data = column.to_data();
        assert_eq!(data.null_count(), 0, "rides have no nulls");
        buffers.push(Buffer::default());
        buffers.push(match data.data_type() {
            DataType::Boolean => {
                BooleanBuffer::new(data.buffers()[0].clone(), data.offset(), data.len()).sliced()
            }
            fixed => {
                let width = fixed
                    .primitive_width()
                    .expect("all other columns have fixed widths");
                data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width)
            }
        });
    }
    buffers
}

fn slices(buffers: &[Buffer]) -> Vec<&[u8]> {
    buffers.iter().map(Buffer::as_slice).collect()
}

fn lift(schema: &Schema, rows: u32, buffers: Vec<Vec<u8>>) -> Vec<ArrayRef> {
    let rows = rows as usize;
    let mut buffers = buffers.into_iter().map(Buffer::from_vec);
    let mut next = || buffers.next().expect("two buffers a column");
    let array = |field: &Arc<arrow::datatypes::Field>| {
        let validity = next();
        let nulls =
            (!validity.is_empty()).then(|| NullBuffer::new(BooleanBuffer::new(validity, 0, rows)));
        let data = ArrayData::builder(field.data_type().clone())
            .len(rows)
            .nulls(nulls)
            .add_buffer(next())
            .align_buffers(true)
            .build()
            .expect("the SDK lays columns out as the contract says");
        make_array(data)
    };
    schema.fields().iter().map(array).collect()
}
