//! A device in memory. What decides in it is `sealift-verifier`, the code that runs on real ones: the update session over
//! records that are written and read back, the installation into a slot that is read back, the counter.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use sealift_manifests::{Digest, Image, RepositoryId, Version};
use sealift_verifier::Error;
use sealift_verifier::image::{Install, Limits, RawDecoder, Slot, choose_payload};
use sealift_verifier::session::{DeviceFacts, Fetch, Identity, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::trust::{Policy, Time};

/// Most files of one session: eight roots, and one of each other role.
const MAX_FILES: usize = 16;
/// What is gathered before it is written to the slot.
const BUFFER: usize = 4_096;

/// What a server serves: metadata by its stable names, payloads by their hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) metadata: BTreeMap<String, Vec<u8>>,
    pub(super) payloads: BTreeMap<Digest, Vec<u8>>,
}

/// Flash of a slot.
#[derive(Debug)]
struct Flash(Vec<u8>);

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let from = self.0.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4_096;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.0.get_mut(from as usize..to as usize).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(0xff);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let to = self.0.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        to.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// A device: what the factory gave it, and what it keeps.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) product: String,
    pub(super) component: String,
    pub(super) hardware: String,
    pub(super) repository: RepositoryId,
    /// The root it trusts, as it is stored.
    root: Vec<u8>,
    /// The floors, as they are stored.
    trust: Option<Vec<u8>>,
    counter: u64,
    /// What runs.
    pub(super) runs: Option<(Version, Digest)>,
}

impl Device {
    /// From the factory, with the root it was provisioned with.
    pub(super) fn new(name: &'static str, identity: (&str, &str, &str), repository: RepositoryId, root: &[u8]) -> Self {
        let (product, component, hardware) = identity;
        Device {
            name,
            product: product.into(),
            component: component.into(),
            hardware: hardware.into(),
            repository,
            root: root.to_vec(),
            trust: None,
            counter: 0,
            runs: None,
        }
    }

    /// Follows the metadata as far as it is accepted, and keeps that. Then installs `wanted`, or the newest release listed for
    /// it, confirms it, and raises its counter.
    pub(super) fn update(&mut self, served: &Served, wanted: Option<&Digest>, now: u64) -> Result<Version, Error> {
        let kept = self.clone();
        let identity = Identity {
            repository: kept.repository,
            product: &kept.product,
            component: &kept.component,
            hardware: &kept.hardware,
        };
        let state = kept.trust.as_deref().map(TrustState::decode).transpose()?.unwrap_or_default();
        let arena: [OnceCell<Vec<u8>>; MAX_FILES] = Default::default();
        let mut free = arena.iter();
        let mut session = Session::new(identity, &kept.root, state, Time::AtLeast(now), Policy::production())?;
        while let Some(fetch) = session.next() {
            let file = served.metadata.get(&fetch.to_string()).filter(|file| file.len() <= fetch.max_length);
            let Some(file) = file else {
                if fetch.role == sealift_manifests::Role::Root {
                    session.no_newer_root()?;
                    continue;
                }
                return Err(Error::LengthMismatch(fetch.role));
            };
            let place = free.next().ok_or(Error::TooManyRoots)?;
            match session.supply(place.get_or_init(|| file.clone()))? {
                Record::Root(root) => self.root = root.to_vec(),
                Record::Trust(state) => {
                    let mut record = [0; TRUST_RECORD_MAX];
                    let length = state.encode(&mut record)?;
                    self.trust = Some(record.get(..length).ok_or(Error::BufferTooSmall)?.to_vec());
                }
            }
        }
        let newest = session.candidates().max_by_key(|(_, target)| target.version).map(|(digest, _)| digest);
        let digest = wanted.copied().or(newest).ok_or(Error::TargetNotListed)?;
        let facts = DeviceFacts { security_counter: kept.counter, installed: kept.runs.map(|(version, _)| version) };
        let approved = session.select(&digest, &facts)?;
        let target = *approved.target();
        let capacity = (target.image.length as usize).next_multiple_of(4_096);
        let limits = Limits { decoder_ram: 0, window_log: 0, slot: capacity as u64, delta_only: false };
        let installed = kept.runs.map(|(_, digest)| Image { length: 0, digest });
        let choice = choose_payload(&target, installed.as_ref(), &limits)?;
        let payload = served.payloads.get(&choice.payload().digest).ok_or(Error::PayloadTruncated)?;
        let mut install: Install<'_, Flash, Flash, RawDecoder, BUFFER> =
            Install::begin(approved, &choice, Slot::B, Flash(vec![0; capacity]), None, RawDecoder::default(), None)?;
        for chunk in payload.chunks(BUFFER) {
            install.push(chunk)?;
        }
        let image = install.finish()?;
        let target = image.approved().target();
        self.counter = self.counter.max(target.security_counter);
        self.runs = Some((target.version, target.image.digest));
        Ok(target.version)
    }

    /// Version of the root it trusts.
    pub(super) fn root_version(&self) -> u64 {
        let root = sealift_manifests::Envelope::decode(&self.root).ok();
        let root = root.and_then(|envelope| sealift_manifests::Root::decode(envelope.payload).ok());
        root.map_or(0, |root| root.header.version)
    }

    /// Whether a file is one that it would ask for next: the name, for reports.
    pub(super) fn next_root(&self) -> String {
        Fetch::root(self.root_version() + 1).to_string()
    }
}
