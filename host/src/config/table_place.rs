//! Where features are kept instead of the embedded store: a table of DynamoDB; and the cache in front of either.
//!
//! ```toml
//! [environments.production]
//! store = "dynamodb://penstock-features"   # features go to this table
//! state = "s3://bucket/penstock"           # and what lanes keep goes here; default ".penstock/state"
//! cache = { bytes = "256MiB", max_age = "1s" }
//!
//! [environments.production.dynamodb]       # all of it optional: AWS's own places are asked otherwise
//! region = "eu-central-1"
//! endpoint = "http://localhost:8000"
//! profile = "features"                     # of ~/.aws; or the keys themselves:
//! aws_access_key_id = "${KEY_ID}"
//! aws_secret_access_key = "${SECRET}"
//! timeout = "5s"                           # for one answer
//! in_flight = 64                           # requests at a time
//! consistent_reads = true                  # whether reads see every write that was acknowledged before
//! ```

use std::fmt;
use std::time::Duration;

use super::diagnostic::{ConfigError, ConfigFile, Located};
use super::live::resolve;
use super::live_settings::text;
use super::remote::{Secret, StoreOptions};
use super::store_place::StorePlace;
use super::table::Node;

/// What URLs of tables begin with.
const SCHEME: &str = "dynamodb://";

const TIMEOUT: Duration = Duration::from_secs(5);
const IN_FLIGHT: usize = 64;
const MOST_IN_FLIGHT: i64 = 4096;

/// Where features are kept.
#[derive(Debug, Clone)]
pub enum FeaturePlace {
    /// The embedded store, in a folder or a bucket.
    Embedded(StorePlace),
    /// A table of DynamoDB.
    Table(Box<TablePlace>),
}

impl FeaturePlace {
    /// What `--store` names: a folder's path, the URL of a place in a bucket, or `dynamodb://TABLE`.
    pub fn of(text: &str, options: &StoreOptions) -> Self {
        match table_name(text) {
            Some(table) => Self::Table(Box::new(TablePlace::named(table))),
            None => Self::Embedded(StorePlace::of(text, options)),
        }
    }
}

impl fmt::Display for FeaturePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(place) => place.fmt(f),
            Self::Table(place) => place.fmt(f),
        }
    }
}

/// A table of DynamoDB, and how it is reached. What is none here is looked for where AWS's tools look for it.
#[derive(Debug, Clone)]
pub struct TablePlace {
    /// The table's name, or its ARN.
    pub table: String,
    /// The region.
    pub region: Option<String>,
    /// Whom to ask instead of the region's own service.
    pub endpoint: Option<String>,
    /// The profile of AWS's configuration files.
    pub profile: Option<String>,
    /// Credentials.
    pub keys: Option<TableKeys>,
    /// How long one request may take to be answered.
    pub timeout: Duration,
    /// Requests at a time, at least one.
    pub in_flight: usize,
    /// Whether reads are strongly consistent, at twice the price.
    pub consistent_reads: bool,
}

/// Credentials of AWS.
#[derive(Debug, Clone)]
pub struct TableKeys {
    /// `aws_access_key_id`
    pub id: Located<Secret>,
    /// `aws_secret_access_key`
    pub secret: Located<Secret>,
    /// `aws_session_token`
    pub token: Option<Located<Secret>>,
}

impl TablePlace {
    /// A table that AWS's own places say everything else about.
    #[must_use]
    pub fn named(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            region: None,
            endpoint: None,
            profile: None,
            keys: None,
            timeout: TIMEOUT,
            in_flight: IN_FLIGHT,
            consistent_reads: true,
        }
    }

    /// With what the environment of this process has in the place of `${NAME}`.
    pub(super) fn resolved(&self, source: &ConfigFile) -> Result<Self, ConfigError> {
        let of = |value: &Located<Secret>| {
            Ok::<_, ConfigError>(Located::new(resolve(source, value)?, value.span))
        };
        let keys = match &self.keys {
            None => None,
            Some(keys) => Some(TableKeys {
                id: of(&keys.id)?,
                secret: of(&keys.secret)?,
                token: keys.token.as_ref().map(of).transpose()?,
            }),
        };
        Ok(Self {
            keys,
            ..self.clone()
        })
    }
}

