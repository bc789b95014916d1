//! What clients meet on the wire: when there is no room or no time, and who asks whether the server is well.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Response, Version};
use futures::StreamExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use penstock::serve::grpc::v1::BatchGetRequest;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::program::{Serving, json_to};
use super::put::declared;
use crate::support::{Folder, HOST, ask};

const GET: &str = "/v1/groups/airport/batch-get";
const SERVICE: &str = "penstock.v1.Features";

fn serve(serving: &str) -> (Folder, Serving) {
    let folder = declared("store = \"store\"", serving);
    let serving = Serving::start(&folder);
    (folder, serving)
}

/// The answer to a request whose body never ends.
async fn unfinished(
    url: String,
    version: Version,
    headers: &[(&str, &str)],
) -> Response<HeaderMap> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .build_http();
    let mut request = Request::post(url).version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = futures::stream::pending::<Result<Bytes, Infallible>>();
    let request = request.body(Body::from_stream(body)).unwrap();
    let answer = client.request(request).await.unwrap();
    let (parts, _) = answer.into_parts();
    let headers = parts.headers.clone();
    Response::from_parts(parts, headers)
}

/// An unfinished request over gRPC, with this time to be answered in.
async fn unfinished_call(serving: &str, method: &str, timeout: &str) -> Response<HeaderMap> {
    unfinished_call_of("", serving, method, timeout).await
}

/// The same of somebody with an authorization.
async fn unfinished_call_of(
    who: &str,
    serving: &str,
    method: &str,
    timeout: &str,
) -> Response<HeaderMap> {
    let url = format!("http://{serving}/{SERVICE}/{method}");
    let headers = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", timeout),
        ("authorization", who),
    ];
    let all = if who.is_empty() {
        &headers[..3]
    } else {
        &headers
    };
    unfinished(url, Version::HTTP_2, all).await
}

/// Asks over REST until the answer has this code, and gives its headers.
fn rest_until(serving: &Serving, wanted: u16) -> HeaderMap {
    let url = format!("http://{}{GET}", serving.rest);
    let asked = json!({"entities": ["SFO"], "features": ["runways"]});
    let until = HOST.clock.now() + Duration::from_secs(20);
    loop {
        let answer = HOST.io.block_on(async {
            let request = json_to(reqwest::Client::new().post(&url), &asked);
            request.send().await.unwrap()
        });
        if answer.status().as_u16() == wanted {
            return answer.headers().clone();
        }
        assert!(HOST.clock.now() < until, "it is {}", answer.status());
    }
}

#[test]
fn a_call_has_its_place_before_its_message_is_read_and_others_are_turned_away() {
    let (_folder, serving) = serve("serving = { max_in_flight = 1, deadline = \"1h\" }");
    let address = serving.grpc.clone();
    let slow = HOST
        .io
        .spawn(async move { unfinished_call(&address, "Put", "1H").await });
    let headers = rest_until(&serving, 429);
    assert_eq!(headers["retry-after"], "1");
    let asked = BatchGetRequest {
        group: "airport".into(),
        entities: vec!["SFO".into()],
        features: vec!["runways".into()],
    };
    let mut client = serving.client();
    let status = HOST.io.block_on(client.batch_get(asked)).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains("serving.max_in_flight"),
        "{status}"
    );
    let metrics = ask(&serving.rest, "/metrics").1;
    let line = "penstock_serve_requests_total{protocol=\"grpc\",method=\"batch_get\",outcome=\"overloaded\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    // Who goes makes room.
    slow.abort();
    rest_until(&serving, 200);
    serving.stop();
}

#[test]
fn what_is_not_asked_whole_in_time_is_refused_over_both_protocols() {
    let (_folder, serving) = serve("serving = { deadline = \"1h\" }");
    let url = format!("http://{}{GET}", serving.rest);
    HOST.io.block_on(async {
        let headers = [("content-type", "application/json"), ("x-timeout-ms", "50")];
        let answer = unfinished(url, Version::HTTP_11, &headers).await;
        assert_eq!(answer.status().as_u16(), 504);
        for method in ["BatchGet", "Put", "ListFeatures", "DescribeFeature"] {
            let answer = unfinished_call(&serving.grpc, method, "50m").await;
            let code = Code::DeadlineExceeded as i32;
            assert_eq!(answer.body()["grpc-status"], code.to_string(), "{method}");
        }
    });
    serving.stop();
}

#[test]
fn a_token_that_nobody_knows_takes_no_place() {
    let token = "[environments.local.serving]\nmax_in_flight = 1\ndeadline = \"1h\"\n[environments.local.serving.tokens.reader]\nfile = \"reader.token\"\nread = [\"airport\"]";
    let folder = declared("store = \"store\"", token);
    folder.write("reader.token", "the-token-of-a-reader");
    let serving = Serving::start(&folder);
    let answer = HOST.io.block_on(unfinished_call_of(
        "Bearer guess",
        &serving.grpc,
        "BatchGet",
        "1H",
    ));
    let code = Code::Unauthenticated as i32;
    assert_eq!(answer.body()["grpc-status"], code.to_string());
    serving.stop();
}

fn channel() -> Client<HttpConnector, tonic::body::Body> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

#[test]
fn health_is_asked_by_the_name_of_the_service_and_ends_with_the_process() {
    let (_folder, serving) = serve("");
    let origin: axum::http::Uri = format!("http://{}", serving.grpc).parse().unwrap();
    let mut health = HealthClient::with_origin(channel(), origin);
    let of = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut told = HOST.io.block_on(async {
        for service in ["", SERVICE] {
            let answer = health.check(of(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
        let unknown = health.check(of("penstock.v1.Other")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
        let mut told = health.watch(of(SERVICE)).await.unwrap().into_inner();
        let first = told.next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        told
    });
    let watching = HOST.io.spawn(async move { told.next().await });
    serving.stop();
    let last = HOST.io.block_on(watching).unwrap().unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
}

#[test]
fn the_server_describes_itself_by_reflection() {
    let (_folder, serving) = serve("");
    let origin: axum::http::Uri = format!("http://{}", serving.grpc).parse().unwrap();
    let mut reflection = ServerReflectionClient::with_origin(channel(), origin);
    let asked = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let answer = HOST.io.block_on(async {
        let asked = futures::stream::iter([asked]);
        let answers = reflection.server_reflection_info(asked).await.unwrap();
        answers.into_inner().next().await.unwrap().unwrap()
    });
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<&str> = listed.service.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&SERVICE), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    serving.stop();
}
