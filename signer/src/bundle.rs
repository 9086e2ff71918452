//! Update bundles and install files, out of a repository's state.

use sealift_manifests::bounds::MAX_BUNDLE_ROOTS;
use sealift_manifests::{Codec, Target, install_file};

use crate::error::{Error, Result};
use crate::release::stored;
use crate::repository::{Files, Layout};

/// Which payloads an install file carries besides its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Selection {
    /// The image itself: every device can take it
    Raw,
    /// The compressed image where there is one, else the image itself
    Compressed,
    /// Every payload, the deltas first
    All,
}

/// The bundle that takes a device from root `since` to one product's releases.
pub fn assemble(files: &Files, delegation: &str, since: u64) -> Result<Vec<u8>> {
    let newer = files.roots.iter().skip(usize::try_from(since).unwrap_or(usize::MAX));
    if newer.len() > MAX_BUNDLE_ROOTS {
        return Err(Error::refused(
            format!("{} roots are newer than root {since}; a bundle carries at most {MAX_BUNDLE_ROOTS}", newer.len()),
            "name the root that the devices have with --since-root, or take them there in two steps",
        ));
    }
    let mut bundle: Vec<u8> = newer.flatten().copied().collect();
    for file in [&files.timestamp, &files.snapshot, &files.targets] {
        bundle.extend(file);
    }
    match files.delegated(delegation)? {
        Some((file, _)) => bundle.extend(file),
        None => {
            return Err(Error::refused(
                format!("`{delegation}` has signed no release yet"),
                "make one with `sealift release create`",
            ));
        }
    }
    Ok(bundle)
}

/// Puts the wanted payloads of `target` behind its bundle. Returns how many.
pub fn append_payloads(file: &mut Vec<u8>, layout: &Layout, target: &Target<'_>, wanted: Selection) -> Result<usize> {
    let has = |codec| target.payloads.iter().any(|payload| payload.codec == codec);
    let compressed = if has(Codec::ZSTD) { Codec::ZSTD } else { Codec::RAW };
    let chosen = target.payloads.iter().filter(|payload| match wanted {
        Selection::Raw => payload.codec == Codec::RAW,
        Selection::Compressed => payload.codec == compressed,
        Selection::All => true,
    });
    let mut count = 0;
    for payload in chosen {
        install_file::append(file, &stored(layout, &payload.digest)?.bytes);
        count += 1;
    }
    Ok(count)
}
