//! CONNECT: who comes, whether he may, and which session is his.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;

use super::{Client, read};
use crate::mqtt::broker::{Access, Broker, Left};
use crate::mqtt::counters::count;
use crate::mqtt::encode::{self, Welcome};
use crate::mqtt::limits::{CLIENT_ID_MAX, KEEP_ALIVE_MAX, SESSION_EXPIRY, SESSION_EXPIRY_MAX};
use crate::mqtt::owner::Owner;
use crate::mqtt::policy::{self, Action, Policy, Principal};
use crate::mqtt::session::{Granted, Session};
use crate::mqtt::topics;
use crate::mqtt::wire::{Connect, Framer, Packet, Version, reason};

/// A CONNECT that was refused, or never came.
pub(super) struct Refused {
    pub(super) version: Option<Version>,
    pub(super) reason: u8,
    pub(super) why: &'static str,
}

/// A connection past CONNECT.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) number: u64,
    pub(super) version: Version,
    pub(super) keep_alive: Duration,
    pub(super) window: u16,
    pub(super) packet_maximum: u32,
    pub(super) resumed: bool,
    /// CONNACK, not sent yet.
    pub(super) out: Vec<u8>,
    /// What came together with CONNECT.
    pub(super) packets: Vec<Packet>,
}

pub(super) async fn connect<S: AsyncRead + Unpin>(
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
    if asked.client_id.is_empty() && version == Version::V3 && !asked.clean {
        return Err(refuse(reason::CLIENT_ID_INVALID, "a session that is kept needs a client id"));
    }
    let mut assigned = None;
    let number = broker.next_connection();
    let mut expiry = session_expiry(&asked);
    let (session, resumed) = loop {
        let epoch = broker.access_epoch();
        let (owner, policies) = match broker.access(client.named.as_ref(), &client.fingerprint).await {
            Access::Granted(owner, policies) => (owner, policies),
            Access::Refused => {
                broker.engine.watch().wrong_identity(client.named.as_ref(), (broker.clock)());
                return Err(refuse(reason::NOT_AUTHORIZED, "the certificate isn't registered, or was revoked"));
            }
            Access::Unknown => return Err(refuse(reason::UNAVAILABLE, "the server is busy; try again")),
        };
        if asked.client_id.is_empty() {
            assigned = Some(format!("{owner}-{:016x}", fresh_id()));
        }
        let client_id = assigned.as_deref().unwrap_or(&asked.client_id);
        // Nothing is kept for a claim: whoever comes with it next is another device.
        if let Owner::Claim(_) = owner {
            expiry = Duration::ZERO;
        }
        let common_name = client.named.as_ref().filter(|named| owner.thing() != Some(named));
        let common_name: Option<Box<str>> = common_name.map(|name| name.as_str().into());
        let who = Principal {
            thing: owner.thing(),
            common_name: common_name.as_deref().or(owner.thing().map(|thing| thing.as_str())),
            client_id,
        };
        check_policies(&policies, who, &asked).map_err(|(code, why)| refuse(code, why))?;
        let granted = Granted { policies, fingerprint: client.fingerprint.as_str().into(), common_name };
        let will = asked.will.clone();
        let attached = broker.attach((&owner, client_id), asked.clean, (number, expiry), granted, will);
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

fn check_policies(policies: &[Arc<Policy>], who: Principal<'_>, asked: &Connect) -> Result<(), (u8, &'static str)> {
    let built_in = [Policy::built_in()];
    let policies = if policies.is_empty() { &built_in } else { policies };
    if !policy::allows(policies, Action::Connect, who.client_id, who) {
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
