//! A client of the protocol, in the clear, for tests and measurements.

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::v1::features_client::FeaturesClient;

/// Connects when it is first used, once for all of its clones.
pub type FeatureClient = FeaturesClient<Client<HttpConnector, tonic::body::Body>>;

/// A client of the server at `host:port`.
///
/// # Errors
///
/// The address is none.
pub fn client(address: &str) -> Result<FeatureClient, tonic::codegen::http::uri::InvalidUri> {
    let mut connector = HttpConnector::new();
    // Requests are small, and must not wait for each other.
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build(connector);
    let origin = format!("http://{address}").parse()?;
    Ok(FeaturesClient::with_origin(client, origin))
}
