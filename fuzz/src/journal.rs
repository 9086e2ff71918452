//! A device's flash under everything that can stand in it: records, boot state, resume hints and images, written by the device
//! itself, cut short, rotten, or planted by somebody who knows the format. Whatever stands there: no panic, what boots was
//! checked, and a value is the one that was written last until two faults have met.
//!
//! The input is a script of bytes:
//!
//! | byte | operation | bytes that follow |
//! |---|---|---|
//! | 0 | write a record | key, value (below) |
//! | 1 | remove a record | key |
//! | 2 | the device starts anew | |
//! | 3 | power ends after so many writes | how many |
//! | 4 | one byte of the store rots | half, place (2), mask |
//! | 5 | boot | |
//! | 6 | a transition | which: prepare, confirm A, confirm B, raise the counter; argument |
//! | 7 | a slot's content | slot, image, place of a changed byte, mask |
//! | 8 | a log of its own in one half, with right checksums | half, generation, count, then key and value of each |
//! | 9 | bytes as they are, anywhere in the store | place (2), count, bytes |
//! | 10 | install, going on from the hint that is kept | which payload, length of a piece, where the link breaks |
//!
//! A value is a kind and what it needs: see [`Script::value`].

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sealift_manifests::{Digest, RepositoryId, Targets};
use sealift_verifier::Error;
use sealift_verifier::boot::{DeviceState, FactoryImage, RecordId, Records, SecurityCounter, Trial};
use sealift_verifier::delta::Decoder24K;
use sealift_verifier::image::{Choice, HINT_RECORD_MAX, Install, Next, Slot, Slots};
use sealift_verifier::session::slot_record::SLOT_RECORD_MAX;
use sealift_verifier::session::{DeviceFacts, Identity, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::storage::DeviceStore;
use sealift_verifier::trust::{Policy, Time};

use crate::flash::{Part, Power, SECTOR};
use crate::fleet::{Fleet, IMAGE, Log, NOW, REPOSITORY, ROOT, image};
use crate::slow::schema::{self, sha256};

const MAX_STEPS: usize = 24;
/// Bytes of one half of the store.
const HALF: usize = DeviceStore::<Part>::HALF.next_multiple_of(SECTOR);
/// Counters of the image that the factory put in, and of the update.
const OLD: u64 = 3;
const NEW: u64 = 5;

const IDENTITY: Identity<'static> =
    Identity { repository: RepositoryId(REPOSITORY), product: "product", component: "main", hardware: "board" };

/// What every script starts from; signed once.
struct Kit {
    root: Vec<u8>,
    bundle: Vec<u8>,
    trust: Vec<u8>,
    digest: Digest,
    patch: Vec<u8>,
    /// Records beside a slot: of the update, and of the factory's image.
    signed: Vec<u8>,
    factory: Vec<u8>,
}

static KIT: LazyLock<Kit> = LazyLock::new(|| {
    let patch = crate::delta::create(&image(OLD), &image(NEW), &crate::delta::CreateOptions::default());
    let patch = patch.expect("a delta").patch;
    let fleet = Fleet { counters: vec![NEW], delta: Some((NEW, OLD, patch.clone())), ..Fleet::default() };
    let release = fleet.release(None, &[], &mut Log::new());
    let (root, bundle, digest) = (release.files[ROOT].clone(), release.files[1..].concat(), Digest(release.targets[0]));
    let mut session = session(&root);
    session.supply_bundle(&bundle, |_| Ok(())).expect("an honest bundle");
    let approved = session.select(&digest, &DEVICE).expect("an honest target");
    let (mut signed, mut trust) = (vec![0; SLOT_RECORD_MAX], vec![0; TRUST_RECORD_MAX]);
    let length = approved.slot_record(&mut signed).expect("a record");
    signed.truncate(length);
    let length = session.state().encode(&mut trust).expect("a record");
    trust.truncate(length);
    let mut factory = vec![0; FactoryImage::RECORD_MAX];
    let (old, image) = (image(OLD), sealift_manifests::sha256(&image(OLD)));
    let image = sealift_manifests::Image { length: old.len() as u32, digest: image };
    let version = sealift_manifests::Version([1, 0, 0]);
    let length =
        FactoryImage { image, version, security_counter: OLD }.encode(&IDENTITY, &mut factory).expect("a record");
    factory.truncate(length);
    Kit { root, bundle, trust, digest, patch, signed, factory }
});

const DEVICE: DeviceFacts =
    DeviceFacts { security_counter: OLD, installed: Some(sealift_manifests::Version([1, 0, 0])) };

fn session(root: &[u8]) -> Session<'_> {
    Session::new(IDENTITY, root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).expect("a root")
}

