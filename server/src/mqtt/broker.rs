//! Sessions, subscriptions and messages of all clients.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sealift_jobs::ThingName;
use serde_json::json;

use super::counters::{Counters, count};
use super::limits::{Limits, SESSIONS_PER_CLAIM, SESSIONS_PER_THING};
use super::message::{Message, Qos, Will};
use super::owner::Owner;
use super::policy::{Action, Policy};
use super::routes::Routes;
use super::session::{Delivery, End, Granted, Session};
use crate::endpoint::Links;
use crate::engine::{Clock, Engine};
use crate::pki::Authority;
use crate::registry::{self, Identity};

/// How often sessions that are over are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// The message broker of the local endpoint.
pub struct Broker {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) links: Arc<Links>,
    pub(super) clock: Clock,
    pub(super) authority: Arc<Authority>,
    /// What happened so far.
    pub counters: Arc<Counters>,
    sessions: Mutex<HashMap<Owner, Vec<Arc<Session>>>>,
    routes: RwLock<Routes>,
    connections: AtomicU64,
    /// Raised whenever a certificate was revoked or a policy changed, before open connections are told.
    access: AtomicU64,
}

/// What a certificate may do.
#[derive(Debug)]
pub(super) enum Access {
    /// What its policies say; none stands for a thing's default one.
    Granted(Owner, Vec<Arc<Policy>>),
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
    pub(super) fn stranger(&self, owner: &Owner) {
        self.engine.watch().wrong_identity(owner.thing(), (self.clock)());
    }

    /// Things, jobs and certificates.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// AWS's event of just-in-time registration.
    pub(crate) fn certificate_registered(&self, certificate: &str, ca: &str) {
        let topic = format!("$aws/events/certificates/registered/{ca}");
        if self.is_heard(&topic) {
            let now = (self.clock)();
            let body = json!({
                "certificateId": certificate, "caCertificateId": ca, "timestamp": now,
                "certificateStatus": "PENDING_ACTIVATION", "awsAccountId": "000000000000",
                "certificateRegistrationTimestamp": now.to_string(),
            });
            self.publish(&Message::new(topic, body.to_string().into_bytes(), Qos::One));
        }
    }

    /// A broker over `engine`, without connections.
    #[must_use]
    pub fn new(
        engine: Engine,
        limits: Limits,
        links: Arc<Links>,
        authority: Arc<Authority>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            limits,
            links,
            clock,
            authority,
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

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, Vec<Arc<Session>>>> {
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
    pub(super) async fn access(&self, named: Option<&ThingName>, fingerprint: &str) -> Access {
        let asked = registry::Request::Access { fingerprint: fingerprint.to_owned(), named: named.cloned() };
        match self.engine.registry(asked).await {
            Some(Ok(registry::Response::Access(known, documents))) => {
                let owner = match known {
                    Identity::Thing(known) => match self.engine.speaks_for(&known, fingerprint).await {
                        Some(true) => Owner::Thing(known.name),
                        Some(false) => return Access::Refused,
                        None => return Access::Unknown,
                    },
                    // The default policy is a thing's.
                    Identity::Certificate(known) if !documents.is_empty() => Owner::Claim(known.id.into()),
                    Identity::Certificate(_) | Identity::Unknown => return Access::Refused,
                };
                let policies: Result<Vec<_>, _> =
                    documents.iter().map(|document| Policy::from_json(document).map(Arc::new)).collect();
                match policies {
                    Ok(policies) => Access::Granted(owner, policies),
                    Err(error) => {
                        // Checked when it was made: only a change by hand brings it here.
                        tracing::error!(%owner, %error, "a stored policy can't be used");
                        Access::Refused
                    }
                }
            }
            Some(Ok(_)) => Access::Refused,
            Some(Err(_)) | None => Access::Unknown,
        }
    }

    /// Gives a connection its session: the one that was kept, or a new one. The flag says whether it was kept. `None`
    /// when the thing, or the claim, has too many sessions already.
    pub(super) fn attach(
        self: &Arc<Self>,
        (owner, client_id): (&Owner, &str),
        clean: bool,
        (connection, expiry): (u64, Duration),
        granted: Granted,
        will: Option<Will>,
    ) -> Option<(Arc<Session>, bool)> {
        let mut last_word = None;
        let attached = {
            let mut all = self.sessions();
            let own = all.entry(owner.clone()).or_default();
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
                    let most = if owner.thing().is_some() { SESSIONS_PER_THING } else { SESSIONS_PER_CLAIM };
                    if own.len() >= most {
                        None
                    } else {
                        let session = Arc::new(Session::new(owner.clone(), client_id.into()));
                        session.attach(connection, granted, expiry, will);
                        own.push(session.clone());
                        own.shrink_to_fit();
                        Some((session, false))
                    }
                }
            }
        };
        if let Some(will) = last_word {
            self.last_word(owner, will);
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
                self.last_word(&session.owner, will);
            } else {
                let (broker, session) = (self.clone(), session.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    if !session.is_connected() {
                        broker.last_word(&session.owner, will);
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
        if let Some(own) = all.get_mut(&session.owner) {
            own.retain(|one| !Arc::ptr_eq(one, session));
            if own.is_empty() {
                all.remove(&session.owner);
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

    fn last_word(&self, owner: &Owner, mut will: Will) {
        tracing::debug!(%owner, topic = %will.message.topic, "a client is gone without a word: its will is said");
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

    /// Gives an answer to the one who asked and to nobody else, subscribed or not.
    pub(super) fn answer_alone(&self, asker: &Arc<Session>, message: &Message) {
        self.deliver(asker, message, message.qos);
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

    /// Things and claims with a connection.
    pub(super) fn connected(&self) -> Vec<Owner> {
        let all = self.sessions();
        all.iter().filter(|(_, own)| own.iter().any(|one| one.is_connected())).map(|(owner, _)| owner.clone()).collect()
    }

    /// Looks again at what a thing or claim may do, and ends or changes its open connections.
    pub(super) async fn access_changed(&self, owner: &Owner) {
        self.access.fetch_add(1, Ordering::AcqRel);
        let own = self.sessions().get(owner).cloned().unwrap_or_default();
        for session in own {
            let fingerprint = session.fingerprint();
            match self.access(owner.thing(), &fingerprint).await {
                Access::Granted(of, policies) if of == *owner => session.set_policies(policies),
                Access::Granted(..) | Access::Refused => {
                    count(&self.counters.revoked);
                    tracing::warn!(%owner, client = %session.client_id, "the certificate isn't active any more: disconnected");
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
