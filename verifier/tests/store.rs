//! The record store without power cuts (those are `power_cut`'s): it is a map, it wears no flash without need, and it knows what it
//! has lost.

mod flash;

use std::collections::BTreeMap;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use flash::{Flash, Power};
use sealift_verifier::Error;
use sealift_verifier::boot::{RecordId, Records as _, SecurityCounter as _};
use sealift_verifier::storage::{DeviceStore, FlashRecords};

type Model = BTreeMap<u8, Vec<u8>>;

fn read<const R: usize, const W: usize, const E: usize>(
    store: &mut FlashRecords<Flash<R, W, E>>,
    key: u8,
) -> Result<Option<Vec<u8>>, Error> {
    let mut out = [0; 512];
    Ok(store.read(key, &mut out)?.map(|length| out[..length].to_vec()))
}

/// Values of many lengths under all keys, replaced, removed, and read again after each step and each reset.
fn is_a_map<const W: usize, const E: usize>() {
    let power = Power::default();
    let mut store = FlashRecords::open(Flash::<1, W, E>::new(&power, 8192), 4096).unwrap();
    let mut model = Model::new();
    for step in 0..300 {
        let (dice, key) = (power.noise(), (power.noise() % 16) as u8);
        match dice % 8 {
            0 => {
                store.remove(key).unwrap();
                model.remove(&key);
            }
            1 => store = FlashRecords::open(store.into_flash(), 4096).unwrap(),
            _ => {
                // Around a word, a chunk and a half of the store's own transfers.
                let length = [0, 1, 7, 8, 63, 64, 65, 130][(dice >> 8) as usize % 8];
                let value: Vec<u8> = (0..length).map(|_| power.noise() as u8).collect();
                store.write(key, &value).unwrap();
                model.insert(key, value);
            }
        }
        for key in 0..16 {
            assert_eq!(read(&mut store, key).unwrap().as_ref(), model.get(&key), "key {key} after step {step}");
        }
    }
}

#[test]
fn the_store_is_a_map_on_every_geometry() {
    is_a_map::<1, 256>();
    is_a_map::<4, 1024>();
    is_a_map::<32, 4096>();
    is_a_map::<64, 2048>();
}

/// The smallest entry, in the room that is left for exactly one.
#[test]
fn a_removal_that_ends_where_its_half_does_is_remembered() {
    let power = Power::default();
    let mut store = FlashRecords::open(Flash::<1, 4, 256>::new(&power, 2048), 1024).unwrap();
    // 16 bytes of a half's start, then entries of 16 bytes and their value.
    for number in 1..=20 {
        store.write(1, &[number; 32]).unwrap();
    }
    store.write(1, &[21; 16]).unwrap();
    let begun = store.flash().erases;
    store.remove(1).unwrap();
    assert_eq!(store.flash().erases, begun, "it fits");
    assert_eq!(read(&mut store, 1), Ok(None));
    let mut store = FlashRecords::open(store.into_flash(), 1024).unwrap();
    assert_eq!(read(&mut store, 1), Ok(None));
}

/// The first write of a power cycle erases each sector once; those that follow none, until a half is full.
#[test]
fn writing_erases_no_more_than_once_a_power_cycle_while_there_is_room() {
    let power = Power::default();
    let mut store = FlashRecords::open(Flash::<1, 4, 256>::new(&power, 2048), 1024).unwrap();
    store.write(1, &[1; 32]).unwrap();
    let begun = store.flash().erases;
    assert_eq!(begun, 2, "both halves, each at once");
    // 16 bytes of a half's start; entries of 8 + 32 + 8 bytes: 21 of them fit 1,024 bytes.
    for number in 2..=21 {
        store.write(1, &[number; 32]).unwrap();
        assert_eq!(store.flash().erases, begun, "write {number}");
    }
    store.write(1, &[22; 32]).unwrap();
    assert_eq!(store.flash().erases, begun + 2, "the half was full");
    assert_eq!(read(&mut store, 1), Ok(Some(vec![22; 32])));
    // What is not there needs no removal, and no write.
    let operations = power.operations();
    store.remove(9).unwrap();
    assert_eq!(power.operations(), operations);
}

