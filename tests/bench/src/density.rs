//! How many pipelines a host has room for: many distinct components, three lanes each with its database of states open, and
//! nothing to do.

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{DataType, Field, Schema};
use futures::executor::block_on;
use penstock::sandbox::{Compiler, Limits, Resting, Sandbox};
use penstock::store::FeatureStore as _;
use penstock::store::embedded::{EmbeddedStore, PipelineLanes};
use penstock::transform::Opening;

use crate::hostile::resident;
use crate::{Figures, support};

/// Components, those of Python among them, and lanes of each.
const COMPONENTS: usize = 1000;
const OF_PYTHON: usize = 50;
const LANES: usize = 3;

/// Bytes.
const MIB: f64 = 1_048_576.0;

/// What each takes, and how long loading takes that were compiled before.
pub(crate) fn measure(figures: &mut Figures, quick: bool) -> anyhow::Result<()> {
    let (components, of_python) = match quick {
        true => (COMPONENTS / 20, OF_PYTHON / 25),
        false => (COMPONENTS, OF_PYTHON),
    };
    let rust = std::fs::read(support::transform("driver_accept_proportion"))?;
    let python = std::fs::read(support::transform("driver_accept_proportion_python"))?;
    let distinct = |number: usize| {
        let good = if number < of_python { &python } else { &rust };
        // A custom section of another name each.
        let name = format!("{number:08}");
        [good, &[0, 9, 8][..], name.as_bytes()].concat()
    };
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("cache");
    let cold = Sandbox::start(Compiler::InProcess, Some(&cache))?;
    for number in 0..components {
        cold.load(&distinct(number))?;
    }
    drop(cold);
    let opening = opening();
    let limits = Limits::default();
    let before = resident("VmRSS:");
    let sandbox = Sandbox::start(Compiler::InProcess, Some(&cache))?;
    let began = Instant::now();
    let mut lanes = Vec::new();
    for number in 0..components {
        let component = Arc::new(sandbox.load(&distinct(number))?);
        for _ in 0..LANES {
            lanes.push(block_on(Resting::open(
                &component, &opening, &limits, "density",
            ))?);
        }
    }
    let of_components = began.elapsed().as_secs_f64();
    let runtime = tokio::runtime::Runtime::new()?;
    let pipelines: Vec<PipelineLanes> = (0..components)
        .map(|number| PipelineLanes {
            pipeline: format!("pipeline_{number}"),
            lanes: LANES as u32,
        })
        .collect();
    let place = folder.path().join("state");
    // As it was left the last time.
    let new = runtime.block_on(EmbeddedStore::open(&place, &pipelines))?;
    runtime.block_on(new.close())?;
    drop(new);
    let without_states = resident("VmRSS:");
    let began = Instant::now();
    let store = runtime.block_on(EmbeddedStore::open(&place, &pipelines))?;
    let seconds = of_components + began.elapsed().as_secs_f64();
    let of_states =
        resident("VmRSS:").saturating_sub(without_states) as f64 / MIB / components as f64;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / MIB / components as f64;
    let awake = each(resident("VmRSS:"));
    // As they do by themselves after a minute.
    let gone = sandbox.let_go();
    let idle = each(resident("VmRSS:"));
    println!(
        "{components} components ({of_python} of Python) with {LANES} lanes each: {seconds:.2} s to open warm ({of_components:.2} of that the components), {awake:.2} MiB \
         each at once, {idle:.2} MiB after {gone} instances have gone, of which {of_states:.2} MiB are of open states"
    );
    runtime.block_on(store.close())?;
    assert_eq!(lanes.len(), components * LANES);
    figures.insert("density_components".into(), components as f64);
    figures.insert("density_open_warm_s".into(), seconds);
    figures.insert("density_mib_per_idle_pipeline".into(), idle);
    Ok(())
}

/// What `driver_accept_proportion` is opened with.
pub(crate) fn opening() -> Arc<Opening> {
    let column = |name, data_type| Field::new(name, data_type, false);
    Arc::new(Opening {
        config: "{}".into(),
        event: "ride_offer".into(),
        event_schema: Schema::new(vec![column("accepted", DataType::Boolean)]).into(),
        key: Schema::new(vec![column("driver_id", DataType::Int64)]).into(),
    })
}
