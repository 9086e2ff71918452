//! The record store against its model: a map. Whatever is cut, a read gives the old value or the new one.

use std::collections::BTreeMap;

use sealift_verifier::storage::FlashRecords;

use crate::counts::Counts;
use crate::flash::{Fault, SimFlash, Torn};

/// What the store is told to do: a value under a key, its removal, or a reset.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u8, usize),
    Remove(u8),
    Reset,
}
use Step::{Put, Remove, Reset};

/// Sessions as a device has them; values differ by their step.
const SCRIPT: &[Step] = &[
    Put(0, 60),
    Put(1, 33),
    Reset,
    Put(2, 8),
    Put(1, 40),
    Put(1, 41),
    Remove(2),
    Reset,
    Reset,
    Put(3, 0),
    Put(0, 61),
    Put(2, 9),
    Put(1, 17),
];

type Model = BTreeMap<u8, Vec<u8>>;

fn value(step: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| (step * 31 + index * 7) as u8).collect()
}

fn apply(model: &mut Model, index: usize, step: Step) {
    match step {
        Put(key, length) => {
            model.insert(key, value(index, length));
        }
        Remove(key) => {
            model.remove(&key);
        }
        Reset => {}
    }
}

fn contents<const W: usize, const E: usize>(flash: &mut SimFlash<W, E>) -> Model {
    let mut store = FlashRecords::open(flash, 0).expect("the store opens");
    let mut out = [0; 256];
    let keys = 0..FlashRecords::<&mut SimFlash<W, E>>::KEYS;
    keys.filter_map(|key| {
        store.read(key, &mut out).expect("the value can be read").map(|length| (key, out[..length].to_vec()))
    })
    .collect()
}

/// Runs the script through the faults, each step again until it is done. After each fault the store holds what it held
/// before the step or after it.
fn run<const W: usize, const E: usize>(mut flash: SimFlash<W, E>, script: &[Step]) -> SimFlash<W, E> {
    let mut model = Model::new();
    let mut store = FlashRecords::open(flash, 0).expect("an empty store");
    for (index, step) in script.iter().copied().enumerate() {
        let mut after = model.clone();
        apply(&mut after, index, step);
        loop {
            let done = match step {
                Put(key, length) => store.write(key, &value(index, length)),
                Remove(key) => store.remove(key),
                Reset => Ok(()),
            };
            if done.is_ok() && !matches!(step, Reset) {
                break;
            }
            flash = store.into_flash();
            flash.power_on();
            let operations = flash.operations();
            let found = contents(&mut flash);
            assert!(found == model || found == after, "step {index} {step:?}: found {found:?}");
            assert_eq!(flash.operations(), operations, "a boot wrote to the flash");
            store = FlashRecords::open(flash, 0).expect("the store opens");
            if done.is_ok() {
                break;
            }
        }
        model = after;
    }
    // The last cut may have fallen behind the point where the value counts.
    flash = store.into_flash();
    flash.power_on();
    assert_eq!(contents(&mut flash), model);
    flash
}

/// Cuts at every operation in each way, then at every pair; `stride` thins the pairs out.
fn cut_everywhere<const W: usize, const E: usize>(sectors: usize, stride: usize, counts: &mut Counts) {
    let blank = SimFlash::<W, E>::new(sectors);
    let total = run(blank.clone(), SCRIPT).operations();
    let attempt = |faults: &[(u64, Fault)]| {
        let mut flash = blank.clone();
        flash.plan(faults);
        run(flash, SCRIPT);
    };
    for at in 0..total {
        for torn in Torn::ALL {
            attempt(&[(at, Fault::Cut(torn))]);
            attempt(&[(at, Fault::Fails(torn))]);
            counts.cuts += 1;
            counts.failures += 1;
        }
    }
    let mut pair = 0;
    for first in 0..total {
        // The second comes while the first is being recovered from, or later.
        for second in first + 1..total {
            pair += 1;
            if pair % stride == 0 {
                let [a, b] = [pair / stride, pair / stride / 4].map(|index| Torn::ALL[index % 4]);
                attempt(&[(first, Fault::Cut(a)), (second, Fault::Cut(b))]);
                counts.cuts += 2;
            }
        }
    }
}

#[test]
fn a_record_is_old_or_new_after_a_cut_at_any_word_of_any_flash() {
    let mut counts = Counts::begin("record store, cut at each operation and at pairs");
    let long = Counts::is_long();
    let thin = |stride| if long { stride } else { stride * 40 };
    cut_everywhere::<1, 256>(8, thin(601), &mut counts);
    cut_everywhere::<2, 1024>(2, thin(151), &mut counts);
    cut_everywhere::<4, 256>(8, thin(41), &mut counts);
    cut_everywhere::<4, 4096>(2, thin(41), &mut counts);
    cut_everywhere::<8, 2048>(2, thin(11), &mut counts);
    cut_everywhere::<16, 512>(4, thin(3), &mut counts);
    cut_everywhere::<32, 512>(4, thin(1), &mut counts);
    cut_everywhere::<32, { 128 * 1024 }>(2, thin(97), &mut counts);
    counts.end();
}

