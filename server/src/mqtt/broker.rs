//! Sessions, subscriptions and messages of all clients.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sealift_jobs::ThingName;

use super::counters::{Counters, count};
use super::limits::{Limits, SESSIONS_PER_THING};
use super::message::{Message, Qos, Will};
use super::policy::{Action, Policy};
use super::routes::Routes;
use super::session::{Delivery, End, Granted, Session};
use crate::endpoint::Links;
use crate::engine::{Clock, Engine};
use crate::registry;

/// How often sessions that are over are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// The message broker of the local endpoint.
pub struct Broker {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) links: Arc<Links>,
    pub(super) clock: Clock,
    /// What happened so far.
    pub counters: Arc<Counters>,
    sessions: Mutex<HashMap<ThingName, Vec<Arc<Session>>>>,
    routes: RwLock<Routes>,
    connections: AtomicU64,
    /// Raised whenever a certificate was revoked or a policy changed, before open connections are told.
    access: AtomicU64,
}

/// What a certificate may do.
#[derive(Debug)]
pub(super) enum Access {
    /// What its policies say; none stands for the default one.
    Granted(Vec<Arc<Policy>>),
    /// Unknown or revoked.
    Refused,
    /// The database doesn't answer.
    Unknown,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// The client is gone without a word, or asked for its will.
    pub(super) with_will: bool,
    /// MQTT 5: another expiry, said with DISCONNECT.
    pub(super) expiry: Option<Duration>,
}

impl Broker {
    /// A client reached for what isn't its own.
    pub(super) fn stranger(&self, thing: &ThingName) {
        self.engine.watch().wrong_identity(Some(thing), (self.clock)());
    }

