//! The state machines of a device against executable models of them: what is documented, written down a second time and as
//! plainly as it can be. (The record store has its model in `power_cut/records.rs`: a map.)
//!
//! * Boot and installation (`verifier/src/boot/mod.rs`): every state that can be reached, and every event in each of them.
//! * The resume record (`verifier/src/image/hint.rs`): the same, over a slot of three blocks in two sectors, with rot, a hint that
//!   lies, and hints of other installations.
//! * Trust (`verifier/src/session/floors.rs`): every sequence of three offers out of seven kinds: newer, replayed, with a
//!   second content, and with the keys of a role rotated.

#[path = "models/resume.rs"]
mod resume;

mod flash;
mod fleet;

use std::collections::{BTreeSet, HashSet};

use fleet::*;
use sealift_manifests::{Digest, Image, Version, sha256};
use sealift_verifier::Error;
use sealift_verifier::boot::{DeviceState, Outcome, Trial};
use sealift_verifier::image::Slot;
use sealift_verifier::session::slot_record::BootTarget;

// ---- boot and installation ----------------------------------------------------------------------------------------------

/// What a slot holds, if it checks: an image by number, whose security counter is [`COUNTERS`] of it.
type Content = Option<u8>;
const COUNTERS: [u64; 3] = [1, 1, 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tried {
    No,
    Pending(u8),
    Running(u8),
}

/// A device, as the table in the documentation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Model {
    active: Slot,
    tried: Tried,
    counter: u64,
    slots: [Content; 2],
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Prepare,
    /// The spare slot now holds an image, and the next boot is to try it.
    Activate(u8),
    Boot,
    Confirm,
    /// A slot does not check any more.
    Rot(Slot),
    /// The state's record is lost, and the next boot finds out.
    LoseStateAndBoot,
}

fn runs(model: &Model, slot: Slot) -> Content {
    model.slots[slot as usize].filter(|image| COUNTERS[usize::from(*image)] >= model.counter)
}

