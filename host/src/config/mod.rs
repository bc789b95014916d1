//! Pipelines and environments: read from TOML, checked once, and handed on as plain values.
//!
//! In come the files that people write: a pipeline file ([`pipeline`], which lists every key) and
//! `penstock.toml` ([`environment`]). Out go [`Pipeline`]s and an [`Environment`] in which nothing
//! is left to check but what only an opened transform or source can tell, and a [`ConfigError`]
//! otherwise: every finding with its place in the file, the line itself and what to do about it.
//! The values keep their places ([`Located`]), so that those who open transforms and sources can
//! report in the same way.
//!
//! Nothing here opens a source, a store or a transform, and no key is ever ignored: one that means
//! nothing is refused by name.

mod bootstrap;
mod bytes;
#[cfg(test)]
pub(crate) mod cases;
pub mod component;
mod diagnostic;
mod duration;
pub mod environment;
mod environment_file;
mod feature;
mod feature_file;
mod file_format;
#[cfg(test)]
mod fuzz;
mod length;
mod limits;
pub mod live;
mod live_file;
mod live_settings;
mod load;
pub mod map;
mod operators;
mod patterns;
pub mod pipeline;
mod pipeline_file;
mod recorded;
mod registry;
mod remote;
mod serving;
mod store_place;
mod suggest;
mod swap;
mod table;
mod table_place;
pub mod topics;
mod transform_config;
pub mod types;
pub mod window;
mod window_cut;
mod window_file;

pub use bootstrap::{Bootstrap, Partitioner};
pub use bytes::{parse_bytes, print_bytes};
pub use component::{ComponentPlace, HeldComponent, VersionedName};
pub use diagnostic::{
    ConfigError, ConfigFile, Diagnostic, Excerpt, Located, Note, Place, Span, ValueError,
};
pub(crate) use duration::greatest_common_divisor;
pub use duration::{parse_duration, print_duration};
pub use environment::{
    DEFAULT_ENVIRONMENT, ENVIRONMENTS_FILE, Environment, EventSource, FilesSource, RecordedEvent,
    Source,
};
pub use feature::{DeclaredFeature, FeatureSpans};
pub use feature_file::{FeatureFileError, load_features};
pub use file_format::FileFormat;
pub use limits::Limits;
pub use live::{
    LiveFormat, LiveSource, MessageColumns, OnMissing, RegistrySettings, Repartition, Stream,
    StreamSettings,
};
pub use load::load_pipelines;
pub use map::MapSpec;
pub use operators::OperatorToken;
pub use patterns::is_left_out;
pub use pipeline::{
    OnMalformed, OutputFile, OutputFormat, Outputs, Pipeline, RunOptions, SideOutput,
};
pub use recorded::{FormatOfFiles, RecordedFiles, RecordedPlace};
pub use registry::{PUBLIC_KEY, TransformRegistry, Trust};
pub(crate) use remote::is_url;
pub use remote::{Secret, StoreOptions, sounds_secret};
pub use serving::{Anyone, KnownBy, Serving, ServingTls, ServingToken};
pub use store_place::StorePlace;
pub(crate) use suggest::did_you_mean;
pub use swap::SwapSpec;
pub use table_place::{CacheSettings, FeaturePlace, TableKeys, TablePlace};
pub use topics::{Topic, TopicFormat};
pub use window::{Emit, OnIdle, WindowKind, WindowSpec, Zone};
