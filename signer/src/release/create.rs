//! `release create`: one image becomes a target, its payloads, and the next state of the repository.

use std::fs;
use std::path::PathBuf;

use sealift_manifests::bounds::MAX_PAYLOADS;
use sealift_manifests::{Digest, Extensions, Image, List, Payload, Role, Target, Version, is_name, sha256};

use super::attachments::{PROVENANCE, bind, read_provenance, read_sbom};
use super::history::{Base, find_base, releases, stored};
use super::payloads::{Made, make};
use super::staged;
use super::state::{Ask, delegated_payload, delegated_signers, listed, open, own_signers, sign_or_ask};
use crate::authority::sorted;
use crate::error::{Error, Result};
use crate::image::{self, Format};
use crate::project::{Product, Project};
use crate::publish::{Changes, following};
use crate::repository::{Files, Layout, Transaction};

/// What a release is to be.
#[derive(Debug)]
pub struct Request {
    /// The product.
    pub product: String,
    /// The release version.
    pub version: Version,
    /// The security counter.
    pub security_counter: u64,
    /// The image file.
    pub image: PathBuf,
    /// How to read it.
    pub format: Format,
    /// The component, when it is not the product's usual one.
    pub component: Option<String>,
    /// The hardware, when it is not all of the product's.
    pub hardware: Vec<String>,
    /// Former images, as files or versions. `None`: every release that stays listed.
    pub from: Option<Vec<String>>,
    /// What must be installed before.
    pub minimum_version: Option<Version>,
    /// A software bill of materials.
    pub sbom: Option<PathBuf>,
    /// SLSA provenance.
    pub provenance: Option<PathBuf>,
    /// Sign with the delegated keys alone; who holds the online keys publishes.
    pub stage: bool,
    /// Example keys are accepted.
    pub development: bool,
}

/// What was made of it.
#[derive(Debug)]
pub struct Created {
    /// The digest a job names the target by.
    pub target: Digest,
    /// The image.
    pub image: image::Image,
    /// Its SHA-256.
    pub image_digest: Digest,
    /// The payloads, as listed; their bytes are in the repository.
    pub payloads: Vec<Made>,
    /// The delegated role that signed it.
    pub delegation: String,
    /// Former releases that are no longer listed.
    pub dropped: Vec<Version>,
    /// The repository's new state; as it was when the release is only staged.
    pub files: Files,
    /// Whether it waits for snapshot and timestamp.
    pub staged: bool,
}

/// A release whose files were read.
pub(super) struct Draft<'d> {
    pub(super) product: &'d str,
    pub(super) component: &'d str,
    pub(super) hardware: Vec<&'d str>,
    pub(super) version: Version,
    pub(super) security_counter: u64,
    pub(super) minimum_version: Option<Version>,
    pub(super) image: image::Image,
    pub(super) from: Option<&'d [String]>,
    pub(super) sbom: Option<Vec<u8>>,
    pub(super) provenance: Option<Vec<u8>>,
    pub(super) stage: bool,
    pub(super) development: bool,
}

/// Makes the release, or changes nothing.
pub fn create(project: &Project, request: &Request, now: u64) -> Result<Created> {
    let (product_id, product) = project.product(&request.product)?;
    let component = request.component.as_deref().unwrap_or(&product.component);
    let hardware = hardware(product_id, product, &request.hardware)?;
    if !is_name(component) {
        return Err(Error::usage(format!("`{component}` is no name for a component"), "use a-z 0-9 . _ -"));
    }
    if request.minimum_version.is_some_and(|minimum| minimum >= request.version) {
        return Err(Error::usage(
            "the minimum version is not below the release's own",
            "a bridge release is one that was made before this one",
        ));
    }
    let sbom = request.sbom.as_deref().map(read_sbom).transpose()?;
    let image = image::read(&request.image, request.format)?;
    let provenance = request.provenance.as_deref().map(|path| {
        let file = fs::read(&request.image).map_err(Error::io("read", &request.image))?;
        read_provenance(path, &sha256(&image.bytes), &sha256(&file))
    });
    let draft = Draft {
        product: product_id,
        component,
        hardware,
        version: request.version,
        security_counter: request.security_counter,
        minimum_version: request.minimum_version,
        image,
        from: request.from.as_deref(),
        sbom,
        provenance: provenance.transpose()?,
        stage: request.stage,
        development: request.development,
    };
    add(project, draft, now)
}

