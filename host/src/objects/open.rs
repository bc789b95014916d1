//! Opens object stores with the options of an environment.
//!
//! Environment variables come first (`AWS_…` for S3, `GOOGLE_…`, `AZURE_…`), options override them,
//! and what the URL says goes before both. Options of another kind of store than the URL's are left
//! out: one environment may have several.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::url::{Kind, StoreUrl};
use crate::config::StoreOptions;

/// Some of the names that an option can have, for suggestions.
pub const KNOWN_OPTIONS: [&str; 20] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_region",
    "aws_endpoint",
    "aws_allow_http",
    "aws_skip_signature",
    "aws_virtual_hosted_style_request",
    "aws_request_payer",
    "google_service_account",
    "google_service_account_key",
    "google_skip_signature",
    "azure_storage_account_name",
    "azure_storage_account_key",
    "azure_storage_sas_key",
    "azure_storage_endpoint",
    "azure_skip_signature",
    "allow_http",
    "timeout",
    "connect_timeout",
];

/// The options that no kind of store knows, or that the URL says already.
pub fn unknown_options(options: &StoreOptions) -> Vec<&str> {
    let names = options.entries.iter().map(|(name, _)| name.as_str());
    names.filter(|name| !is_known(name)).collect()
}

fn is_known(name: &str) -> bool {
    let s3 = AmazonS3ConfigKey::from_str(name);
    let google = GoogleConfigKey::from_str(name);
    let azure = AzureConfigKey::from_str(name);
    s3.is_ok_and(|key| !matches!(key, AmazonS3ConfigKey::Bucket))
        || google.is_ok_and(|key| !matches!(key, GoogleConfigKey::Bucket))
        || azure.is_ok_and(|key| !matches!(key, AzureConfigKey::ContainerName))
        || ClientConfigKey::from_str(name).is_ok()
}

/// What a store does by itself before it gives a request up: about two seconds of trying. Reading
/// adds tries of its own.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(60),
    }
}

/// Opens a store, which tries requests again as `retries` says.
pub(crate) fn open(
    url: &StoreUrl,
    options: &StoreOptions,
    retries: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let url_text = url.for_builder.as_str();
    Ok(match url.kind() {
        Kind::Local => Arc::new(LocalFileSystem::new()),
        Kind::S3 => {
            let builder = each(
                options,
                AmazonS3Builder::from_env(),
                |builder, key, value| builder.with_config(key, value),
            );
            Arc::new(builder.with_url(url_text).with_retry(retries).build()?)
        }
        Kind::Google => {
            let from_env = GoogleCloudStorageBuilder::from_env();
            let builder = each(options, from_env, |builder, key, value| {
                builder.with_config(key, value)
            });
            Arc::new(builder.with_url(url_text).with_retry(retries).build()?)
        }
        Kind::Azure => {
            let from_env = MicrosoftAzureBuilder::from_env();
            let builder = each(options, from_env, |builder, key, value| {
                builder.with_config(key, value)
            });
            Arc::new(builder.with_url(url_text).with_retry(retries).build()?)
        }
        Kind::Http => {
            let builder = each(options, HttpBuilder::new(), |builder, key, value| {
                builder.with_config(key, value)
            });
            let host = url::Position::BeforePath;
            let builder = builder.with_url(&url.for_builder[..host]);
            Arc::new(builder.with_retry(retries).build()?)
        }
    })
}

/// Hands the options that are a store's own to its builder.
fn each<B, K: FromStr>(options: &StoreOptions, builder: B, with: impl Fn(B, K, &str) -> B) -> B {
    let entries = options.entries.iter();
    entries.fold(builder, |builder, (name, value)| match name.parse() {
        Ok(key) => with(builder, key, value.expose()),
        Err(_) => builder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Located, Secret, Span};

    #[test]
    fn options_that_no_store_knows_are_found() {
        let options = |names: &[&str]| StoreOptions {
            entries: names
                .iter()
                .map(|name| {
                    (
                        Located::new((*name).to_owned(), Span::WHOLE_FILE),
                        Secret::new("x"),
                    )
                })
                .collect(),
        };
        assert!(unknown_options(&options(&KNOWN_OPTIONS)).is_empty());
        let wrong = options(&["aws_regoin", "timeout", "aws_bucket", "container_name"]);
        assert_eq!(
            unknown_options(&wrong),
            ["aws_regoin", "aws_bucket", "container_name"]
        );
    }
}
