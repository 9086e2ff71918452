//! The repository's present state, checked before anything is signed on top of it, and the smaller acts on it.

use sealift_manifests::{Digest, Envelope, Header, List, Role, Root, Target, Targets, Version};
use sealift_verifier::trust::{Policy, Time};

use super::history::last_version;
use super::staged;
use crate::authority;
use crate::ceremony::Ceremony;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::publish::{Changes, beyond, following, publish};
use crate::repository::{Files, Layout, Transaction};
use crate::signing::Signers;

/// Reads and verifies the repository's state, and holds it to the project file. Expired files are no obstacle: they are
/// about to be replaced.
pub fn open(project: &Project, layout: &Layout, development: bool) -> Result<Files> {
    let files = Files::of_directory(layout)?.ok_or_else(|| {
        Error::input(&project.directory, "there is no repository yet", "start it with `sealift init`")
    })?;
    let policy = if development { Policy::development() } else { Policy::production() };
    let first = files.roots.first().map_or(&[][..], Vec::as_slice);
    files.verify(first, &policy, Time::Unknown)?;
    check_project(project, &files)?;
    Ok(files)
}

/// The chain of roots starts in the repository itself, so it proves nothing alone: what anchors it is the project file,
/// which names the repository and every key.
fn check_project(project: &Project, files: &Files) -> Result<()> {
    match agrees(project, &files.root()?, &files.targets()?)? {
        Ok(()) => Ok(()),
        Err(what) => Err(Error::refused(
            format!("{} and {} disagree on {what}", project.file.display(), project.directory.display()),
            "if you changed the project file, have the officers sign it with `sealift root apply`, which also finishes a \
             ceremony that was interrupted; if you did not, this is not your repository",
        )),
    }
}

/// Whether root and top-level targets say what the project file says; if not, what they disagree on.
pub fn agrees(project: &Project, root: &Root<'_>, targets: &Targets<'_>) -> Result<Result<(), &'static str>> {
    let wanted = authority::root(project, root.header.version, &Digest::default(), 0)?;
    let wanted = Root::decode(&wanted).map_err(|error| Error::failed(error, ""))?;
    if root.header.repository != project.id {
        return Ok(Err("the repository's id"));
    }
    if root.keys != wanted.keys || root.roles != wanted.roles {
        return Ok(Err("the keys or thresholds of the top-level roles"));
    }
    if root.counter_ceiling != wanted.counter_ceiling {
        return Ok(Err("the ceiling of the security counter"));
    }
    let wanted = authority::targets(project, targets.header.version, &Digest::default(), 0)?;
    let wanted = Targets::decode(&wanted).map_err(|error| Error::failed(error, ""))?;
    if targets.keys != wanted.keys || targets.delegations != wanted.delegations {
        return Ok(Err("the delegations"));
    }
    Ok(Ok(()))
}

/// A delegated file's payload with these targets.
pub fn delegated_payload(
    project: &Project,
    name: &str,
    version: u64,
    targets: &[Target<'_>],
    now: u64,
) -> Result<Vec<u8>> {
    let place = format!("delegations.{name}.expires");
    let lifetime = project.delegations.get(name).map(|delegation| &delegation.expires);
    let expires = lifetime.and_then(|lifetime| lifetime.after(now)).ok_or_else(|| beyond(project, &place))?;
    let targets = Targets {
        header: Header::new(project.id, version, expires),
        name: Some(name),
        targets: List::new(targets),
        keys: List::new(&[]),
        delegations: List::new(&[]),
    };
    Ok(targets.encode())
}

/// The targets of a delegated file as it stands, and its version: none while it is not listed. The version goes on from the
/// last one that the role ever had, so that devices which remember it are not asked to go back.
pub fn listed<'f>(files: &'f Files, layout: &Layout, name: &str) -> Result<(Vec<Target<'f>>, u64)> {
    Ok(match files.delegated(name)? {
        None => (Vec::new(), last_version(layout, name)?),
        Some((_, targets)) => (targets.targets.iter().collect(), targets.header.version),
    })
}

/// Takes a release off the list: jobs for it end, and devices that already run it go on.
pub fn withdraw(project: &Project, product: &str, version: Version, development: bool, now: u64) -> Result<Files> {
    let (delegation, _) = project.delegation_of(project.product(product)?.0)?;
    let signers = delegated_signers(project, delegation, development)?;
    let transaction = Transaction::begin(&Layout::new(&project.directory))?;
    let files = open(project, transaction.layout(), development)?;
    let (targets, file_version) = listed(&files, transaction.layout(), delegation)?;
    let kept: Vec<_> =
        targets.iter().filter(|target| target.product != product || target.version != version).cloned().collect();
    if kept.len() == targets.len() {
        let listed = targets.iter().filter(|target| target.product == product);
        let versions = listed.map(|target| target.version.to_string()).collect::<Vec<_>>().join(", ");
        return Err(Error::refused(
            format!("{product} {version} is not listed"),
            format!("listed are: {}", if versions.is_empty() { "none" } else { &versions }),
        ));
    }
    let payload = delegated_payload(project, delegation, following(file_version, Role::Targets)?, &kept, now)?;
    let changes = Changes { delegated: [(delegation.to_owned(), payload)].into(), ..Changes::default() };
    sign_or_ask(project, transaction, files, changes, signers, &Ask { development, now, clear: &[] })
}