#[test]
fn values_that_do_not_fit_are_refused_and_the_others_stay() {
    let power = Power::default();
    assert_eq!(FlashRecords::open(Flash::<1, 4, 256>::new(&power, 2048), 1025).unwrap_err(), Error::BufferTooSmall);
    let mut store = FlashRecords::open(Flash::<1, 4, 256>::new(&power, 2048), 1024).unwrap();
    store.write(1, b"stays").unwrap();
    // A half has 1,024 bytes: 16 for its start, 16 for each entry, 24 with the other value.
    assert!(store.write(2, &[7; 1024 - 16 - 24 - 16 + 1]).is_err());
    assert_eq!(read(&mut store, 1), Ok(Some(b"stays".to_vec())));
    assert_eq!(read(&mut store, 2), Ok(None));
    assert!(store.write(2, &[7; 70_000]).is_err());
    assert!(store.write(16, b"no such key").is_err());
    store.write(2, &[7; 500]).unwrap();
    assert_eq!(store.read(2, &mut [0; 499]), Err(Error::BufferTooSmall));
    assert_eq!(store.read(2, &mut [0; 500]), Ok(Some(500)));
    assert_eq!(FlashRecords::<Flash<1, 4, 256>>::room_for(500), 516);
    assert_eq!(FlashRecords::<Flash<1, 32, 256>>::room_for(500), 544);
    assert_eq!(FlashRecords::<Flash<1, 4, 256>>::room_for(0), 16);
    assert_eq!(FlashRecords::<Flash<1, 4, 256>>::room_for(65_534), usize::MAX);
}

/// One half is enough, whichever rots; where both do, the value is lost, and an older one never comes back in its place.
#[test]
fn rot_in_one_half_costs_nothing_and_in_both_is_told() {
    let power = Power::default();
    let mut store = FlashRecords::open(Flash::<1, 4, 256>::new(&power, 2048), 1024).unwrap();
    store.write(1, b"old").unwrap();
    store.write(1, b"new").unwrap();
    store.write(2, b"behind").unwrap();
    let whole = store.into_flash();
    // "new" stands at 16 + 20 in each half, its value at + 8.
    for at in [16 + 20, 16 + 20 + 8, 16 + 20 + 8 + 3] {
        for half in [0, 1024] {
            let mut flash = whole.clone();
            flash.disturb(half + at);
            let mut store = FlashRecords::open(flash, 1024).unwrap();
            assert_eq!(read(&mut store, 1), Ok(Some(b"new".to_vec())), "rot at {at} of half {half}");
            assert_eq!(read(&mut store, 2), Ok(Some(b"behind".to_vec())));
            // The next write mends it: then the other half may go.
            store.write(3, b"mends").unwrap();
            let mut flash = store.into_flash();
            flash.cells[1024 - half..][..1024].fill(0);
            let mut store = FlashRecords::open(flash, 1024).unwrap();
            assert_eq!(read(&mut store, 1), Ok(Some(b"new".to_vec())), "mended, at {at} of half {half}");
        }
    }
    let mut flash = whole.clone();
    flash.disturb(16 + 20 + 8);
    flash.disturb(1024 + 16 + 20 + 8);
    let mut store = FlashRecords::open(flash, 1024).unwrap();
    assert_eq!(read(&mut store, 1), Err(Error::StateCorrupt));
    assert_eq!(read(&mut store, 2), Ok(Some(b"behind".to_vec())));
    // It stays lost when the log is written anew, and is a value again once it is written.
    store.write(2, b"again").unwrap();
    assert_eq!(read(&mut store, 1), Err(Error::StateCorrupt));
    store.write(1, b"newest").unwrap();
    assert_eq!(read(&mut store, 1), Ok(Some(b"newest".to_vec())));
    // The start of a half, which is what makes it one.
    for half in [0, 1024] {
        let mut flash = whole.clone();
        flash.disturb(half + 9);
        let mut store = FlashRecords::open(flash, 1024).unwrap();
        assert_eq!(read(&mut store, 1), Ok(Some(b"new".to_vec())));
    }
    let mut flash = whole;
    flash.disturb(9);
    flash.disturb(1024 + 9);
    let mut store = FlashRecords::open(flash, 1024).unwrap();
    assert_eq!(read(&mut store, 1), Ok(None), "no half is one: nothing was ever stored");
}

