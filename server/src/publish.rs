//! Publication: all or nothing.
//!
//! Payloads first, then metadata, each created once under the name of its content or version; the timestamp last. Until
//! the timestamp is replaced nobody can see any of it, and a second run goes on where a killed one stopped. The
//! timestamp is replaced only by who has seen the present one, so of two racing publishers one wins and the other hears
//! of it.

use std::path::Path;

use sealift_jobs::Digest;
use sealift_verifier::trust::Policy;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::audit::{Act, AuditError, Log};
use crate::intake::chain::ListedTarget;
use crate::intake::{self, IntakeError, Release};
use crate::store::{ArtifactStore, Created, Key, PAYLOADS, StoreError};

/// Why a publication didn't happen.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The release isn't fit to publish; nothing was written.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The store failed, or an object clashes; what is current hasn't changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log can't be read or written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Another publisher was first.
    #[error(
        "another publisher was first: timestamp version {won} is current now, yours is {lost}; renew yours on top of it and publish again"
    )]
    Lost {
        /// Timestamp version of the winner.
        won: u64,
        /// Timestamp version of this release.
        lost: u64,
    },
}

/// What a publication did, or would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// Repository id.
    pub repository: String,
    /// Version of the last root.
    pub root_version: u64,
    /// Version of the timestamp that is current now.
    pub timestamp_version: u64,
    /// When that timestamp expires, in seconds since the Unix epoch.
    pub expires: u64,
    /// False when this very release was current already.
    pub changed: bool,
    /// False when nothing was to be written.
    pub dry_run: bool,
    /// Every object, with what happened to it.
    pub objects: Vec<Published>,
    /// What can be rolled out now.
    pub targets: Vec<ListedTarget>,
}

/// One object of a publication.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Its name.
    pub key: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// True when it wasn't there before.
    pub new: bool,
    /// Why it is part of the publication.
    pub why: String,
}

/// How to publish.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the verifier accepts.
    pub policy: Policy,
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// Only says what would be done.
    pub dry_run: bool,
    /// Who publishes, for the audit log.
    pub actor: String,
}

/// Publishes the release in `folder`; tells `progress` of each object.
///
/// # Errors
/// [`PublishError`]; whatever it is, what was current before still is, whole.
pub async fn publish(
    folder: &Path,
    store: &impl ArtifactStore,
    options: Options,
    mut progress: impl FnMut(&Published),
) -> Result<Publication, PublishError> {
    let before = intake::published(store, options.policy).await?;
    let release = intake::check(folder, &before, store, options.now, options.policy).await?;
    let changed = before.files.get(crate::store::TIMESTAMP) != Some(&release.timestamp);
    let mut objects = Vec::new();
    for (key, content) in &release.objects {
        let new = if options.dry_run {
            store.length(key).await?.is_none()
        } else {
            store.create(key, content).await? == Created::New
        };
        let why = why(key, &release);
        let done = Published { key: key.to_string(), length: content.length, sha256: content.sha256, new, why };
        progress(&done);
        objects.push(done);
    }
    let log = Log::new(store);
    let act = |what: &str, verb: String| {
        let sha256 = Digest(Sha256::digest(&release.timestamp).into());
        let targets = release
            .catalog
            .targets
            .iter()
            .map(|target| format!("target {} ({} {})", target.digest, target.product, target.version));
        Act {
            key: format!("publish/{sha256}/{what}"),
            at: options.now,
            by: options.actor.clone(),
            what: format!("{verb} timestamp version {}", release.catalog.chain.timestamp.version),
            release: Some(sha256.to_string()),
            targets: targets.collect(),
        }
    };
    if changed && !options.dry_run {
        // Before it takes effect: a publication that somebody kills is on record all the same.
        log.append(&act("begun", "makes current".to_owned())).await?;
        match store.replace(&Key::timestamp(), &release.timestamp, before.timestamp.as_ref()).await {
            Ok(_) => {}
            Err(error @ StoreError::Raced { .. }) => {
                let error = lost(store, &release, &options, error).await;
                log.append(&act("lost", format!("was too late with ({error})"))).await?;
                return Err(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !options.dry_run {
        // Also by the run that finds it current: the one before may have been killed just here.
        log.append(&act("done", "has made current".to_owned())).await?;
    }
    let chain = &release.catalog.chain;
    Ok(Publication {
        repository: release.catalog.repository.clone(),
        root_version: chain.root_version,
        timestamp_version: chain.timestamp.version,
        expires: chain.expires,
        changed,
        dry_run: options.dry_run,
        objects,
        targets: release.catalog.targets,
    })
}

/// Why an object is part of a publication.
fn why(key: &Key, release: &Release) -> String {
    let name = key.name();
    for target in &release.catalog.targets {
        if let Some(payload) = target.payloads.iter().find(|payload| payload.digest.to_string() == name) {
            let from = payload.base.map(|base| format!(" from {base}")).unwrap_or_default();
            return format!("payload ({}{from}) of {} {}", payload.codec, target.product, target.version);
        }
    }
    match name.rsplit_once('.') {
        Some((_, "root")) => "a link in the chain of roots; never deleted".to_owned(),
        Some((_, "snapshot")) => "the snapshot that the timestamp pins".to_owned(),
        _ => "targets that the snapshot pins".to_owned(),
    }
}

/// Says who won; the race itself if even that can't be told.
async fn lost(store: &impl ArtifactStore, release: &Release, options: &Options, error: StoreError) -> PublishError {
    match intake::published(store, options.policy).await {
        Ok(intake::Published { catalog: Some(winner), .. }) => {
            PublishError::Lost { won: winner.chain.timestamp.version, lost: release.catalog.chain.timestamp.version }
        }
        _ => error.into(),
    }
}

impl Published {
    /// True for a payload.
    #[must_use]
    pub fn is_payload(&self) -> bool {
        self.key.starts_with(PAYLOADS)
    }
}
