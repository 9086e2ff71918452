//! From metadata, inline or fetched, to an approved target.

use std::cell::OnceCell;

use sealift_manifests::Digest;
use sealift_verifier::session::{Approved, DeviceFacts, Session};
use sealift_verifier::{Disposition, Error as Refusal};
use tracing::{info, warn};

use super::clock;
use crate::error::{Error, Result};
use crate::net::Net;
use crate::provision::keep;
use crate::state::State;

/// Sessions in which a device may catch up with roots, within one job: each works through a bundle's worth.
const MOST_SESSIONS: usize = 64;
/// Files of all of them, a session's root included.
const MOST_FILES: usize = MOST_SESSIONS * (sealift_manifests::bundle::MAX_FILES + 2);

/// Files that live as long as the sessions that borrow them.
#[derive(Debug)]
pub struct Arena {
    files: Vec<OnceCell<Vec<u8>>>,
}

impl Default for Arena {
    fn default() -> Self {
        Arena { files: (0..MOST_FILES).map(|_| OnceCell::new()).collect() }
    }
}

impl Arena {
    /// Keeps a file.
    pub fn hold(&self, file: Vec<u8>) -> Result<&[u8]> {
        let free = self.files.iter().find(|cell| cell.get().is_none());
        let free = free.ok_or_else(|| Error::Refused {
            refusal: Refusal::TooManyRoots,
            context: "more metadata than one job may ask for".into(),
        })?;
        Ok(free.get_or_init(|| file))
    }
}

/// Where metadata comes from.
#[derive(Debug)]
pub struct Source<'a> {
    /// HTTPS.
    pub net: &'a Net,
    /// Base URLs to try, each with a closing slash.
    pub bases: Vec<String>,
}

/// Approves a target by an inline bundle, if it will do, or by the latest metadata. A bundle that doesn't do is no verdict
/// while the server can be asked: it may simply be old.
pub async fn approve<'b>(
    state: &'b State,
    arena: &'b Arena,
    bundle: Option<&'b [u8]>,
    target: &Digest,
    device: &DeviceFacts,
    source: &Source<'_>,
) -> Result<Approved<'b>> {
    let Some(bundle) = bundle else { return fetch(state, arena, target, device, source).await };
    let inline = match by_bundle(state, arena, bundle, target, device) {
        Ok(approved) => return Ok(approved),
        Err(error) => error,
    };
    match inline.refusal() {
        // About the target itself: newer metadata says the same.
        Some(refusal) if (502..600).contains(&refusal.code()) => return Err(inline),
        Some(refusal) if refusal.disposition() == Disposition::Stale => {
            info!(%refusal, "the inline bundle is stale: asking for the latest metadata");
        }
        Some(refusal) => warn!(%refusal, "the inline bundle is refused: asking for the latest metadata"),
        None => return Err(inline),
    }
    match fetch(state, arena, target, device, source).await {
        // The server can't be asked: what the bundle ended with stands.
        Err(error) if error.is_passing() => {
            warn!(%error, "the latest metadata can't be fetched");
            Err(inline)
        }
        fetched => fetched,
    }
}

/// Approves a target by a bundle alone.
pub fn by_bundle<'b>(
    state: &'b State,
    arena: &'b Arena,
    bundle: &'b [u8],
    target: &Digest,
    device: &DeviceFacts,
) -> Result<Approved<'b>> {
    let session = take_bundle(state, arena, bundle)?;
    session.select(target, device).map_err(Error::refused(format!("target {target}")))
}

/// Works through a bundle, persisting what is accepted as it is.
pub fn take_bundle<'b>(state: &'b State, arena: &'b Arena, bundle: &'b [u8]) -> Result<Session<'b>> {
    let mut session = open(state, arena)?;
    let mut kept = Ok(());
    let taken = session.supply_bundle(bundle, |record| {
        kept = keep(state, &record);
        if kept.is_ok() { Ok(()) } else { Err(Refusal::Storage) }
    });
    kept?;
    taken.map_err(Error::refused("the update bundle"))?;
    Ok(session)
}

fn open<'b>(state: &'b State, arena: &'b Arena) -> Result<Session<'b>> {
    let root = arena.hold(state.root()?)?;
    Session::new(state.config.identity(), root, state.trust()?, clock(), state.config.policy())
        .map_err(Error::refused("the trusted root"))
}

async fn fetch<'b>(
    state: &'b State,
    arena: &'b Arena,
    target: &Digest,
    device: &DeviceFacts,
    source: &Source<'_>,
) -> Result<Approved<'b>> {
    let mut failure = None;
    for base in &source.bases {
        match fetch_from(state, arena, base, source.net).await {
            Ok(session) => return session.select(target, device).map_err(Error::refused(format!("target {target}"))),
            Err(error) if error.is_passing() => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::Usage("no place to fetch metadata from".into())))
}

async fn fetch_from<'b>(state: &'b State, arena: &'b Arena, base: &str, net: &Net) -> Result<Session<'b>> {
    let mut session = open(state, arena)?;
    for _ in 0..MOST_SESSIONS {
        match walk(state, arena, base, net, &mut session).await {
            // Each root was persisted: the next session goes on from there.
            Err(Error::Refused { refusal: Refusal::TooManyRoots, .. }) => session = open(state, arena)?,
            walked => return walked.map(|()| session),
        }
    }
    Err(Error::Refused { refusal: Refusal::TooManyRoots, context: "too many in one job".into() })
}

/// TUF's client workflow, file by file.
async fn walk<'b>(state: &State, arena: &'b Arena, base: &str, net: &Net, session: &mut Session<'b>) -> Result<()> {
    while let Some(next) = session.next() {
        let name = next.to_string();
        let Some(file) = net.small(&format!("{base}{name}"), next.max_length).await? else {
            if next.role == sealift_manifests::Role::Root {
                session.no_newer_root().map_err(Error::refused("the trusted root"))?;
                continue;
            }
            return Err(Error::Answer { what: format!("fetch {base}{name}"), problem: "there is no such file".into() });
        };
        let record = session.supply(arena.hold(file)?).map_err(Error::refused(name))?;
        keep(state, &record)?;
    }
    Ok(())
}
