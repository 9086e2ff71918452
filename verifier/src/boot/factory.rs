//! The record of an image that the factory put in, when no signed metadata came with it.
//!
//! It carries no signature: like the root that the factory wrote beside it, it is trusted for where it is kept. An image
//! that comes with its bundle is provisioned with a signed record instead, as any later update is.

use sealift_manifests::bounds::MAX_NAME;
use sealift_manifests::{Image, RepositoryId, Version, is_name};

use crate::certain::require;
use crate::error::Error;
use crate::record::{CHECKSUM, RecordReader, RecordWriter};
use crate::session::Identity;
use crate::session::slot_record::BootTarget;

/// Differs from the version of signed records ([`crate::session::slot_record`]), so that neither reads as the other.
pub(super) const VERSION: u8 = 0x80;

/// What the factory says of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactoryImage {
    /// Length and SHA-256.
    pub image: Image,
    /// Its version.
    pub version: Version,
    /// Its security counter.
    pub security_counter: u64,
}

impl FactoryImage {
    /// Most bytes of its record.
    pub const RECORD_MAX: usize = 1 + 16 + 3 * (2 + MAX_NAME) + 4 + 32 + 12 + 8 + CHECKSUM;

    /// Writes the record for a device; returns its length.
    pub fn encode(&self, identity: &Identity<'_>, out: &mut [u8]) -> Result<usize, Error> {
        let mut writer = RecordWriter::new(out, VERSION);
        writer.bytes(&identity.repository.0);
        for name in [identity.product, identity.component, identity.hardware] {
            writer.sized(name.as_bytes());
        }
        writer.bytes(&self.image.length.to_be_bytes()).bytes(&self.image.digest.0);
        for part in self.version.0 {
            writer.bytes(&part.to_be_bytes());
        }
        writer.u64(self.security_counter);
        writer.finish()
    }

    /// Reads a record and holds it to the device. The image's own digest stands for the target's, which it has not.
    pub(super) fn decode(record: &[u8], identity: &Identity<'_>) -> Result<BootTarget, Error> {
        let mut reader = RecordReader::new(record, VERSION)?;
        require!(RepositoryId(reader.array()) == identity.repository, Error::StateCorrupt);
        let own = [
            (identity.product, Error::WrongProduct),
            (identity.component, Error::WrongComponent),
            (identity.hardware, Error::WrongHardware),
        ];
        for (name, refusal) in own {
            require!(is_name(name) && reader.sized() == name.as_bytes(), refusal);
        }
        let image = Image { length: reader.u32(), digest: reader.digest() };
        let version = Version([(); 3].map(|()| reader.u32()));
        let security_counter = reader.u64();
        reader.done(BootTarget { digest: image.digest, image, security_counter, version })
    }
}
