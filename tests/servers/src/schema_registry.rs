//! A stand-in for a schema registry. **This is not a registry**: no package registry has one that runs without a
//! container, so tests talk to these few lines instead, which speak as much of Confluent's REST API as a reader of
//! schemas needs, and nothing was ever compared with the real thing.
//!
//! `GET /schemas/ids/{id}`, `GET /subjects/{subject}/versions/{version}` and `…/latest`; errors with the codes 40401,
//! 40402 and 40403; schemas with types and references; HTTP basic authentication. Schemas are registered by the test
//! itself, not over HTTP, and nothing checks that they are any, or compatible. It lives in the test's own process, and
//! can be told to fail, or to be gone.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A stand-in for a schema registry, which ends when it is dropped.
#[derive(Debug)]
pub struct SchemaRegistryStandIn {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

/// What a schema is registered with, beside its text.
#[derive(Debug, Clone, Default)]
pub struct Registration<'a> {
    /// `AVRO` (or empty, which is the same), `PROTOBUF` or `JSON`.
    pub schema_type: &'a str,
    /// Name, subject and version of the schemas that it refers to.
    pub references: &'a [(&'a str, &'a str, u32)],
}

#[derive(Debug, Default)]
struct State {
    /// The id of the first is 1.
    schemas: Vec<Registered>,
    /// What `Authorization` must be.
    authorization: Option<String>,
    /// Answers that fail before the next that does not, and their status.
    failing: (usize, u16),
    requests: Vec<String>,
    ended: bool,
}

#[derive(Debug)]
struct Registered {
    subject: String,
    version: u32,
    /// The answer without its closing brace.
    json: String,
}

impl SchemaRegistryStandIn {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    ///
    /// There is no port, or no thread.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("schema registry stand-in".to_owned())
            .spawn(move || serve(&listener, &served))?;
        Ok(Self {
            address,
            state,
            thread: Some(thread),
        })
    }

    /// Asks for this `Authorization` from now on: `Basic` and the user, a colon and the password in base64.
    pub fn ask_for(&self, authorization: &str) {
        self.state().authorization = Some(authorization.to_owned());
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers an Avro schema as the next version of a subject, and gives its id.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        self.register_as(subject, schema, &Registration::default())
    }

    /// Registers any schema as the next version of a subject, and gives its id.
    pub fn register_as(&self, subject: &str, schema: &str, with: &Registration<'_>) -> u32 {
        let mut state = self.state();
        let versions = state.schemas.iter().filter(|one| one.subject == subject);
        let version = versions.count() as u32 + 1;
        let mut json = format!("\"schema\":{}", quoted(schema));
        if !with.schema_type.is_empty() {
            json += &format!(",\"schemaType\":{}", quoted(with.schema_type));
        }
        if !with.references.is_empty() {
            let references = with.references.iter().map(|(name, subject, version)| {
                let (name, subject) = (quoted(name), quoted(subject));
                format!("{{\"name\":{name},\"subject\":{subject},\"version\":{version}}}")
            });
            let references: Vec<String> = references.collect();
            json += &format!(",\"references\":[{}]", references.join(","));
        }
        state.schemas.push(Registered {
            subject: subject.to_owned(),
            version,
            json,
        });
        state.schemas.len() as u32
    }

    /// Has the next so many requests answered with a status and nothing else; 0 closes the connection without an answer.
    pub fn fail(&self, requests: usize, status: u16) {
        self.state().failing = (requests, status);
    }

    /// The paths that were asked for, in order.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for SchemaRegistryStandIn {
    fn drop(&mut self) {
        self.state().ended = true;
        // It waits for a connection, and this is one. If nobody can connect any more, it is left to the process's end.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(listener: &TcpListener, state: &Mutex<State>) {
    for stream in listener.incoming() {
        if lock(state).ended {
            return;
        }
        // A client that goes away in the middle is its own affair.
        let _ = stream.and_then(|stream| answer(stream, state));
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut authorization = None;
    for header in lines {
        let header = header?;
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = lock(state).respond(path, authorization.as_deref());
    if status == 0 {
        return Ok(());
    }
    write!(
        stream,
        "HTTP/1.1 {status} -\r\ncontent-type: application/vnd.schemaregistry.v1+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

impl State {
    fn respond(&mut self, path: &str, authorization: Option<&str>) -> (u16, String) {
        self.requests.push(path.to_owned());
        if self.failing.0 > 0 {
            self.failing.0 -= 1;
            return (self.failing.1, String::new());
        }
        if self.authorization.is_some() && self.authorization.as_deref() != authorization {
            return failure(401, 401, "Unauthorized");
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts[..] {
            ["schemas", "ids", id] => {
                let id = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
                match id.and_then(|id| self.schemas.get(id)) {
                    Some(found) => (200, format!("{{{}}}", found.json)),
                    None => failure(404, 40403, "Schema not found"),
                }
            }
            ["subjects", subject, "versions", version] => self.version(subject, version),
            _ => failure(404, 404, "HTTP 404 Not Found"),
        }
    }

    fn version(&self, subject: &str, version: &str) -> (u16, String) {
        let of_subject = self.schemas.iter().zip(1..);
        let mut of_subject = of_subject.filter(|(one, _)| quoted_in_url(&one.subject) == subject);
        let found = match version {
            "latest" => of_subject.last(),
            _ => of_subject.find(|(one, _)| one.version.to_string() == version),
        };
        let Some((found, id)) = found else {
            return failure(404, 40401, "Subject or version not found");
        };
        let (subject, version, json) = (quoted(&found.subject), found.version, &found.json);
        let answer = format!("{{\"subject\":{subject},\"id\":{id},\"version\":{version},{json}}}");
        (200, answer)
    }
}

fn failure(status: u16, code: u32, message: &str) -> (u16, String) {
    let body = format!("{{\"error_code\":{code},\"message\":{}}}", quoted(message));
    (status, body)
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => json += &format!("\\u{:04x}", u32::from(c)),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// A name as a part of a path.
fn quoted_in_url(text: &str) -> String {
    text.bytes().fold(String::new(), |quoted, byte| match byte {
        b' ' | b'/' | b'%' | b'?' | b'#' | 0x80.. => format!("{quoted}%{byte:02X}"),
        byte => format!("{quoted}{}", char::from(byte)),
    })
}
