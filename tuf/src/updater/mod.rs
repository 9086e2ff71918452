//! The client: refreshes metadata, looks targets up, downloads them.

mod download;
mod refresh;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use sealift_manifests::Role;
use sealift_verifier::trust::format::RoleFacts;
use sealift_verifier::trust::{Time, Verified};

use crate::authority::KeySet;
use crate::config::Config;
use crate::error::{Error, FetchError, Malformed};
use crate::fetch::{Fetcher, receive_all};
use crate::file::{JsonFile, JsonRole};
use crate::role::{Root, Snapshot, Targets};
use crate::store::{DirStore, Record, Store};

/// A role that the trust machine accepted.
pub(crate) type Trusted<R> = Verified<R, KeySet>;

/// Where a repository is: URLs, or paths below a [`crate::DirFetcher`]'s directory.
#[derive(Clone, Debug)]
pub struct Locations {
    metadata: String,
    targets: Option<String>,
}

impl Locations {
    /// Metadata alone.
    pub fn metadata(base: &str) -> Self {
        Locations { metadata: with_slash(base), targets: None }
    }

    /// Metadata and targets.
    pub fn with_targets(self, base: &str) -> Self {
        Locations { targets: Some(with_slash(base)), ..self }
    }
}

fn with_slash(base: &str) -> String {
    if base.is_empty() || base.ends_with('/') { base.to_owned() } else { format!("{base}/") }
}

/// A client of one repository.
///
/// It keeps what it accepts in its [`Store`], step by step, and goes on from there. A look-up refreshes first if nobody has;
/// all look-ups of one updater see the state of that refresh.
#[derive(Debug)]
pub struct Updater<F, S> {
    fetcher: F,
    store: S,
    locations: Locations,
    config: Config,
    root: Trusted<Root>,
    /// The end of a refresh that went through.
    session: Option<Session>,
    /// Files of delegated roles that this updater has read: they are verified anew for every edge that leads to them.
    files: BTreeMap<String, RoleBytes>,
    /// Delegated roles by delegator and name, verified for that edge.
    edges: BTreeMap<(String, String), Arc<Trusted<Targets>>>,
}

/// A top-level role that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopLevel {
    /// Which role.
    pub role: Role,
    /// Its version.
    pub version: u64,
    /// When it expires: seconds since 1970-01-01T00:00:00Z.
    pub expires: u64,
}

impl TopLevel {
    fn of(facts: &impl RoleFacts) -> Self {
        TopLevel { role: facts.role(), version: facts.version(), expires: facts.expires() }
    }
}

/// The state that look-ups see.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    time: Time,
    top_level: [TopLevel; 4],
    snapshot: Trusted<Snapshot>,
    targets: Trusted<Targets>,
}

impl Session {
    /// The top-level targets.
    pub(crate) fn targets(&self) -> &Targets {
        self.targets.content()
    }

    /// The names of the delegated roles that the snapshot lists.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &str> {
        self.snapshot.content().listed().filter_map(|(name, _)| name)
    }
}

#[derive(Clone, Debug)]
struct RoleBytes {
    bytes: Vec<u8>,
    fetched: bool,
}

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// Opens a client on a store that [`Updater::initialise`] was called on. The kept root must be signed by its own keys.
    pub fn open(store: S, fetcher: F, locations: Locations, config: Config) -> Result<Self, Error> {
        let record = Record::Role(Role::Root.name());
        let path = store.location(record);
        let bytes = store.read(record).map_err(|error| Error::storage("read", &path, error))?;
        let bytes = bytes.ok_or_else(|| Error::NotInitialised(path.clone()))?;
        let root = anchor(&bytes, &path.display().to_string(), &config)?;
        Ok(Updater {
            fetcher,
            store,
            locations,
            config,
            root,
            session: None,
            files: BTreeMap::new(),
            edges: BTreeMap::new(),
        })
    }

    /// Keeps the root that trust starts from: it has to come from a trusted place, out of band. Makes no request. Doing it
    /// again with the same root changes nothing; another root is refused.
    pub fn initialise(store: &mut S, root: &[u8], config: &Config) -> Result<(), Error> {
        anchor(root, "the trusted root", config)?;
        let record = Record::Role(Role::Root.name());
        let path = store.location(record);
        match store.read(record).map_err(|error| Error::storage("read", &path, error))? {
            Some(kept) if kept == root => Ok(()),
            Some(_) => Err(Error::AlreadyInitialised(path)),
            None => store.write(record, root).map_err(|error| Error::storage("write", path, error)),
        }
    }

    /// The trusted root.
    pub fn root(&self) -> &Root {
        self.root.content()
    }

    /// Version and expiry of the four top-level roles, once refreshed: seconds since 1970-01-01T00:00:00Z.
    pub fn top_level(&self) -> Option<[TopLevel; 4]> {
        self.session.as_ref().map(|session| session.top_level)
    }

    fn fetch_metadata(&self, file: &str, most: u64) -> Result<Vec<u8>, Error> {
        let url = format!("{}{file}", self.locations.metadata);
        receive_all(&self.fetcher, &url, most, self.config.pace).map_err(|source| Error::Fetch { url, source })
    }

    fn kept(&self, role: &str) -> Result<Option<Vec<u8>>, Error> {
        let record = Record::Role(role);
        self.store.read(record).map_err(|error| Error::storage("read", self.store.location(record), error))
    }

    fn keep(&mut self, role: &str, bytes: &[u8]) -> Result<(), Error> {
        let record = Record::Role(role);
        self.store.write(record, bytes).map_err(|error| Error::storage("write", self.store.location(record), error))
    }

    /// The most bytes to fetch of a file whose length is pinned, or is not.
    fn most(&self, file: &str, pinned: Option<u64>, limit: u64) -> Result<u64, Error> {
        match pinned {
            Some(length) if length > limit => Err(Error::Fetch {
                url: format!("{}{file}", self.locations.metadata),
                source: FetchError::TooLong(limit),
            }),
            Some(length) => Ok(length),
            None => Ok(limit),
        }
    }

    /// What a metadata file is called in requests (specification 1.0.34, section 6.2.2).
    fn file_name(&self, role: &str, version: u64) -> String {
        let role = crate::name::quoted(role);
        if self.root().consistent_snapshot() { format!("{version}.{role}.json") } else { format!("{role}.json") }
    }
}

impl<F: Fetcher> Updater<F, DirStore> {
    /// Opens a client on a directory.
    pub fn in_dir(dir: &std::path::Path, fetcher: F, locations: Locations, config: Config) -> Result<Self, Error> {
        let store = DirStore::open(dir).map_err(|error| Error::storage("open", dir, error))?;
        Updater::open(store, fetcher, locations, config)
    }
}

/// Reads a root that trust starts from.
fn anchor(bytes: &[u8], place: &str, config: &Config) -> Result<Trusted<Root>, Error> {
    check(bytes, place, config, |file| Verified::self_signed_root(file, &config.policy))
}

/// Reads a file and has it checked; what is wrong is said with its place.
fn check<R: JsonRole, T>(
    bytes: &[u8],
    place: &str,
    config: &Config,
    verify: impl FnOnce(&JsonFile<'_, R>) -> Result<T, sealift_verifier::Error>,
) -> Result<T, Error> {
    let refused = |reason, detail: Option<Malformed>| Error::Refused { file: place.to_owned(), reason, detail };
    let file = JsonFile::new(bytes, config.key_ids)
        .map_err(|malformed| refused(malformed.refusal(R::ROLE), Some(malformed)))?;
    verify(&file).map_err(|reason| refused(reason, file.take_fault()))
}
