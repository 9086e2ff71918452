//! Packets in and out, both protocol versions as one: framing and parsing are `mqtt-protocol-core`'s; here its types
//! become what the broker works with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::{Property, Qos as LibraryQos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::limits::{PACKET_MAX, PAYLOAD_MAX};
use super::message::{Message, Qos, Will};

/// The protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1.1.
    V3,
    /// 5.
    V5,
}

/// Why a connection can't go on, with MQTT 5's reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) reason: u8,
    pub(super) what: &'static str,
}

/// Reason codes of MQTT 5 (section 2.4) that this server uses.
pub(super) mod reason {
    pub(crate) const SUCCESS: u8 = 0x00;
    pub(crate) const DISCONNECT_WITH_WILL: u8 = 0x04;
    pub(crate) const NO_SUBSCRIPTION: u8 = 0x11;
    pub(crate) const MALFORMED: u8 = 0x81;
    pub(crate) const PROTOCOL_ERROR: u8 = 0x82;
    pub(crate) const UNSUPPORTED_VERSION: u8 = 0x84;
    pub(crate) const CLIENT_ID_INVALID: u8 = 0x85;
    pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
    pub(crate) const UNAVAILABLE: u8 = 0x88;
    pub(crate) const SHUTTING_DOWN: u8 = 0x8b;
    pub(crate) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
    pub(crate) const TAKEN_OVER: u8 = 0x8e;
    pub(crate) const FILTER_INVALID: u8 = 0x8f;
    pub(crate) const TOPIC_INVALID: u8 = 0x90;
    pub(crate) const ALIAS_INVALID: u8 = 0x94;
    pub(crate) const TOO_LARGE: u8 = 0x95;
    pub(crate) const RATE_TOO_HIGH: u8 = 0x96;
    pub(crate) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(crate) const RETAIN_NOT_SUPPORTED: u8 = 0x9a;
    pub(crate) const QOS_NOT_SUPPORTED: u8 = 0x9b;
    pub(crate) const SHARED_NOT_SUPPORTED: u8 = 0x9e;
}

const fn broken(reason: u8, what: &'static str) -> Broken {
    Broken { reason, what }
}

/// A CONNECT.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: String,
    pub(super) clean: bool,
    pub(super) keep_alive: u16,
    /// MQTT 5's wish, in seconds.
    pub(super) session_expiry: Option<u32>,
    /// QoS 1 messages the client takes at once.
    pub(super) receive_maximum: u16,
    /// Largest packet the client takes.
    pub(super) packet_maximum: u32,
    pub(super) will: Option<Will>,
}

/// A PUBLISH.
#[derive(Debug)]
pub(super) struct Publish {
    /// Empty when an alias stands for it.
    pub(super) topic: String,
    pub(super) alias: Option<u16>,
    pub(super) id: Option<u16>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) payload: Arc<[u8]>,
    pub(super) properties: Vec<Property>,
    pub(super) life: Option<Duration>,
}

/// A packet from a client.
#[derive(Debug)]
pub(super) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    Puback(u16),
    Subscribe { id: u16, filters: Vec<(String, Qos)> },
    Unsubscribe { id: u16, filters: Vec<String> },
    Pingreq,
    Disconnect { with_will: bool, session_expiry: Option<u32> },
}

/// Cuts a stream of bytes into packets. Holds no more than one unfinished packet.
pub(super) struct Framer {
    builder: PacketBuilder,
    version: Option<Version>,
    /// When the unfinished packet began.
    began: Option<Instant>,
}

impl Framer {
    pub(super) fn new() -> Self {
        Self { builder: PacketBuilder::with_maximum_packet_size(PACKET_MAX), version: None, began: None }
    }

