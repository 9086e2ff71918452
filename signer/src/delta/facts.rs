//! What is known of two images without matching them, found once and while something else goes on.

use std::{io, sync::OnceLock};

use sealift_manifests::delta_format::RamClass;
use sha2::{Digest, Sha256};

use super::{CreateError, full::compressed_image};

/// The two images' facts.
pub(super) struct Facts<'a> {
    base: &'a [u8],
    target: &'a [u8],
    ram: RamClass,
    found: OnceLock<Result<Found, String>>,
}

struct Found {
    digests: ([u8; 32], [u8; 32]),
    full_at_most: usize,
}

impl<'a> Facts<'a> {
    pub(super) fn new(base: &'a [u8], target: &'a [u8], ram: RamClass) -> Self {
        Self { base, target, ram, found: OnceLock::new() }
    }

    /// Finds them, so that nobody waits who asks for one later.
    pub(super) fn find(&self) {
        let _ = self.found();
    }

    /// Found now, unless that was or is being done.
    fn found(&self) -> Result<&Found, CreateError> {
        let found = self.found.get_or_init(|| {
            let full = compressed_image(self.target, self.ram, 1).map_err(|error| error.to_string())?;
            Ok(Found {
                digests: (Sha256::digest(self.base).into(), Sha256::digest(self.target).into()),
                full_at_most: full.len().min(self.target.len()),
            })
        });
        found.as_ref().map_err(|why| CreateError::Compress(io::Error::other(why.clone())))
    }

    /// SHA-256 of base and target.
    pub(super) fn digests(&self) -> Result<([u8; 32], [u8; 32]), CreateError> {
        self.found().map(|found| found.digests)
    }

    /// Length of the target compressed by itself for the same decoder, at a quick look.
    pub(super) fn full_at_most(&self) -> Result<usize, CreateError> {
        self.found().map(|found| found.full_at_most)
    }
}
