//! `penstock inspect`: what a component is, imports, exports, and says of itself.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use serde_json::json;

use super::Failure;
use super::show::{self, say};
use crate::config::types;
use crate::sandbox::{Component, Interface, Limits};
use crate::transform::{CallError, MapperSpec, Opening, WindowedSpec};

/// Shows what a component is: its interfaces, imports, schemas, state version, size and digest.
///
/// A transform decides its schemas when it is opened on an event. Without --event it is opened on
/// one without columns, and tells which it misses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock inspect target/transforms/driver_accept_proportion.wasm
  penstock inspect driver.wasm --event 'accepted: bool, fare: decimal128[12, 2]' --key 'driver_id: int64'")]
pub(super) struct Arguments {
    /// The component.
    #[arg(value_name = "COMPONENT.wasm")]
    component: PathBuf,
    /// The columns of the event to open it on, as `name: type, …`.
    #[arg(long, value_name = "COLUMNS", default_value = "")]
    event: String,
    /// The columns of the key to open it with.
    #[arg(long, value_name = "COLUMNS", default_value = "")]
    key: String,
    /// The configuration to open it with, as JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    config: String,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let host = super::host()?;
    let component = host
        .sandbox
        .load_file(&arguments.component)
        .map_err(|error| Failure::input(format!("{}: {error}", arguments.component.display())))?;
    let opening = Opening {
        config: arguments.config.clone(),
        event: "event".into(),
        event_schema: columns("--event", &arguments.event)?,
        key: columns("--key", &arguments.key)?,
    };
    let limits = Limits::default();
    let exports = |interface| component.interfaces().contains(&interface);
    let mapper = exports(Interface::Mapper).then(|| {
        let opening = Opening {
            key: Arc::new(Schema::empty()),
            ..opening.clone()
        };
        let opened = component.open_mapper(&opening, &limits, "inspect");
        let opened = host.lanes.block_on(opened);
        opened.map(|instance| instance.spec().clone())
    });
    // Behind a mapper of its own it is opened on what that makes of the event.
    let opening = match &mapper {
        Some(Ok(mapper)) => Opening {
            event_schema: Arc::clone(&mapper.output),
            ..opening
        },
        _ => opening,
    };
    let windowed = exports(Interface::Windowed).then(|| {
        let opened = component.open_windowed(&opening, &limits, "inspect");
        let opened = host.lanes.block_on(opened);
        opened.map(|instance| instance.spec().clone())
    });
    let said = Said { mapper, windowed };
    if arguments.json {
        show::json(&to_json(&component, &said));
    } else {
        print(&component, &said);
    }
    Ok(())
}

/// Reads `name: type, …`, the inside of a struct's name.
fn columns(option: &str, text: &str) -> Result<Arc<Schema>, Failure> {
    if text.trim().is_empty() {
        return Ok(Arc::new(Schema::empty()));
    }
    let parsed = types::parse_type(&format!("struct{{{text}}}"));
    match parsed {
        Ok(arrow::datatypes::DataType::Struct(fields)) => Ok(Arc::new(Schema::new(fields))),
        Ok(_) => Err(Failure::input(format!(
            "{option}: `{text}` is not a list of columns"
        ))),
        Err(error) => Err(Failure::input(format!("{option}: {error}"))),
    }
}

/// What a component says of itself, for each interface that it exports.
struct Said {
    mapper: Option<Result<MapperSpec, CallError>>,
    windowed: Option<Result<WindowedSpec, CallError>>,
}

fn print(component: &Component, said: &Said) {
    say!("digest      {}", component.digest());
    say!(
        "size        {} ({} bytes)",
        show::bytes(component.size() as u64),
        component.size()
    );
    let interfaces: Vec<String> = component
        .interfaces()
        .iter()
        .map(ToString::to_string)
        .collect();
    say!("interfaces  {}", interfaces.join(", "));
    match component.imports() {
        [] => say!("imports     nothing"),
        imports => {
            say!("imports     {}", imports[0]);
            imports[1..]
                .iter()
                .for_each(|import| say!("            {import}"));
        }
    }
    match &said.mapper {
        None => {}
        Some(Err(error)) => say!("opening it  {error}"),
        Some(Ok(spec)) => {
            say!("mapper");
            say!("columns     {}", spec.columns.join(", "));
            say!("mapped to");
            print_fields(spec.output.fields().iter());
        }
    }
    match &said.windowed {
        None => {}
        Some(Err(error)) => say!("opening it  {error}"),
        Some(Ok(spec)) => {
            if said.mapper.is_some() {
                say!("windowed");
            }
            say!("columns     {}", spec.columns.join(", "));
            say!("state       version {}", spec.state_version);
            if !spec.migrates_from.is_empty() {
                say!("            takes over versions {:?}", spec.migrates_from);
            }
            print_fields(spec.state.fields().iter());
            say!("output");
            print_fields(spec.output.fields().iter());
        }
    }
}

fn print_fields<'a>(fields: impl Iterator<Item = &'a Arc<Field>>) {
    for field in fields {
        let null = if field.is_nullable() {
            ""
        } else {
            ", never null"
        };
        say!(
            "            {}: {}{null}",
            field.name(),
            types::type_name(field.data_type())
        );
    }
}

fn to_json(component: &Component, said: &Said) -> serde_json::Value {
    let interfaces: Vec<String> = component
        .interfaces()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mapper = said.mapper.as_ref().map(|opened| match opened {
        Err(error) => json!({"error": error.to_string()}),
        Ok(spec) => json!({"columns": spec.columns, "output": show::schema(&spec.output)}),
    });
    let windowed = said.windowed.as_ref().map(|opened| match opened {
        Err(error) => json!({"error": error.to_string()}),
        Ok(spec) => json!({
            "columns": spec.columns,
            "state": show::schema(&spec.state),
            "state_version": spec.state_version,
            "migrates_from": spec.migrates_from,
            "output": show::schema(&spec.output),
        }),
    });
    json!({
        "digest": component.digest(),
        "size": component.size(),
        "interfaces": interfaces,
        "imports": component.imports(),
        "mapper": mapper,
        "windowed": windowed,
    })
}
