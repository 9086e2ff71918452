//! One client's connection: reads packets, asks the policies, acts, and sends what waits.
//!
//! A task holds little: no read buffer of its own (one a thread is enough, since a read is decoded at once), and an
//! output buffer that goes when it is empty. Requests of one client are served one after another, so that it can't take
//! more than its share, and so that nothing is acknowledged before it is on disk.

mod opening;
mod publishing;
mod subscribing;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::{Duration, Instant};

use sealift_jobs::ThingName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::broker::{Broker, Left};
use super::counters::count;
use super::encode;
use super::limits::SESSION_EXPIRY_MAX;
use super::rate::Rate;
use super::session::{End, Session};
use super::wire::{Broken, Framer, Packet, Version, reason};
use opening::connect;

/// Bytes read at once.
const READ: usize = 16 * 1_024;
/// Time for the last packet of a connection to leave.
const PARTING: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Who is at the other end, as TLS knows it.
pub(crate) struct Client {
    /// What the common name of its certificate names; whose the certificate is, the registry says.
    pub(crate) named: Option<ThingName>,
    /// SHA-256 of the certificate, hex.
    pub(crate) fingerprint: String,
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// The origin of URLs for it.
    pub(crate) origin: String,
}

/// Why a connection ends.
struct Exit {
    reason: u8,
    why: &'static str,
    /// The client left by DISCONNECT: no will, and nothing to say to it.
    said_goodbye: bool,
    with_will: bool,
    expiry: Option<Duration>,
}

impl Exit {
    fn new(reason: u8, why: &'static str) -> Self {
        Self { reason, why, said_goodbye: false, with_will: true, expiry: None }
    }
}

impl From<Broken> for Exit {
    fn from(broken: Broken) -> Self {
        Self::new(broken.reason, broken.what)
    }
}

/// The connection itself is gone.
fn gone(_: io::Error) -> Exit {
    Exit { said_goodbye: true, ..Exit::new(reason::SUCCESS, "the connection broke") }
}

/// Serves a client until it leaves, breaks a rule, or has to go.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, client: Client, broker: Arc<Broker>) {
    let mut framer = Framer::new();
    let opened = match connect(&mut stream, &mut framer, &client, &broker).await {
        Ok(opened) => opened,
        Err(refused) => {
            tracing::info!(named = ?client.named, certificate = client.fingerprint, address = %client.address, why = refused.why,
                "an MQTT connection was refused");
            if let Some(version) = refused.version {
                let mut out = Vec::new();
                encode::refuse(&mut out, version, refused.reason, refused.why);
                let _ = tokio::time::timeout(PARTING, stream.write_all(&out)).await;
            }
            let _ = tokio::time::timeout(PARTING, stream.shutdown()).await;
            return;
        }
    };
    count(&broker.counters.connected);
    count(&broker.counters.open);
    tracing::debug!(thing = %opened.session.owner, client = %opened.session.client_id, address = %client.address, "connected");
    let (session, number, version) = (opened.session, opened.number, opened.version);
    let mut connection = Connection {
        stream: &mut stream,
        framer,
        broker: &broker,
        client: &client,
        session: &session,
        number,
        version,
        keep_alive: opened.keep_alive,
        heard: Instant::now(),
        window: opened.window,
        packet_maximum: opened.packet_maximum,
        aliases: Vec::new(),
        rate: Rate::new(broker.limits.publishes),
        out: opened.out,
        resumed: opened.resumed,
    };
    let exit = match connection.process(opened.packets).await {
        Ok(()) => connection.serve().await,
        Err(exit) => exit,
    };
    let mut out = std::mem::take(&mut connection.out);
    drop(connection);
    broker.counters.open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    broker.left(&session, number, Left { with_will: exit.with_will, expiry: exit.expiry });
    if !exit.said_goodbye {
        tracing::info!(thing = %session.owner, client = %session.client_id, reason = format!("{:#04x}", exit.reason),
            why = exit.why, "an MQTT connection was ended");
        encode::disconnect(&mut out, version, exit.reason, exit.why);
    }
    let _ = tokio::time::timeout(PARTING, stream.write_all(&out)).await;
    let _ = tokio::time::timeout(PARTING, stream.shutdown()).await;
}

/// Reads what has come and cuts it into packets. No bytes means that the client closed its side.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    framer: &mut Framer,
    packets: &mut Vec<Packet>,
) -> io::Result<(usize, Result<(), Broken>)> {
    std::future::poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            Ok((bytes.len(), framer.feed(bytes, packets))).into()
        })
    })
    .await
}

