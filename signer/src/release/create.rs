//! `release create`: one image becomes a target, its payloads, and the next state of the repository.

use std::path::PathBuf;

use sealift_manifests::bounds::MAX_PAYLOADS;
use sealift_manifests::{Digest, Extensions, Image, List, Payload, Role, Target, Version, is_name, sha256};

use super::history::{Base, find_base, releases, stored};
use super::payloads::{Made, make};
use super::state::{delegated_payload, delegated_signers, listed, open};
use crate::authority::sorted;
use crate::error::{Error, Result};
use crate::image::{self, Format};
use crate::input;
use crate::project::{Product, Project};
use crate::publish::{Changes, following, publish};
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
    /// The repository's new state.
    pub files: Files,
}

/// Most bytes of a bill of materials.
const MAX_SBOM: u64 = 64 << 20;

/// Makes the release, or changes nothing.
pub fn create(project: &Project, request: &Request, now: u64) -> Result<Created> {
    let (product_id, product) = project.product(&request.product)?;
    let (delegation, _) = project.delegation_of(product_id)?;
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
    let signers = delegated_signers(project, delegation, request.development)?;

    let layout = Layout::new(&project.directory);
    let transaction = Transaction::begin(&layout)?;
    let files = open(project, &layout, request.development)?;
    let (mut targets, file_version) = listed(&files, &layout, delegation)?;
    let same_line = |target: &Target<'_>| target.product == product_id && target.component == component;
    let image_digest = sha256(&image.bytes);
    check_version(&layout, product_id, component, request.version, &image_digest, &targets)?;
    check_counter(project, delegation, request, targets.iter().filter(|target| same_line(target)))?;

    let dropped = retire(&mut targets, product.keep_releases, same_line);
    let bases = match &request.from {
        Some(names) => {
            let found = names.iter().map(|name| find_base(&layout, product_id, component, name));
            found.collect::<Result<Vec<_>>>()?
        }
        None => listed_bases(&layout, targets.iter().filter(|target| same_line(target)))?,
    };
    let mut made = make(&image.bytes, &bases, product.decoder_ram.0)?;
    if made.len() > MAX_PAYLOADS {
        // The smallest are first; the image itself is last and stays.
        made.drain(MAX_PAYLOADS - 1..made.len() - 1);
    }
    let payloads: Vec<Payload> = made.iter().map(|made| made.payload).collect();
    let target = Target {
        product: product_id,
        component,
        hardware: List::new(&hardware),
        version: request.version,
        security_counter: request.security_counter,
        minimum_version: request.minimum_version,
        image: Image { length: image.bytes.len() as u32, digest: image_digest },
        payloads: List::new(&payloads),
        sbom: sbom.as_deref().map(sha256),
        critical: Extensions::NONE,
        extensions: Extensions::NONE,
    };
    let digest = sha256(&target.encoded());
    targets.push(target);
    let payload = delegated_payload(project, delegation, following(file_version, Role::Targets)?, &targets, now)?;
    drop(targets);

    let changes = Changes {
        delegated: [(delegation.to_owned(), payload)].into(),
        payloads: made.iter_mut().map(|made| std::mem::take(&mut made.bytes)).chain(sbom).collect(),
        ..Changes::default()
    };
    let files = publish(project, &transaction, Some(files), changes, &signers, now)?;
    let delegation = delegation.to_owned();
    Ok(Created { target: digest, image, image_digest, payloads: made, delegation, dropped, files })
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
    request: &Request,
    line: impl Iterator<Item = &'t Target<'t>>,
) -> Result<()> {
    let counter = request.security_counter;
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

/// A bill of materials has to be one: CycloneDX or SPDX, as JSON.
fn read_sbom(path: &std::path::Path) -> Result<Vec<u8>> {
    let remedy = "give a CycloneDX or SPDX file in JSON form";
    let bytes = input::read(path, "bill of materials", MAX_SBOM, remedy)?;
    let parsed: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::input(path, format!("no JSON: {error}"), remedy))?;
    let cyclonedx = parsed.get("bomFormat").is_some_and(|format| format == "CycloneDX");
    let spdx = parsed.get("spdxVersion").is_some_and(serde_json::Value::is_string);
    if cyclonedx || spdx {
        Ok(bytes.to_vec())
    } else {
        Err(Error::input(path, "neither `bomFormat: CycloneDX` nor `spdxVersion` stands in it", remedy))
    }
}
