//! What a running process answers over the network: whether it is well, its metrics, what it is about; and features for
//! models, over REST and gRPC.
//!
//! Operators who have a token may swap transforms here, in the store, as commands do (`operators`).
//!
//! In come requests, what the pipelines tell of themselves, and a store; out go answers, and what is put. Nothing that a lane does
//! waits for any of it. Who may read and write features is a matter of tokens ([`crate::config::Serving`]). About the
//! process itself whoever can connect may ask: the names of pipelines, components and splits are shown, and counts, and
//! never an event or a feature.

mod admin;
mod answers;
mod exposition;
mod families;
pub mod grpc;
mod health;
mod listening;
mod metrics;
mod opening;
mod operators;
mod process;
mod rest;
mod status;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;

use self::admin::Admin;
use self::answers::Answers;
use self::answers::access::Access;
pub use self::answers::access::AccessError;
use self::answers::figures::ServingFigures;
use self::listening::Listening;
pub use self::opening::Opening;
pub use self::operators::Operations;
use self::operators::Operators;
use crate::config::Serving;
use crate::pipeline::telemetry::Telemetry;
use crate::store::PutStore;

/// Where a process listens if it is asked to, and nobody says where.
pub const USUAL_ADDRESS: &str = "127.0.0.1:9464";

/// Where features are served over REST if nobody says where.
pub const USUAL_FEATURES: &str = "127.0.0.1:8470";

/// Why nobody can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken.
    #[error(
        "cannot listen on {address}: another process does already; choose another address with --listen, or stop that process"
    )]
    Taken {
        /// The address.
        address: String,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; an address is a host and a port of this machine, such as {USUAL_ADDRESS}"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("cannot serve over TLS with {}: {reason}; `tls` of `serving` names a certificate and its key, as files in PEM", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody could be let in, or too many would be.
    #[error("cannot serve features: {0}")]
    Access(#[from] AccessError),
    /// Operators could not be let in.
    #[error("cannot let operators in: {0}")]
    Operators(AccessError),
    /// The protocol does not describe itself; a fault of the program.
    #[error("cannot serve features over gRPC: {0}")]
    Reflection(String),
}

/// What a process is to answer.
pub struct Answering<'a> {
    /// What its pipelines tell.
    pub telemetry: Arc<Telemetry>,
    /// Set once the process was asked to stop.
    pub stopping: Arc<AtomicBool>,
    /// Whether it runs pipelines, and is ready when they are.
    pub is_run: bool,
    /// `host:port` for health, metrics and status; port 0 for any that is free.
    pub admin: Option<&'a str>,
    /// Features to serve.
    pub features: Option<ServedFeatures>,
    /// What operators may do where health is; nothing where none has a token.
    pub operations: Option<Operations>,
}

/// Features that are served.
pub struct ServedFeatures {
    /// Where, and to whom. Without an address for REST they are served where health is, unless over TLS.
    pub settings: Serving,
    /// What is read, and takes what is put.
    pub store: Arc<dyn PutStore>,
}

/// Listeners at work.
#[derive(Debug)]
pub struct Server {
    admin: Option<Listening>,
    rest: Option<Listening>,
    grpc: Option<Listening>,
}

impl Server {
    /// Listens, and answers on the runtime of `io`.
    ///
    /// # Errors
    ///
    /// An address is taken, or is none of this machine; tokens or certificates cannot be read.
    pub fn start(io: &Handle, what: Answering<'_>) -> Result<Self, ServeError> {
        let figures = what
            .features
            .as_ref()
            .map(|_| Arc::<ServingFigures>::default());
        let admin = || {
            let (telemetry, stopping) = (Arc::clone(&what.telemetry), Arc::clone(&what.stopping));
            let admin = Admin::new(telemetry, stopping, what.is_run, figures.clone());
            admin::routes(admin)
        };
        let mut server = Self {
            admin: None,
            rest: None,
            grpc: None,
        };
        let mut at_admin = admin().fallback(elsewhere);
        let operators = what.operations.map(Operators::open).transpose();
        if let Some(operators) = operators.map_err(ServeError::Operators)?.flatten() {
            at_admin = at_admin.merge(operators::routes(Arc::new(operators)));
        }
        if let Some(ServedFeatures { settings, store }) = what.features {
            let shared = settings.listen.is_none() && settings.tls.is_none();
            let rest = settings.listen.as_deref();
            let with_admin = what.admin.filter(|_| shared);
            let grpc = settings.grpc.as_deref();
            let addresses: Vec<&str> = [rest, with_admin, grpc].into_iter().flatten().collect();
            let access = Access::open(&settings, &addresses)?;
            let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
            let clock = Arc::clone(what.telemetry.clock());
            let answers = Answers::new(
                store,
                &settings,
                access,
                clock,
                figures.clone().unwrap_or_default(),
            );
            let answers = Arc::new(answers);
            if let Some(address) = rest {
                let routes = rest::routes(Arc::clone(&answers)).merge(admin());
                let routes = routes.fallback(elsewhere);
                server.rest = Some(Listening::start(io, address, routes, tls.clone())?);
            } else if shared {
                at_admin = at_admin.merge(rest::routes(Arc::clone(&answers)));
            }
            if let Some(address) = grpc {
                let routes = grpc::routes(io, answers, Arc::clone(&what.stopping))
                    .map_err(|error| ServeError::Reflection(error.to_string()))?;
                server.grpc = Some(Listening::start(io, address, routes, tls)?);
            }
        }
        if let Some(address) = what.admin {
            server.admin = Some(Listening::start(io, address, at_admin, None)?);
        }
        Ok(server)
    }

    /// Where health, metrics and status are answered alone.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|it| it.address)
    }

    /// Where features are served over REST, if not where health is.
    pub fn rest(&self) -> Option<SocketAddr> {
        self.rest.as_ref().map(|it| it.address)
    }

    /// Where features are served over gRPC.
    pub fn grpc(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|it| it.address)
    }

    /// Takes no more requests, and waits a moment for those that are being answered.
    pub fn close(self) {
        let listeners = [self.rest, self.grpc, self.admin];
        listeners.into_iter().flatten().for_each(Listening::close);
    }
}

/// What there is, for whoever asks for something else.
async fn elsewhere() -> Response {
    let text = "there are /health, /ready, /metrics and /status, and where features are served /openapi.json\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

#[cfg(test)]
mod tests;