/// Signs the timestamp anew; the snapshot and the files of `products` too when asked. A new snapshot publishes what teams have
/// staged: their roles are returned.
pub fn renew(
    project: &Project,
    snapshot: bool,
    products: &[String],
    development: bool,
    now: u64,
) -> Result<(Files, Vec<String>)> {
    let mut signers = Signers::default();
    signers.add(project, "timestamp", development)?;
    let mut delegations = Vec::new();
    let mut here = true;
    for product in products {
        let (name, _) = project.delegation_of(project.product(product)?.0)?;
        here &= add_delegated(&mut signers, project, name, development)?;
        delegations.push(name);
    }
    if snapshot || !delegations.is_empty() {
        signers.add(project, "snapshot", development)?;
    }
    let transaction = Transaction::begin(&Layout::new(&project.directory))?;
    let files = open(project, transaction.layout(), development)?;
    let mut changes = Changes { renew_snapshot: snapshot, ..Changes::default() };
    for name in delegations {
        let (targets, version) = listed(&files, transaction.layout(), name)?;
        let payload = delegated_payload(project, name, following(version, Role::Targets)?, &targets, now)?;
        changes.delegated.insert(name.to_owned(), payload);
    }
    let published = match snapshot && here {
        true => staged::take_up(project, transaction.layout(), &files, &mut changes, &mut signers)?,
        false => Vec::new(),
    };
    let clear: Vec<&str> = published.iter().map(String::as_str).collect();
    let ask = Ask { development, now, clear: &clear };
    let files = sign_or_ask(project, transaction, files, changes, here.then_some(signers), &ask)?;
    Ok((files, published))
}

/// The keys of an act on a delegated file that others publish: its own.
pub(super) fn own_signers(project: &Project, delegation: &str, development: bool) -> Result<Signers> {
    let mut signers = Signers::default();
    signers.add(project, delegation, development)?;
    Ok(signers)
}

/// The keys of an act on a delegated file: its own, and those of everything that pins it. `None` when it takes offline keys.
pub(super) fn delegated_signers(project: &Project, delegation: &str, development: bool) -> Result<Option<Signers>> {
    let mut signers = Signers::default();
    for role in ["snapshot", "timestamp"] {
        signers.add(project, role, development)?;
    }
    Ok(add_delegated(&mut signers, project, delegation, development)?.then_some(signers))
}

/// Adds a delegated role's keys; `false` when offline ones are needed to reach its threshold.
fn add_delegated(signers: &mut Signers, project: &Project, delegation: &str, development: bool) -> Result<bool> {
    if project.is_offline(delegation) {
        return Ok(signers.add_present(project, delegation, development)?.is_none());
    }
    signers.add(project, delegation, development)?;
    Ok(true)
}

/// How an act on delegated files ends.
pub(super) struct Ask<'a> {
    /// Example keys are accepted.
    pub(super) development: bool,
    /// The time.
    pub(super) now: u64,
    /// Roles whose staged files are published with it.
    pub(super) clear: &'a [&'a str],
}

/// Signs and publishes; or, where offline keys have to sign, keeps what is to be signed in a ceremony and says who has to.
pub(super) fn sign_or_ask(
    project: &Project,
    transaction: Transaction,
    files: Files,
    changes: Changes,
    signers: Option<Signers>,
    ask: &Ask<'_>,
) -> Result<Files> {
    if let Some(signers) = signers {
        let files = publish(project, &transaction, Some(files), changes, &signers, ask.now)?;
        ask.clear.iter().try_for_each(|role| staged::clear(transaction.layout(), role))?;
        return Ok(files);
    }
    // Under their hashes: nothing names them before the release is applied.
    for bytes in &changes.payloads {
        transaction.put_payload(bytes)?;
    }
    drop(transaction);
    let project = Project::load(&project.file, ask.development)?;
    Err(Ceremony::open(project, ask.development, ask.now)?.ask(&changes.delegated))
}

/// The payload of a role file that is known to decode.
pub(super) fn content(file: &[u8]) -> Option<Targets<'_>> {
    Targets::decode(Envelope::decode(file).ok()?.payload).ok()
}
