//! One client's connection: reads packets, asks the policies, acts, and sends what waits.
//!
//! A task holds little: no read buffer of its own (one a thread is enough, since a read is decoded at once), and an
//! output buffer that goes when it is empty. Requests of one client are served one after another, so that it can't take
//! more than its share, and so that nothing is acknowledged before it is on disk.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::{Duration, Instant};

use sealift_jobs::ThingName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::broker::{Access, Broker, Left};
use super::counters::count;
use super::encode::{self, Welcome};
use super::jobs::{self, Asked};
use super::limits::{
    CLIENT_ID_MAX, FILTERS_PER_REQUEST, KEEP_ALIVE_MAX, SESSION_EXPIRY, SESSION_EXPIRY_MAX, TOPIC_ALIASES,
};
use super::message::{Message, Qos};
use super::policy::{self, Action, Policy, Principal};
use super::rate::{Rate, Verdict};
use super::session::{End, Granted, Session};
use super::topics::{self, Reserved};
use super::wire::{Broken, Connect, Framer, Packet, Publish, Version, reason};

/// Bytes read at once.
const READ: usize = 16 * 1_024;
/// Time for the last packet of a connection to leave.
const PARTING: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Who is at the other end, as TLS knows it.
pub(crate) struct Client {
    /// The thing its certificate names.
    pub(crate) thing: ThingName,
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
            tracing::info!(thing = %client.thing, address = %client.address, why = refused.why, "an MQTT connection was refused");
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
    tracing::debug!(thing = %client.thing, client = %opened.session.client_id, address = %client.address, "connected");
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
        tracing::info!(thing = %client.thing, client = %session.client_id, reason = format!("{:#04x}", exit.reason),
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

/// A CONNECT that was refused, or never came.
struct Refused {
    version: Option<Version>,
    reason: u8,
    why: &'static str,
}

/// A connection past CONNECT.
struct Opened {
    session: Arc<Session>,
    number: u64,
    version: Version,
    keep_alive: Duration,
    window: u16,
    packet_maximum: u32,
    resumed: bool,
    /// CONNACK, not sent yet.
    out: Vec<u8>,
    /// What came together with CONNECT.
    packets: Vec<Packet>,
}

async fn connect<S: AsyncRead + Unpin>(
    stream: &mut S,
    framer: &mut Framer,
    client: &Client,
    broker: &Arc<Broker>,
) -> Result<Opened, Refused> {
    let silent = |why| Refused { version: None, reason: reason::SUCCESS, why };
    let mut packets = Vec::new();
    let deadline = tokio::time::Instant::now() + broker.limits.handshake;
    while packets.is_empty() {
        match tokio::time::timeout_at(deadline, read(stream, framer, &mut packets)).await {
            Err(_) => {
                count(&broker.counters.too_slow);
                return Err(silent("no CONNECT in time"));
            }
            Ok(Err(_) | Ok((0, _))) => return Err(silent("closed before CONNECT")),
            Ok(Ok((_, Err(broken)))) if packets.is_empty() => {
                let counter = if broken.reason == reason::TOO_LARGE {
                    &broker.counters.too_large
                } else {
                    &broker.counters.malformed
                };
                count(counter);
                // Only a client of another version gets an answer: what else would it be an answer to?
                let version = (broken.reason == reason::UNSUPPORTED_VERSION).then_some(Version::V3);
                return Err(Refused { version, reason: broken.reason, why: broken.what });
            }
            Ok(Ok(_)) => {}
        }
    }
    let Packet::Connect(asked) = packets.remove(0) else { return Err(silent("the first packet isn't CONNECT")) };
    let version = asked.version;
    let refuse = |reason, why| {
        count(&broker.counters.connects_refused);
        Refused { version: Some(version), reason, why }
    };
    if asked.client_id.len() > CLIENT_ID_MAX || asked.client_id.contains('\0') {
        return Err(refuse(reason::CLIENT_ID_INVALID, "the client id is longer than 128 bytes, or holds a zero"));
    }
    let assigned = asked.client_id.is_empty().then(|| format!("{}-{:016x}", client.thing, fresh_id()));
    if assigned.is_some() && version == Version::V3 && !asked.clean {
        return Err(refuse(reason::CLIENT_ID_INVALID, "a session that is kept needs a client id"));
    }
    let client_id = assigned.clone().unwrap_or_else(|| asked.client_id.clone());
    let number = broker.next_connection();
    let expiry = session_expiry(&asked);
    let (session, resumed) = loop {
        let epoch = broker.access_epoch();
        let policies = match broker.access(&client.thing, &client.fingerprint).await {
            Access::Granted(policies) => policies,
            Access::Refused => {
                broker.engine.watch().wrong_identity(Some(&client.thing), (broker.clock)());
                return Err(refuse(reason::NOT_AUTHORIZED, "the certificate isn't registered, or was revoked"));
            }
            Access::Unknown => return Err(refuse(reason::UNAVAILABLE, "the server is busy; try again")),
        };
        check_policies(&policies, client, &client_id, &asked).map_err(|(code, why)| refuse(code, why))?;
        let granted = Granted { policies, fingerprint: client.fingerprint.as_str().into() };
        let will = asked.will.clone();
        let attached = broker.attach((&client.thing, &client_id), asked.clean, (number, expiry), granted, will);
        let Some((session, resumed)) = attached else {
            return Err(refuse(reason::QUOTA_EXCEEDED, "this thing has too many sessions already"));
        };
        // Whatever changed between the look and the attachment found no session to end: look again.
        if broker.access_epoch() == epoch {
            break (session, resumed);
        }
        broker.left(&session, number, Left { with_will: false, expiry: None });
    };
    let keep_alive = match asked.keep_alive {
        0 => KEEP_ALIVE_MAX,
        seconds => seconds.min(KEEP_ALIVE_MAX),
    };
    let mut out = Vec::new();
    let said = Welcome {
        session_present: resumed,
        keep_alive,
        session_expiry: expiry.as_secs().try_into().unwrap_or(u32::MAX),
        assigned: assigned.as_deref(),
    };
    encode::welcome(&mut out, version, &said);
    Ok(Opened {
        session,
        number,
        version,
        // One and a half times the keep-alive (MQTT 5, section 3.1.2.10).
        keep_alive: Duration::from_secs(keep_alive.into()) * 3 / 2,
        window: asked.receive_maximum,
        packet_maximum: asked.packet_maximum,
        resumed,
        out,
        packets,
    })
}

fn check_policies(
    policies: &[Arc<Policy>],
    client: &Client,
    client_id: &str,
    asked: &Connect,
) -> Result<(), (u8, &'static str)> {
    let built_in = [Policy::built_in()];
    let policies = if policies.is_empty() { &built_in } else { policies };
    let who = Principal { thing: &client.thing, client_id };
    if !policy::allows(policies, Action::Connect, client_id, who) {
        return Err((reason::NOT_AUTHORIZED, "the policy doesn't let this certificate connect under this client id"));
    }
    if let Some(will) = &asked.will {
        let topic = &*will.message.topic;
        if !topics::is_name(topic) || topics::reserved(topic).is_some() {
            return Err((reason::TOPIC_INVALID, "the will's topic isn't one that clients publish to"));
        }
        if will.retain {
            return Err((reason::RETAIN_NOT_SUPPORTED, "retained messages aren't supported"));
        }
        if !policy::allows(policies, Action::Publish, topic, who) {
            return Err((reason::NOT_AUTHORIZED, "the policy doesn't let this certificate publish its will"));
        }
    }
    Ok(())
}

fn session_expiry(asked: &Connect) -> Duration {
    match asked.version {
        Version::V3 if asked.clean => Duration::ZERO,
        Version::V3 => SESSION_EXPIRY,
        Version::V5 => Duration::from_secs(asked.session_expiry.unwrap_or(0).into()).min(SESSION_EXPIRY_MAX),
    }
}

fn fresh_id() -> u64 {
    getrandom::u64().unwrap_or_default()
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

    async fn publish(&mut self, publish: Publish) -> Result<(), Exit> {
        let Publish { topic, alias, id, qos, retain, payload, properties, life } = publish;
        let topic = self.named(topic, alias)?;
        if !topics::is_name(&topic) {
            count(&self.broker.counters.malformed);
            return Err(Exit::new(reason::TOPIC_INVALID, "a topic that can't be published to"));
        }
        if !self.session.may(Action::Publish, &topic) || (retain && !self.session.may(Action::RetainPublish, &topic)) {
            count(&self.broker.counters.publishes_forbidden);
            self.broker.stranger(&self.session.thing);
            tracing::warn!(thing = %self.client.thing, topic, "a publish that the policy forbids");
            return Err(Exit::new(reason::NOT_AUTHORIZED, "the policy forbids this publish"));
        }
        if retain {
            return Err(Exit::new(reason::RETAIN_NOT_SUPPORTED, "retained messages aren't supported"));
        }
        let reserved = topics::reserved(&topic);
        if reserved == Some(Reserved::Other) {
            count(&self.broker.counters.malformed);
            return Err(Exit::new(reason::TOPIC_INVALID, "a reserved topic that clients don't publish to"));
        }
        let asked = Asked { topic: &topic, payload: &payload, qos, origin: &self.client.origin };
        let mut code = reason::SUCCESS;
        match self.rate.take() {
            Verdict::Fine => {
                count(&self.broker.counters.received);
                match reserved {
                    Some(Reserved::Jobs(thing, operation)) => {
                        jobs::serve(self.broker, self.session, &asked, Some((thing, operation))).await;
                    }
                    Some(_) => jobs::serve(self.broker, self.session, &asked, None).await,
                    None => {
                        let expires = life.map(|life| Instant::now() + life);
                        let topic = topic.as_str().into();
                        self.broker.publish(&Message { topic, payload, qos, properties: properties.into(), expires });
                    }
                }
            }
            Verdict::TooFast => {
                count(&self.broker.counters.throttled);
                match reserved {
                    Some(_) => jobs::throttle(self.broker, self.session, &asked),
                    // As AWS does: discarded, and not acknowledged; MQTT 5 can say why.
                    None if self.version == Version::V3 => return Ok(()),
                    None => code = reason::QUOTA_EXCEEDED,
                }
            }
            Verdict::Flood => {
                count(&self.broker.counters.throttled);
                tracing::warn!(thing = %self.client.thing, "a client floods the server");
                return Err(Exit::new(reason::RATE_TOO_HIGH, "far more messages than allowed"));
            }
        }
        if qos == Qos::One
            && let Some(id) = id
        {
            encode::puback(&mut self.out, self.version, id, code);
        }
        Ok(())
    }

    /// The topic, which an alias may stand for (MQTT 5, section 3.3.2.3.4).
    fn named(&mut self, topic: String, alias: Option<u16>) -> Result<String, Exit> {
        let Some(alias) = alias else { return Ok(topic) };
        if alias == 0 || alias > TOPIC_ALIASES {
            return Err(Exit::new(reason::ALIAS_INVALID, "a topic alias out of bounds"));
        }
        let known = self.aliases.iter().position(|(number, _)| *number == alias);
        match (known, topic.is_empty()) {
            (Some(at), true) => Ok(self.aliases[at].1.clone()),
            (None, true) => Err(Exit::new(reason::PROTOCOL_ERROR, "a topic alias that stands for nothing")),
            (known, false) => {
                if !topics::is_name(&topic) {
                    return Err(Exit::new(reason::TOPIC_INVALID, "a topic that can't be published to"));
                }
                if let Some(at) = known {
                    self.aliases.swap_remove(at);
                }
                self.aliases.push((alias, topic.clone()));
                Ok(topic)
            }
        }
    }

    fn subscribe(&mut self, id: u16, filters: &[(String, Qos)]) -> Result<(), Exit> {
        if filters.is_empty() || filters.len() > FILTERS_PER_REQUEST {
            return Err(Exit::new(reason::PROTOCOL_ERROR, "SUBSCRIBE has 1 to 8 filters"));
        }
        let mut codes = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            codes.push(if topics::is_shared(filter) {
                reason::SHARED_NOT_SUPPORTED
            } else if !topics::is_filter(filter) {
                count(&self.broker.counters.malformed);
                reason::FILTER_INVALID
            } else if !self.session.may(Action::Subscribe, filter) {
                count(&self.broker.counters.subscriptions_forbidden);
                self.broker.stranger(&self.session.thing);
                tracing::warn!(thing = %self.client.thing, filter, "a subscription that the policy forbids");
                reason::NOT_AUTHORIZED
            } else if !self.broker.subscribe(self.session, filter, *qos) {
                reason::QUOTA_EXCEEDED
            } else {
                qos.code()
            });
        }
        encode::suback(&mut self.out, self.version, id, &codes);
        Ok(())
    }

    fn unsubscribe(&mut self, id: u16, filters: &[String]) -> Result<(), Exit> {
        if filters.is_empty() || filters.len() > FILTERS_PER_REQUEST {
            return Err(Exit::new(reason::PROTOCOL_ERROR, "UNSUBSCRIBE has 1 to 8 filters"));
        }
        let codes: Vec<u8> =
            filters
                .iter()
                .map(|filter| {
                    if self.broker.unsubscribe(self.session, filter) {
                        reason::SUCCESS
                    } else {
                        reason::NO_SUBSCRIPTION
                    }
                })
                .collect();
        encode::unsuback(&mut self.out, self.version, id, &codes);
        Ok(())
    }
}
