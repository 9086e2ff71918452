//! What a client leaves at the server: its subscriptions and the messages it hasn't acknowledged. Outlives connections
//! when the client asked for that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::limits::{IN_FLIGHT_MAX, QUEUE_BYTES, QUEUE_MAX, RETRANSMIT, SUBSCRIPTIONS_MAX};
use super::message::{Message, Qos, Will};
use super::owner::Owner;
use super::policy::{self, Action, Policy, Principal};

/// Why a session ends its connection from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The same client connected again.
    TakenOver,
    /// The certificate was revoked.
    Revoked,
    /// The client doesn't take its messages.
    Overflow,
    /// The server stops.
    Stopping,
}

/// One client's session.
pub(super) struct Session {
    pub(super) owner: Owner,
    pub(super) client_id: Box<str>,
    /// Wakes the connection: there is something to send, or it has to end.
    pub(super) wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the connection that has the session.
    connection: Option<u64>,
    end: Option<(u64, End)>,
    subscriptions: BTreeMap<Box<str>, Qos>,
    queue: VecDeque<(Message, Qos)>,
    queued_bytes: usize,
    in_flight: BTreeMap<u16, InFlight>,
    last_id: u16,
    next_sending: u64,
    policies: Option<Vec<Arc<Policy>>>,
    fingerprint: Box<str>,
    /// The certificate's common name, when it isn't the thing's name.
    common_name: Option<Box<str>>,
    /// How long the session outlives its connection.
    expiry: Duration,
    expires: Option<Instant>,
    will: Option<Will>,
}

struct InFlight {
    message: Message,
    /// Order of sending: ids wrap around, this doesn't.
    order: u64,
    sent: Instant,
}

/// What a certificate may do, and which one it is.
pub(super) struct Granted {
    /// None stands for the default policy.
    pub(super) policies: Vec<Arc<Policy>>,
    /// SHA-256 of the certificate's DER, hex.
    pub(super) fingerprint: Box<str>,
    /// The certificate's common name, when it isn't the thing's name.
    pub(super) common_name: Option<Box<str>>,
}

/// A message to send now.
pub(super) struct Outgoing {
    pub(super) message: Message,
    pub(super) id: Option<u16>,
    pub(super) again: bool,
}

/// What became of a message for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Queued,
    /// Nobody is there, and the session keeps nothing of this kind.
    Gone,
    /// There is no room.
    Full,
}

