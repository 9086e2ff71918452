//! MQTT 5 packets of the agent, with a bound on what the server may send.

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::{MaximumPacketSize, Qos, ReceiveMaximum, SubEntry, SubOpts, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

/// Largest packet taken: AWS's own bound, and more than a document at its longest with every character escaped needs.
const PACKET_MAX: u32 = 256 * 1_024;
/// Messages taken unacknowledged.
const RECEIVE_MAX: u16 = 16;

pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// A packet from the server.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Its reason code.
    Connack(u8),
    /// The reason code of its first filter.
    Suback(u8),
    Publish {
        topic: String,
        id: Option<u16>,
        payload: Vec<u8>,
    },
    /// Its reason code.
    Disconnect(u8),
    Other,
}

/// Cuts bytes into packets.
pub(super) struct Packets {
    builder: PacketBuilder,
    bytes: Vec<u8>,
}

impl Packets {
    pub(super) fn new() -> Self {
        Packets { builder: PacketBuilder::with_maximum_packet_size(PACKET_MAX), bytes: Vec::new() }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next packet that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, &'static str> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let mut cursor = Cursor::new(self.bytes.as_slice());
        let built = self.builder.feed(&mut cursor);
        let used = cursor.position() as usize;
        self.bytes.drain(..used);
        match built {
            PacketBuildResult::Complete(raw) => incoming(&raw).map(Some).map_err(|_| "a packet that can't be read"),
            PacketBuildResult::Incomplete => Ok(None),
            PacketBuildResult::Error(_) => Err("a packet that is malformed or too large"),
        }
    }
}

fn incoming(raw: &RawPacket) -> Result<Incoming, MqttError> {
    Ok(match raw.packet_type() {
        2 => Incoming::Connack(raw.parse_exact(v5_0::Connack::parse)?.reason_code() as u8),
        3 => {
            let PacketData::Publish(data) = &raw.data else { return Err(MqttError::MalformedPacket) };
            let (packet, _) = v5_0::Publish::parse(raw.flags(), data.clone())?;
            let (topic, payload) = (packet.topic_name().to_owned(), packet.payload().as_slice().to_vec());
            Incoming::Publish { topic, id: packet.packet_id(), payload }
        }
        9 => {
            let packet = raw.parse_exact(v5_0::Suback::parse)?;
            Incoming::Suback(packet.reason_codes().first().map_or(0x80, |code| *code as u8))
        }
        14 => {
            let packet = raw.parse_exact(v5_0::Disconnect::parse)?;
            Incoming::Disconnect(packet.reason_code().map_or(0, |code| code as u8))
        }
        _ => Incoming::Other,
    })
}

fn text(error: MqttError) -> String {
    format!("a packet can't be made: {error:?}")
}

pub(super) fn connect(client_id: &str, keep_alive: u16) -> Result<Vec<u8>, String> {
    let properties = vec![
        MaximumPacketSize::new(PACKET_MAX).map_err(text)?.into(),
        ReceiveMaximum::new(RECEIVE_MAX).map_err(text)?.into(),
    ];
    let packet = v5_0::Connect::builder().client_id(client_id).map_err(text)?;
    let packet = packet.clean_start(true).keep_alive(keep_alive).props(properties).build().map_err(text)?;
    Ok(packet.to_continuous_buffer())
}

pub(super) fn subscribe(filter: &str) -> Result<Vec<u8>, String> {
    let entry = SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtLeastOnce)).map_err(text)?;
    let packet = v5_0::Subscribe::builder().packet_id(1).entries(vec![entry]).build().map_err(text)?;
    Ok(packet.to_continuous_buffer())
}

pub(super) fn publish(topic: &str, id: u16, payload: Vec<u8>) -> Result<Vec<u8>, String> {
    let packet = v5_0::Publish::builder().topic_name(topic).map_err(text)?;
    let packet = packet.qos(Qos::AtLeastOnce).packet_id(id).payload(payload).build().map_err(text)?;
    Ok(packet.to_continuous_buffer())
}
