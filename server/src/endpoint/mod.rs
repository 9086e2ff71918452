//! The device endpoint: HTTPS with mutual TLS, and MQTT on the same port for those who ask for it by ALPN.
//!
//! One origin serves AWS IoT's jobs data plane, the repository and enrolment; `PROTOCOL.md` beside this crate tells
//! what a client sends. Who a device is comes from its certificate and from nothing else.

mod answer;
mod connection;
mod crowd;
mod data_plane;
mod enrol;
mod identity;
mod links;
mod newcomer;
mod repository;
mod stall;
mod tls;
mod trust;
mod version_one;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use crate::engine::{Clock, Engine};
use crate::mqtt::Broker;
use crate::pki::Authority;
use crate::store::LocalStore;
use sealift_verifier::trust::Policy;

pub use connection::{Listening, Serves, serve};
pub(crate) use connection::{http, serve_unix};
pub use identity::Peer;
pub use links::Links;
pub(crate) use stall::Stall;
pub use tls::{Tls, server_config};
pub use trust::Trust;

pub(crate) use answer::{ApiError, json_body, no_method, no_route};

/// Bounds on what one client can take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait to be accepted.
    pub connections: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for a request's head, and for the pause between two requests on a connection.
    pub head: Duration,
    /// Time for a request's body.
    pub body: Duration,
    /// Time in which a client must take at least one byte of what it asked for.
    pub stall: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Time for open requests to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(20),
            body: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            head_bytes: 16 * 1_024,
            drain: Duration::from_secs(10),
        }
    }
}

/// What every handler needs.
pub struct App {
    /// Things, jobs and executions.
    pub engine: Engine,
    /// Published files.
    pub store: LocalStore,
    /// The development CA.
    pub authority: Arc<Authority>,
    /// The CAs that TLS knows.
    pub trust: Arc<Trust>,
    /// Bounds.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// What the verifier accepts when it reads what is published.
    pub policy: Policy,
    /// Fills the URLs of job documents.
    pub links: Arc<Links>,
    /// The message broker.
    pub broker: Arc<Broker>,
}

/// The routes of the device endpoint.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/things/{thing}/jobs", get(data_plane::pending))
        .route(
            "/things/{thing}/jobs/{job}",
            get(data_plane::describe).put(data_plane::start_next).post(data_plane::update),
        )
        .route("/metadata/{name}", get(repository::metadata))
        .route("/payloads/{digest}", get(repository::payload))
        .route("/enrol", post(enrol::enrol))
        .route("/things/{thing}/certificate", post(enrol::rotate))
        .route("/healthz", get(async || "ok\n"))
        .fallback(answer::no_route)
        .method_not_allowed_fallback(answer::no_method)
        .with_state(app)
}
