//! The thief: stolen keys, and everything that can be signed with them.

use std::collections::BTreeMap;

use sealift_manifests::{
    DelegatedMeta, Delegation, Extensions, Header, List, Meta, PublicKey, Role, RoleKeys, Root, Snapshot, Target,
    Targets, Timestamp, Version,
};

use super::device::Served;
use super::rehearsal::{raw, serve};
use crate::error::{Error, Result};
use crate::keys::KeySource;
use crate::repository::Files;
use crate::signing::seal;

/// Copies of keys, by the role they sign for.
pub(super) struct Thief {
    pub(super) keys: BTreeMap<String, Vec<Box<dyn KeySource>>>,
    /// A key of the thief's own.
    pub(super) own: Box<dyn KeySource>,
    /// What devices are to run: anything the thief likes.
    pub(super) image: Vec<u8>,
}

/// The product that the thief is after, as its devices are.
pub(super) struct Aim<'a> {
    pub(super) product: &'a str,
    pub(super) component: &'a str,
    pub(super) hardware: &'a str,
    pub(super) delegation: &'a str,
    /// Carried by the forged release.
    pub(super) version: Version,
    /// Its security counter.
    pub(super) counter: u64,
    pub(super) ceiling: u64,
}

fn meta(version: u64, file: &[u8]) -> Result<Meta> {
    Meta::of(version, file).ok_or_else(|| Error::failed("a forged file is too large", ""))
}

impl Thief {
    fn of(&self, role: &str) -> impl Iterator<Item = &dyn KeySource> {
        self.keys.get(role).into_iter().flatten().map(Box::as_ref)
    }

    fn has(&self, role: &str) -> bool {
        self.of(role).next().is_some()
    }

    /// A role's keys where they were stolen; else the thief's own, which nobody listed.
    fn seal(&self, payload: &[u8], tuf: Role, role: &str) -> Result<Vec<u8>> {
        match self.has(role) {
            true => seal(payload, tuf, self.of(role)),
            false => seal(payload, tuf, std::iter::once(self.own.as_ref())),
        }
    }

    /// Signs, on top of a genuine state, whatever the keys allow: `version` for each file, or the next one.
    pub(super) fn forge(&self, genuine: &Files, aim: &Aim<'_>, version: Option<u64>, now: u64) -> Result<Served> {
        let repository = genuine.root()?.header.repository;
        let next = |present: u64| version.unwrap_or(present + 1);
        let expires = now + 365 * 86_400;
        let mut files = Files {
            roots: genuine.roots.clone(),
            timestamp: genuine.timestamp.clone(),
            snapshot: genuine.snapshot.clone(),
            targets: genuine.targets.clone(),
            delegated: genuine.delegated.clone(),
        };
        let top = genuine.targets()?;
        let (takes_top, takes_product) = (self.has("targets"), self.has(aim.delegation));
        if takes_top {
            // Top-level keys decide who signs for a product: the thief.
            let keys: [PublicKey; 1] = [self.own.public_key()];
            let products = [aim.product];
            let delegation = Delegation {
                name: aim.delegation,
                keys: RoleKeys { threshold: 1, keys: List::new(&[0]) },
                products: List::new(&products),
                counter_ceiling: aim.ceiling,
            };
            let payload = Targets {
                header: Header::new(repository, next(top.header.version), expires),
                name: None,
                targets: List::new(&[]),
                keys: List::new(&keys),
                delegations: List::new(std::slice::from_ref(&delegation)),
            }
            .encode();
            files.targets = self.seal(&payload, Role::Targets, "targets")?;
        }
        let mut served_payload = None;
        if takes_top || takes_product {
            let (image, payload) = raw(&self.image);
            let hardware = [aim.hardware];
            let target = Target {
                product: aim.product,
                component: aim.component,
                hardware: List::new(&hardware),
                version: aim.version,
                security_counter: aim.counter,
                minimum_version: None,
                image,
                payloads: List::new(std::slice::from_ref(&payload)),
                sbom: None,
                critical: Extensions::NONE,
                extensions: Extensions::NONE,
            };
            let before = genuine.delegated(aim.delegation)?.map_or(0, |(_, targets)| targets.header.version);
            let file = Targets {
                header: Header::new(repository, next(before), expires),
                name: Some(aim.delegation),
                targets: List::new(std::slice::from_ref(&target)),
                keys: List::new(&[]),
                delegations: List::new(&[]),
            }
            .encode();
            // With the delegation rewritten to it, the thief's own key signs; else the stolen one does.
            let file = match takes_product && !takes_top {
                true => self.seal(&file, Role::Targets, aim.delegation)?,
                false => seal(&file, Role::Targets, std::iter::once(self.own.as_ref()))?,
            };
            match takes_top {
                true => files.delegated = vec![(aim.delegation.to_owned(), file)],
                false => {
                    files.delegated.retain(|(name, _)| name != aim.delegation);
                    files.delegated.push((aim.delegation.to_owned(), file));
                    files.delegated.sort();
                }
            }
            served_payload = Some((payload.digest, self.image.clone()));
        }
        if self.has("snapshot") {
            let mut delegated = Vec::new();
            for (name, file) in &files.delegated {
                let version = files.delegated(name)?.map_or(0, |(_, targets)| targets.header.version);
                delegated.push(DelegatedMeta { name, meta: meta(version, file)? });
            }
            let payload = Snapshot {
                header: Header::new(repository, next(genuine.snapshot()?.header.version), expires),
                targets: meta(files.targets()?.header.version, &files.targets)?,
                delegated: List::new(&delegated),
            }
            .encode();
            files.snapshot = self.seal(&payload, Role::Snapshot, "snapshot")?;
        }
        if self.has("timestamp") {
            let snapshot = meta(files.snapshot()?.header.version, &files.snapshot)?;
            let header = Header::new(repository, next(genuine.timestamp()?.header.version), expires);
            let payload = Timestamp { header, issued: now, snapshot }.encode();
            files.timestamp = self.seal(&payload, Role::Timestamp, "timestamp")?;
        }
        let mut served = serve(&files)?;
        served.payloads.extend(served_payload);
        Ok(served)
    }

    /// A root that gives everything to the thief, signed with what root keys there are and the thief's own.
    pub(super) fn forge_root(&self, genuine: &Files, now: u64) -> Result<(String, Vec<u8>)> {
        let present = genuine.root()?;
        let keys = [self.own.public_key()];
        let alone = RoleKeys { threshold: 1, keys: List::new(&[0]) };
        let version = present.header.version + 1;
        let root = Root {
            header: Header::new(present.header.repository, version, now + 365 * 86_400),
            keys: List::new(&keys),
            roles: [alone; 4],
            counter_ceiling: u64::MAX,
        };
        let keys = self.of("root").chain(std::iter::once(self.own.as_ref()));
        Ok((format!("{version}.root"), seal(&root.encode(), Role::Root, keys)?))
    }
}
