//! The message broker of the local endpoint: MQTT 3.1.1 and 5 as AWS IoT Core speaks them, over mutual TLS.
//!
//! Bytes become packets in `wire` (framing and parsing are `mqtt-protocol-core`'s), a `connection` task asks the
//! policies (`policy`) and acts, `jobs` brings requests to the one Jobs machine that HTTPS uses too, `provisioning` those of
//! devices that aren't things yet to theirs, `notify` tells
//! what changed, and the `broker` knows who gets what. `ENDPOINT.md` beside this crate tells what differs from AWS.

mod broker;
mod connection;
mod counters;
mod encode;
mod jobs;
mod limits;
mod message;
mod notify;
mod owner;
pub mod policy;
mod provisioning;
mod rate;
mod routes;
mod session;
mod topics;
mod wire;

use std::sync::Arc;

use tokio::sync::watch;

pub use broker::Broker;
pub use counters::Counters;
pub use limits::Limits;

pub(crate) use connection::{Client, run};
pub(crate) use counters::count;

/// What a broker does besides serving connections: it tells what happened, forgets old sessions, and says goodbye when
/// the server stops.
pub async fn attend(broker: Arc<Broker>, mut stop: watch::Receiver<bool>) {
    let effects = broker.engine.effects();
    tokio::select! {
        () = notify::run(broker.clone(), effects) => {}
        () = broker.clone().sweep() => {}
        _ = stop.changed() => {}
    }
    broker.stop();
}
