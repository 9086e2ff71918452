//! A simulated device: one flash with two slots and the record store, and the life it leads from power-on to power-off.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use sealift_manifests::Version;
use sealift_verifier::Error;
use sealift_verifier::boot::{FactoryImage, Outcome, RecordId, Records, SecurityCounter};
use sealift_verifier::delta::Decoder24K;
use sealift_verifier::image::*;
use sealift_verifier::session::slot_record::SLOT_RECORD_MAX;
use sealift_verifier::session::{DeviceFacts, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::storage::DeviceStore;
use sealift_verifier::trust::{Policy, Time};

use crate::flash::{Gone, SimFlash};
use crate::fleet::{IDENTITY, NOW};
use crate::scenario::{COUNTER_OLD, LIMITS, NEW, OLD, Scenario, may_end_a_life};

/// Bytes of a slot.
const SLOT: usize = 16 * 1024;
/// Half of the record store, before it is rounded up to sectors.
const HALF: usize = 20 * 1024;

/// A partition of the one flash.
#[derive(Clone)]
pub(crate) struct Part<const W: usize, const E: usize> {
    flash: Rc<RefCell<SimFlash<W, E>>>,
    from: u32,
    length: usize,
}

impl<const W: usize, const E: usize> ErrorType for Part<W, E> {
    type Error = Gone;
}

impl<const W: usize, const E: usize> ReadNorFlash for Part<W, E> {
    const READ_SIZE: usize = SimFlash::<W, E>::READ_SIZE;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Gone> {
        assert!(offset as usize + bytes.len() <= self.length, "a read beyond the partition");
        self.flash.borrow_mut().read(self.from + offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.length
    }
}

impl<const W: usize, const E: usize> NorFlash for Part<W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Gone> {
        assert!(to as usize <= self.length, "an erasure beyond the partition");
        self.flash.borrow_mut().erase(self.from + from, self.from + to)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Gone> {
        assert!(offset as usize + bytes.len() <= self.length, "a write beyond the partition");
        self.flash.borrow_mut().write(self.from + offset, bytes)
    }
}

type Store<const W: usize, const E: usize> = DeviceStore<Part<W, E>>;

/// What must never go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Floors {
    root: u64,
    roles: [u64; 4],
    counter: u64,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There is nothing more to do.
    Done,
    /// By a reset, or by a cut.
    Reset,
}

pub(crate) struct Device<const W: usize, const E: usize> {
    pub(crate) flash: Rc<RefCell<SimFlash<W, E>>>,
    floors: Floors,
}

impl<const W: usize, const E: usize> Device<W, E> {
    const SLOT: usize = SLOT.next_multiple_of(E);
    const HALF: usize = HALF.next_multiple_of(E);
    /// Bytes of the flash that hold slots.
    pub(crate) const SLOTS: usize = 2 * Self::SLOT;

    /// As it leaves the factory: the old image in slot A, the root, and a state.
    pub(crate) fn factory(scenario: &Scenario) -> Self {
        let mut flash = SimFlash::new((Self::SLOTS + 2 * Self::HALF) / E);
        // An image writer that goes on where a cut stopped it may write a word that reads as erased.
        flash.lenient_below = Self::SLOTS as u32;
        let device = Device { flash: Rc::new(RefCell::new(flash)), floors: Floors::default() };
        let old = &scenario.old;
        let mut padded = old.clone();
        padded.resize(old.len().next_multiple_of(W), 0xff);
        device.slots().a.write(0, &padded).expect("the factory writes");
        let store = device.store().expect("an empty store");
        store.records().replace(RecordId::Root, &scenario.root).expect("the factory writes");
        let factory = FactoryImage { image: crate::fleet::image_of(old), version: OLD, security_counter: COUNTER_OLD };
        let (mut record, mut scratch) = ([0; FactoryImage::RECORD_MAX], [0; SLOT_RECORD_MAX]);
        let length = factory.encode(&IDENTITY, &mut record).expect("a factory record");
        let mut control = store.control();
        control.provision(Slot::A, &record[..length], &IDENTITY, &mut scratch).expect("a provisioned device");
        device
    }

    /// The same device, with a flash of its own.
    pub(crate) fn copy(&self) -> Self {
        Device { flash: Rc::new(RefCell::new(self.flash.borrow().clone())), floors: self.floors }
    }

    fn part(&self, from: usize, length: usize) -> Part<W, E> {
        Part { flash: self.flash.clone(), from: from as u32, length }
    }

    fn slots(&self) -> Slots<Part<W, E>> {
        Slots { a: self.part(0, Self::SLOT), b: self.part(Self::SLOT, Self::SLOT) }
    }

    fn store(&self) -> Result<Store<W, E>, Error> {
        DeviceStore::open(self.part(Self::SLOTS, 2 * Self::HALF))
    }

    /// Everything that stands in the records, held against what stood there before.
    fn check_floors(&mut self, store: &Store<W, E>) -> Result<(), Error> {
        let mut records = store.records();
        let (mut root, mut trust) = ([0; SLOT_RECORD_MAX], [0; TRUST_RECORD_MAX]);
        let root = records.read(RecordId::Root, &mut root)?.expect("the root is never lost");
        let state = match records.read(RecordId::Trust, &mut trust)? {
            Some(record) => TrustState::decode(record).expect("a whole record"),
            None => TrustState::default(),
        };
        let session = Session::new(IDENTITY, root, state, Time::Unknown, Policy::production()).expect("a whole root");
        let delegated = state.delegated.as_ref().and_then(|known| known.of("team")).map(|floor| floor.version);
        let roles = [
            state.timestamp.map(|known| known.floor.version),
            state.snapshot.map(|known| known.floor.version),
            state.targets.map(|floor| floor.version),
            delegated,
        ];
        let counter = store.counter().read()?;
        let found = Floors { root: session.root_version(), roles: roles.map(Option::unwrap_or_default), counter };
        let before = self.floors;
        let fell = found.root < before.root
            || found.counter < before.counter
            || found.roles.iter().zip(before.roles).any(|(found, before)| *found < before);
        assert!(!fell, "a floor fell: {before:?}, then {found:?}");
        self.floors = found;
        Ok(())
    }

    /// From power-on to a reset: boot, and then what is due.
    pub(crate) fn live(&mut self, scenario: &Scenario) -> Result<Ended, Error> {
        let store = self.store()?;
        let mut scratch = [0; SLOT_RECORD_MAX];
        let mut slots = self.slots();
        let mut control = store.control();
        let booted = control.boot(&IDENTITY, &mut slots, &mut scratch)?;
        // What runs is the one image or the other, whole, as somebody signed or the factory wrote it.
        let expected = match booted.target.version {
            OLD => &scenario.old,
            NEW => &scenario.new,
            other => panic!("version {other} runs"),
        };
        let mut running = vec![0; expected.len()];
        SlotReader::new(slots.of(booted.slot)).read_at(0, &mut running)?;
        assert!(running == *expected, "something else than version {} runs", booted.target.version);
        self.check_floors(&store)?;
        assert!(booted.target.security_counter >= self.floors.counter, "an image below the counter runs");
        // The old image confirms at each start too, as applications do: that must never confirm the other slot.
        if scenario.healthy || booted.target.version == OLD {
            control.confirm(booted.slot, &IDENTITY, &mut scratch)?;
        }
        // One that hangs is ended by the watchdog; one whose boot could not be recorded leaves the update to the next.
        if booted.trial || !booted.recorded {
            return Ok(Ended::Reset);
        }
        match control.state()?.outcome {
            Outcome::Confirmed(digest) if digest == scenario.digest => return Ok(Ended::Done),
            Outcome::Reverted(digest, 706) if digest == scenario.digest && !scenario.healthy => return Ok(Ended::Done),
            _ => {}
        }
        self.update(scenario, &store)?;
        Ok(Ended::Reset)
    }

    /// A session, and an installation that goes on where an earlier one left off.
    fn update(&mut self, scenario: &Scenario, store: &Store<W, E>) -> Result<(), Error> {
        let mut records = store.records();
        let mut buffer = [0; SLOT_RECORD_MAX];
        let root = records.read(RecordId::Root, &mut buffer)?.expect("the root is never lost").to_vec();
        let state = match records.read(RecordId::Trust, &mut buffer)? {
            Some(record) => TrustState::decode(record)?,
            None => TrustState::default(),
        };
        let mut session = Session::new(IDENTITY, &root, state, Time::AtLeast(NOW), Policy::production())?;
        session.supply_bundle(&scenario.bundle, |record| match record {
            Record::Root(file) => records.replace(RecordId::Root, file),
            Record::Trust(state) => {
                let mut bytes = [0; TRUST_RECORD_MAX];
                let length = state.encode(&mut bytes)?;
                records.replace(RecordId::Trust, &bytes[..length])
            }
        })?;
        self.check_floors(store)?;
        let facts = DeviceFacts { security_counter: self.floors.counter, installed: Some(OLD) };
        let approved = session.select(&scenario.digest, &facts)?;
        let mut control = store.control();
        let slot = control.prepare()?;
        let hint = records.read(RecordId::Resume, &mut buffer)?.map(<[u8]>::to_vec);
        let verified = match self.install(scenario, store, approved, slot, hint.as_deref()) {
            // A hint that doesn't hold is dropped, and the installation starts over.
            Err(Error::StateCorrupt | Error::ImageHash | Error::PayloadCorrupt) if hint.is_some() => {
                records.remove(RecordId::Resume)?;
                self.install(scenario, store, approved, slot, None)
            }
            result => result,
        }?;
        let Some(verified) = verified else {
            return Ok(()); // the link broke
        };
        control.activate(verified, &mut buffer)
    }

    fn install<'b>(
        &self,
        scenario: &Scenario,
        store: &Store<W, E>,
        approved: sealift_verifier::session::Approved<'b>,
        slot: Slot,
        hint: Option<&[u8]>,
    ) -> Result<Option<VerifiedImage<'b>>, Error> {
        let mut records = store.records();
        let mut slots = self.slots();
        let installed = crate::fleet::image_of(&scenario.old);
        let choice = choose_payload(approved.target(), Some(&installed), &LIMITS)?;
        let (flash, base) = slots.split(slot);
        let decoder = Decoder24K::new();
        let mut install = Install::<_, _, _, 64>::begin(approved, &choice, slot, flash, Some(base), decoder, hint)?;
        let (mut hinted, mut moved) = (install.hinted(), 0);
        loop {
            let from = install.next_offset() as usize;
            let piece = &scenario.payload[from..scenario.payload.len().min(from + 60)];
            if install.push(piece)? == Next::Done {
                break;
            }
            if install.hinted() >= hinted + scenario.hint_every {
                hinted = install.hinted();
                let mut record = [0; HINT_RECORD_MAX];
                if let Some(length) = install.hint(&mut record)? {
                    records.replace(RecordId::Resume, &record[..length])?;
                }
            }
            moved += piece.len();
            if moved >= scenario.link_holds_for {
                return Ok(None);
            }
        }
        install.finish().map(Some)
    }

    /// Lives until there is nothing more to do; returns how many lives it took.
    pub(crate) fn live_on(&mut self, scenario: &Scenario) -> usize {
        for life in 1..40 {
            match self.live(scenario) {
                Ok(Ended::Done) => {
                    self.check_end(scenario);
                    return life;
                }
                Ok(Ended::Reset) => {}
                // Without power anything may be said; nobody hears it.
                Err(error) => assert!(!self.flash.borrow().is_powered() || may_end_a_life(error), "{error:?}"),
            }
            self.flash.borrow_mut().power_on();
        }
        panic!("{}: it does not come to an end", scenario.name);
    }

    /// The end of the scenario, and that a normal boot writes nothing.
    fn check_end(&mut self, scenario: &Scenario) {
        let operations = self.flash.borrow().operations();
        let store = self.store().expect("a store");
        let mut control = store.control();
        let booted = control.boot(&IDENTITY, &mut self.slots(), &mut [0; SLOT_RECORD_MAX]).expect("it boots");
        let version = if scenario.healthy { NEW } else { OLD };
        assert_eq!((booted.target.version, booted.trial), (version, false));
        assert_eq!(control.security_counter(), Ok(scenario.counter));
        assert_eq!(self.floors.root, scenario.root_version, "the newest root is kept");
        assert_eq!(self.flash.borrow().operations(), operations, "a normal boot wrote");
    }

    /// What a device with this damage still boots.
    pub(crate) fn boots_after(&self, damage: impl FnOnce(&mut SimFlash<W, E>)) -> Result<Version, Error> {
        let device = self.copy();
        damage(&mut device.flash.borrow_mut());
        let store = device.store()?;
        let booted = store.control().boot(&IDENTITY, &mut device.slots(), &mut [0; SLOT_RECORD_MAX])?;
        let found = image_digest(device.slots().of(booted.slot), booted.target.image.length)?;
        assert_eq!(found, booted.target.image.digest);
        Ok(booted.target.version)
    }
}
