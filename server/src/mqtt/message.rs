//! A message on its way through the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::packet::Property;

/// MQTT's quality of service; AWS has no QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Qos {
    /// At most once.
    Zero,
    /// At least once.
    One,
}

/// A message, shared by everybody who gets it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Arc<[u8]>,
    pub(super) qos: Qos,
    /// MQTT 5 properties that travel on: content type, response topic, correlation data, user properties, format.
    pub(super) properties: Arc<[Property]>,
    /// When it is worth nothing any more.
    pub(super) expires: Option<Instant>,
}

impl Message {
    pub(super) fn new(topic: impl Into<Arc<str>>, payload: Vec<u8>, qos: Qos) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, properties: Arc::from([]), expires: None }
    }

    /// Bytes it takes in a queue.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + 64
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Instant::now())
    }
}

/// What is said when a client is gone without a word.
#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) message: Message,
    /// Seconds until it is said, unless the client is back by then.
    pub(super) delay: Duration,
    /// Life of the message, from when it is said.
    pub(super) life: Option<Duration>,
    pub(super) retain: bool,
}