    /// When the packet began that isn't whole yet.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Adds what the bytes hold to `packets`; those before an error are good.
    pub(super) fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Result<(), Broken> {
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            match self.builder.feed(&mut cursor) {
                PacketBuildResult::Complete(raw) => {
                    self.began = None;
                    packets.push(self.packet(&raw)?);
                }
                PacketBuildResult::Incomplete => {
                    self.began.get_or_insert_with(Instant::now);
                }
                PacketBuildResult::Error(MqttError::PacketTooLarge) => {
                    return Err(broken(reason::TOO_LARGE, "a packet is larger than the server takes"));
                }
                PacketBuildResult::Error(_) => return Err(broken(reason::MALFORMED, "a packet's length is malformed")),
            }
        }
        Ok(())
    }

    fn packet(&mut self, raw: &RawPacket) -> Result<Packet, Broken> {
        let kind = raw.packet_type();
        // The flags that each type must have (MQTT 3.1.1, section 2.2.2); those of PUBLISH say something.
        let flags = if matches!(kind, 6 | 8 | 10) { 0b0010 } else { 0 };
        if kind != 3 && raw.flags() != flags {
            return Err(broken(reason::MALFORMED, "a packet has reserved flags set"));
        }
        let Some(version) = self.version else {
            if kind != 1 {
                return Err(broken(reason::PROTOCOL_ERROR, "the first packet isn't CONNECT"));
            }
            let connect = connect(raw)?;
            self.version = Some(connect.version);
            return Ok(Packet::Connect(Box::new(connect)));
        };
        match (kind, version) {
            (1, _) => Err(broken(reason::PROTOCOL_ERROR, "a second CONNECT")),
            (3, _) => publish(raw, version).map(Packet::Publish),
            (4, Version::V3) => exact(raw, v3_1_1::Puback::parse).map(|p| Packet::Puback(p.packet_id())),
            (4, Version::V5) => exact(raw, v5_0::Puback::parse).map(|p| Packet::Puback(p.packet_id())),
            (5..=7, _) => Err(broken(reason::QOS_NOT_SUPPORTED, "QoS 2 isn't supported")),
            (8, _) => subscribe(raw, version),
            (10, Version::V3) => {
                let packet = exact(raw, v3_1_1::Unsubscribe::parse)?;
                let filters = packet.entries().iter().map(|f| f.as_str().to_owned()).collect();
                numbered(packet.packet_id()).map(|id| Packet::Unsubscribe { id, filters })
            }
            (10, Version::V5) => {
                let packet = exact(raw, v5_0::Unsubscribe::parse)?;
                let filters = packet.entries().iter().map(|f| f.as_str().to_owned()).collect();
                numbered(packet.packet_id()).map(|id| Packet::Unsubscribe { id, filters })
            }
            (12, _) if raw.remaining_length() == 0 => Ok(Packet::Pingreq),
            (14, Version::V3) if raw.remaining_length() == 0 => {
                Ok(Packet::Disconnect { with_will: false, session_expiry: None })
            }
            (14, Version::V5) => {
                let packet = exact(raw, v5_0::Disconnect::parse)?;
                let code = packet.reason_code().map_or(reason::SUCCESS, |code| code as u8);
                let properties = packet.props().as_ref();
                let session_expiry = properties.and_then(|all| all.iter().find_map(session_expiry));
                Ok(Packet::Disconnect { with_will: code == reason::DISCONNECT_WITH_WILL, session_expiry })
            }
            (15, Version::V5) => Err(broken(reason::PROTOCOL_ERROR, "AUTH, but no method was agreed on")),
            _ => Err(broken(reason::PROTOCOL_ERROR, "a packet that a client doesn't send")),
        }
    }
}

fn exact<T>(raw: &RawPacket, parse: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>) -> Result<T, Broken> {
    raw.parse_exact(parse).map_err(|_| broken(reason::MALFORMED, "a packet can't be read"))
}

/// Packet ids begin at 1.
fn numbered(id: u16) -> Result<u16, Broken> {
    if id == 0 { Err(broken(reason::PROTOCOL_ERROR, "a packet has the id 0")) } else { Ok(id) }
}

fn session_expiry(property: &Property) -> Option<u32> {
    match property {
        Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    }
}

fn connect(raw: &RawPacket) -> Result<Connect, Broken> {
    let data = raw.data_as_slice();
    // The name and level decide how the rest is read (MQTT 3.1.1, section 3.1.2).
    let level = match data {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => *level,
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => {
            return Err(broken(reason::UNSUPPORTED_VERSION, "MQTT 3.1 is too old: use 3.1.1 or 5"));
        }
        _ => return Err(broken(reason::MALFORMED, "the first packet isn't an MQTT CONNECT")),
    };
    let flags = data.get(7).copied().unwrap_or(1);
    let (will, will_qos, will_retain) = (flags & 4 != 0, (flags >> 3) & 3, flags & 0x20 != 0);
    if flags & 1 != 0 || will_qos == 3 || (!will && (will_qos != 0 || will_retain)) {
        return Err(broken(reason::MALFORMED, "CONNECT has contradictory flags"));
    }
    if will_qos == 2 {
        return Err(broken(reason::QOS_NOT_SUPPORTED, "the will has QoS 2"));
    }
    let will_qos = if will_qos == 1 { Qos::One } else { Qos::Zero };
    let will = |topic: Option<&str>, payload: Option<&[u8]>, properties: &[Property]| -> Result<Option<Will>, Broken> {
        let Some(topic) = topic else { return Ok(None) };
        let mut message = Message::new(topic, payload.unwrap_or_default().to_vec(), will_qos);
        check_payload(&message.payload)?;
        message.properties = travelling(properties).into();
        let delay = properties.iter().find_map(|property| match property {
            Property::WillDelayInterval(seconds) => Some(Duration::from_secs(seconds.val().into())),
            _ => None,
        });
        Ok(Some(Will { message, delay: delay.unwrap_or_default(), life: life(properties), retain: will_retain }))
    };
    match level {
        4 => {
            let packet = exact(raw, v3_1_1::Connect::parse)?;
            Ok(Connect {
                version: Version::V3,
                client_id: packet.client_id().to_owned(),
                clean: packet.clean_session(),
                keep_alive: packet.keep_alive(),
                session_expiry: None,
                receive_maximum: u16::MAX,
                packet_maximum: u32::MAX,
                will: will(packet.will_topic(), packet.will_payload(), &[])?,
            })
        }
        5 => {
            let packet = exact(raw, v5_0::Connect::parse)?;
            let properties = packet.props();
            let mut connect = Connect {
                version: Version::V5,
                client_id: packet.client_id().to_owned(),
                clean: packet.clean_start(),
                keep_alive: packet.keep_alive(),
                session_expiry: properties.iter().find_map(session_expiry),
                receive_maximum: u16::MAX,
                packet_maximum: u32::MAX,
                will: will(packet.will_topic(), packet.will_payload(), packet.will_props())?,
            };
            for property in properties {
                match property {
                    Property::ReceiveMaximum(most) => connect.receive_maximum = most.val(),
                    Property::MaximumPacketSize(most) => connect.packet_maximum = most.val(),
                    Property::AuthenticationMethod(_) => {
                        return Err(broken(
                            0x8c,
                            "enhanced authentication isn't supported: the certificate is the identity",
                        ));
                    }
                    _ => {}
                }
            }
            if connect.receive_maximum == 0 || connect.packet_maximum == 0 {
                return Err(broken(reason::PROTOCOL_ERROR, "a limit of 0 in CONNECT"));
            }
            Ok(connect)
        }
        _ => Err(broken(reason::UNSUPPORTED_VERSION, "a version of MQTT that is neither 3.1.1 nor 5")),
    }
}

