//! The factory: makes a device's state directory, as a whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use sealift_manifests::{Image, RepositoryId, Version, sha256};
use sealift_verifier::boot::{FactoryImage, RecordId};
use sealift_verifier::image::{Slot, VerifiedImage};
use sealift_verifier::session::slot_record::{BootTarget, SLOT_RECORD_MAX};
use sealift_verifier::session::{DeviceFacts, Identity, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::trust::{Policy, Time};

use crate::agent::clock;
use crate::error::{Error, Result};
use crate::state::State;
use crate::state::config::DeviceConfig;
use crate::state::files;
use crate::state::records::FileCounter;
use crate::state::slot_file::{Place, SECTOR, SlotFile};

/// Where the slots are.
#[derive(Clone, Debug)]
pub enum SlotPlaces {
    /// Files of this many bytes inside the state directory.
    Inside(u64),
    /// Two files or block devices, of this many bytes each.
    Outside(PathBuf, PathBuf, u64),
}

/// What the factory knows of the image it puts in.
#[derive(Clone, Debug)]
pub enum ImageFacts {
    /// It is listed in this bundle, which is verified.
    Bundle(Vec<u8>),
    /// It is this version with this security counter, on the factory's word.
    Stated(Version, u64),
}

/// What to provision.
#[derive(Clone, Debug)]
pub struct Provision {
    /// The trusted root file.
    pub root: Vec<u8>,
    /// The repository id, if it was stated: the root must be of it.
    pub repository: Option<RepositoryId>,
    /// Product id.
    pub product: String,
    /// Component id.
    pub component: String,
    /// Hardware id.
    pub hardware: String,
    /// The image that the device leaves the factory with.
    pub image: Vec<u8>,
    /// What is known of it.
    pub facts: ImageFacts,
    /// Where the slots are.
    pub slots: SlotPlaces,
    /// Refuse to install while no time is known.
    pub require_clock: bool,
    /// Accept the published example keys.
    pub allow_example_keys: bool,
}

/// Makes the state directory under a temporary name and renames it when it is complete.
pub fn provision(directory: &Path, what: &Provision) -> Result<BootTarget> {
    if directory.exists() && fs::read_dir(directory).map_err(Error::file("list", directory))?.next().is_some() {
        let problem = "it exists and isn't empty; a device is provisioned once: name another --state, or remove it";
        return Err(Error::Input { path: directory.into(), problem: problem.into() });
    }
    let repository = check_root(what)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(directory.file_name().unwrap_or_default());
    name.push(".provisioning");
    let temporary = directory.with_file_name(name);
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(Error::file("remove", &temporary))?;
    }
    let target = fill(&temporary, what, repository)?;
    // rename(2) replaces an empty directory.
    fs::rename(&temporary, directory).map_err(Error::file("create", directory))?;
    files::sync_directory(directory)?;
    Ok(target)
}

/// The root must be one, and of the stated repository.
fn check_root(what: &Provision) -> Result<RepositoryId> {
    let refused = |refusal| Error::Refused { refusal, context: "the root file".into() };
    let malformed = |error| refused(sealift_verifier::Error::malformed(sealift_manifests::Role::Root, error));
    let envelope = sealift_manifests::Envelope::decode(&what.root).map_err(malformed)?;
    let root = sealift_manifests::Root::decode(envelope.payload).map_err(malformed)?;
    let repository = what.repository.unwrap_or(root.header.repository);
    let identity =
        Identity { repository, product: &what.product, component: &what.component, hardware: &what.hardware };
    Session::new(identity, &what.root, TrustState::default(), Time::Unknown, policy(what)).map_err(refused)?;
    Ok(repository)
}

fn policy(what: &Provision) -> Policy {
    if what.allow_example_keys { Policy::development() } else { Policy::production() }
}