/// The table: what an event does, in which row, and what then runs.
fn model(before: Model, event: Event) -> Result<(Model, Option<Slot>, &'static str), &'static str> {
    let (active, spare) = (before.active, before.active.other());
    let mut after = before;
    let idle = |slot| Model { active: slot, tried: Tried::No, ..before };
    match event {
        Event::Prepare => match before.tried {
            Tried::Running(_) => Err("prepare while a trial runs"),
            _ => {
                after.tried = Tried::No;
                after.slots[spare as usize] = None;
                Ok((after, None, "prepare"))
            }
        },
        Event::Activate(image) => match before.tried {
            Tried::Running(_) => Err("activate while a trial runs"),
            _ => {
                after.slots[spare as usize] = Some(image);
                after.tried = Tried::Pending(image);
                Ok((after, None, "activate"))
            }
        },
        Event::Confirm => match before.tried {
            Tried::Running(image) => {
                after = idle(spare);
                after.counter = before.counter.max(COUNTERS[usize::from(image)]);
                Ok((after, None, "confirm"))
            }
            _ => Err("confirm without a trial"),
        },
        Event::Rot(slot) => {
            after.slots[slot as usize] = None;
            Ok((after, None, "rot"))
        }
        Event::Boot => {
            if let Tried::Pending(image) = before.tried
                && runs(&before, spare) == Some(image)
            {
                after.tried = Tried::Running(image);
                return Ok((after, Some(spare), "trial"));
            }
            let row = match before.tried {
                Tried::Pending(_) => "reverted, since it doesn't check",
                Tried::Running(_) => "reverted, since it didn't confirm itself",
                Tried::No => "idle",
            };
            if runs(&before, active).is_some() {
                return Ok((idle(active), Some(active), row));
            }
            if runs(&before, spare).is_some() {
                return Ok((idle(spare), Some(spare), "fell back"));
            }
            Err("nothing bootable")
        }
        Event::LoseStateAndBoot => {
            let found = [Slot::A, Slot::B].map(|slot| runs(&before, slot));
            let recovered = match found {
                [Some(a), Some(b)] if a == b => idle(Slot::A),
                // The newer by counter, then by version, which here is the number; a tie goes to B.
                [Some(a), Some(b)] => {
                    let rank = |image: u8| (COUNTERS[usize::from(image)], image);
                    let (older, newer) = if rank(b) >= rank(a) { (Slot::A, b) } else { (Slot::B, a) };
                    Model { tried: Tried::Pending(newer), ..idle(older) }
                }
                [Some(_), None] => idle(Slot::A),
                [None, Some(_)] => idle(Slot::B),
                [None, None] => return Err("nothing bootable"),
            };
            model(recovered, Event::Boot).map(|(after, ran, _)| (after, ran, "recovered"))
        }
    }
}

fn digest(image: u8) -> Digest {
    Digest([image; 32])
}

fn target(image: u8) -> BootTarget {
    BootTarget {
        digest: digest(image),
        image: Image { length: 1, digest: digest(image) },
        security_counter: COUNTERS[usize::from(image)],
        version: Version([1, u32::from(image), 0]),
    }
}

/// The state that the implementation keeps, for a model's.
fn state_of(model: &Model) -> DeviceState {
    let trial = match model.tried {
        Tried::No => Trial::None,
        Tried::Pending(image) => Trial::Pending(digest(image)),
        Tried::Running(image) => Trial::Running(digest(image)),
    };
    DeviceState { active: model.active, trial, outcome: Outcome::None, counter: model.counter, boots: 0 }
}

/// What the implementation does, through its own record.
fn real(before: Model, event: Event) -> Result<(Model, Option<Slot>), Error> {
    let state = {
        let mut record = [0; sealift_verifier::boot::STATE_RECORD_MAX];
        let length = state_of(&before).encode(&mut record)?;
        DeviceState::decode(&record[..length])?
    };
    let mut after = before;
    let check = |slot: Slot| match before.slots[slot as usize] {
        Some(image) if COUNTERS[usize::from(image)] >= before.counter => Ok(target(image)),
        Some(_) => Err(Error::CounterTooLow),
        None => Err(Error::ImageHash),
    };
    let (next, ran) = match event {
        Event::Prepare => {
            let next = state.prepare()?;
            after.slots[next.spare() as usize] = None;
            (next, None)
        }
        Event::Activate(image) => {
            let next = state.activate(state.spare(), digest(image))?;
            after.slots[state.spare() as usize] = Some(image);
            (next, None)
        }
        Event::Confirm => {
            let Trial::Running(running) = state.trial else { return Err(Error::WrongState) };
            (state.confirm(&target(running.0[0]))?, None)
        }
        Event::Rot(slot) => {
            after.slots[slot as usize] = None;
            (state, None)
        }
        Event::Boot => {
            let plan = state.boot(check)?;
            (plan.state, Some(plan.run))
        }
        Event::LoseStateAndBoot => {
            let plan = DeviceState::recovered(before.counter, check)?.boot(check)?;
            (plan.state, Some(plan.run))
        }
    };
    let tried = match next.trial {
        Trial::None => Tried::No,
        Trial::Pending(image) => Tried::Pending(image.0[0]),
        Trial::Running(image) => Tried::Running(image.0[0]),
    };
    Ok((Model { active: next.active, tried, counter: next.counter, slots: after.slots }, ran))
}

#[test]
fn every_reachable_boot_state_does_what_the_documented_table_says() {
    let start = Model { active: Slot::A, tried: Tried::No, counter: 1, slots: [Some(0), None] };
    let (mut known, mut open, mut rows, mut steps) = (HashSet::from([start]), vec![start], BTreeSet::new(), 0);
    while let Some(before) = open.pop() {
        let events = [Event::Prepare, Event::Boot, Event::Confirm, Event::LoseStateAndBoot]
            .into_iter()
            .chain([0, 1, 2].map(Event::Activate))
            .chain(Slot::ALL.map(Event::Rot));
        for event in events {
            steps += 1;
            let (expected, found) = (model(before, event), real(before, event));
            match (expected, found) {
                (Ok((after, ran, row)), Ok(found)) => {
                    assert_eq!(found, (after, ran), "{before:?}, {event:?}: {row}");
                    rows.insert(row);
                    // What never happens, whatever the table says.
                    assert!(after.counter >= before.counter, "{before:?}, {event:?}: the counter fell");
                    if let Some(ran) = ran {
                        assert!(runs(&before, ran).is_some(), "{before:?}, {event:?}: what doesn't check runs");
                    }
                    if known.insert(after) {
                        open.push(after);
                    }
                }
                (Err(why), Err(_)) => {
                    rows.insert(why);
                }
                (expected, found) => panic!("{before:?}, {event:?}: {expected:?}, but {found:?}"),
            }
        }
    }
    println!("{} states, {steps} steps, {} rows of the table", known.len(), rows.len());
    assert_eq!(rows.len(), 14, "{rows:?}");
}

// ---- trust --------------------------------------------------------------------------------------------------------------

/// What is remembered of one role: a version, its content, and the key that signed it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    version: u64,
    content: Digest,
    key: u8,
}