#[test]
fn a_rotten_bit_anywhere_costs_no_record() {
    let mut counts = Counts::begin("record store, each bit rotten");
    let good = run(SimFlash::<4, 1024>::new(2), SCRIPT);
    let wanted = contents(&mut good.clone());
    for at in 0..good.bytes().len() {
        for bit in [0, 3, 7] {
            let mut flash = good.clone();
            flash.rot(at, bit);
            assert_eq!(contents(&mut flash), wanted, "byte {at}");
            // The next write mends it, in whichever half it was.
            let mut store = FlashRecords::open(flash, 0).unwrap();
            store.write(9, b"new").unwrap();
            let mut flash = store.into_flash();
            let mut expected = wanted.clone();
            expected.insert(9, b"new".to_vec());
            assert_eq!(contents(&mut flash), expected);
            counts.rotten += 1;
        }
    }
    counts.end();
}

#[test]
fn a_value_that_rotted_in_both_halves_is_lost_and_no_older_one_comes_back() {
    let mut store = FlashRecords::open(SimFlash::<4, 1024>::new(2), 0).unwrap();
    store.write(1, b"floor: 5").unwrap();
    store.write(1, b"floor: 7").unwrap();
    store.write(2, b"another").unwrap();
    let mut flash = store.into_flash();
    let places: Vec<usize> =
        flash.bytes().windows(8).enumerate().filter(|(_, w)| w == b"floor: 7").map(|(at, _)| at).collect();
    assert_eq!(places.len(), 2, "one a half");
    places.into_iter().for_each(|at| flash.rot(at, 2));
    let mut store = FlashRecords::open(flash, 0).unwrap();
    let mut out = [0; 16];
    assert_eq!(store.read(1, &mut out), Err(sealift_verifier::Error::StateCorrupt));
    assert_eq!(store.read(2, &mut out), Ok(Some(7)));
    // It stays lost through later generations, until it is written again.
    store.write(2, b"again").unwrap();
    let mut store = FlashRecords::open(store.into_flash(), 0).unwrap();
    assert_eq!(store.read(1, &mut out), Err(sealift_verifier::Error::StateCorrupt));
    store.write(1, b"floor: 8").unwrap();
    assert_eq!(store.read(1, &mut out), Ok(Some(8)));
}

#[test]
fn flash_that_fails_for_good_keeps_what_it_held() {
    let blank = SimFlash::<8, 2048>::new(2);
    let mut store = FlashRecords::open(blank, 0).unwrap();
    store.write(0, b"root").unwrap();
    let mut flash = store.into_flash();
    let from = flash.operations();
    let faults: Vec<_> = (from..from + 10_000).map(|at| (at, Fault::Fails(Torn::Bits))).collect();
    flash.plan(&faults);
    let mut store = FlashRecords::open(flash, 0).unwrap();
    for _ in 0..20 {
        assert_eq!(store.write(0, b"next"), Err(sealift_verifier::Error::Storage));
        let mut out = [0; 8];
        assert_eq!(store.read(0, &mut out), Ok(Some(4)));
        assert_eq!(&out[..4], b"root");
    }
}

#[test]
fn wear_is_one_erasure_a_sector_for_each_power_cycle_that_writes_until_a_half_is_full() {
    let mut flash = SimFlash::<4, 1024>::new(4);
    for cycle in 1..=50u32 {
        let mut store = FlashRecords::open(flash, 2048).unwrap();
        for round in 0..6 {
            store.write(round % 3, &value(cycle as usize, 100)).unwrap();
        }
        flash = store.into_flash();
        assert_eq!(flash.erased, [cycle; 4]);
    }
}

#[test]
fn a_region_with_too_small_halves_and_a_value_too_long_are_refused() {
    use sealift_verifier::Error;
    let flash = SimFlash::<4, 1024>::new(3);
    assert_eq!(FlashRecords::open(flash.clone(), 1025).err(), Some(Error::BufferTooSmall));
    let mut store = FlashRecords::open(flash, 1024).unwrap();
    store.write(0, b"kept").unwrap();
    assert_eq!(store.write(1, &[0; 1024]), Err(Error::Storage));
    assert_eq!(store.write(1, &[0; 70_000]), Err(Error::BufferTooSmall));
    assert_eq!(store.write(16, b""), Err(Error::Storage));
    let mut out = [0; 4];
    assert_eq!(store.read(0, &mut out[..3]), Err(Error::BufferTooSmall));
    assert_eq!(store.read(0, &mut out), Ok(Some(4)));
}
