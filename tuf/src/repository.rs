//! The whole of a repository: what a server checks before it publishes, and an auditor afterwards.

use std::collections::BTreeSet;
use std::path::Path;

use sealift_manifests::Role;
use sealift_verifier::trust::format::RoleFacts as _;
use serde::Serialize;

use crate::config::Config;
use crate::error::Error;
use crate::fetch::{DirFetcher, Fetcher};
use crate::role::{Edge, Targets};
use crate::store::MemoryStore;
use crate::updater::{Locations, Session, TopLevel, Updater};

/// What a repository holds, all of it verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Roles, top-level ones first, delegated ones as they were reached.
    pub roles: Vec<RoleReport>,
    /// Targets, each with the role that lists it.
    pub targets: Vec<TargetReport>,
    /// Paths that a role lists and no delegation lets it speak for: clients pass them over.
    pub unreachable: Vec<String>,
}

/// A verified role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// When it expires: seconds since 1970-01-01T00:00:00Z.
    pub expires: u64,
}

/// A verified target file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetReport {
    /// Its path.
    pub path: String,
    /// The role that lists it.
    pub role: String,
    /// Its length in bytes.
    pub length: u64,
}

/// Verifies a whole repository, starting from a trusted `root`: every role, for every delegation that leads to it, and the
/// bytes of every target that a client could be given. `location` is a directory or an HTTP(S) URL that has `metadata` and
/// `targets` below it. Nothing is kept and nothing is written.
///
/// Errors are those of a client; the first one ends the check.
pub fn verify_repository(location: &str, root: &[u8], config: &Config) -> Result<Report, Error> {
    #[cfg(feature = "http")]
    if location.starts_with("http://") || location.starts_with("https://") {
        let base = location.trim_end_matches('/');
        let fetcher = crate::http::HttpFetcher::new(crate::http::Timeouts::default())
            .map_err(|source| Error::Fetch { url: location.to_owned(), source })?;
        let locations = Locations::metadata(&format!("{base}/metadata")).with_targets(&format!("{base}/targets"));
        return verify(fetcher, locations, root, config);
    }
    let locations = Locations::metadata("metadata").with_targets("targets");
    verify(DirFetcher::new(Path::new(location)), locations, root, config)
}

fn verify<F: Fetcher>(fetcher: F, locations: Locations, root: &[u8], config: &Config) -> Result<Report, Error> {
    let mut store = MemoryStore::default();
    Updater::<F, MemoryStore>::initialise(&mut store, root, config)?;
    let mut updater = Updater::open(store, fetcher, locations, *config)?;
    let session = updater.session()?.clone();
    let mut report = Report { roles: Vec::new(), targets: Vec::new(), unreachable: Vec::new() };
    for TopLevel { role, version, expires } in updater.top_level().into_iter().flatten() {
        report.roles.push(RoleReport { name: role.name().to_owned(), version, expires });
    }

    // Every edge of the graph, once.
    let mut paths: BTreeSet<String> = session.targets().targets().map(|(path, _)| path.to_owned()).collect();
    let mut seen = BTreeSet::from([Role::Targets.name().to_owned()]);
    let mut to_visit = edges(Role::Targets.name(), session.targets(), &session);
    while let Some((delegator, edge)) = to_visit.pop() {
        let role = updater.delegated(&delegator, &edge)?;
        let content = role.content();
        if seen.insert(edge.name.clone()) {
            paths.extend(content.targets().map(|(path, _)| path.to_owned()));
            to_visit.extend(edges(&edge.name, content, &session));
            let (version, expires) = (content.version(), content.expires());
            report.roles.push(RoleReport { name: edge.name, version, expires });
        }
    }

    // What a client is given for each path is for its own search to say.
    for path in paths {
        match updater.find(&path)? {
            Some((role, target)) => {
                updater.check_target(&path, &target)?;
                report.targets.push(TargetReport { path, role, length: target.length });
            }
            None => report.unreachable.push(path),
        }
    }
    Ok(report)
}

fn edges(delegator: &str, targets: &Targets, session: &Session) -> Vec<(String, Edge)> {
    targets.edges(session.listed()).into_iter().map(|edge| (delegator.to_owned(), edge)).collect()
}