    /// A broker over `engine`, without connections.
    #[must_use]
    pub fn new(engine: Engine, limits: Limits, links: Arc<Links>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            engine,
            limits,
            links,
            clock,
            counters: Arc::default(),
            sessions: Mutex::default(),
            routes: RwLock::default(),
            connections: AtomicU64::new(1),
            access: AtomicU64::new(0),
        })
    }

    /// The URLs of job documents.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<ThingName, Vec<Arc<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes when somebody's access changed; compared before and after a look at the registry.
    pub(super) fn access_epoch(&self) -> u64 {
        self.access.load(Ordering::Acquire)
    }

    /// Asks the registry what a certificate may do.
    pub(super) async fn access(&self, thing: &ThingName, fingerprint: &str) -> Access {
        match self.engine.registry(registry::Request::Access(thing.clone())).await {
            Some(Ok(registry::Response::Access(known, documents))) => {
                match self.engine.speaks_for(&known, fingerprint).await {
                    Some(true) => {}
                    Some(false) => return Access::Refused,
                    None => return Access::Unknown,
                }
                let policies: Result<Vec<_>, _> =
                    documents.iter().map(|document| Policy::from_json(document).map(Arc::new)).collect();
                match policies {
                    Ok(policies) => Access::Granted(policies),
                    Err(error) => {
                        // Checked when it was made: only a change by hand brings it here.
                        tracing::error!(%thing, %error, "a stored policy can't be used");
                        Access::Refused
                    }
                }
            }
            Some(Ok(_) | Err(registry::Failure::NoThing(_))) => Access::Refused,
            Some(Err(_)) | None => Access::Unknown,
        }
    }

    /// Gives a connection its session: the one that was kept, or a new one. The flag says whether it was kept. `None`
    /// when the thing has too many sessions already.
    pub(super) fn attach(
        self: &Arc<Self>,
        (thing, client_id): (&ThingName, &str),
        clean: bool,
        (connection, expiry): (u64, Duration),
        granted: Granted,
        will: Option<Will>,
    ) -> Option<(Arc<Session>, bool)> {
        let mut last_word = None;
        let attached = {
            let mut all = self.sessions();
            let own = all.entry(thing.clone()).or_default();
            let now = Instant::now();
            let at = own.iter().position(|one| &*one.client_id == client_id);
            let before = at.map(|at| own[at].clone());
            if let Some(before) = before.as_ref().filter(|before| before.is_connected()) {
                count(&self.counters.taken_over);
                // The old connection ends without its client's word; a delayed will is void, since the client is back.
                last_word = before.take_will().filter(|will| will.delay.is_zero());
            }
            match before {
                Some(kept) if !clean && !kept.is_over(now) => {
                    kept.attach(connection, granted, expiry, will);
                    Some((kept, true))
                }
                before => {
                    if let (Some(at), Some(before)) = (at, before) {
                        before.end(End::TakenOver);
                        own.swap_remove(at);
                        self.unroute(&before);
                    }
                    if own.len() >= SESSIONS_PER_THING {
                        None
                    } else {
                        let session = Arc::new(Session::new(thing.clone(), client_id.into()));
                        session.attach(connection, granted, expiry, will);
                        own.push(session.clone());
                        own.shrink_to_fit();
                        Some((session, false))
                    }
                }
            }
        };
        if let Some(will) = last_word {
            self.last_word(thing, will);
        }
        attached
    }

    /// Takes back the session of a connection that ended.
    pub(super) fn left(self: &Arc<Self>, session: &Arc<Session>, connection: u64, how: Left) {
        let will = session.take_will_of(connection);
        let Some(expiry) = session.detach(connection, how.expiry) else { return };
        if let Some(will) = will.filter(|_| how.with_will) {
            let delay = will.delay.min(expiry);
            if delay.is_zero() {
                self.last_word(&session.thing, will);
            } else {
                let (broker, session) = (self.clone(), session.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    if !session.is_connected() {
                        broker.last_word(&session.thing, will);
                    }
                });
            }
        }
        if expiry.is_zero() {
            self.remove(session);
        }
    }

    fn remove(&self, session: &Arc<Session>) {
        let mut all = self.sessions();
        if let Some(own) = all.get_mut(&session.thing) {
            own.retain(|one| !Arc::ptr_eq(one, session));
            if own.is_empty() {
                all.remove(&session.thing);
            }
        }
        drop(all);
        self.unroute(session);
    }

    fn unroute(&self, session: &Arc<Session>) {
        let filters = session.filters();
        if !filters.is_empty() {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            for filter in filters {
                routes.unsubscribe(&filter, session);
            }
        }
    }

    fn last_word(&self, thing: &ThingName, mut will: Will) {
        tracing::debug!(%thing, topic = %will.message.topic, "a client is gone without a word: its will is said");
        will.message.expires = will.life.map(|life| Instant::now() + life);
        self.publish(&will.message);
    }

    /// Adds a subscription; false when the client has too many.
    pub(super) fn subscribe(&self, session: &Arc<Session>, filter: &str, qos: Qos) -> bool {
        if !session.subscribe(filter, qos) {
            return false;
        }
        self.routes.write().unwrap_or_else(PoisonError::into_inner).subscribe(filter, session, qos);
        true
    }

    /// Removes a subscription; false when there was none.
    pub(super) fn unsubscribe(&self, session: &Arc<Session>, filter: &str) -> bool {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).unsubscribe(filter, session);
        session.unsubscribe(filter)
    }

    fn subscribers(&self, topic: &str) -> Vec<(Arc<Session>, Qos)> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).subscribers(topic)
    }

    /// True when somebody would get a message on `topic`.
    pub(super) fn is_heard(&self, topic: &str) -> bool {
        !self.subscribers(topic).is_empty()
    }

    /// Gives a message to everybody who subscribed to its topic.
    pub(super) fn publish(&self, message: &Message) {
        for (session, granted) in self.subscribers(&message.topic) {
            self.deliver(&session, message, granted);
        }
    }

    /// Gives an answer to the one who asked, subscribed or not, and to other subscribers.
    pub(super) fn answer(&self, asker: &Arc<Session>, message: &Message) {
        let mut granted_to_asker = None;
        for (session, granted) in self.subscribers(&message.topic) {
            if Arc::ptr_eq(&session, asker) {
                granted_to_asker = Some(granted);
            } else {
                self.deliver(&session, message, granted);
            }
        }
        self.deliver(asker, message, granted_to_asker.unwrap_or(message.qos));
    }

    fn deliver(&self, session: &Arc<Session>, message: &Message, granted: Qos) {
        if !session.may(Action::Receive, &message.topic) {
            return;
        }
        let qos = granted.min(message.qos);
        if session.deliver(message, qos) == Delivery::Full {
            count(&self.counters.dropped);
            if qos == Qos::One && session.is_connected() {
                // A promise that can't be kept ends the connection: its client then knows that it has to ask.
                session.end(End::Overflow);
            }
        }
    }

    /// Things with a connection.
    pub(super) fn connected(&self) -> Vec<ThingName> {
        let all = self.sessions();
        all.iter().filter(|(_, own)| own.iter().any(|one| one.is_connected())).map(|(thing, _)| thing.clone()).collect()
    }

    /// Looks again at what a thing may do, and ends or changes its open connections.
    pub(super) async fn access_changed(&self, thing: &ThingName) {
        self.access.fetch_add(1, Ordering::AcqRel);
        let own = self.sessions().get(thing).cloned().unwrap_or_default();
        for session in own {
            let fingerprint = session.fingerprint();
            match self.access(thing, &fingerprint).await {
                Access::Granted(policies) => session.set_policies(policies),
                Access::Refused => {
                    count(&self.counters.revoked);
                    tracing::warn!(%thing, client = %session.client_id, "the certificate isn't active any more: disconnected");
                    session.end(End::Revoked);
                    // What was kept for it is forgotten: the certificate won't come back.
                    if !session.is_connected() {
                        self.remove(&session);
                    }
                }
                // Not knowing isn't a reason to let somebody go on.
                Access::Unknown => session.end(End::Revoked),
            }
        }
    }

    /// Tells every connection that the server stops.
    pub(super) fn stop(&self) {
        for session in self.sessions().values().flatten() {
            session.end(End::Stopping);
        }
    }

    /// Removes sessions whose time is over, for ever.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            let over: Vec<_> = self.sessions().values().flatten().filter(|one| one.is_over(now)).cloned().collect();
            for session in over {
                // Its client may have come back meanwhile.
                if session.is_over(now) {
                    self.remove(&session);
                }
            }
        }
    }
}