/// Everything that a device remembers, as the table in the documentation sees it. Roles are timestamp, snapshot, targets and
/// the delegated targets, in this order; each has one key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    root: u64,
    keys: [u8; 3],
    held: [Option<Held>; 4],
    /// Snapshot version that the timestamp named, and targets version that the snapshot listed.
    named: u64,
    listed: u64,
}

/// A release as a repository publishes it: its files, and the keys that signed them.
#[derive(Clone)]
struct Offer {
    fleet: Fleet,
    keys: [u8; 4],
    /// Every root from version 2 on.
    roots: Vec<Vec<u8>>,
}

fn contents(fleet: &Fleet) -> [Digest; 4] {
    let files = fleet.files();
    let payload = |file: &[u8]| sha256(sealift_manifests::Envelope::decode(file).expect("well made").payload);
    [payload(&files.timestamp), payload(&files.snapshot), payload(&files.targets), payload(&files.product)]
}

/// The rules, one after the other; the code of the refusal, if there is one. What was accepted before it stays.
fn model_takes(kept: &mut Kept, offer: &Offer) -> u16 {
    let fleet = &offer.fleet;
    if fleet.root_version > kept.root {
        kept.root = fleet.root_version;
        kept.keys = [offer.keys[0], offer.keys[1], offer.keys[2]];
    }
    let content = contents(fleet);
    let versions = [fleet.timestamp_version, fleet.snapshot_version, fleet.targets_version, fleet.product_version];
    for role in 0..4 {
        // Whose signatures count: root says so, and of the delegated role the targets file, which is the offer's.
        let authorised = if role == 3 { offer.keys[3] } else { kept.keys[role] };
        if offer.keys[role] != authorised {
            return 201;
        }
        let binds = |held: &Option<Held>, key: u8| held.is_some_and(|held| held.key == key);
        // A floor binds while the key that signed what set it still speaks for the role.
        if binds(&kept.held[role], authorised) {
            let held = kept.held[role].expect("it binds");
            if versions[role] < held.version {
                return 401;
            }
            if versions[role] == held.version && content[role] != held.content {
                return 402;
            }
        }
        let taken_back = match role {
            0 => binds(&kept.held[0], authorised) && binds(&kept.held[1], kept.keys[1]) && versions[1] < kept.named,
            // What was listed binds while the snapshot's floor does, and the listed role's own has not fallen.
            1 => {
                let fell = kept.held[2].is_some() && !binds(&kept.held[2], kept.keys[2]);
                binds(&kept.held[1], authorised) && !fell && versions[2] < kept.listed
            }
            _ => false,
        };
        if taken_back {
            return 401;
        }
        kept.held[role] = Some(Held { version: versions[role], content: content[role], key: authorised });
        match role {
            0 => kept.named = versions[1],
            1 => kept.listed = versions[2],
            _ => {}
        }
    }
    0
}