/// What is known of a record.
#[derive(Clone, Debug)]
enum Known {
    /// Nothing.
    Anything,
    /// It is one of these.
    OneOf(Vec<Option<Vec<u8>>>),
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }
    fn pair(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.next(), self.next()]))
    }
    fn take(&mut self, count: usize) -> &[u8] {
        let count = count.min(self.0.len());
        self.0.split_off(..count).unwrap_or(&[])
    }

    /// A value: bytes as they are, one of the records that the device would write, or such a record changed and sealed anew.
    fn value(&mut self) -> Vec<u8> {
        let kind = self.next();
        let state = |script: &mut Self| {
            let (what, counter) = (script.next(), script.next());
            let digest =
                [KIT.digest, sealift_manifests::sha256(&image(OLD)), Digest([7; 32])][usize::from(what >> 4) % 3];
            let trial = [Trial::None, Trial::Pending(digest), Trial::Running(digest)][usize::from(what >> 1) % 3];
            let state = DeviceState { trial, ..DeviceState::factory(Slot::ALL[usize::from(what & 1)], counter.into()) };
            let mut record = vec![0; sealift_verifier::boot::STATE_RECORD_MAX];
            let length = state.encode(&mut record).expect("a record");
            record.truncate(length);
            record
        };
        let mut value = match kind % 8 {
            0 => {
                let count = usize::from(self.next());
                return self.take(count).to_vec();
            }
            1 => state(self),
            2 => KIT.signed.clone(),
            3 => KIT.factory.clone(),
            4 => KIT.root.clone(),
            5 => KIT.trust.clone(),
            6 => self.hint(),
            _ => {
                let count = usize::from(self.next());
                let mut body = self.take(count).to_vec();
                body.extend([0; 8]);
                body
            }
        };
        // Changed, and its checksum right again.
        if kind & 0x80 != 0 || kind % 8 == 7 {
            if kind & 0x80 != 0 {
                let (at, mask) = (self.pair() % value.len(), self.next());
                value[at] ^= mask;
            }
            let body = value.len() - 8;
            let sum = sha256(&value[..body]);
            value[body..].copy_from_slice(&sum[..8]);
        }
        value
    }

    /// A resume record of this installation, with any place in it.
    fn hint(&mut self) -> Vec<u8> {
        let (what, slot) = (self.next(), self.next() & 1);
        let (output, offset) = (self.pair() as u32, self.pair() as u32);
        let old = sha256(&image(OLD));
        let new = sha256(&image(NEW));
        let (payload, base) = if what & 1 == 0 { (sha256(&KIT.patch), old) } else { (new, [0; 32]) };
        let binding = sha256(&[payload, base, new].concat());
        let codec = if what & 1 == 0 { 2 } else { 0 };
        let token = [&[1, codec, 0, 0][..], &offset.to_le_bytes(), &output.to_le_bytes(), &binding[..8]].concat();
        let body = [&[1, slot][..], &KIT.digest.0, &payload, &base, &output.to_be_bytes(), &token].concat();
        [&body[..], &sha256(&body)[..8]].concat()
    }
}

/// What a script came to, for tests of the harness itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Boots that found something to run.
    pub booted: usize,
    /// Those that ran the update.
    pub updated: usize,
    /// Boots that found nothing.
    pub refused: usize,
    /// Installations that ended in a verified image.
    pub installed: usize,
}

struct Device {
    power: Power,
    flash: Part,
    slots: [Part; 2],
    store: DeviceStore<Part>,
    known: BTreeMap<u8, Known>,
    counter: u64,
    /// Somebody else wrote the store, or both halves were hit: only what boots is judged.
    tampered: bool,
    rotten: [bool; 2],
    /// A write was cut short since the last one that went through.
    fragile: bool,
    tally: Tally,
}

/// Runs a script.
pub fn run(bytes: &[u8]) -> Tally {
    let mut script = Script(bytes);
    let mut device = Device::factory();
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        device.step(&mut script);
        device.check_records();
    }
    device.start();
    device.boot();
    device.tally
}

fn open(flash: &Part) -> DeviceStore<Part> {
    DeviceStore::open(flash.clone()).expect("flash that can be read is opened, whatever stands in it")
}

