//! One thread owns the database's writes: it takes requests in order, answers a batch of them in one transaction, and
//! answers nobody before that transaction is on disk.
//!
//! Batching makes durability cheap: under load one fsync covers every request that arrived meanwhile. Pure decisions
//! ([`jobs::handle`], [`registry::handle`]) run inside; this module adds the clock, the order and the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::Database;
use sealift_jobs::ErrorCode;
use tokio::sync::{broadcast, oneshot};

use crate::jobs::{self, Effect};
use crate::ledger::{Ledger, LedgerError, Thing};
use crate::provisioning;
use crate::registry;
use crate::watching::Watch;

/// Requests that may wait for the database; one more is told to come back later.
const QUEUE: usize = 4_096;
/// Most requests in one transaction: bounds how long the first of them waits.
const BATCH: usize = 256;
/// Timers fired between two looks at whether more are due.
const TIMERS_PER_STEP: usize = 1_024;
/// Effects kept for a slow listener before it loses some (it then reads the state again).
const EFFECTS: usize = 4_096;
/// Longest sleep without a look at the timers.
const IDLE: Duration = Duration::from_secs(60);

/// Seconds since the Unix epoch; tests bring their own.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The operating system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// Why the database couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{path}: another sealift-server uses this state directory; talk to that one, or stop it first")]
    InUse {
        /// The database file.
        path: String,
    },
    /// redb refused.
    #[error("{path}: can't open the database: {source}")]
    Database {
        /// The database file.
        path: String,
        /// What redb said.
        source: Box<redb::Error>,
    },
    /// The tables are unreadable.
    #[error("{path}: {source}")]
    Ledger {
        /// The database file.
        path: String,
        /// Why.
        source: LedgerError,
    },
    /// No thread could be started.
    #[error("can't start the database thread: {0}")]
    Thread(#[from] std::io::Error),
}

enum Command {
    Jobs(jobs::Request, oneshot::Sender<Result<jobs::Response, jobs::Failure>>),
    Registry(registry::Request, oneshot::Sender<Result<registry::Response, registry::Failure>>),
    Provisioning(provisioning::Request, oneshot::Sender<Result<provisioning::Response, provisioning::Failure>>),
}

/// A decided answer, which waits for the commit. Dropped unsent, it tells the requester that the server failed.
enum Answer {
    Jobs(Result<jobs::Response, jobs::Failure>, oneshot::Sender<Result<jobs::Response, jobs::Failure>>),
    Registry(
        Result<registry::Response, registry::Failure>,
        oneshot::Sender<Result<registry::Response, registry::Failure>>,
    ),
    Provisioning(
        Result<provisioning::Response, provisioning::Failure>,
        oneshot::Sender<Result<provisioning::Response, provisioning::Failure>>,
    ),
}

/// A handle to the database thread; clones talk to the same one. The thread ends with the last handle.
#[derive(Clone)]
pub struct Engine {
    sender: SyncSender<Command>,
    effects: broadcast::Sender<Effect>,
    watch: Arc<Watch>,
    clock: Clock,
}

impl Engine {
    /// Opens (or makes) the database file and starts its thread.
    ///
    /// # Errors
    /// [`OpenError`]: in use, unreadable, or of another version.
    pub fn open(path: &Path, clock: Clock) -> Result<(Self, JoinHandle<()>), OpenError> {
        let name = || path.display().to_string();
        let database = Database::create(path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: name() },
            other => OpenError::Database { path: name(), source: Box::new(other.into()) },
        })?;
        Self::start(database, clock).map_err(|error| match error {
            OpenError::Ledger { source, .. } => OpenError::Ledger { path: name(), source },
            other => other,
        })
    }

    /// Starts the thread over an open database.
    ///
    /// # Errors
    /// [`OpenError`] when the tables can't be opened or the thread can't be started.
    pub fn start(database: Database, clock: Clock) -> Result<(Self, JoinHandle<()>), OpenError> {
        let at_open = |source| OpenError::Ledger { path: String::new(), source };
        prepare(&database).map_err(at_open)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let (effects, _) = broadcast::channel(EFFECTS);
        let ours = clock.clone();
        let worker = Worker { database, receiver, effects: effects.clone(), clock, latest: 0 };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || worker.run())?;
        Ok((Self { sender, effects, watch: Arc::default(), clock: ours }, thread))
    }

    /// Hears what happens, after it is durable.
    #[must_use]
    pub fn effects(&self) -> broadcast::Receiver<Effect> {
        self.effects.subscribe()
    }

    /// Asks the Jobs machine; the answer is durable.
    ///
    /// # Errors
    /// [`jobs::Failure`], with `ServiceUnavailable` when too many requests wait or the server stops.
    pub async fn jobs(&self, request: jobs::Request) -> Result<jobs::Response, jobs::Failure> {
        let watched = request.clone();
        let answer = self.ask_jobs(request).await;
        match &watched {
            jobs::Request::Device { thing, ask } => self.watch.asked(thing, ask, &answer, (self.clock)()),
            jobs::Request::Create(create) if answer.is_ok() => self.watch.made(&create.id, &create.document),
            _ => {}
        }
        answer
    }

    /// Whether this certificate speaks for the thing. One that was issued for a new key does from its first use on, and drops the
    /// one before. `None` when the database doesn't answer.
    pub async fn speaks_for(&self, thing: &Thing, fingerprint: &str) -> Option<bool> {
        if !thing.active {
            return Some(false);
        }
        if thing.fingerprint == fingerprint {
            return Some(true);
        }
        if thing.next.as_ref().is_none_or(|next| next.fingerprint != fingerprint) {
            return Some(false);
        }
        let present = registry::Request::Present { thing: thing.name.clone(), fingerprint: fingerprint.to_owned() };
        match self.registry(present).await? {
            Ok(registry::Response::Thing(thing)) => {
                tracing::info!(thing = %thing.name, fingerprint, "a new certificate is in use, the one before is dropped");
                Some(thing.active && thing.fingerprint == fingerprint)
            }
            _ => None,
        }
    }

    /// Who watches what passes here.
    #[must_use]
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    async fn ask_jobs(&self, request: jobs::Request) -> Result<jobs::Response, jobs::Failure> {
        let (reply, answer) = oneshot::channel();
        match self.sender.try_send(Command::Jobs(request, reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(jobs::Failure::refused(ErrorCode::InternalError, "the server's database failed; try again"))
            }),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                Err(jobs::Failure::refused(ErrorCode::ServiceUnavailable, "the server is busy; try again"))
            }
        }
    }

    /// Asks the registry; the answer is durable. `None` when too many requests wait or the server stops.
    pub async fn registry(&self, request: registry::Request) -> Option<Result<registry::Response, registry::Failure>> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Command::Registry(request, reply)).ok()?;
        answer.await.ok()
    }
}