fn publish(raw: &RawPacket, version: Version) -> Result<Publish, Broken> {
    let PacketData::Publish(data) = &raw.data else { return Err(broken(reason::MALFORMED, "PUBLISH can't be read")) };
    let unreadable = |_| broken(reason::MALFORMED, "PUBLISH can't be read");
    let (topic, id, qos, dup, retain, payload, properties) = match version {
        Version::V3 => {
            let (p, _) = v3_1_1::Publish::parse(raw.flags(), data.clone()).map_err(unreadable)?;
            let payload: Arc<[u8]> = p.payload().as_slice().into();
            (p.topic_name().to_owned(), p.packet_id(), p.qos(), p.dup(), p.retain(), payload, Vec::new())
        }
        Version::V5 => {
            let (p, _) = v5_0::Publish::parse(raw.flags(), data.clone()).map_err(unreadable)?;
            let payload: Arc<[u8]> = p.payload().as_slice().into();
            (p.topic_name().to_owned(), p.packet_id(), p.qos(), p.dup(), p.retain(), payload, p.props().clone())
        }
    };
    let qos = match qos {
        LibraryQos::AtMostOnce if dup => {
            return Err(broken(reason::MALFORMED, "PUBLISH of QoS 0 is marked as repeated"));
        }
        LibraryQos::AtMostOnce => Qos::Zero,
        LibraryQos::AtLeastOnce => Qos::One,
        LibraryQos::ExactlyOnce => return Err(broken(reason::QOS_NOT_SUPPORTED, "QoS 2 isn't supported")),
    };
    let id = id.map(numbered).transpose()?;
    check_payload(&payload)?;
    let alias = properties.iter().find_map(|property| match property {
        Property::TopicAlias(alias) => Some(alias.val()),
        _ => None,
    });
    if properties.iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_))) {
        return Err(broken(reason::PROTOCOL_ERROR, "PUBLISH of a client carries a subscription identifier"));
    }
    let life = life(&properties);
    Ok(Publish { topic, alias, id, qos, retain, payload, properties: travelling(&properties), life })
}

fn check_payload(payload: &[u8]) -> Result<(), Broken> {
    if payload.len() > PAYLOAD_MAX {
        return Err(broken(reason::TOO_LARGE, "a message is larger than 128 KB"));
    }
    Ok(())
}

fn life(properties: &[Property]) -> Option<Duration> {
    properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(seconds) => Some(Duration::from_secs(seconds.val().into())),
        _ => None,
    })
}

/// What goes on to subscribers unaltered (MQTT 5, section 3.3.2.3).
fn travelling(properties: &[Property]) -> Vec<Property> {
    let travels = |property: &&Property| {
        matches!(
            property,
            Property::PayloadFormatIndicator(_)
                | Property::ContentType(_)
                | Property::ResponseTopic(_)
                | Property::CorrelationData(_)
                | Property::UserProperty(_)
        )
    };
    properties.iter().filter(travels).cloned().collect()
}

fn subscribe(raw: &RawPacket, version: Version) -> Result<Packet, Broken> {
    let (id, entries) = match version {
        Version::V3 => {
            let packet = exact(raw, v3_1_1::Subscribe::parse)?;
            (packet.packet_id(), packet.entries().clone())
        }
        Version::V5 => {
            let packet = exact(raw, v5_0::Subscribe::parse)?;
            if packet.props().iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_))) {
                return Err(broken(0xa1, "subscription identifiers aren't supported"));
            }
            (packet.packet_id(), packet.entries().clone())
        }
    };
    let filters = entries.iter().map(|entry| {
        // QoS 2 is granted as 1.
        let qos = if entry.sub_opts().qos() == LibraryQos::AtMostOnce { Qos::Zero } else { Qos::One };
        (entry.topic_filter().to_owned(), qos)
    });
    let filters = filters.collect();
    Ok(Packet::Subscribe { id: numbered(id)?, filters })
}
