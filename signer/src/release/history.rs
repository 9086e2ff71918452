//! Former images, for deltas: given as a file, or found in the repository by their version.

use std::fs;
use std::path::Path;

use sealift_manifests::{Digest, Target, Targets, Version, sha256};

use super::attachments::attachments;

use super::state::content;
use crate::error::{Error, Result};
use crate::image::{self, Format, Image};
use crate::input;
use crate::repository::Layout;

/// A former image.
#[derive(Debug)]
pub struct Base {
    /// How it was named.
    pub name: String,
    /// The image.
    pub image: Image,
}

/// Calls `visit` with every targets file that the repository ever had: they are never removed.
fn each(layout: &Layout, mut visit: impl FnMut(&Targets<'_>)) -> Result<()> {
    let folder = layout.metadata();
    for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let path = entry.map_err(Error::io("list", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "targets") {
            let file = fs::read(&path).map_err(Error::io("read", &path))?;
            content(&file).iter().for_each(&mut visit);
        }
    }
    Ok(())
}

/// Every release of a product's component that was ever listed, oldest first.
pub(super) fn releases(layout: &Layout, product: &str, component: &str) -> Result<Vec<(u64, Version, Digest)>> {
    let mut found = Vec::new();
    each(layout, |targets| {
        let of_it = targets.targets.iter().filter(|target| target.product == product && target.component == component);
        found.extend(of_it.map(|target| (targets.header.version, target.version, target.image.digest)));
    })?;
    found.sort();
    Ok(found)
}

/// A release as it was once listed.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) component: String,
    pub(super) hardware: Vec<String>,
    pub(super) version: Version,
    pub(super) security_counter: u64,
    pub(super) minimum_version: Option<Version>,
    pub(super) image: Digest,
    pub(super) sbom: Option<Digest>,
    pub(super) provenance: Option<Digest>,
}

impl Former {
    fn of(target: &Target<'_>) -> Self {
        let provenance = attachments(target).into_iter().find(|it| it.ending == "provenance.json");
        Former {
            component: target.component.into(),
            hardware: target.hardware.iter().map(Into::into).collect(),
            version: target.version,
            security_counter: target.security_counter,
            minimum_version: target.minimum_version,
            image: target.image.digest,
            sbom: target.sbom,
            provenance: provenance.map(|it| it.digest),
        }
    }
}

/// Every release of a product that was ever listed, the latest lists last.
pub(super) fn formers(layout: &Layout, product: &str) -> Result<Vec<Former>> {
    let mut found = Vec::new();
    each(layout, |targets| {
        let of_it = targets.targets.iter().filter(|target| target.product == product);
        found.extend(of_it.map(|target| (targets.header.version, Former::of(&target))));
    })?;
    found.sort_by_key(|(file_version, former)| (*file_version, former.version));
    Ok(found.into_iter().map(|(_, former)| former).collect())
}

/// The highest version that a delegated role's file ever had; 0 for none.
pub(super) fn last_version(layout: &Layout, name: &str) -> Result<u64> {
    let mut last = 0;
    each(layout, |targets| {
        if targets.name == Some(name) {
            last = last.max(targets.header.version);
        }
    })?;
    Ok(last)
}

/// The image that `name` means: a file, or a version that the repository has.
pub fn find_base(layout: &Layout, product: &str, component: &str, name: &str) -> Result<Base> {
    let path = Path::new(name);
    let version = name.parse::<Version>().ok();
    match version {
        Some(version) if !path.exists() => {
            let known = releases(layout, product, component)?;
            let Some((_, _, digest)) = known.iter().rev().find(|(_, listed, _)| *listed == version) else {
                let mut versions: Vec<_> = known.iter().map(|(_, version, _)| version.to_string()).collect();
                versions.dedup();
                return Err(Error::refused(
                    format!("{product} {version} was never released here, and no file has that name"),
                    format!(
                        "known releases: {}",
                        if versions.is_empty() { "none".into() } else { versions.join(", ") }
                    ),
                ));
            };
            Ok(Base { name: version.to_string(), image: stored(layout, digest)? })
        }
        _ => Ok(Base { name: name.to_owned(), image: image::read(path, Format::Auto)? }),
    }
}

/// A payload out of the repository, held to its name.
pub fn stored(layout: &Layout, digest: &Digest) -> Result<Image> {
    let path = layout.payload(digest);
    let remedy = "restore the repository, or give the former image as a file";
    let bytes = input::read(&path, "payload", u32::MAX.into(), remedy)?;
    if sha256(&bytes) != *digest {
        return Err(Error::input(&path, "its content is not what its name says", remedy));
    }
    Ok(Image { bytes: bytes.to_vec(), format: Format::Raw, load_address: None, hint: None })
}
