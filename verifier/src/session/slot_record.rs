//! The record beside a slot: by it every boot checks the image again, without the session that approved it.
//!
//! It holds the signed targets file that lists the image, the keys and threshold that were authorised when it was accepted,
//! and the digest of the target. Keys that root revokes later do not stop an image that was installed before: the running
//! image goes on. The record belongs into storage that the device trusts as it trusts its root.

use sealift_manifests::bounds::{MAX_ENVELOPE, MAX_ROLE_KEYS};
use sealift_manifests::{Digest, Image, PublicKey, Role, Targets, Version};

use super::Identity;
use super::select::check_identity;
use crate::certain::{pass, require};
use crate::cose::CoseFile;
use crate::error::Error;
use crate::record::{CHECKSUM, RecordReader, RecordWriter};
use crate::trust::format::{Authority, SignedFile};
use crate::trust::{SignerSet, Signers, count_signatures};

const VERSION: u8 = 1;

/// Most bytes of a slot record.
pub const SLOT_RECORD_MAX: usize = 1 + 32 + 2 + MAX_ROLE_KEYS * 32 + 2 + MAX_ENVELOPE + CHECKSUM;

/// What a slot must hold to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTarget {
    /// SHA-256 of the target's entry.
    pub digest: Digest,
    /// Length and SHA-256 of the image.
    pub image: Image,
    /// Its security counter.
    pub security_counter: u64,
    /// Its version.
    pub version: Version,
}

/// Keys and threshold as they were when the target was accepted.
#[derive(Clone, Copy, Debug)]
struct RecordedKeys<'r> {
    threshold: u8,
    keys: &'r [u8],
}

impl Authority for RecordedKeys<'_> {
    type Key = PublicKey;
    fn threshold(&self) -> u64 {
        self.threshold.into()
    }
    fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.keys.as_chunks::<32>().0.iter().map(|key| PublicKey(*key))
    }
}

pub(super) fn encode(
    digest: &Digest,
    authority: &impl Authority<Key = PublicKey>,
    file: &[u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    let mut writer = RecordWriter::new(out, VERSION);
    // Both are at most MAX_ROLE_KEYS: the casts are exact.
    writer.bytes(&digest.0).u8(authority.threshold() as u8).u8(authority.keys().count() as u8);
    authority.keys().for_each(|key| {
        writer.bytes(&key.0);
    });
    writer.sized(file);
    writer.finish()
}

/// Checks a slot's record for the device it stands in: signatures, repository, product, component, hardware. The image
/// itself must then be hashed and compared, and the counter be no lower than the device's.
pub fn verify(record: &[u8], identity: &Identity<'_>) -> Result<BootTarget, Error> {
    let mut reader = RecordReader::new(record, VERSION)?;
    let digest = reader.digest();
    let (threshold, count) = (reader.u8(), reader.u8());
    let keys = reader.bytes(usize::from(count).saturating_mul(32));
    let file = reader.sized();
    let file = CoseFile::<Targets<'_>>::new(reader.done(file)?)?;
    let authority = RecordedKeys { threshold, keys };
    let signers: Signers = count_signatures(&file, &authority, Role::Targets)?;
    // Once more: whoever skipped the refusal above comes by here.
    require!(threshold > 0 && signers.count() >= authority.threshold(), Error::ThresholdNotMet(Role::Targets));
    let targets = file.open()?;
    require!(targets.header.repository == identity.repository, Error::WrongRepository(Role::Targets));
    let target = targets.find(&digest).ok_or(Error::TargetNotListed)?;
    pass!(check_identity(&target, identity));
    Ok(BootTarget { digest, image: target.image, security_counter: target.security_counter, version: target.version })
}