/// Signs a draft into the repository.
pub(super) fn add(project: &Project, draft: Draft<'_>, now: u64) -> Result<Created> {
    let (product_id, product) = project.product(draft.product)?;
    let (delegation, _) = project.delegation_of(product_id)?;
    let Draft { component, image, hardware, .. } = draft;
    let signers = match draft.stage {
        true => Some(own_signers(project, delegation, draft.development)?),
        false => delegated_signers(project, delegation, draft.development)?,
    };

    let layout = Layout::new(&project.directory);
    let transaction = Transaction::begin(&layout)?;
    let files = open(project, &layout, draft.development)?;
    let staged = staged::read(&layout, &files, delegation)?;
    let (mut targets, file_version) = match &staged {
        Some(staged) => staged.listed(&layout)?,
        None => listed(&files, &layout, delegation)?,
    };
    let same_line = |target: &Target<'_>| target.product == product_id && target.component == component;
    let image_digest = sha256(&image.bytes);
    check_version(&layout, product_id, component, draft.version, &image_digest, &targets)?;
    check_counter(project, delegation, draft.security_counter, targets.iter().filter(|target| same_line(target)))?;

    let dropped = retire(&mut targets, product.keep_releases, same_line);
    let bases = match draft.from {
        Some(names) => {
            let found = names.iter().map(|name| find_base(&layout, product_id, component, name));
            found.collect::<Result<Vec<_>>>()?
        }
        None => listed_bases(&layout, targets.iter().filter(|target| same_line(target)))?,
    };
    let mut made = make(&image, &bases, product.decoder_ram.0)?;
    if made.len() > MAX_PAYLOADS {
        // The smallest are first; the image itself is last and stays.
        made.drain(MAX_PAYLOADS - 1..made.len() - 1);
    }
    let payloads: Vec<Payload> = made.iter().map(|made| made.payload).collect();
    let bound = draft.provenance.as_deref().map(bind);
    let extensions: Vec<_> = bound.iter().map(|value| (PROVENANCE, value.as_slice())).collect();
    let target = Target {
        product: product_id,
        component,
        hardware: List::new(&hardware),
        version: draft.version,
        security_counter: draft.security_counter,
        minimum_version: draft.minimum_version,
        image: Image { length: image.bytes.len() as u32, digest: image_digest },
        payloads: List::new(&payloads),
        sbom: draft.sbom.as_deref().map(sha256),
        critical: Extensions::NONE,
        extensions: Extensions::new(&extensions),
    };
    let digest = sha256(&target.encoded());
    targets.push(target);
    let payload = delegated_payload(project, delegation, following(file_version, Role::Targets)?, &targets, now)?;
    drop(targets);

    let changes = Changes {
        delegated: [(delegation.to_owned(), payload)].into(),
        payloads: made
            .iter_mut()
            .map(|made| std::mem::take(&mut made.bytes))
            .chain(draft.sbom)
            .chain(draft.provenance)
            .collect(),
        ..Changes::default()
    };
    let files = match signers {
        Some(signers) if draft.stage => {
            staged::stage(&transaction, delegation, &changes, &signers)?;
            files
        }
        signers => {
            let ask = Ask { development: draft.development, now, clear: &[delegation] };
            sign_or_ask(project, transaction, files, changes, signers, &ask)?
        }
    };
    let delegation = delegation.to_owned();
    Ok(Created { target: digest, image, image_digest, payloads: made, delegation, dropped, files, staged: draft.stage })
}

fn hardware<'a>(id: &str, product: &'a Product, wanted: &'a [String]) -> Result<Vec<&'a str>> {
    if let Some(unknown) = wanted.iter().find(|name| !product.hardware.contains(name)) {
        return Err(Error::usage(
            format!("{id} does not exist on hardware `{unknown}`"),
            format!("sealift.toml lists: {}", product.hardware.join(", ")),
        ));
    }
    Ok(sorted(if wanted.is_empty() { &product.hardware } else { wanted }))
}

/// A version means one image, for ever.
fn check_version(
    layout: &Layout,
    product: &str,
    component: &str,
    version: Version,
    image: &Digest,
    targets: &[Target<'_>],
) -> Result<()> {
    let listed = targets.iter().any(|it| it.product == product && it.component == component && it.version == version);
    let other =
        releases(layout, product, component)?.into_iter().any(|(_, old, digest)| old == version && digest != *image);
    if listed || other {
        let how = if listed { "is listed already" } else { "was released before, with another image" };
        return Err(Error::refused(
            format!("{product} {version} {how}"),
            "give the release a version of its own; devices and people tell images apart by it",
        ));
    }
    Ok(())
}

/// A counter above the ceiling is refused by every device, one below its predecessors' by all that were updated.
fn check_counter<'t>(
    project: &Project,
    delegation: &str,
    counter: u64,
    line: impl Iterator<Item = &'t Target<'t>>,
) -> Result<()> {
    let ceiling = project.delegations.get(delegation).map_or(0, |delegation| delegation.counter_ceiling);
    if counter > ceiling {
        return Err(Error::Refused {
            code: Some(sealift_verifier::Error::CounterAboveCeiling.code()),
            fault: format!(
                "security counter {counter} is above the ceiling of {ceiling}, and every device would refuse it"
            ),
            remedy: "the officers can raise the ceiling: edit sealift.toml, then `sealift root apply`".into(),
        });
    }
    let highest = line.max_by_key(|target| target.security_counter);
    match highest.filter(|target| target.security_counter > counter) {
        Some(target) => Err(Error::Refused {
            code: Some(sealift_verifier::Error::CounterTooLow.code()),
            fault: format!(
                "security counter {counter} is below the {} of {} {}: devices that run it would refuse this release",
                target.security_counter, target.product, target.version
            ),
            remedy: format!("use {} or more", target.security_counter),
        }),
        None => Ok(()),
    }
}

/// Drops the oldest releases of a line, so that with the new one `keep` are listed.
fn retire<'t>(targets: &mut Vec<Target<'t>>, keep: usize, same_line: impl Fn(&Target<'_>) -> bool) -> Vec<Version> {
    let mut excess = (targets.iter().filter(|target| same_line(target)).count() + 1).saturating_sub(keep);
    let mut dropped = Vec::new();
    // Entries stand in the order in which they were released.
    targets.retain(|target| {
        let drop = excess > 0 && same_line(target);
        if drop {
            excess -= 1;
            dropped.push(target.version);
        }
        !drop
    });
    dropped
}

/// The images of releases that stay listed: what devices most probably run.
fn listed_bases<'t>(layout: &Layout, line: impl Iterator<Item = &'t Target<'t>>) -> Result<Vec<Base>> {
    line.map(|target| Ok(Base { name: target.version.to_string(), image: stored(layout, &target.image.digest)? }))
        .collect()
}
