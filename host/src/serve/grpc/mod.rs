//! Features over gRPC: `proto/penstock/v1/features.proto`, with reflection and health.
//!
//! Columns are moved into messages as they are; what is packed in the protocol is one copy of memory.
//!
//! A request passes its token, and has its place and its deadline, before its message is read (`admit`).

/// What is made of the protocol by `cargo run -p penstock-proto`: messages, the service, and a client for tests and
/// measurements.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::clone_on_ref_ptr)]
#[rustfmt::skip]
pub mod v1;

mod client;
mod health;

pub use self::client::{FeatureClient, client};

/// The protocol, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!("features.bin");

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::any;
use tokio::runtime::Handle;
use tonic::codegen::Service as _;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use self::v1::features_server::{Features, FeaturesServer};
use self::v1::{
    BatchGetRequest, BatchGetResponse, Blobs, Bools, DescribeFeatureRequest, Doubles, Feature,
    Floats, Ints, ListFeaturesRequest, ListFeaturesResponse, PutRequest, PutResponse, Texts, Uints,
    Vectors, column,
};
use super::answers::access::Caller;
use super::answers::catalogue::Described;
use super::answers::columns::{Column, Style, Values};
use super::answers::figures::GRPC;
use super::answers::given::Given;
use super::answers::put::Put;
use super::answers::refusal::{Kind, Refusal};
use super::answers::{Answer, Answers, BatchGet};

/// The methods, and what they are counted as.
const METHODS: [(&str, &str); 4] = [
    ("BatchGet", "batch_get"),
    ("Put", "put"),
    ("ListFeatures", "list_features"),
    ("DescribeFeature", "describe_feature"),
];

/// The services, for a listener that speaks HTTP/2. They say that they are not well once the process is `stopping`.
pub(super) fn routes(
    io: &Handle,
    answers: Arc<Answers>,
    stopping: Arc<AtomicBool>,
) -> Result<Router, tonic_reflection::server::Error> {
    let most = answers.max_body;
    let features = FeaturesServer::new(Service(Arc::clone(&answers)))
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let health = health::health(io, stopping);
    Ok(Router::new()
        .route("/penstock.v1.Features/{method}", any(admit))
        .with_state((answers, features))
        .route_service("/grpc.health.v1.Health/{method}", health)
        .route_service(
            "/grpc.reflection.v1.ServerReflection/{method}",
            reflection().build_v1()?,
        )
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{method}",
            reflection().build_v1alpha()?,
        )
        .fallback(elsewhere))
}

/// Lets a request in before its message is read: whoever sends slowly, or more than there is room for, has no more of
/// the server's memory than a connection has.
async fn admit(
    State((answers, mut features)): State<(Arc<Answers>, FeaturesServer<Service>)>,
    request: axum::extract::Request,
) -> axum::response::Response {
    let began = answers.now();
    let name = request.uri().path().rsplit('/').next();
    let Some((_, method)) = METHODS.iter().find(|(it, _)| Some(*it) == name) else {
        return elsewhere().await;
    };
    let headers = request.headers();
    let asked = timeout(headers);
    let token = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let done = match answers.caller(token).map(|_| ()) {
        Ok(()) => {
            let work = async { Ok(features.call(request).await) };
            answers.within(asked, work).await
        }
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(Ok(response)) => response.map(axum::body::Body::new),
        Ok(Err(never)) => match never {},
        Err(refusal) => {
            let refused: Result<(), Refusal> = Err(refusal.clone());
            let took = answers.now().saturating_sub(began);
            answers.figures.ended(GRPC, method, &refused, took);
            status(refusal).into_http()
        }
    }
}

/// A method that nobody has.
async fn elsewhere() -> axum::response::Response {
    Status::unimplemented("there are penstock.v1.Features, and health and reflection of gRPC")
        .into_http()
}

struct Service(Arc<Answers>);

impl Service {
    /// Answers a request that was let in, and counts it.
    async fn answer<'a, T, W>(
        &'a self,
        method: &'static str,
        metadata: &MetadataMap,
        work: impl FnOnce(Caller<'a>) -> W + Send,
    ) -> Result<Response<T>, Status>
    where
        W: Future<Output = Result<T, Refusal>> + Send,
        T: Send,
    {
        let began = self.0.now();
        let token = metadata.get("authorization").map(|it| it.as_bytes());
        let done = match self.0.caller(token) {
            Ok(caller) => work(caller).await,
            Err(refusal) => Err(refusal),
        };
        let took = self.0.now().saturating_sub(began);
        self.0.figures.ended(GRPC, method, &done, took);
        done.map(Response::new).map_err(status)
    }
}

