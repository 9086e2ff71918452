//! Packets to clients.

use std::time::Instant;

use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumPacketSize, MaximumQos, MessageExpiryInterval, Property, Qos as LibraryQos,
    ReasonString, ReceiveMaximum, RetainAvailable, ServerKeepAlive, SessionExpiryInterval, SharedSubscriptionAvailable,
    SubscriptionIdentifierAvailable, TopicAliasMaximum, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::limits::{IN_FLIGHT_MAX, PACKET_MAX, TOPIC_ALIASES};
use super::message::{Message, Qos};
use super::wire::{Version, reason};

/// What CONNACK says of a session.
pub(super) struct Welcome<'a> {
    pub(super) session_present: bool,
    pub(super) keep_alive: u16,
    pub(super) session_expiry: u32,
    /// The client id, when the server chose it.
    pub(super) assigned: Option<&'a str>,
}

/// The library refuses what can't be encoded; nothing of that kind is ever built here, and if it were, the packet is left
/// out and said so.
fn put(out: &mut Vec<u8>, built: Result<Vec<u8>, MqttError>) {
    match built {
        Ok(bytes) => out.extend_from_slice(&bytes),
        Err(error) => tracing::error!(?error, "a packet can't be encoded"),
    }
}

fn property<T: Into<Property>>(all: &mut Vec<Property>, made: Result<T, MqttError>) {
    all.extend(made.ok().map(Into::into));
}

pub(super) fn welcome(out: &mut Vec<u8>, version: Version, welcome: &Welcome<'_>) {
    match version {
        Version::V3 => put(
            out,
            v3_1_1::Connack::builder()
                .session_present(welcome.session_present)
                .return_code(mqtt_protocol_core::mqtt::result_code::ConnectReturnCode::Accepted)
                .build()
                .map(|packet| packet.to_continuous_buffer()),
        ),
        Version::V5 => {
            let mut properties = Vec::new();
            property(&mut properties, SessionExpiryInterval::new(welcome.session_expiry));
            property(&mut properties, ReceiveMaximum::new(IN_FLIGHT_MAX));
            property(&mut properties, MaximumQos::new(1));
            property(&mut properties, RetainAvailable::new(0));
            property(&mut properties, MaximumPacketSize::new(PACKET_MAX));
            property(&mut properties, TopicAliasMaximum::new(TOPIC_ALIASES));
            property(&mut properties, ServerKeepAlive::new(welcome.keep_alive));
            property(&mut properties, SubscriptionIdentifierAvailable::new(0));
            property(&mut properties, SharedSubscriptionAvailable::new(0));
            if let Some(id) = welcome.assigned {
                property(&mut properties, AssignedClientIdentifier::new(id));
            }
            put(
                out,
                v5_0::Connack::builder()
                    .session_present(welcome.session_present)
                    .reason_code(mqtt_protocol_core::mqtt::result_code::ConnectReasonCode::Success)
                    .props(properties)
                    .build()
                    .map(|packet| packet.to_continuous_buffer()),
            );
        }
    }
}

/// CONNACK with a refusal; 3.1.1 has only a few codes for it (section 3.2.2.3).
pub(super) fn refuse(out: &mut Vec<u8>, version: Version, code: u8, why: &str) {
    match version {
        Version::V3 => {
            let code = match code {
                reason::UNSUPPORTED_VERSION => 1,
                reason::CLIENT_ID_INVALID => 2,
                reason::UNAVAILABLE | reason::QUOTA_EXCEEDED => 3,
                _ => 5,
            };
            out.extend_from_slice(&[0x20, 2, 0, code]);
        }
        Version::V5 => {
            let mut properties = Vec::new();
            property(&mut properties, ReasonString::new(why));
            let code = code.try_into();
            let code = code.unwrap_or(mqtt_protocol_core::mqtt::result_code::ConnectReasonCode::UnspecifiedError);
            let packet = v5_0::Connack::builder().session_present(false).reason_code(code).props(properties).build();
            put(out, packet.map(|packet| packet.to_continuous_buffer()));
        }
    }
}

/// DISCONNECT of a server, which only MQTT 5 has.
pub(super) fn disconnect(out: &mut Vec<u8>, version: Version, code: u8, why: &str) {
    if version == Version::V5 {
        let mut properties = Vec::new();
        property(&mut properties, ReasonString::new(why));
        let code = code.try_into();
        let code = code.unwrap_or(mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode::UnspecifiedError);
        let packet = v5_0::Disconnect::builder().reason_code(code).props(properties).build();
        put(out, packet.map(|packet| packet.to_continuous_buffer()));
    }
}

pub(super) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

pub(super) fn puback(out: &mut Vec<u8>, version: Version, id: u16, code: u8) {
    let [high, low] = id.to_be_bytes();
    match (version, code) {
        (Version::V5, code) if code != reason::SUCCESS => out.extend_from_slice(&[0x40, 3, high, low, code]),
        _ => out.extend_from_slice(&[0x40, 2, high, low]),
    }
}

/// `codes` are MQTT 5's; 3.1.1 has one for every failure.
pub(super) fn suback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    acknowledged(out, version, 0x90, id, codes);
}

pub(super) fn unsuback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    match version {
        Version::V3 => acknowledged(out, version, 0xb0, id, &[]),
        Version::V5 => acknowledged(out, version, 0xb0, id, codes),
    }
}

/// SUBACK and UNSUBACK: at most eight codes, so that the length takes one byte.
fn acknowledged(out: &mut Vec<u8>, version: Version, kind: u8, id: u16, codes: &[u8]) {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    out.extend_from_slice(&[kind, (2 + properties.len() + codes.len()) as u8]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(properties);
    out.extend(codes.iter().map(|code| if version == Version::V3 { (*code).min(0x80) } else { *code }));
}

/// PUBLISH; `id` is there with QoS 1. False when the packet is larger than the client takes.
pub(super) fn publish(
    out: &mut Vec<u8>,
    version: Version,
    message: &Message,
    id: Option<u16>,
    again: bool,
    most: u32,
) -> bool {
    let before = out.len();
    let qos = if id.is_some() { LibraryQos::AtLeastOnce } else { LibraryQos::AtMostOnce };
    let topic = &*message.topic;
    let built = match version {
        Version::V3 => v3_1_1::Publish::builder().topic_name(topic).and_then(|packet| {
            let packet = packet.qos(qos).dup(again).retain(false).payload(message.payload.clone());
            let packet = if let Some(id) = id { packet.packet_id(id) } else { packet };
            packet.build().map(|packet| packet.to_continuous_buffer())
        }),
        Version::V5 => v5_0::Publish::builder().topic_name(topic).and_then(|packet| {
            let mut properties = message.properties.to_vec();
            if let Some(at) = message.expires {
                let left = at.saturating_duration_since(Instant::now()).as_secs().min(u32::MAX.into());
                property(&mut properties, MessageExpiryInterval::new(left as u32));
            }
            let packet = packet.qos(qos).dup(again).retain(false).props(properties).payload(message.payload.clone());
            let packet = if let Some(id) = id { packet.packet_id(id) } else { packet };
            packet.build().map(|packet| packet.to_continuous_buffer())
        }),
    };
    put(out, built);
    if out.len() - before > most as usize {
        out.truncate(before);
        return false;
    }
    true
}

impl Qos {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
        }
    }
}
