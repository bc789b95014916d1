//! Opening a pipeline's mapper: which component it is, and what it makes of the event.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::{MapPlan, MappedTime, Mapping, Seen};
use crate::config::{ComponentPlace, ConfigError, Environment, Pipeline, types};
use crate::pipeline::loading::load_at;
use crate::pipeline::opener::Opener;
use crate::pipeline::poison::Recovery;
use crate::pipeline::wiring::{Host, WiringError};
use crate::sandbox::{Component, Interface, Limits};
use crate::source::event_time::is_event_time;
use crate::transform::{Mapper, MapperSpec, Opening, event_time_type};

/// A mapper, opened on an event.
pub(in crate::pipeline) struct OpenedMapper {
    mapper: Box<dyn Mapper>,
    opener: Opener,
    label: String,
    /// What it says of itself.
    pub(in crate::pipeline) spec: MapperSpec,
    /// What key and windows may see: the mapper's output, and the event time that rows keep.
    pub(in crate::pipeline) offered: SchemaRef,
    event_time: MappedTime,
    /// The digest of its component.
    pub(in crate::pipeline) digest: String,
}

/// Opens the mapper of a pipeline whose windows run in `component`: that of its `[map]`, or the
/// component's own. None if there is neither.
pub(in crate::pipeline) fn open(
    host: &Host,
    pipeline: &Pipeline,
    environment: &Environment,
    component: &Arc<Component>,
    event_schema: &SchemaRef,
    event_time: &str,
    limits: &Limits,
) -> Result<Option<OpenedMapper>, WiringError> {
    let maps_itself = component.interfaces().contains(&Interface::Mapper);
    let Some(map) = &pipeline.map else {
        if !maps_itself {
            return Ok(None);
        }
        let at = At {
            component,
            place: &pipeline.transform.value,
            span: pipeline.transform.span,
            config: &pipeline.config.value,
        };
        return at
            .open(pipeline, event_schema, event_time, limits)
            .map(Some);
    };
    let refuse = |message: &str, hint: &str| {
        let found = pipeline.diagnostic(map.transform.span, message, hint);
        Err(WiringError::from(ConfigError::from(found)))
    };
    if maps_itself {
        return refuse(
            "the pipeline's own transform has a mapper already, and rows are mapped once",
            "leave `[map]` out, or name a transform that exports `windowed` alone",
        );
    }
    let first = load_at(host, environment, &map.transform.value, limits)?;
    let first = Arc::new(first);
    if !first.interfaces().contains(&Interface::Mapper) {
        return refuse(
            "this component does not export `mapper`",
            "`penstock inspect` shows what one exports; a windowed transform stands at the top of the file",
        );
    }
    let at = At {
        component: &first,
        place: &map.transform.value,
        span: map.transform.span,
        config: &map.config.value,
    };
    at.open(pipeline, event_schema, event_time, limits)
        .map(Some)
}

/// A component with a mapper, and where the pipeline names it.
struct At<'a> {
    component: &'a Arc<Component>,
    place: &'a ComponentPlace,
    span: crate::config::Span,
    config: &'a str,
}

impl At<'_> {
    fn open(
        &self,
        pipeline: &Pipeline,
        event_schema: &SchemaRef,
        event_time: &str,
        limits: &Limits,
    ) -> Result<OpenedMapper, WiringError> {
        let opening = Opening {
            config: self.config.to_owned(),
            event: pipeline.event.value.clone(),
            event_schema: Arc::clone(event_schema),
            key: Arc::new(Schema::empty()),
        };
        let label = format!("{}/map", pipeline.name.value);
        let recovery = Recovery::new(&pipeline.limits);
        let component = Arc::clone(self.component);
        let opener = Opener::new(component, opening, limits.clone(), recovery);
        let opened = futures::executor::block_on(opener.open_mapper(&label));
        let mapper = opened.map_err(|error| WiringError::Open {
            component: self.place.to_string(),
            error,
        })?;
        let spec = mapper.spec().clone();
        let (offered, event_time) = offered(&spec.output, event_time).map_err(|found| {
            let message = format!(
                "the mapper's output has a column `{event_time}` of type {}: it is the rows' event time, and must be a timestamp or a date",
                types::type_name(&found)
            );
            let hint = "give it another name, or leave it out: rows then keep their event time";
            ConfigError::from(pipeline.diagnostic(self.span, message, hint))
        })?;
        Ok(OpenedMapper {
            mapper: Box::new(mapper),
            opener,
            label,
            spec,
            offered,
            event_time,
            digest: self.component.digest().to_owned(),
        })
    }
}

/// What windows may see of a mapper's output, and where event times come from; or the type of a
/// column that should be the event time and cannot.
fn offered(output: &SchemaRef, event_time: &str) -> Result<(SchemaRef, MappedTime), DataType> {
    let Some((at, field)) = output.column_with_name(event_time) else {
        let kept: FieldRef = Arc::new(Field::new(event_time, event_time_type(), false));
        let fields = output.fields().iter().cloned().chain([kept]);
        let offered = Schema::new(fields.collect::<Vec<_>>());
        return Ok((Arc::new(offered), MappedTime::Kept));
    };
    if !is_event_time(field.data_type()) {
        return Err(field.data_type().clone());
    }
    let event_time = MappedTime::Column(at, event_time.to_owned());
    Ok((Arc::clone(output), event_time))
}

impl OpenedMapper {
    /// Whether rows get other event times than they had.
    pub(in crate::pipeline) fn gives_times(&self) -> bool {
        self.event_time != MappedTime::Kept
    }

    /// Puts it to work. `input` is where the source has the columns that it wants, `schema` what
    /// lanes want to see of what is offered.
    pub(in crate::pipeline) fn work(
        self,
        input: Vec<usize>,
        schema: SchemaRef,
        call_bytes: usize,
        limits: &Limits,
    ) -> Mapping {
        let seen = schema.fields().iter();
        let seen = seen.map(|field| match self.spec.output.index_of(field.name()) {
            Ok(at) => Seen::Output(at),
            Err(_) => Seen::EventTime,
        });
        let plan = MapPlan {
            seen: seen.collect(),
            output: Arc::clone(&self.spec.output),
            digest: self.digest,
            input,
            schema,
            event_time: self.event_time,
            call_bytes,
            output_rows: limits.output_rows,
            output_bytes: limits.output_bytes,
        };
        Mapping::new(self.mapper, self.opener, self.label, plan)
    }
}