impl Device {
    fn factory() -> Self {
        let power = Power::default();
        let flash = Part::new(&power, 2 * HALF, true);
        let slots = [(); 2].map(|()| Part::new(&power, SECTOR, false));
        slots[0].plant(0, &image(OLD));
        let store = open(&flash);
        store.records().replace(RecordId::Root, &KIT.root).expect("the factory writes");
        store.control().provision(Slot::A, &KIT.factory, &IDENTITY, &mut [0; SLOT_RECORD_MAX]).expect("provisioned");
        let known = RecordId::ALL.iter().map(|id| (*id as u8, Known::Anything)).collect();
        let mut device = Device {
            power,
            flash,
            slots,
            store,
            known,
            counter: OLD,
            tampered: false,
            rotten: [false; 2],
            fragile: false,
            tally: Tally::default(),
        };
        device.check_records();
        device
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.next() % 11 {
            0 => {
                let id = RecordId::ALL[usize::from(script.next()) % 6];
                let value = script.value();
                let done = self.store.records().replace(id, &value);
                self.wrote(id, Some(value), done);
            }
            1 => {
                let id = RecordId::ALL[usize::from(script.next()) % 6];
                let done = self.store.records().remove(id);
                self.wrote(id, None, done);
            }
            2 => self.start(),
            3 => {
                let operations = u32::from(script.next());
                if self.power.is_on() {
                    self.power.lasts(Some(operations));
                }
            }
            4 => {
                let (half, at, mask) = (usize::from(script.next() & 1), script.pair(), script.next());
                self.flash.rot(half * HALF + at % HALF, mask);
                self.rotten[half] |= mask != 0;
                self.tampered |= self.rotten == [true; 2] || (mask != 0 && self.fragile);
            }
            5 => self.boot(),
            6 => self.transition(script.next(), script.next()),
            7 => {
                let (slot, which) = (usize::from(script.next() & 1), script.next());
                let (at, mask) = (script.pair() % IMAGE, script.next());
                let mut content = image(if which & 1 == 0 { OLD } else { NEW });
                content[at] ^= mask;
                self.slots[slot].plant(0, &content);
            }
            8 => {
                let (half, generation, count) = (usize::from(script.next() & 1), script.next(), script.next() % 8);
                let log = log(u64::from(generation), (0..count).map(|_| (script.next(), script.value())));
                self.flash.plant(half * HALF, &log[..log.len().min(HALF)]);
                self.tampered = true;
            }
            9 => {
                let (at, count) = (script.pair(), usize::from(script.next()));
                self.flash.plant(at, script.take(count));
                self.tampered = true;
            }
            _ => {
                let (which, piece, breaks) = (script.next(), script.next(), script.next());
                self.install(which, usize::from(piece) + 1, usize::from(breaks) * 8);
            }
        }
        if !self.power.is_on() {
            self.fragile = true;
        }
    }

    /// Power-on: it is there, and nothing is known of the flash.
    fn start(&mut self) {
        self.power.lasts(None);
        self.slots.iter().for_each(Part::wake);
        self.flash.wake();
        self.store = open(&self.flash);
    }

    /// Takes a write of the harness's own into account.
    fn wrote(&mut self, id: RecordId, value: Option<Vec<u8>>, done: Result<(), Error>) {
        let before = self.known.get(&(id as u8)).cloned().unwrap_or(Known::Anything);
        let now = match (done, before) {
            (Ok(()), _) if self.power.is_on() => {
                self.fragile = false;
                Known::OneOf(vec![value])
            }
            // It may have counted before the power went, or not.
            (_, Known::OneOf(mut values)) => {
                values.push(value);
                Known::OneOf(values)
            }
            (_, Known::Anything) => Known::Anything,
        };
        self.known.insert(id as u8, now);
    }

    /// After an act of the verifier's that writes several records: what stands there now is known as soon as it was read.
    fn acted(&mut self) {
        for id in [RecordId::Boot, RecordId::SlotA, RecordId::SlotB, RecordId::Resume] {
            self.known.insert(id as u8, Known::Anything);
        }
        if self.power.is_on() {
            self.fragile = false;
        }
    }