/// What the implementation remembers, as the model would.
fn kept_by(device: &Device) -> [Option<u64>; 4] {
    let state = &device.state;
    [
        state.timestamp.as_ref().map(|known| known.floor.version),
        state.snapshot.as_ref().map(|known| known.floor.version),
        state.targets.as_ref().map(|floor| floor.version),
        state.delegated.as_ref().and_then(|known| known.of("team")).map(|floor| floor.version),
    ]
}

const KINDS: usize = 7;

/// The next offer of a repository that stands at `now`; `first` is what it published first.
fn next(kind: usize, now: &Offer, first: &Offer, fresh: &mut u8) -> Offer {
    let mut offer = now.clone();
    let fleet = &mut offer.fleet;
    let mut rotate = |fleet: &mut Fleet, role: usize| {
        *fresh += 1;
        if role < 3 {
            fleet.roles[role + 1] = Keyring::of(1, &[*fresh]);
            fleet.root_version += 1;
        } else {
            fleet.product = Keyring::of(1, &[*fresh]);
        }
        *fresh
    };
    match kind {
        0 => fleet.bump(),
        // An old bundle, replayed.
        1 => return first.clone(),
        // Another content under the same versions.
        2 => fleet.timestamp_expires += 1,
        // New keys; the versions of the role begin anew, as after a thief's fast-forward.
        3..=5 => {
            let role = kind - 3;
            fleet.bump();
            offer.keys[role] = rotate(fleet, role);
            match role {
                0 => fleet.timestamp_version = 1,
                1 => fleet.snapshot_version = 1,
                _ => fleet.targets_version = 1,
            }
        }
        _ => {
            fleet.bump();
            offer.keys[3] = rotate(fleet, 3);
            fleet.product_version = 1;
        }
    }
    if offer.fleet.root_version > now.fleet.root_version {
        offer.roots.push(offer.fleet.root_after(&now.fleet));
    }
    offer
}

fn every_sequence(depth: usize) -> (u64, BTreeSet<u16>) {
    let fleet = Fleet::default();
    let first = Offer { keys: [4, 5, 6, 7], roots: vec![], fleet };
    let (mut sequences, mut codes) = (0, BTreeSet::new());
    for sequence in 0..KINDS.pow(depth as u32) {
        let mut device = Device::provisioned(first.fleet.root());
        let mut kept = Kept { root: 1, keys: [4, 5, 6], ..Kept::default() };
        let (mut now, mut fresh) = (first.clone(), 40);
        for step in 0..=depth {
            // The first offer is taken by everybody.
            let offer = match step {
                0 => first.clone(),
                _ => next(sequence / KINDS.pow(step as u32 - 1) % KINDS, &now, &first, &mut fresh),
            };
            let bundle = [offer.roots.concat(), offer.fleet.files().bundle()].concat();
            let expected = model_takes(&mut kept, &offer);
            let found = device.take(&bundle).map_or_else(|error| error.code(), |()| 0);
            assert_eq!(found, expected, "sequence {sequence}, offer {step}");
            let held = kept.held.map(|held| held.map(|held| held.version));
            assert_eq!(kept_by(&device), held, "sequence {sequence}, offer {step}");
            codes.insert(found);
            // A replay changes nothing in the repository.
            if offer.fleet.timestamp_version != 1 || offer.fleet.root_version != 1 || step == 0 {
                now = offer;
            }
        }
        sequences += 1;
    }
    (sequences, codes)
}

#[test]
fn every_sequence_of_offers_leaves_the_floors_that_the_documented_rules_give() {
    let (sequences, codes) = every_sequence(3);
    println!("{sequences} sequences of offers; answers: {codes:?}");
    // Taken, signed by a key that root took away, rolled back, reused.
    assert_eq!(codes, BTreeSet::from([0, 201, 401, 402]));
}