impl fmt::Display for TablePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.table)
    }
}

/// The table in `dynamodb://TABLE`.
pub(super) fn table_name(text: &str) -> Option<&str> {
    text.strip_prefix(SCHEME)
}

/// What keeps a text from naming a table.
pub(super) fn refused(table: &str) -> Option<(&'static str, &'static str)> {
    let is_arn = table.starts_with("arn:");
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = (3..=255).contains(&table.len()) && table.chars().all(fits);
    (!is_arn && !is_name).then_some((
        "names no table",
        "write dynamodb://TABLE: 3 to 255 letters, digits, `_`, `.` and `-`, or the table's ARN",
    ))
}

/// Reads `[environments.NAME.dynamodb]`.
pub(super) fn read_table(table: &str, node: Option<&Node<'_>>) -> Option<TablePlace> {
    let mut place = TablePlace::named(table);
    let Some(node) = node else {
        return Some(place);
    };
    let mut settings = node.table("`dynamodb = { region = \"eu-central-1\" }`")?;
    let region = settings.optional("region");
    let endpoint = settings.optional("endpoint");
    let profile = settings.optional("profile");
    let id = settings.optional("aws_access_key_id");
    let secret = settings.optional("aws_secret_access_key");
    let token = settings.optional("aws_session_token");
    let timeout = settings.optional("timeout");
    let in_flight = settings.optional("in_flight");
    let consistent = settings.optional("consistent_reads");
    settings.finish(&[], &[("table", "write `store = \"dynamodb://TABLE\"`")]);

    let string = |node: Option<Node<'_>>, example: &str| match node {
        None => Some(None),
        Some(node) => node.string(example).map(|text| Some(text.value)),
    };
    let endpoint_text = string(endpoint.clone(), "\"http://localhost:8000\"");
    if let (Some(Some(text)), Some(node)) = (&endpoint_text, &endpoint)
        && !is_endpoint(text)
    {
        node.report(
            "is no endpoint",
            "write a URL without a user in it, such as \"https://dynamodb.eu-central-1.amazonaws.com\"",
        );
        return None;
    }
    let keys = match (&id, &secret) {
        (None, None) => Some(None),
        (Some(id), Some(secret)) => {
            let token = token
                .as_ref()
                .map_or(Some(None), |node| text(node).map(Some));
            match (text(id), text(secret), token) {
                (Some(id), Some(secret), Some(token)) => {
                    Some(Some(TableKeys { id, secret, token }))
                }
                _ => None,
            }
        }
        _ => {
            node.report(
                "has half of the credentials for AWS",
                "write both `aws_access_key_id` and `aws_secret_access_key`, or neither",
            );
            None
        }
    };
    let region = string(region, "\"eu-central-1\"");
    let profile = string(profile, "\"features\"");
    let timeout = timeout.map_or(Some(None), |node| {
        node.positive_duration("\"5s\"").map(Some)
    });
    let in_flight = in_flight.map_or(Some(None), |node| {
        node.integer(1..=MOST_IN_FLIGHT).map(Some)
    });
    let consistent = consistent.map_or(Some(true), |node| node.boolean());
    place.region = region?;
    place.endpoint = endpoint_text?;
    place.profile = profile?;
    place.keys = keys?;
    if let Some(timeout) = timeout? {
        place.timeout = Duration::from_micros(timeout.value.unsigned_abs());
    }
    if let Some(in_flight) = in_flight? {
        place.in_flight = usize::try_from(in_flight.value).unwrap_or(IN_FLIGHT);
    }
    place.consistent_reads = consistent?;
    Some(place)
}

fn is_endpoint(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// How much of a store is kept in memory for whoever reads, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes of keys and items, at most; none at all if this is 0.
    pub bytes: u64,
    /// For how long an item is answered with before the store is asked again: the bound on how far answers are behind
    /// what others have written.
    pub max_age: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            max_age: Duration::from_secs(1),
        }
    }
}