    fn check_records(&mut self) {
        if !self.power.is_on() {
            return;
        }
        let mut buffer = vec![0; SLOT_RECORD_MAX];
        for id in RecordId::ALL {
            let found = self.store.records().read(id, &mut buffer).map(|value| value.map(<[u8]>::to_vec));
            if self.tampered {
                continue;
            }
            match (&self.known[&(id as u8)], found) {
                (Known::Anything, Ok(found)) => {
                    self.known.insert(id as u8, Known::OneOf(vec![found]));
                }
                (Known::OneOf(values), Ok(found)) => {
                    assert!(
                        values.contains(&found),
                        "{}: neither what was written last nor what stood there",
                        id.name()
                    );
                }
                (_, Err(error)) => panic!("{}: {error:?}, with at most one fault", id.name()),
            }
        }
        match self.store.counter().read() {
            Ok(counter) => {
                assert!(
                    counter >= self.counter || self.tampered,
                    "the counter fell from {} to {counter}",
                    self.counter
                );
                self.counter = counter;
            }
            Err(error) => assert!(self.tampered, "the counter: {error:?}"),
        }
    }

    fn transition(&mut self, which: u8, argument: u8) {
        let mut scratch = [0; SLOT_RECORD_MAX];
        let mut control = self.store.control();
        let _ = match which % 4 {
            0 => control.prepare().map(drop),
            1 => control.confirm(Slot::A, &IDENTITY, &mut scratch).map(drop),
            2 => control.confirm(Slot::B, &IDENTITY, &mut scratch).map(drop),
            _ => self.store.counter().raise(argument.into()),
        };
        self.acted();
    }

    fn boot(&mut self) {
        let mut slots = Slots { a: self.slots[0].clone(), b: self.slots[1].clone() };
        let before = self.store.counter().read();
        let booted = self.store.control().boot(&IDENTITY, &mut slots, &mut [0; SLOT_RECORD_MAX]);
        self.acted();
        let Ok(booted) = booted else {
            self.tally.refused += 1;
            return;
        };
        self.tally.booted += 1;
        let slot = usize::from(booted.slot == Slot::B);
        let expected = booted.target.image;
        let content = self.slots[slot].content(expected.length as usize);
        assert_eq!(sha256(&content), expected.digest.0, "something else runs than the record says");
        assert!(before.is_ok_and(|counter| booted.target.security_counter >= counter), "below the counter");
        self.tally.updated += usize::from(content == image(NEW));
        // Who says so, by the slow verifier. (Without power nothing can be read back.)
        let mut buffer = vec![0; SLOT_RECORD_MAX];
        if self.power.is_on() {
            let record = self.store.records().read(RecordId::slot(booted.slot), &mut buffer);
            let record = record.expect("it was just read").expect("it was just read");
            let said = judge(record).expect("the slow verifier doesn't take this record");
            assert_eq!(said, (expected.length, expected.digest.0, booted.target.security_counter));
        }
    }

    /// Installs as a device does: from the hint that is kept, and when that comes to nothing, from the beginning.
    fn install(&mut self, which: u8, piece: usize, breaks: usize) {
        let slot = self.store.control().prepare();
        self.acted();
        let Ok(slot) = slot else { return };
        let mut buffer = [0; SLOT_RECORD_MAX];
        let hint = self.store.records().read(RecordId::Resume, &mut buffer);
        let hint = hint.ok().flatten().filter(|_| which & 2 == 0).map(<[u8]>::to_vec);
        let mut outcome = self.attempt(slot, which, piece, breaks, hint.as_deref());
        if hint.is_some() && outcome.is_err() {
            outcome = self.attempt(slot, which, piece, breaks, None);
        }
        let other = &self.slots[usize::from(slot == Slot::A)];
        let honest = breaks == 0 && (which & 1 == 1 || other.content(IMAGE) == image(OLD));
        if let Err(error) = outcome {
            assert!(!honest || !self.power.is_on(), "an honest installation ends with {error:?}");
        }
    }

