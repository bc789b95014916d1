//! What the lanes of a pipeline will do: a transform over its windows, or handing on a mapper's rows.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::opener::Opener;
use super::plan::{WindowPlan, Work};
use super::poison::{Recovering, Recovery};
use super::shape;
use super::wiring::{Host, Transforms, WiringError, lanes_of};
use crate::config::{ConfigError, Pipeline, WindowKind};
use crate::sandbox::{self, Component, Interface};
use crate::transform::{CallError, Opening, WindowedSpec};

/// What lanes will do, and what they need for it.
pub(super) struct Working {
    pub(super) work: Work,
    /// The columns they work on.
    pub(super) columns: Vec<String>,
    pub(super) transforms: Transforms,
    pub(super) opener: Option<Opener>,
}

impl Working {
    /// A mapper alone: what it gives is handed on.
    pub(super) fn on_rows(
        pipeline: &Pipeline,
        seen: &Schema,
        event_time: &str,
    ) -> Result<Self, WiringError> {
        let is_key = |name: &str| pipeline.key.iter().any(|column| column.value == name);
        if let Some(column) = pipeline
            .key
            .iter()
            .find(|column| column.value == event_time)
        {
            let message = "the event time cannot be a key without windows: it stands in every row";
            let hint = "choose what names an entity";
            return Err(ConfigError::from(pipeline.diagnostic(column.span, message, hint)).into());
        }
        let fields = seen.fields().iter().filter(|field| {
            let name = field.name();
            name != event_time && !is_key(name)
        });
        let output = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
        WiringError::if_uncomputed(pipeline, &output)?;
        let columns = output.fields().iter();
        Ok(Self {
            columns: columns.map(|field| field.name().clone()).collect(),
            work: Work::Rows {
                event_time: event_time.to_owned(),
                output,
            },
            transforms: Vec::new(),
            opener: None,
        })
    }

    /// A transform for each lane, over the pipeline's windows.
    pub(super) fn on_windows(
        host: &Host,
        pipeline: &Pipeline,
        component: Arc<Component>,
        seen: &SchemaRef,
        key: &SchemaRef,
        limits: &sandbox::Limits,
    ) -> Result<Self, WiringError> {
        let opening = Opening {
            config: pipeline.config.value.clone(),
            event: pipeline.event.value.clone(),
            event_schema: Arc::clone(seen),
            key: Arc::clone(key),
        };
        let opener = Opener::new(
            component,
            opening,
            limits.clone(),
            Recovery::new(&pipeline.limits),
        );
        let (transforms, spec) = open_transforms(host, &opener, pipeline)?;
        WiringError::if_uncomputed(pipeline, &spec.output)?;
        let window = &pipeline.window;
        let shape = shape::of(window).ok_or_else(|| {
            let message = "the window is too long";
            let hint = "choose lengths below 10,000 years";
            ConfigError::from(pipeline.diagnostic(window.span, message, hint))
        })?;
        Ok(Self {
            columns: spec.columns.clone(),
            work: Work::Windows(WindowPlan {
                spec,
                shape,
                lengths: window.kind.lengths(),
            }),
            transforms,
            opener: Some(opener),
        })
    }
}

/// Whether the component does what the pipeline's windows, or their absence, ask for.
pub(super) fn check_interfaces(
    pipeline: &Pipeline,
    component: &Component,
) -> Result<(), ConfigError> {
    let exports = |interface| component.interfaces().contains(&interface);
    let refuse = |span, message: &str, hint: &str| {
        Err(ConfigError::from(pipeline.diagnostic(span, message, hint)))
    };
    if pipeline.window.kind != WindowKind::None {
        if exports(Interface::Windowed) {
            return Ok(());
        }
        return refuse(
            pipeline.transform.span,
            "this component is a mapper, and over windows a transform aggregates",
            "name a component that exports `windowed`, and the mapper as `transform` of a `[map]` table;\n\
             or make the window's `kind = \"none\"` to write the rows that the mapper gives",
        );
    }
    if let Some(map) = &pipeline.map {
        return refuse(
            map.transform.span,
            "without windows there is nothing after the mapper",
            "name it as `transform` at the top of the file, and leave `[map]` out",
        );
    }
    if !exports(Interface::Mapper) {
        return refuse(
            pipeline.transform.span,
            "this component aggregates over windows, and the pipeline has none",
            "choose a kind of window, such as `kind = \"tumbling\"`, or a component that exports `mapper`",
        );
    }
    Ok(())
}

fn open_transforms(
    host: &Host,
    opener: &Opener,
    pipeline: &Pipeline,
) -> Result<(Transforms, WindowedSpec), WiringError> {
    let failed = |error| WiringError::Open {
        component: pipeline.transform.to_string(),
        error,
    };
    let lanes = lanes_of(pipeline);
    let mut transforms: Transforms = Vec::with_capacity(lanes);
    let mut spec = None;
    for lane in 0..lanes {
        let label = format!("{}/{lane}", pipeline.name.value);
        let instance = host.lanes.block_on(opener.open(&label)).map_err(failed)?;
        spec.get_or_insert_with(|| instance.spec().clone());
        let transform = Recovering::new(Box::new(instance), opener, &label);
        transforms.push(Box::new(transform));
    }
    let spec = spec.ok_or_else(|| {
        failed(CallError::Failure {
            call: "open",
            kind: "bad configuration",
            message: "a pipeline has one lane at least".into(),
        })
    })?;
    Ok((transforms, spec))
}