fn fill(directory: &Path, what: &Provision, repository: RepositoryId) -> Result<BootTarget> {
    let create = |path: &Path| fs::create_dir(path).map_err(Error::file("create", path));
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    create(directory)?;
    create(&directory.join("records"))?;
    create(&directory.join("keys"))?;
    let (slot_a, slot_b, size) = match &what.slots {
        SlotPlaces::Inside(size) => {
            create(&directory.join("slots"))?;
            let size = size.next_multiple_of(SECTOR as u64);
            for name in ["slots/a", "slots/b"] {
                let path = directory.join(name);
                let file = fs::File::create(&path).map_err(Error::file("create", &path))?;
                erase(&file, size).map_err(Error::file("fill", &path))?;
                file.sync_all().map_err(Error::file("flush", &path))?;
            }
            files::sync_directory(&directory.join("slots/a"))?;
            (PathBuf::from("slots/a"), PathBuf::from("slots/b"), size)
        }
        SlotPlaces::Outside(a, b, size) => {
            let absolute = |path: &PathBuf| path.canonicalize().map_err(Error::file("open", path));
            let place = |path: &Path| {
                let file = fs::OpenOptions::new().read(true).open(path).map_err(Error::file("open", path))?;
                Place::of(&file, path)
            };
            let (a, b) = (absolute(a)?, absolute(b)?);
            if place(&a)? == place(&b)? {
                let problem = "it is the same as slot A; an update needs a slot that doesn't run".into();
                return Err(Error::Input { path: b, problem });
            }
            (a, b, size - size % SECTOR as u64)
        }
    };
    let config = DeviceConfig {
        format: DeviceConfig::FORMAT,
        repository: repository.to_string(),
        product: what.product.clone(),
        component: what.component.clone(),
        hardware: what.hardware.clone(),
        slot_size: size,
        slot_a,
        slot_b,
        require_clock: what.require_clock,
        allow_example_keys: what.allow_example_keys,
    };
    config.store(&directory.join("device.json"))?;
    FileCounter::new(directory.join("counter")).create()?;
    let state = State::open(directory)?;
    state.records().store(RecordId::Root, &what.root)?;
    put_image(&state, &what.image)?;
    let record = record_of(&state, what)?;
    let mut scratch = [0; SLOT_RECORD_MAX];
    let identity = state.config.identity();
    let target = state.control().provision(Slot::A, &record, &identity, &mut scratch);
    let target = target.map_err(Error::refused("the image's record"))?;
    files::sync_directory(&directory.join("device.json"))?;
    Ok(target)
}

/// Writes an erased slot, byte for byte: the disk has the room from now on, whoever else fills it later.
fn erase(mut file: &fs::File, size: u64) -> std::io::Result<()> {
    use std::io::Write as _;
    let sector = [0xff; SECTOR];
    (0..size / SECTOR as u64).try_for_each(|_| file.write_all(&sector))
}

fn put_image(state: &State, image: &[u8]) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let path = state.slot_path(Slot::A);
    if image.is_empty() || image.len() as u64 > state.config.slot_size {
        let problem = format!(
            "the image has {} bytes and the slot {}; name a larger --slot-size",
            image.len(),
            state.config.slot_size
        );
        return Err(Error::Input { path, problem });
    }
    // Size, kind and mounts are checked before the first byte.
    SlotFile::open(&path, state.config.slot_size, true)?;
    SlotFile::open(&state.slot_path(Slot::B), state.config.slot_size, true)?;
    let file = fs::OpenOptions::new().write(true).open(&path).map_err(Error::file("open", &path))?;
    file.write_all_at(image, 0).map_err(Error::file("write", &path))?;
    file.sync_all().map_err(Error::file("flush", &path))
}

/// The record beside the first slot: signed, when the bundle lists the image; else on the factory's word.
fn record_of(state: &State, what: &Provision) -> Result<Vec<u8>> {
    let identity = state.config.identity();
    let length = u32::try_from(what.image.len()).map_err(|_| Error::Usage("the image is larger than 4 GiB".into()))?;
    let image = Image { length, digest: sha256(&what.image) };
    let mut record = vec![0; SLOT_RECORD_MAX];
    let written = match &what.facts {
        ImageFacts::Stated(version, security_counter) => {
            let factory = FactoryImage { image, version: *version, security_counter: *security_counter };
            factory.encode(&identity, &mut record).map_err(Error::refused("the image's record"))?
        }
        ImageFacts::Bundle(bundle) => {
            let refused = || Error::refused("the bundle");
            let trust = TrustState::default();
            let mut session = Session::new(identity, &what.root, trust, clock(), policy(what)).map_err(refused())?;
            let mut kept = Ok(());
            session
                .supply_bundle(bundle, |accepted| {
                    kept = keep(state, &accepted);
                    if kept.is_ok() { Ok(()) } else { Err(sealift_verifier::Error::Storage) }
                })
                .map_err(refused())?;
            kept?;
            let found = session.candidates().find(|(_, target)| target.image == image);
            let (digest, target) = found.ok_or_else(|| Error::Refused {
                refusal: sealift_verifier::Error::TargetNotListed,
                context: "the bundle lists no target with this image for this product and hardware".into(),
            })?;
            // The first image has no predecessor: nothing is below its own counter and version.
            let facts = DeviceFacts { security_counter: 0, installed: Some(target.version) };
            let approved = session.select(&digest, &facts).map_err(refused())?;
            let slots = state.slots(None)?;
            let verified = VerifiedImage::read_back(approved, Slot::A, slots.a).map_err(Error::refused("slot a"))?;
            verified.approved().slot_record(&mut record).map_err(Error::refused("the image's record"))?
        }
    };
    record.truncate(written);
    Ok(record)
}

/// Persists what a session accepted, before it goes on.
pub(crate) fn keep(state: &State, record: &Record<'_>) -> Result<()> {
    match record {
        Record::Root(file) => state.records().store(RecordId::Root, file),
        Record::Trust(trust) => {
            let mut buffer = [0; TRUST_RECORD_MAX];
            let length = trust.encode(&mut buffer).map_err(Error::refused("the floors"))?;
            state.records().store(RecordId::Trust, buffer.get(..length).unwrap_or(&buffer))
        }
    }
}
