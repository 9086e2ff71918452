//! AWS IoT's limits of the message broker, which the local endpoint keeps, so that what works here works there.

use std::time::Duration;

/// Most bytes of a whole packet: what AWS tells MQTT 5 clients as Maximum Packet Size.
pub(super) const PACKET_MAX: u32 = 149_504;
/// Most bytes of a message.
pub(super) const PAYLOAD_MAX: usize = 128 * 1_024;
/// Most bytes of a client id.
pub(super) const CLIENT_ID_MAX: usize = 128;
/// Most bytes of a topic or filter.
pub(super) const TOPIC_MAX: usize = 256;
/// Most slashes of a topic or filter, the three of a reserved prefix (`$aws/x/y/`) not counted.
pub(super) const TOPIC_SLASHES_MAX: usize = 7;
/// Most filters in one SUBSCRIBE or UNSUBSCRIBE.
pub(super) const FILTERS_PER_REQUEST: usize = 8;
/// Most subscriptions of one client.
pub(super) const SUBSCRIPTIONS_MAX: usize = 50;
/// Most QoS 1 messages on their way to one client, and the other way.
pub(super) const IN_FLIGHT_MAX: u16 = 100;
/// Topic aliases a client may use.
pub(super) const TOPIC_ALIASES: u16 = 8;
/// Longest keep-alive, and the one of a client that asks for none.
pub(super) const KEEP_ALIVE_MAX: u16 = 1_200;
/// How long an MQTT 3.1.1 client's session outlives its connection.
pub(super) const SESSION_EXPIRY: Duration = Duration::from_secs(3_600);
/// Longest session expiry an MQTT 5 client gets.
pub(super) const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Sessions that one thing may have, connected or kept. AWS knows no such bound; here it is what keeps one device from
/// filling the memory with sessions.
pub(super) const SESSIONS_PER_THING: usize = 8;
/// Sessions that one claim may have: a claim is shared by all devices of a production line.
pub(super) const SESSIONS_PER_CLAIM: usize = 512;
/// Messages that wait for one client.
pub(super) const QUEUE_MAX: usize = 128;
/// Bytes of messages that wait for one client.
pub(super) const QUEUE_BYTES: usize = 512 * 1_024;
/// After this time an MQTT 3.1.1 client that hasn't acknowledged a message gets it again. MQTT 5 forbids it.
pub(super) const RETRANSMIT: Duration = Duration::from_secs(10);

/// What a server's operator may set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait to be accepted.
    pub connections: usize,
    /// Time for the TLS handshake, and again for CONNECT.
    pub handshake: Duration,
    /// Time in which a client must take at least one byte of what it is sent.
    pub stall: Duration,
    /// Time in which a packet that began must arrive whole.
    pub packet: Duration,
    /// Messages a client may publish in a second; AWS allows 100.
    pub publishes: u32,
    /// Time for connections to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            packet: Duration::from_secs(20),
            publishes: 100,
            drain: Duration::from_secs(5),
        }
    }
}
