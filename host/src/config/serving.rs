//! How features are served to models: `[environments.NAME.serving]`.
//!
//! ```toml
//! [environments.production.serving]
//! listen = "0.0.0.0:8470"            # REST; `penstock serve` uses 127.0.0.1:8470 if nobody says where
//! grpc = "0.0.0.0:8471"              # gRPC; nowhere by default
//! tls = { certificate = "server.pem", key = "server.key" }       # for both
//! max_in_flight = 256                # requests at work; more are turned away with 429
//! max_body = "1MiB"                  # of a request
//! deadline = "1s"                    # of a request that names none, and the longest that it may name
//! anyone = "read"                    # what needs no token: "read", "write" or "nothing"
//!
//! [environments.production.serving.tokens.ranking]
//! sha256 = "9f86d081884c7d65…"       # of the token, in hexadecimal; or one of the two below
//! # token = "${RANKING_TOKEN}"       # a variable of the process's environment
//! # file = "/run/secrets/ranking"    # read when the server starts
//! read = ["driver", "rider"]         # groups; "*" is every group
//! write = ["driver"]                 # none by default
//! ```
//!
//! What is kept of items that were read, and for how long, says the environment's `cache`.
//!
//! Without tokens, and without `anyone`, who can connect may read; that is refused at start on an address that other
//! machines reach. With tokens, nothing is given to those without one unless `anyone` says so.

use std::path::PathBuf;

use super::diagnostic::{ConfigFile, Located};
use super::table::{Node, Table};

/// What serving is asked to be.
#[derive(Debug, Clone)]
pub struct Serving {
    /// `host:port` of REST.
    pub listen: Option<String>,
    /// `host:port` of gRPC.
    pub grpc: Option<String>,
    /// Certificate and key of both.
    pub tls: Option<ServingTls>,
    /// Requests at work at once.
    pub max_in_flight: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Microseconds that a request may take.
    pub deadline: i64,
    /// What needs no token; none if nobody said.
    pub anyone: Option<Anyone>,
    /// Who may do what.
    pub tokens: Vec<ServingToken>,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            listen: None,
            grpc: None,
            tls: None,
            max_in_flight: 256,
            max_body: 1 << 20,
            deadline: 1_000_000,
            anyone: None,
            tokens: Vec::new(),
        }
    }
}

/// Files in PEM, read when the server starts.
#[derive(Debug, Clone)]
pub struct ServingTls {
    /// The certificate, and those that it was signed with behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a request without a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anyone {
    /// Nothing.
    Nothing,
    /// Read every group.
    Read,
    /// Read and write every group.
    Write,
}

/// A token, and what it is good for.
#[derive(Debug, Clone)]
pub struct ServingToken {
    /// Its name, for logs.
    pub name: String,
    /// How it is known.
    pub known_by: KnownBy,
    /// The groups that may be read; `*` is every one.
    pub read: Vec<String>,
    /// The groups that may be written.
    pub write: Vec<String>,
}

/// How a token is known, without being written down.
#[derive(Debug, Clone)]
pub enum KnownBy {
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// A variable of the process's environment that holds it.
    Variable(Located<String>),
    /// A file that holds it.
    File(PathBuf),
}

pub(super) fn read(file: &ConfigFile, node: &Node<'_>) -> Option<Serving> {
    let default = Serving::default();
    let mut table = node.table("`[environments.NAME.serving]` and its keys below")?;
    let mut address = |key| {
        table.optional(key).map_or(Some(None), |node| {
            node.string("\"127.0.0.1:8470\"").map(Some)
        })
    };
    let (listen, grpc) = (address("listen"), address("grpc"));
    let tls = table
        .optional("tls")
        .map_or(Some(None), |node| read_tls(file, &node).map(Some));
    let max_in_flight = table
        .optional("max_in_flight")
        .map_or(Some(default.max_in_flight), |node| {
            Some(node.integer(1..=100_000)?.value as usize)
        });
    let max_body = table
        .optional("max_body")
        .map_or(Some(default.max_body), |node| {
            Some(node.bytes(1_024..=64 << 20)? as usize)
        });
    let deadline = table
        .optional("deadline")
        .map_or(Some(default.deadline), |node| {
            Some(node.positive_duration("\"1s\"")?.value)
        });
    let anyone = table.optional("anyone").map_or(Some(None), |node| {
        let choices = [
            ("read", Anyone::Read),
            ("write", Anyone::Write),
            ("nothing", Anyone::Nothing),
        ];
        Some(Some(node.choice(&choices)?.value))
    });
    let tokens = table
        .optional("tokens")
        .map_or_else(|| Some(Vec::new()), |node| read_tokens(file, &node));
    table.finish(
        &[],
        &[
            ("rest", "write `listen`"),
            ("token", "write `[environments.NAME.serving.tokens.WHO]`"),
        ],
    );
    Some(Serving {
        listen: listen?.map(|it| it.value),
        grpc: grpc?.map(|it| it.value),
        tls: tls?,
        max_in_flight: max_in_flight?,
        max_body: max_body?,
        deadline: deadline?,
        anyone: anyone?,
        tokens: tokens?,
    })
}

