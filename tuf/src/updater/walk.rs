//! Looking a target up: pre-order, depth-first, through the delegations that cover its path (section 5.6.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use sealift_manifests::Role;
use sealift_verifier::trust::format::{Pin as _, SnapshotFacts as _};

use super::{RoleBytes, Session, Trusted, Updater, check};
use crate::error::Error;
use crate::fetch::Fetcher;
use crate::role::{Edge, TargetFile, Targets};
use crate::store::Store;

/// A role to visit: who delegates, and the delegation.
type Waiting = (String, Edge);

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// What the most trusted role that lists `path` says of it; `None` if no role that may speak for the path lists it.
    /// Fetches the delegated roles that the search visits, and no others.
    pub fn target(&mut self, path: &str) -> Result<Option<TargetFile>, Error> {
        Ok(self.find(path)?.map(|(_, target)| target))
    }

    /// The same, with the role's name.
    pub(crate) fn find(&mut self, path: &str) -> Result<Option<(String, TargetFile)>, Error> {
        let session = self.session()?;
        let top = Role::Targets.name().to_owned();
        if let Some(target) = session.targets().target(path) {
            return Ok(Some((top, target.clone())));
        }
        let mut to_visit = Vec::new();
        push(&mut to_visit, &top, session.targets().edges_for(path));
        // What is visited is known by its name, so that a cycle ends (5.6.7.1).
        let mut visited = BTreeSet::from([top]);
        while let Some((delegator, edge)) = to_visit.pop() {
            if visited.contains(&edge.name) {
                continue;
            }
            let limit = self.config.limits.visited_roles;
            if visited.len() >= limit {
                return Err(Error::TooManyDelegations { target: path.to_owned(), limit });
            }
            let role = self.delegated(&delegator, &edge)?;
            if let Some(target) = role.content().target(path) {
                return Ok(Some((edge.name, target.clone())));
            }
            push(&mut to_visit, &edge.name, role.content().edges_for(path));
            visited.insert(edge.name);
        }
        Ok(None)
    }

    /// The file of a delegated role, verified for the edge that leads to it: what another role vouches for counts nothing
    /// here. It is fetched if what is at hand does not pass.
    pub(crate) fn delegated(&mut self, delegator: &str, edge: &Edge) -> Result<Arc<Trusted<Targets>>, Error> {
        // What the delegator says does not change within a session.
        let key = (delegator.to_owned(), edge.name.clone());
        if let Some(role) = self.edges.get(&key) {
            return Ok(role.clone());
        }
        let session = self.session()?.clone();
        let role = Arc::new(self.verified_for(&session, edge)?);
        self.edges.insert(key, role.clone());
        Ok(role)
    }

    fn verified_for(&mut self, session: &Session, edge: &Edge) -> Result<Trusted<Targets>, Error> {
        let name = edge.name.as_str();
        let pin = session.snapshot.content().targets(Some(name)).ok_or_else(|| Error::Refused {
            file: format!("{name}.json"),
            reason: sealift_verifier::Error::NotInSnapshot,
            detail: None,
        })?;
        let file = self.file_name(name, pin.version());
        if !self.files.contains_key(name)
            && let Some(bytes) = self.kept(name)?
        {
            self.files.insert(name.to_owned(), RoleBytes { bytes, fetched: false });
        }
        if let Some(known) = self.files.get(name) {
            match self.verify_edge(session, edge, &file, &known.bytes) {
                // What has just been fetched is what the server has.
                Err(error) if known.fetched => return Err(error),
                Err(_) => {}
                Ok(role) => return Ok(role),
            }
        }
        let most = self.most(&file, pin.length(), self.config.limits.targets_length)?;
        let bytes = self.fetch_metadata(&file, most)?;
        let role = self.verify_edge(session, edge, &file, &bytes)?;
        self.keep(name, &bytes)?;
        self.files.insert(name.to_owned(), RoleBytes { bytes, fetched: true });
        Ok(role)
    }

    fn verify_edge(&self, session: &Session, edge: &Edge, file: &str, bytes: &[u8]) -> Result<Trusted<Targets>, Error> {
        check(bytes, file, &self.config, |file| {
            let name = Some(edge.name.as_str());
            self.root.delegated(&session.snapshot, &edge.authority, name, file, None, session.time)
        })
    }
}

/// Adds the edges of a role in front of all that wait, in their order. After a terminating one, nothing that waits is
/// visited any more.
fn push(to_visit: &mut Vec<Waiting>, delegator: &str, mut edges: Vec<Edge>) {
    if let Some(last) = edges.iter().position(|edge| edge.terminating) {
        edges.truncate(last + 1);
        to_visit.clear();
    }
    to_visit.extend(edges.into_iter().rev().map(|edge| (delegator.to_owned(), edge)));
}
