//! Sorting streams of rows within a bound of memory: the only thing that DataFusion is asked for.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion_common::DataFusionError;
use datafusion_execution::config::SessionConfig;
use datafusion_execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion_execution::memory_pool::FairSpillPool;
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion_physical_plan::ExecutionPlan as _;
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::stream::EmptyRecordBatchStream;
use datafusion_physical_plan::streaming::{PartitionStream, StreamingTableExec};

/// What merging sorted runs is kept of a sort's memory, unless that is small.
const MERGING: usize = 10 << 20;

/// What one sort may use.
#[derive(Debug)]
pub(crate) struct Means<'a> {
    /// Bytes of memory, about.
    pub(crate) memory: usize,
    /// Where the rest goes.
    pub(crate) scratch: &'a Path,
}

impl Means<'_> {
    fn context(&self) -> Result<Arc<TaskContext>, DataFusionError> {
        let mode = DiskManagerMode::Directories(vec![self.scratch.to_owned()]);
        // The disk is the bound.
        let disk = DiskManagerBuilder::default()
            .with_mode(mode)
            .with_max_temp_directory_size(u64::MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.memory)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let config =
            SessionConfig::new().with_sort_spill_reservation_bytes(MERGING.min(self.memory / 4));
        let context = TaskContext::default().with_session_config(config);
        Ok(Arc::new(context.with_runtime(runtime)))
    }
}

/// The rows in ascending order of some columns, nulls first.
pub(crate) fn sorted(
    rows: SendableRecordBatchStream,
    by: &[usize],
    means: &Means<'_>,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let schema = rows.schema();
    let order = by.iter().map(|at| {
        let column = Column::new(schema.field(*at).name(), *at);
        let ascending = SortOptions {
            descending: false,
            nulls_first: true,
        };
        PhysicalSortExpr::new(Arc::new(column), ascending)
    });
    let order = LexOrdering::new(order).expect("whoever sorts names a column");
    let once = Once {
        schema: Arc::clone(&schema),
        rows: Mutex::new(Some(rows)),
    };
    let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(once)];
    let table = StreamingTableExec::try_new(schema, partitions, None, [], false, None)?;
    SortExec::new(order, Arc::new(table)).execute(0, means.context()?)
}

/// Rows that are there for one reader.
struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self
            .rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        rows.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.schema))))
    }
}