fn read_tls(file: &ConfigFile, node: &Node<'_>) -> Option<ServingTls> {
    let example = "tls = { certificate = \"server.pem\", key = \"server.key\" }";
    let mut table = node.table(&format!("`{example}`"))?;
    let certificate = table.required("certificate", "certificate = \"server.pem\"");
    let key = table.required("key", "key = \"server.key\"");
    table.finish(&[], &[]);
    let path = |node: Node<'_>| Some(file.folder().join(node.string("\"server.pem\"")?.value));
    let (certificate, key) = (certificate.and_then(path), key.and_then(path));
    Some(ServingTls {
        certificate: certificate?,
        key: key?,
    })
}

fn read_tokens(file: &ConfigFile, node: &Node<'_>) -> Option<Vec<ServingToken>> {
    let table = node.table("`[environments.NAME.serving.tokens.WHO]`")?;
    let tokens = table.entries().into_iter();
    // All are read, so that all findings are told.
    let tokens: Vec<_> = tokens
        .map(|(name, node)| read_token(file, name.value, &node))
        .collect();
    tokens.into_iter().collect()
}

fn read_token(file: &ConfigFile, name: String, node: &Node<'_>) -> Option<ServingToken> {
    let mut table = node.table("`[environments.NAME.serving.tokens.WHO]` and its keys below")?;
    let known_by = read_known_by(file, node, &mut table);
    let mut groups = |key| {
        table
            .optional(key)
            .map_or_else(|| Some(Vec::new()), |node| read_groups(&node))
    };
    let (read, write) = (groups("read"), groups("write"));
    table.finish(&[], &[("value", "write `token = \"${VARIABLE}\"`")]);
    Some(ServingToken {
        name,
        known_by: known_by?,
        read: read?,
        write: write?,
    })
}

/// How a token is known, by the keys of its table.
pub(super) fn read_known_by(
    file: &ConfigFile,
    node: &Node<'_>,
    table: &mut Table<'_>,
) -> Option<KnownBy> {
    let hash = table.optional("sha256");
    let value = table.optional("token");
    let path = table.optional("file");
    match (hash, value, path) {
        (Some(node), None, None) => read_hash(&node),
        (None, Some(node), None) => read_variable(&node),
        (None, None, Some(node)) => {
            let path = node.string("\"/run/secrets/ranking\"")?;
            Some(KnownBy::File(file.folder().join(path.value)))
        }
        _ => {
            node.report(
                "does not say in one way how the token is known",
                "give one of `sha256`, `token = \"${VARIABLE}\"` and `file`",
            );
            None
        }
    }
}

fn read_groups(node: &Node<'_>) -> Option<Vec<String>> {
    let groups = node.strings("[\"driver\"]")?;
    for group in &groups {
        if group.value != "*" && !node.check_name(&group.value, "\"driver\"") {
            return None;
        }
    }
    Some(groups.into_iter().map(|group| group.value).collect())
}

fn read_hash(node: &Node<'_>) -> Option<KnownBy> {
    let text = node.string("\"9f86d081884c7d65…\"")?;
    let hash = from_hexadecimal(&text.value);
    if hash.is_none() {
        node.report(
            "is not a SHA-256",
            "write 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints them",
        );
    }
    hash.map(KnownBy::Sha256)
}

fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The text itself is not shown: it may be the token.
fn read_variable(node: &Node<'_>) -> Option<KnownBy> {
    let text = node.string("\"${RANKING_TOKEN}\"")?;
    let name = text.value.strip_prefix("${");
    match name.and_then(|name| name.strip_suffix('}')) {
        Some(name) if !name.is_empty() => {
            Some(KnownBy::Variable(Located::new(name.to_owned(), text.span)))
        }
        _ => {
            node.report(
                "is not the name of a variable",
                "a token is not written down: write `token = \"${RANKING_TOKEN}\"`, and set the variable; or give its `sha256`",
            );
            None
        }
    }
}