impl Engine {
    /// Asks about provisioning; the answer is durable. `None` when too many requests wait or the server stops.
    pub async fn provisioning(
        &self,
        request: provisioning::Request,
    ) -> Option<Result<provisioning::Response, provisioning::Failure>> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Command::Provisioning(request, reply)).ok()?;
        answer.await.ok()
    }
}

/// Makes the tables, so that a bad file is found at start and not at the first request.
fn prepare(database: &Database) -> Result<(), LedgerError> {
    let transaction = database.begin_write()?;
    Ledger::open(&transaction).map(drop)?;
    transaction.commit()?;
    Ok(())
}

struct Worker {
    database: Database,
    receiver: Receiver<Command>,
    effects: broadcast::Sender<Effect>,
    clock: Clock,
    /// The latest time seen: a clock that is set back must not make times run backwards.
    latest: u64,
}

impl Worker {
    fn run(mut self) {
        let mut wait = Duration::ZERO;
        loop {
            let first = match self.receiver.recv_timeout(wait) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let batch: Vec<Command> = first.into_iter().chain(self.receiver.try_iter().take(BATCH - 1)).collect();
            wait = self.turn(batch);
        }
    }

    /// Runs one transaction and answers; returns how long to wait for the next request.
    fn turn(&mut self, batch: Vec<Command>) -> Duration {
        self.latest = self.latest.max((self.clock)());
        let requests = batch.len();
        match self.transact(batch) {
            Ok(turn) => {
                turn.answers.into_iter().for_each(Answer::send);
                for effect in turn.effects {
                    // Nobody listening is fine.
                    let _ = self.effects.send(effect);
                }
                turn.next.map_or(IDLE, |deadline| Duration::from_secs(deadline.saturating_sub(self.latest)).min(IDLE))
            }
            Err(error) => {
                tracing::error!(%error, requests, "the database failed; these requests were not carried out");
                Duration::from_secs(1)
            }
        }
    }

    fn transact(&self, batch: Vec<Command>) -> Result<Turn, LedgerError> {
        let now = self.latest;
        let mut turn = Turn { answers: Vec::with_capacity(batch.len()), effects: Vec::new(), next: None };
        let transaction = self.database.begin_write()?;
        let mut ledger = Ledger::open(&transaction)?;
        while jobs::fire_timers(&mut ledger, now, TIMERS_PER_STEP, &mut turn.effects)? == TIMERS_PER_STEP {}
        for command in batch {
            turn.answers.push(match command {
                Command::Jobs(request, reply) => match jobs::handle(&mut ledger, &request, now, &mut turn.effects) {
                    Err(jobs::Failure::Ledger(error)) => return Err(error),
                    answer => Answer::Jobs(answer, reply),
                },
                Command::Registry(request, reply) => match registry::handle(&mut ledger, &request, now) {
                    Err(registry::Failure::Ledger(error)) => return Err(error),
                    answer => {
                        if answer.is_ok() {
                            turn.effects.extend(request.changes_access().map(Effect::AccessChanged));
                        }
                        Answer::Registry(answer, reply)
                    }
                },
                Command::Provisioning(request, reply) => match provisioning::handle(&mut ledger, &request, now) {
                    Err(provisioning::Failure::Ledger(error)) => return Err(error),
                    answer => {
                        if answer.is_ok() {
                            turn.effects.extend(request.changes_access().map(Effect::AccessChanged));
                        }
                        Answer::Provisioning(answer, reply)
                    }
                },
            });
        }
        turn.next = ledger.next_deadline()?;
        let dirty = ledger.is_dirty();
        drop(ledger);
        if dirty {
            transaction.commit()?
        } else {
            transaction.abort()?
        }
        Ok(turn)
    }
}

/// What one transaction decided.
struct Turn {
    answers: Vec<Answer>,
    effects: Vec<Effect>,
    /// When the next timer is due.
    next: Option<u64>,
}

impl Answer {
    fn send(self) {
        // A requester that is gone needs no answer.
        match self {
            Self::Jobs(answer, reply) => drop(reply.send(answer)),
            Self::Registry(answer, reply) => drop(reply.send(answer)),
            Self::Provisioning(answer, reply) => drop(reply.send(answer)),
        }
    }
}
