//! Accepting connections, and letting them end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::crowd::Crowd;
use super::stall::Stall;
use super::{Limits, Peer, Trust, newcomer};
use crate::mqtt::{self, Broker};

/// Pause after an accept that failed (no file descriptors left, say): trying at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener with its bounds and the signal that stops it.
pub struct Listening {
    /// The bound socket.
    pub listener: TcpListener,
    /// TLS.
    pub tls: ServerConfig,
    /// The CAs that TLS knows.
    pub trust: Arc<Trust>,
    /// Bounds.
    pub limits: Limits,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
}

/// What a port serves.
#[derive(Clone)]
pub enum Serves {
    /// HTTPS, and MQTT to clients that ask for it by ALPN.
    Both(Router, Arc<Broker>),
    /// MQTT alone.
    Mqtt(Arc<Broker>),
}

impl Serves {
    fn broker(&self) -> &Arc<Broker> {
        match self {
            Self::Both(_, broker) | Self::Mqtt(broker) => broker,
        }
    }
}

/// Serves devices over mutual TLS until the stop signal, then lets open requests end.
pub async fn serve(listening: Listening, serves: Serves) {
    let Listening { listener, tls, trust, limits, mut stop } = listening;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let slots = Arc::new(Semaphore::new(limits.connections));
    let crowd = Crowd::new(limits.connections);
    // Each connection holds a sender; when all are gone, `ended` closes.
    let (open, mut ended) = mpsc::channel::<()>(1);
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            _ = stop.changed() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection couldn't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, serves, stop, open) = (acceptor.clone(), serves.clone(), stop.clone(), open.clone());
        let Some(place) = crowd.stranger(address) else {
            mqtt::count(&serves.broker().counters.crowded);
            tracing::warn!(%address, "too many connections of one address that showed no certificate");
            continue;
        };
        let (trust, crowd) = (trust.clone(), crowd.clone());
        tokio::spawn(async move {
            // Held until the connection ends.
            let (_slot, _open, mut place) = (slot, open, place);
            let _ = socket.set_nodelay(true);
            // Boxed, so that an idle connection holds what it needs and not the largest of what it might have needed.
            let handshake = Box::pin(tokio::time::timeout(limits.handshake, acceptor.accept(socket))).await;
            let stream = match handshake {
                Ok(Ok(stream)) => stream,
                failed => {
                    let broker = serves.broker();
                    broker.counters.handshakes_failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    match failed {
                        Ok(Err(error)) => tracing::info!(%address, %error, "a TLS handshake failed"),
                        _ => tracing::info!(%address, "a TLS handshake took too long"),
                    }
                    return;
                }
            };
            let tls = stream.get_ref().1;
            let peer = tls.peer_certificates().and_then(Peer::from_certificates);
            if let Some(peer) = &peer {
                match crowd.certificate(peer.fingerprint()) {
                    Some(own) => place = own,
                    None => {
                        mqtt::count(&serves.broker().counters.crowded);
                        tracing::warn!(%address, certificate = peer.fingerprint(), "too many connections of one certificate");
                        return;
                    }
                }
            }
            let _place = place;
            if let Some(chain) = tls.peer_certificates()
                && let Some(ca) = trust.registered_issuer(chain)
            {
                let (broker, chain) = (serves.broker().clone(), chain.to_vec());
                let from = (address, tls.server_name().is_some());
                if !Box::pin(newcomer::may_go_on(&broker, broker.engine(), &chain, ca, from)).await {
                    return;
                }
            }
            let by_alpn = stream.get_ref().1.alpn_protocol() == Some(super::tls::MQTT);
            match serves {
                Serves::Both(router, _) if !by_alpn => {
                    let router = match peer {
                        Some(peer) => router.layer(Extension(peer)),
                        None => router,
                    };
                    let stream = Stall::new(stream, limits.stall);
                    Box::pin(http(stream, router, limits, stop, Some(address))).await;
                }
                Serves::Both(_, broker) | Serves::Mqtt(broker) => match peer.map(Peer::into_parts) {
                    Some((named, fingerprint)) => {
                        let origin = broker.links().origin(stream.get_ref().1.server_name(), stream.get_ref().0);
                        let client = mqtt::Client { named, fingerprint, address, origin };
                        Box::pin(mqtt::run(Stall::new(stream, limits.stall), client, broker)).await;
                    }
                    None => tracing::info!(%address, "MQTT without a certificate"),
                },
            }
        });
    }
    drop((listener, open));
    drain(limits, &mut ended).await;
}

/// Serves `router` on a Unix socket until the stop signal.
pub(crate) async fn serve_unix(
    listener: UnixListener,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let (open, mut ended) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let (router, stop, open) = (router.clone(), stop.clone(), open.clone());
                tokio::spawn(async move {
                    let _open = open;
                    http(Stall::new(socket, limits.stall), router, limits, stop, None).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection couldn't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    drain(limits, &mut ended).await;
}

async fn drain(limits: Limits, ended: &mut mpsc::Receiver<()>) {
    if tokio::time::timeout(limits.drain, ended.recv()).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs(), "connections were still busy and are cut off");
    }
}

pub(crate) async fn http<S>(
    stream: S,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    address: Option<SocketAddr>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes.max(8_192))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Err(error) if is_stall(&error) => {
            tracing::info!(?address, "a client took nothing of its answer and was let go")
        }
        Err(error) => tracing::debug!(?address, %error, "a connection ended badly"),
        Ok(()) => {}
    }
}

/// True when [`Stall`] ended the connection.
fn is_stall(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}