/// A cell that is worn fails one operation at a time: the write says so and changed nothing, or it worked in spite of it.
#[test]
fn a_write_that_fails_leaves_the_old_value_or_the_new_one() {
    let mut power = Power::default();
    power.glitch = true;
    let mut store = FlashRecords::open(Flash::<1, 4, 256>::new(&power, 2048), 1024).unwrap();
    store.write(1, b"old").unwrap();
    let whole = store.into_flash();
    let mut failed = 0;
    for at in 0..40 {
        let mut store = FlashRecords::open(whole.clone(), 1024).unwrap();
        power.on(Some(at));
        let outcome = store.write(1, b"new");
        power.on(None);
        for reset in [false, true] {
            if reset {
                store = FlashRecords::open(store.into_flash(), 1024).unwrap();
            }
            let found = read(&mut store, 1).unwrap().unwrap();
            assert!(found == b"new" || outcome.is_err() && found == b"old", "{at}: {outcome:?}, {found:?}");
        }
        failed += usize::from(outcome.is_err());
        store.write(1, b"newer").unwrap();
        assert_eq!(read(&mut store, 1), Ok(Some(b"newer".to_vec())));
    }
    assert!(failed > 0, "no operation failed");
}

/// Flash whose halves fail to be read: bit 0 the first one, bit 1 the second.
struct Unreadable(Flash<1, 4, 256>, u8);

impl ErrorType for Unreadable {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Unreadable {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        if self.1 >> (offset / 1024) & 1 != 0 { Err(NorFlashErrorKind::Other) } else { self.0.read(offset, bytes) }
    }

    fn capacity(&self) -> usize {
        2048
    }
}

impl NorFlash for Unreadable {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(offset, bytes)
    }
}

/// A device whose flash is gone must not take itself for new: its floors would be gone too.
#[test]
fn flash_that_cannot_be_read_is_no_empty_store_and_one_half_is_enough() {
    let mut store = FlashRecords::open(Unreadable(Flash::new(&Power::default(), 2048), 0), 1024).unwrap();
    store.write(1, b"value").unwrap();
    let mut flash = store.into_flash();
    for half in [1, 2] {
        flash.1 = half;
        let mut store = FlashRecords::open(flash, 1024).unwrap();
        let mut out = [0; 8];
        assert_eq!(store.read(1, &mut out), Ok(Some(5)), "without half {half}");
        flash = store.into_flash();
    }
    flash.1 = 3;
    assert_eq!(FlashRecords::open(flash, 1024).map(|_| ()), Err(Error::Storage));
    // Nor is one whose one half can't be read, and whose other was never written.
    let fresh = |unreadable| Unreadable(Flash::new(&Power::default(), 2048), unreadable);
    assert_eq!(FlashRecords::open(fresh(1), 1024).map(|_| ()), Err(Error::Storage));
    assert!(FlashRecords::open(fresh(0), 1024).is_ok());
}

/// What boards have set aside for a store: every record at its greatest length.
#[test]
fn a_devices_store_has_room_for_every_record() {
    assert_eq!(DeviceStore::<Flash<1, 4, 256>>::HALF, 18_180);
    let power = Power::default();
    let halves = 18_180usize.next_multiple_of(256);
    assert!(DeviceStore::open(Flash::<1, 4, 256>::new(&power, 2 * halves - 512)).is_err());
    let store = DeviceStore::open(Flash::<1, 4, 256>::new(&power, 2 * halves)).unwrap();
    store.counter().raise(7).unwrap();
    store.records().replace(RecordId::Boot, &[1; 94]).unwrap();
    assert_eq!(store.counter().read(), Ok(7));
    store.counter().raise(6).unwrap();
    assert_eq!(store.counter().read(), Ok(7), "it never falls");
    let store = DeviceStore::open(store.into_flash()).unwrap();
    assert_eq!(store.counter().read(), Ok(7));
    assert_eq!(store.records().read(RecordId::Boot, &mut [0; 94]), Ok(Some(&[1; 94][..])));
    store.records().remove(RecordId::Boot).unwrap();
    assert_eq!(store.records().read(RecordId::Boot, &mut [0; 94]), Ok(None));
}
