//! Former images, for deltas: given as a file, or found in the repository by their version.

use std::fs;
use std::path::Path;

use sealift_manifests::{Digest, Version, sha256};

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

/// Every release of a product's component that the repository ever listed, oldest first: targets files are never removed.
pub(super) fn releases(layout: &Layout, product: &str, component: &str) -> Result<Vec<(u64, Version, Digest)>> {
    let folder = layout.metadata();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let path = entry.map_err(Error::io("list", &folder))?.path();
        if path.extension().is_none_or(|extension| extension != "targets") {
            continue;
        }
        let file = fs::read(&path).map_err(Error::io("read", &path))?;
        let Some(targets) = content(&file) else { continue };
        let of_it = targets.targets.iter().filter(|target| target.product == product && target.component == component);
        found.extend(of_it.map(|target| (targets.header.version, target.version, target.image.digest)));
    }
    found.sort();
    Ok(found)
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
    Ok(Image { bytes: bytes.to_vec(), format: Format::Raw, load_address: None })
}
