//! From a request to a file: sort, look, sort back, write.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::as_of::AsOf;
use crate::history::{History, histories};
use crate::sorting::{Means, sorted};
use crate::spine::{self, KeyColumns};
use crate::{Made, Request, TrainingError};

/// Bytes that a sort gets at least: with less it could not even merge.
const LEAST: u64 = 4 << 20;

/// `work` is a folder for everything that is not yet the result.
pub(crate) async fn make(request: &Request, work: &Path) -> Result<Made, TrainingError> {
    let schema = spine::schema(&request.spine)?;
    for feature in &request.features {
        if schema.field_with_name(&feature.column).is_ok() {
            return Err(TrainingError::Spine {
                path: request.spine.clone(),
                reason: format!("have a column `{}` already: rename it", feature.column),
            });
        }
        if feature.history >= request.histories.len() {
            let reason = format!("{} is in no history", feature.attribute);
            return Err(TrainingError::Request(reason));
        }
    }
    let histories = histories(request)?;
    // Each of them is sorted twice.
    let sorts = 2 * histories.len().max(1) as u64;
    let memory = (request.memory / sorts).max(LEAST);
    let means = Means {
        memory: usize::try_from(memory).unwrap_or(usize::MAX),
        scratch: work,
    };
    let mut joined = Vec::new();
    for history in histories {
        let keys = KeyColumns::of(&request.spine, &request.time, &history)?;
        joined.push(Joined::start(
            &request.spine,
            Arc::new(history),
            keys,
            &means,
        )?);
    }
    write(request, &work.join("result.partial"), &schema, joined).await
}

/// Writes the rows of the spine with the values beside them. The file is there when it is whole.
async fn write(
    request: &Request,
    partial: &Path,
    spine: &Schema,
    mut joined: Vec<Joined>,
) -> Result<Made, TrainingError> {
    let schema = out_schema(request, spine, &joined);
    let failed = |reason: String| TrainingError::File {
        doing: "write",
        path: request.out.clone(),
        reason,
    };
    let file = File::create(partial).map_err(|error| failed(error.to_string()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("penstock".to_owned())
        .build();
    let fault = |error: parquet::errors::ParquetError| failed(error.to_string());
    let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties));
    let mut writer = writer.map_err(fault)?;
    let mut made = Made {
        rows: 0,
        found: vec![0; request.features.len()],
    };
    for rows in spine::rows(&request.spine)? {
        let rows = rows?;
        let own = rows.num_columns();
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.resize(own + request.features.len(), Arc::clone(&columns[0]));
        for joined in &mut joined {
            let values = joined.next(rows.num_rows()).await?;
            // Before the values are the numbers of the rows.
            let values = &values.columns()[1..];
            for (feature, column) in joined.history.features.iter().zip(values) {
                made.found[feature.number] += (column.len() - column.null_count()) as u64;
                columns[own + feature.number] = Arc::clone(column);
            }
        }
        made.rows += rows.num_rows() as u64;
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        writer.write(&rows).map_err(fault)?;
    }
    writer.close().map_err(fault)?;
    std::fs::rename(partial, &request.out).map_err(|error| failed(error.to_string()))?;
    Ok(made)
}

fn out_schema(request: &Request, spine: &Schema, joined: &[Joined]) -> SchemaRef {
    let mut types = vec![DataType::Null; request.features.len()];
    for feature in joined.iter().flat_map(|it| &it.history.features) {
        types[feature.number] = feature.data_type.clone();
    }
    let wanted = request.features.iter().zip(types);
    let added = wanted.map(|(feature, data_type)| Field::new(&feature.column, data_type, true));
    let fields: Vec<_> = spine
        .fields()
        .iter()
        .cloned()
        .chain(added.map(Arc::new))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The values of one history for the rows of the spine, in their order.
struct Joined {
    history: Arc<History>,
    rows: SendableRecordBatchStream,
    /// What was read and not yet taken.
    rest: RecordBatch,
}

impl Joined {
    fn start(
        spine: &Path,
        history: Arc<History>,
        keys: KeyColumns,
        means: &Means<'_>,
    ) -> Result<Self, TrainingError> {
        let together = stream(&history.schema, together(spine.to_owned(), &history, keys));
        // By key, time and row.
        let order: Vec<usize> = (0..history.time() + 2).collect();
        let together = sorted(together, &order, means)?;
        let mut as_of = AsOf::new(Arc::clone(&history))?;
        let schema = Arc::clone(&as_of.schema);
        let found = together.map(move |rows| Ok(as_of.next(&rows?)?));
        let found = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), found));
        Ok(Self {
            history,
            rows: sorted(found, &[0], means)?,
            rest: RecordBatch::new_empty(schema),
        })
    }

    /// The values for the next rows.
    async fn next(&mut self, rows: usize) -> Result<RecordBatch, TrainingError> {
        let mut held = self.rest.num_rows();
        let mut parts = vec![self.rest.clone()];
        while held < rows {
            let Some(part) = self.rows.next().await else {
                let reason = "the file with the rows was changed meanwhile".to_owned();
                return Err(TrainingError::Request(reason));
            };
            let part = part?;
            held += part.num_rows();
            parts.push(part);
        }
        let all = concat_batches(&parts[0].schema(), &parts)?;
        self.rest = all.slice(rows, held - rows);
        Ok(all.slice(0, rows))
    }
}

/// The rows of the spine and of the history, a batch at a time.
fn together(
    spine: PathBuf,
    history: &Arc<History>,
    keys: KeyColumns,
) -> impl Iterator<Item = Result<RecordBatch, TrainingError>> + Send + use<> {
    let files = history.files.clone().into_iter();
    let (of_spine, of_files) = (Arc::clone(history), Arc::clone(history));
    let mut next = 0;
    let asking = batches(spine).map(move |rows| {
        let rows = rows?;
        let first = next;
        next += rows.num_rows() as i64;
        Ok(of_spine.asking(&rows, &keys, first)?)
    });
    let known = files.flat_map(batches);
    asking.chain(known.map(move |rows| Ok(of_files.known(&rows?)?)))
}

/// The rows of a file, which is opened when the first is asked for.
fn batches(path: PathBuf) -> impl Iterator<Item = Result<RecordBatch, TrainingError>> + Send {
    std::iter::once_with(move || spine::rows(&path)).flat_map(|opened| {
        let (rows, error) = match opened {
            Ok(rows) => (Some(rows), None),
            Err(error) => (None, Some(Err(error))),
        };
        let rows = rows.into_iter().flatten();
        error.into_iter().chain(rows.map(|rows| Ok(rows?)))
    })
}

fn stream(
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, TrainingError>> + Send + 'static,
) -> SendableRecordBatchStream {
    let rows = futures::stream::iter(rows.map(|rows| rows.map_err(DataFusionError::from)));
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), rows))
}