/// Reads `cache = { bytes = "64MiB", max_age = "1s" }`.
pub(super) fn read_cache(node: &Node<'_>) -> Option<CacheSettings> {
    let mut table = node.table("`cache = { bytes = \"64MiB\", max_age = \"1s\" }`")?;
    let bytes = table.optional("bytes");
    let max_age = table.optional("max_age");
    table.finish(
        &[],
        &[("ttl", "write `max_age`"), ("size", "write `bytes`")],
    );
    let mut cache = CacheSettings::default();
    let bytes = bytes.map_or(Some(cache.bytes), |node| node.bytes(0..=1 << 40));
    let max_age = max_age.map_or(Some(None), |node| node.duration("\"1s\"").map(Some));
    cache.bytes = bytes?;
    if let Some(max_age) = max_age? {
        cache.max_age = Duration::from_micros(max_age.value.unsigned_abs());
    }
    Some(cache)
}

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::*;

    fn load(keys: &str) -> Result<Environment, String> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[environments.local]\n{keys}\n");
        std::fs::write(folder.path().join("penstock.toml"), text).unwrap();
        let loaded = Environment::find_and_load(folder.path(), "local");
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_has_its_settings_and_state_its_own_place() {
        let keys = "store = \"dynamodb://features\"\nstate = \"s3://b/state\"\ncache = { bytes = \"1MiB\", max_age = \"5s\" }\ndynamodb = { region = \"eu-west-1\", aws_access_key_id = \"${CARGO_PKG_NAME}\", aws_secret_access_key = \"x\", timeout = \"2s\", in_flight = 8, consistent_reads = false }";
        let loaded = load(keys).unwrap();
        assert_eq!(loaded.store.to_string(), "s3://b/state");
        assert_eq!(loaded.cache.bytes, 1 << 20);
        assert_eq!(loaded.cache.max_age, Duration::from_secs(5));
        let FeaturePlace::Table(table) = loaded.features().unwrap() else {
            panic!("it is no table");
        };
        assert_eq!(table.to_string(), "dynamodb://features");
        assert_eq!(table.region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            (table.timeout, table.in_flight),
            (Duration::from_secs(2), 8)
        );
        assert!(!table.consistent_reads);
        assert_eq!(table.keys.unwrap().id.expose(), "penstock");

        let plain = load("store = \"dynamodb://features\"").unwrap();
        assert!(plain.store.folder().unwrap().ends_with(".penstock/state"));
        let embedded = load("").unwrap();
        assert!(
            embedded
                .store
                .folder()
                .unwrap()
                .ends_with(".penstock/store")
        );
        assert!(matches!(
            embedded.features().unwrap(),
            FeaturePlace::Embedded(_)
        ));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let table = "store = \"dynamodb://features\"\n";
        for (keys, reason) in [
            ("store = \"dynamodb://a b\"".to_owned(), "names no table"),
            ("state = \"x\"".to_owned(), "without a table of DynamoDB"),
            (
                "dynamodb = { region = \"x\" }".to_owned(),
                "without a table of DynamoDB",
            ),
            (
                format!("{table}dynamodb = {{ regoin = \"x\" }}"),
                "did you mean `region`?",
            ),
            (
                format!("{table}dynamodb = {{ endpoint = \"x\" }}"),
                "is no endpoint",
            ),
            (
                format!("{table}dynamodb = {{ endpoint = \"http://a:b@h\" }}"),
                "is no endpoint",
            ),
            (
                format!("{table}dynamodb = {{ aws_access_key_id = \"x\" }}"),
                "half of the credentials",
            ),
            (
                format!("{table}dynamodb = {{ in_flight = 0 }}"),
                "out of range",
            ),
            (
                format!("{table}cache = {{ max_age = \"soon\" }}"),
                "max_age",
            ),
        ] {
            let error = load(&keys).unwrap_err();
            assert!(error.contains(reason), "{keys}: {error}");
        }
        let missing = "dynamodb = { aws_access_key_id = \"${PENSTOCK_IS_NOT_SET}\", aws_secret_access_key = \"x\" }";
        let loaded = load(&format!("{table}{missing}")).unwrap();
        assert!(
            loaded
                .features()
                .unwrap_err()
                .to_string()
                .contains("PENSTOCK_IS_NOT_SET")
        );
    }
}