#[tonic::async_trait]
impl Features for Service {
    async fn batch_get(
        &self,
        request: Request<BatchGetRequest>,
    ) -> Result<Response<BatchGetResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let asked = &BatchGet {
            group: asked.group,
            entities: asked.entities,
            features: asked.features,
            style: Style::Plain,
        };
        let work = |caller| async move {
            let answer = self.0.batch_get(&caller, asked).await?;
            Ok(message(answer))
        };
        self.answer("batch_get", &metadata, work).await
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let work = |caller| async move {
            let values = self.0.put(&caller, &put(asked)?).await?;
            Ok(PutResponse { values })
        };
        self.answer("put", &metadata, work).await
    }

    async fn list_features(
        &self,
        request: Request<ListFeaturesRequest>,
    ) -> Result<Response<ListFeaturesResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let group = Some(asked.group).filter(|group| !group.is_empty());
        let group = group.as_deref();
        let work = |caller| async move {
            let features = self.0.list(&caller, group).await?;
            let features = features.iter().map(|it| feature(it)).collect();
            Ok(ListFeaturesResponse { features })
        };
        self.answer("list_features", &metadata, work).await
    }

    async fn describe_feature(
        &self,
        request: Request<DescribeFeatureRequest>,
    ) -> Result<Response<Feature>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let asked = &asked;
        let work = |caller| async move {
            let found = self.0.describe(&caller, &asked.group, &asked.feature);
            Ok(feature(&*found.await?))
        };
        self.answer("describe_feature", &metadata, work).await
    }
}

fn message(answer: Answer) -> BatchGetResponse {
    BatchGetResponse {
        answered_at_us: answer.answered_at,
        columns: answer.columns.into_iter().map(column_message).collect(),
    }
}

fn column_message(column: Column) -> v1::Column {
    let values = match column.values {
        Values::Bools(values) => column::Values::Bools(Bools { values }),
        Values::Ints(values) => column::Values::Ints(Ints { values }),
        Values::UInts(values) => column::Values::Uints(Uints { values }),
        Values::Floats(values) => column::Values::Floats(Floats { values }),
        Values::Doubles(values) => column::Values::Doubles(Doubles { values }),
        Values::Texts(values) => column::Values::Texts(Texts { values }),
        Values::Blobs(values) => column::Values::Blobs(Blobs { values }),
        Values::Vectors { lengths, floats } => column::Values::Vectors(Vectors {
            lengths,
            values: floats,
        }),
        Values::Json(values) => column::Values::Json(Texts { values }),
    };
    v1::Column {
        feature: column.feature.name.clone(),
        version: column.feature.version,
        r#type: column.feature.type_name.clone(),
        states: column.states,
        event_times_us: column.event_times,
        ages_ms: column.ages_ms,
        values: Some(values),
    }
}

/// Columns that are put, as they are.
fn put(asked: PutRequest) -> Result<Put, Refusal> {
    let features = asked.columns.into_iter().map(|column| {
        let Some(values) = column.values else {
            let message = format!("feature {:?} comes without values", column.feature);
            return Err(Refusal::new(Kind::Invalid, message));
        };
        let given = Given::Plain {
            states: column.states,
            values: plain(values),
        };
        Ok((column.feature, given))
    });
    Ok(Put {
        group: asked.group,
        entities: asked.entities,
        event_times: asked.event_times_us,
        features: features.collect::<Result<_, _>>()?,
    })
}

fn plain(values: column::Values) -> Values {
    match values {
        column::Values::Bools(Bools { values }) => Values::Bools(values),
        column::Values::Ints(Ints { values }) => Values::Ints(values),
        column::Values::Uints(Uints { values }) => Values::UInts(values),
        column::Values::Floats(Floats { values }) => Values::Floats(values),
        column::Values::Doubles(Doubles { values }) => Values::Doubles(values),
        column::Values::Texts(Texts { values }) => Values::Texts(values),
        column::Values::Blobs(Blobs { values }) => Values::Blobs(values),
        column::Values::Vectors(Vectors { lengths, values }) => Values::Vectors {
            lengths,
            floats: values,
        },
        column::Values::Json(Texts { values }) => Values::Json(values),
    }
}

fn feature(described: &Described) -> Feature {
    Feature {
        group: described.place.group.clone(),
        name: described.name.clone(),
        version: described.version,
        r#type: described.type_name.clone(),
        entity: described.entity.clone(),
        pipeline: described.place.pipeline.clone(),
        window: described.place.window.clone(),
        freshness_us: described.freshness.unwrap_or(0),
        declaration: described.document.to_string(),
    }
}

fn status(refusal: Refusal) -> Status {
    let code = match refusal.kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Denied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::TooLarge => Code::OutOfRange,
        Kind::Overloaded => Code::ResourceExhausted,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    };
    Status::new(code, refusal.message)
}

/// `grpc-timeout`, as <https://grpc.io/docs/guides/wire> has it: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), value)]);
            timeout(&headers)
        };
        assert_eq!(read("50m"), Some(Duration::from_millis(50)));
        let hours = Duration::from_secs(99_999_999 * 3_600);
        assert_eq!(read("99999999H"), Some(hours));
        for nonsense in ["m", "", "5", "-1m", "999999999m", "5x"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