impl Session {
    pub(super) fn new(owner: Owner, client_id: Box<str>) -> Self {
        Self { owner, client_id, wake: Notify::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the session to a connection; the one before is told to end.
    pub(super) fn attach(&self, connection: u64, granted: Granted, expiry: Duration, will: Option<Will>) {
        let mut state = self.state();
        let Granted { policies, fingerprint, common_name } = granted;
        if let Some(before) = state.connection.replace(connection) {
            state.end = Some((before, End::TakenOver));
        }
        state.policies = (!policies.is_empty()).then_some(policies);
        state.fingerprint = fingerprint;
        state.common_name = common_name;
        state.expiry = expiry;
        state.expires = None;
        state.will = will;
        // What wasn't acknowledged is sent again, in its old order and under its old ids.
        let long_ago = Instant::now().checked_sub(RETRANSMIT * 2);
        for message in state.in_flight.values_mut() {
            message.sent = long_ago.unwrap_or(message.sent);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// SHA-256 of the certificate that has the session.
    pub(super) fn fingerprint(&self) -> Arc<str> {
        self.state().fingerprint.clone().into()
    }

    /// Takes the session from its connection, unless another has it by now. Returns how long it is kept.
    pub(super) fn detach(&self, connection: u64, expiry: Option<Duration>) -> Option<Duration> {
        let mut state = self.state();
        if state.connection != Some(connection) {
            return None;
        }
        state.connection = None;
        if let Some(expiry) = expiry {
            state.expiry = expiry;
        }
        state.expires = Some(Instant::now() + state.expiry);
        if state.expiry.is_zero() {
            state.queue = VecDeque::new();
            state.in_flight = BTreeMap::new();
        } else {
            // What nobody promised to keep isn't kept.
            let mut freed = 0;
            state.queue.retain(|(message, qos)| {
                let keep = *qos == Qos::One;
                freed += if keep { 0 } else { message.size() };
                keep
            });
            state.queued_bytes -= freed;
        }
        Some(state.expiry)
    }

    /// The will, if `connection` still has the session.
    pub(super) fn take_will_of(&self, connection: u64) -> Option<Will> {
        let mut state = self.state();
        if state.connection == Some(connection) { state.will.take() } else { None }
    }

    pub(super) fn take_will(&self) -> Option<Will> {
        self.state().will.take()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state().connection.is_some()
    }

    /// True when nobody has the session and its time is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let state = self.state();
        state.connection.is_none() && state.expires.is_some_and(|at| at <= now)
    }

    /// Tells the connection that has the session to end.
    pub(super) fn end(&self, why: End) {
        let mut state = self.state();
        if let Some(connection) = state.connection {
            state.end = Some((connection, why));
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Why `connection` has to end, if it has to.
    pub(super) fn ended(&self, connection: u64) -> Option<End> {
        let state = self.state();
        match state.end {
            Some((which, why)) if which == connection => Some(why),
            _ if state.connection != Some(connection) => Some(End::TakenOver),
            _ => None,
        }
    }

    pub(super) fn set_policies(&self, policies: Vec<Arc<Policy>>) {
        self.state().policies = (!policies.is_empty()).then_some(policies);
    }

    /// Asks the policies.
    pub(super) fn may(&self, action: Action, name: &str) -> bool {
        let (policies, common_name) = {
            let state = self.state();
            (state.policies.clone(), state.common_name.clone())
        };
        let thing = self.owner.thing();
        let common_name = common_name.as_deref().or(thing.map(|thing| thing.as_str()));
        let who = Principal { thing, common_name, client_id: &self.client_id };
        match policies {
            Some(policies) => policy::allows(&policies, action, name, who),
            None => policy::allows(&[Policy::built_in()], action, name, who),
        }
    }

    /// Notes a subscription; false when there are too many.
    pub(super) fn subscribe(&self, filter: &str, qos: Qos) -> bool {
        let mut state = self.state();
        if !state.subscriptions.contains_key(filter) && state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        state.subscriptions.insert(filter.into(), qos);
        true
    }

    /// Forgets a subscription; false when there was none.
    pub(super) fn unsubscribe(&self, filter: &str) -> bool {
        self.state().subscriptions.remove(filter).is_some()
    }

    pub(super) fn filters(&self) -> Vec<Box<str>> {
        self.state().subscriptions.keys().cloned().collect()
    }

    /// Puts a message into the queue.
    pub(super) fn deliver(&self, message: &Message, qos: Qos) -> Delivery {
        let mut state = self.state();
        if state.connection.is_none() && (qos == Qos::Zero || state.expiry.is_zero()) {
            return Delivery::Gone;
        }
        if state.queue.len() >= QUEUE_MAX || state.queued_bytes + message.size() > QUEUE_BYTES {
            return Delivery::Full;
        }
        state.queued_bytes += message.size();
        state.queue.push_back((message.clone(), qos));
        drop(state);
        self.wake.notify_one();
        Delivery::Queued
    }

    /// What `connection` may send now: at most `window` messages are unacknowledged at a time. `repeat` says whether the
    /// protocol lets an unacknowledged message be sent again on the same connection.
    pub(super) fn outgoing(&self, connection: u64, window: u16, repeat: bool, resumed: bool) -> Vec<Outgoing> {
        let mut state = self.state();
        let mut out = Vec::new();
        if state.connection != Some(connection) {
            return out;
        }
        let now = Instant::now();
        if repeat || resumed {
            let mut due: Vec<(u64, u16)> = Vec::new();
            for (id, message) in &mut state.in_flight {
                if now.duration_since(message.sent) >= RETRANSMIT {
                    message.sent = now;
                    due.push((message.order, *id));
                }
            }
            due.sort_unstable();
            for (_, id) in due {
                if let Some(one) = state.in_flight.get(&id) {
                    out.push(Outgoing { message: one.message.clone(), id: Some(id), again: true });
                }
            }
        }
        let window = usize::from(window.min(IN_FLIGHT_MAX));
        while let Some((_, qos)) = state.queue.front() {
            if *qos == Qos::One && state.in_flight.len() >= window {
                break;
            }
            let Some((message, qos)) = state.queue.pop_front() else { break };
            state.queued_bytes -= message.size();
            if message.is_expired() {
                continue;
            }
            let id = (qos == Qos::One).then(|| {
                let id = state.free_id();
                let order = state.next_sending;
                state.next_sending += 1;
                state.in_flight.insert(id, InFlight { message: message.clone(), order, sent: now });
                id
            });
            out.push(Outgoing { message, id, again: false });
        }
        if state.queue.is_empty() && state.queue.capacity() > 0 {
            state.queue = VecDeque::new();
        }
        out
    }

    /// When an unacknowledged message has to be sent again.
    pub(super) fn repeat_at(&self) -> Option<Instant> {
        self.state().in_flight.values().map(|message| message.sent + RETRANSMIT).min()
    }

    /// The client has the message. An id that nothing was sent under is no news: a PUBACK may come twice.
    pub(super) fn acknowledged(&self, id: u16) {
        let mut state = self.state();
        state.in_flight.remove(&id);
        let waiting = !state.queue.is_empty();
        drop(state);
        if waiting {
            self.wake.notify_one();
        }
    }

    /// Gives up on a message that the client can't take.
    pub(super) fn forget(&self, id: Option<u16>) {
        if let Some(id) = id {
            self.state().in_flight.remove(&id);
        }
    }
}

impl State {
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}
