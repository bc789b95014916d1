//! Listening on an address, and answering who connects: HTTP/1.1 and HTTP/2, in the clear or over TLS.
//!
//! Connections are bounded in number, and in how long they may take to say what they want. When it ends, no connection
//! is taken any more, those that are there hear that they may send no more requests, and what is being answered has a
//! moment to be done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::ServeError;

/// Connections at once. Each is a file of the process.
const MOST_CONNECTIONS: usize = 4_096;
/// How long a connection may take to agree on keys, and to send the head of a request.
const HASTE: Duration = Duration::from_secs(15);
/// How often a connection of HTTP/2 on which nothing happens is asked whether anybody is there.
const STILL_THERE: Duration = Duration::from_secs(60);
/// Requests of one connection of HTTP/2 at once.
const STREAMS: u32 = 512;
/// How long nobody is let in after the system refused, such as for want of files.
const BREATH: Duration = Duration::from_millis(100);
/// How long those who are being answered may take when it ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// An address that is listened on.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
    io: Handle,
}

impl Listening {
    /// Listens on `address` and answers with `routes`.
    pub(super) fn start(
        io: &Handle,
        address: &str,
        routes: Router,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self, ServeError> {
        let listen = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::Taken {
                address: address.into(),
            },
            _ => ServeError::Listen {
                address: address.into(),
                source: error,
            },
        };
        let listener = io.block_on(TcpListener::bind(address)).map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let (end, ended) = oneshot::channel();
        let task = io.spawn(accept(listener, routes, tls, ended));
        Ok(Self {
            address: local,
            end,
            task,
            io: io.clone(),
        })
    }

    /// Takes no more requests, and waits a moment for those that are being answered.
    pub(super) fn close(self) {
        // Nobody listens if the task has ended, which is as well.
        let _ = self.end.send(());
        let mut task = self.task;
        let patience = async { timeout(LAST_ANSWERS, &mut task).await };
        if self.io.block_on(patience).is_err() {
            task.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    routes: Router,
    tls: Option<TlsAcceptor>,
    mut ended: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // A sender that is gone ends it as well.
        let accepted = tokio::select! {
            _ = &mut ended => break,
            accepted = next(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                if timeout(BREATH, &mut ended).await.is_ok() {
                    break;
                }
                continue;
            }
        };
        let (routes, tls, watcher) = (routes.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            match tls {
                None => talk(stream, routes, watcher).await,
                // Who does not agree on keys hears so from TLS itself.
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HASTE, tls.accept(stream)).await {
                        talk(stream, routes, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Answers are written in one piece, and nothing is to wait for more.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HASTE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(STILL_THERE)
        .max_concurrent_streams(STREAMS);
    let service = TowerToHyperService::new(routes);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