struct Connection<'a, S> {
    stream: &'a mut S,
    framer: Framer,
    broker: &'a Arc<Broker>,
    client: &'a Client,
    session: &'a Arc<Session>,
    number: u64,
    version: Version,
    /// Silence for longer than this ends the connection.
    keep_alive: Duration,
    heard: Instant,
    /// QoS 1 messages that may be unacknowledged at a time.
    window: u16,
    packet_maximum: u32,
    aliases: Vec<(u16, String)>,
    rate: Rate,
    out: Vec<u8>,
    resumed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// Goes on until something ends it.
    async fn serve(&mut self) -> Exit {
        loop {
            if let Some(end) = self.session.ended(self.number) {
                return self.told(end);
            }
            self.pump();
            if let Err(exit) = self.flush().await {
                return exit;
            }
            let deadline = self.deadline();
            let mut packets = Vec::new();
            let broken = tokio::select! {
                read = read(self.stream, &mut self.framer, &mut packets) => match read {
                    Ok((0, _)) => return gone(io::ErrorKind::UnexpectedEof.into()),
                    Ok((_, outcome)) => outcome.err(),
                    Err(error) => return gone(error),
                },
                () = self.session.wake.notified() => None,
                () = tokio::time::sleep_until(deadline.into()) => match self.late() {
                    Some(exit) => return exit,
                    None => None,
                },
            };
            if let Err(exit) = self.process(packets).await {
                return exit;
            }
            if let Some(broken) = broken {
                return self.broken(broken);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let mut at = self.heard + self.keep_alive;
        if let Some(began) = self.framer.began() {
            at = at.min(began + self.broker.limits.packet);
        }
        if self.version == Version::V3
            && let Some(repeat) = self.session.repeat_at()
        {
            at = at.min(repeat);
        }
        at
    }

    fn late(&self) -> Option<Exit> {
        let now = Instant::now();
        if self.framer.began().is_some_and(|began| now >= began + self.broker.limits.packet) {
            count(&self.broker.counters.too_slow);
            return Some(Exit::new(reason::PROTOCOL_ERROR, "a packet came too slowly"));
        }
        if now >= self.heard + self.keep_alive {
            count(&self.broker.counters.silent);
            return Some(Exit::new(reason::KEEP_ALIVE_TIMEOUT, "nothing was heard within the keep-alive"));
        }
        None
    }

    fn told(&self, end: End) -> Exit {
        match end {
            End::TakenOver => Exit::new(reason::TAKEN_OVER, "the same client connected again"),
            End::Revoked => Exit::new(reason::NOT_AUTHORIZED, "the certificate was revoked"),
            End::Overflow => {
                count(&self.broker.counters.stalled);
                Exit::new(reason::QUOTA_EXCEEDED, "too many messages wait for this client")
            }
            End::Stopping => Exit::new(reason::SHUTTING_DOWN, "the server stops"),
        }
    }

    fn broken(&self, broken: Broken) -> Exit {
        let counters = &self.broker.counters;
        count(if broken.reason == reason::TOO_LARGE { &counters.too_large } else { &counters.malformed });
        broken.into()
    }

    /// Puts what the session has to send into the output.
    fn pump(&mut self) {
        let repeat = self.version == Version::V3;
        let resumed = std::mem::take(&mut self.resumed);
        for one in self.session.outgoing(self.number, self.window, repeat, resumed) {
            let most = self.packet_maximum;
            if encode::publish(&mut self.out, self.version, &one.message, one.id, one.again, most) {
                count(&self.broker.counters.sent);
            } else {
                // Larger than the client takes: it is treated as delivered (MQTT 5, section 3.1.2.11.4).
                self.session.forget(one.id);
                count(&self.broker.counters.dropped);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Exit> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let sent = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| {
            if error.kind() != io::ErrorKind::TimedOut {
                return gone(error);
            }
            count(&self.broker.counters.stalled);
            Exit::new(reason::QUOTA_EXCEEDED, "the client took nothing of what it was sent")
        })
    }

    async fn process(&mut self, packets: Vec<Packet>) -> Result<(), Exit> {
        for packet in packets {
            self.heard = Instant::now();
            // A revoked certificate's packets that came before the news are nobody's any more.
            if let Some(end) = self.session.ended(self.number) {
                return Err(self.told(end));
            }
            match packet {
                Packet::Connect(_) => return Err(Exit::new(reason::PROTOCOL_ERROR, "a second CONNECT")),
                Packet::Publish(publish) => self.publish(publish).await?,
                Packet::Puback(id) => self.session.acknowledged(id),
                Packet::Subscribe { id, filters } => self.subscribe(id, &filters)?,
                Packet::Unsubscribe { id, filters } => self.unsubscribe(id, &filters)?,
                Packet::Pingreq => encode::pingresp(&mut self.out),
                Packet::Disconnect { with_will, session_expiry } => {
                    let expiry = session_expiry.map(|s| Duration::from_secs(s.into()).min(SESSION_EXPIRY_MAX));
                    return Err(Exit {
                        said_goodbye: true,
                        with_will,
                        expiry,
                        ..Exit::new(reason::SUCCESS, "goodbye")
                    });
                }
            }
            // One client's requests don't pile up in memory, and its answers leave as they come.
            self.pump();
            self.flush().await?;
        }
        Ok(())
    }
}