    /// One attempt; `breaks`: bytes after which the link does, or 0.
    fn attempt(
        &mut self,
        slot: Slot,
        which: u8,
        piece: usize,
        breaks: usize,
        hint: Option<&[u8]>,
    ) -> Result<(), Error> {
        let mut session = session(&KIT.root);
        session.supply_bundle(&KIT.bundle, |_| Ok(())).expect("an honest bundle");
        let approved = session.select(&KIT.digest, &DEVICE).expect("an honest target");
        let listed: Vec<_> = approved.target().payloads.iter().collect();
        let image = image(NEW);
        let (choice, payload) =
            if which & 1 == 0 { (Choice::Delta(listed[0]), &KIT.patch) } else { (Choice::Full(listed[1]), &image) };
        let ours = usize::from(slot == Slot::B);
        let (flash, base) = (self.slots[ours].clone(), self.slots[1 - ours].clone());
        let mut decoder = Box::new(Decoder24K::new());
        let mut install =
            Install::<_, _, _, 64>::begin(approved, &choice, slot, flash, Some(base), &mut *decoder, hint)?;
        let mut pushed = 0;
        loop {
            let from = install.next_offset() as usize;
            assert!(from <= payload.len(), "wants byte {from} of {}", payload.len());
            match install.push(&payload[from..payload.len().min(from + piece)])? {
                Next::Done => break,
                Next::More | Next::Seek(_) => {}
            }
            pushed += piece;
            assert!(pushed <= 8 * (payload.len() + piece) + 4096, "it never comes to its end");
            if breaks != 0 && pushed >= breaks {
                let mut record = [0; HINT_RECORD_MAX];
                if let Some(length) = install.hint(&mut record)? {
                    let done = self.store.records().replace(RecordId::Resume, &record[..length]);
                    self.acted();
                    done?;
                }
                return Ok(());
            }
            if from == payload.len() {
                break;
            }
        }
        let verified = install.finish()?;
        assert!(self.slots[ours].content(IMAGE) == image, "verified, and not the image");
        self.tally.installed += 1;
        let activated = self.store.control().activate(verified, &mut [0; SLOT_RECORD_MAX]);
        self.acted();
        // What can't be recorded, or is no step from the state that was planted, is not an installation's fault.
        let _ = activated;
        Ok(())
    }
}

/// One half of a store, written from the text of `storage/entry.rs`: a start, and entries with the checksums they need.
fn log(generation: u64, entries: impl Iterator<Item = (u8, Vec<u8>)>) -> Vec<u8> {
    let number = generation.to_be_bytes();
    let mut half = [&b"SLR1"[..], &number].concat();
    half.extend(&sha256(&half)[..4]);
    for (key, value) in entries {
        let length = match key >> 4 {
            1 => u16::MAX,
            2 => u16::MAX - 1,
            _ => value.len() as u16,
        };
        let value = if length >= u16::MAX - 1 { &[][..] } else { &value };
        let mut sealed =
            [&number[..], &(half.len() as u32).to_be_bytes(), &[key % 18], &length.to_be_bytes(), &[0]].concat();
        half.extend(&sealed[12..]);
        half.extend(&sha256(&sealed)[..4]);
        half.extend(value);
        sealed.extend(value);
        half.extend(&sha256(&sealed)[..8]);
        half.resize(half.len().next_multiple_of(crate::flash::WORD), 0xff);
    }
    half
}

/// What a slot's record says, by the slow verifier: length, SHA-256 and counter of the image it lets run.
fn judge(record: &[u8]) -> Option<(u32, schema::Hash, u64)> {
    let (body, sum) = record.split_at_checked(record.len().checked_sub(8)?)?;
    if sha256(body)[..8] != *sum {
        return None;
    }
    let mut rest = body;
    let mut take = |count: usize| rest.split_off(..count);
    let version = take(1)?[0];
    if version == 0x80 {
        let mut good = take(16)? == REPOSITORY;
        for name in ["product", "main", "board"] {
            let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
            good &= take(length.into())? == name.as_bytes();
        }
        let length = u32::from_be_bytes(take(4)?.try_into().ok()?);
        let digest = take(32)?.try_into().ok()?;
        take(12)?;
        let counter = u64::from_be_bytes(take(8)?.try_into().ok()?);
        return (good && take(1).is_none()).then_some((length, digest, counter));
    }
    let digest: schema::Hash = take(32)?.try_into().ok()?;
    let [threshold, count] = take(2)? else { return None };
    let keys: Vec<[u8; 32]> = take(usize::from(*count) * 32)?.as_chunks().0.to_vec();
    let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let file = take(length.into())?;
    if version != 1 || take(1).is_some() {
        return None;
    }
    let file = schema::file(file)?;
    let keys = schema::RoleKeys { threshold: u64::from(*threshold), keys };
    crate::slow::client::signers(&file, &keys)?;
    let (header, schema::Role::Targets(_, targets, _)) = schema::role(&file.payload)? else { return None };
    let target = targets.into_iter().find(|target| target.digest == digest)?;
    let fits = target.identity == ["product", "main"] && target.hardware.iter().any(|name| name == "board");
    // The image stands where the strict decoder says: that both decoders agree on a role is the target `metadata`.
    let image = Targets::decode(&file.payload).ok()?.find(&Digest(digest))?.image;
    (fits && !target.critical && header.repository == REPOSITORY).then_some((
        image.length,
        image.digest.0,
        target.counter,
    ))
}
