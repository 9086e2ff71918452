//! The resume record against its model: a slot of three blocks, what a hint says of it, and an installation that goes on.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use sealift_manifests::Version;
use sealift_verifier::Error;
use sealift_verifier::image::{HINT_RECORD_MAX, Install, Limits, Next, RawDecoder, Slot, choose_payload};
use sealift_verifier::session::{Approved, DeviceFacts, Session, TrustState};
use sealift_verifier::trust::{Policy, Time};

use crate::flash::{Flash, Power};
use crate::fleet::*;

/// Bytes of a block: what is gathered before a write. Two of them are a sector.
const BLOCK: usize = 64;
const BLOCKS: usize = 3;
type Slots = Flash<1, 4, 128>;
const CAPACITY: usize = 256;

/// What a block of the slot holds, if it is of an image: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Block {
    Erased,
    Image(usize),
    Junk,
}

/// A release, by number: what it is named, and which of two images it has. The last has the first one's image under another name.
const IMAGES: [usize; 3] = [0, 1, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hint {
    None,
    /// Of this release, up to this block.
    Of(usize, usize),
    /// A record that doesn't check.
    Rotten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Running {
    release: usize,
    from: usize,
    done: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Model {
    slot: [Block; BLOCKS],
    hint: Hint,
    running: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Begin(usize),
    /// The first release, into the other slot.
    BeginElsewhere,
    Push,
    /// The hint is persisted.
    Keep,
    Cut,
    Finish,
    /// A block rots.
    Rot(usize),
    RotHint,
    /// Who writes the flash says that a release stands there up to this block.
    Lie(usize, usize),
}

/// The table: what an event does, and in which row. `None` where the event can't happen.
fn model(before: Model, event: Event) -> Option<(Model, &'static str)> {
    let mut after = before;
    let row = match (event, before.running) {
        (Event::Begin(release), None) => {
            let (from, row) = match before.hint {
                Hint::None => (Some(0), "begun anew"),
                Hint::Of(known, from) if known == release => (Some(from), "gone on"),
                Hint::Of(..) => (None, "a hint of another release is dropped"),
                Hint::Rotten => (None, "a hint that doesn't check is dropped"),
            };
            match from {
                Some(from) => after.running = Some(Running { release, from, done: from }),
                None => after.hint = Hint::None,
            }
            row
        }
        (Event::BeginElsewhere, None) if before.hint != Hint::None => {
            after.hint = Hint::None;
            "a hint of another slot is dropped"
        }
        (Event::Push, Some(running)) if running.done < BLOCKS => {
            let at = running.done;
            let sector = at / 2 * 2;
            // What the interrupted session erased is not erased again: the sector in which the hint ends.
            let replayed = at < running.from.div_ceil(2) * 2;
            if !replayed && at == sector {
                after.slot[at..(sector + 2).min(BLOCKS)].fill(Block::Erased);
            }
            let wanted = Block::Image(IMAGES[running.release]);
            match after.slot[at] {
                Block::Erased => {
                    after.slot[at] = wanted;
                    after.running = Some(Running { done: at + 1, ..running });
                    "written"
                }
                found if found == wanted => {
                    after.running = Some(Running { done: at + 1, ..running });
                    "there already, compared"
                }
                _ => {
                    (after.running, after.hint) = (None, Hint::None);
                    "something else stands where the hint ends: dropped"
                }
            }
        }
        (Event::Keep, Some(running)) if running.done > 0 => {
            after.hint = Hint::Of(running.release, running.done);
            "kept"
        }
        (Event::Cut, Some(_)) => {
            after.running = None;
            "cut"
        }
        (Event::Finish, Some(running)) if running.done == BLOCKS => {
            (after.running, after.hint) = (None, Hint::None);
            let whole = before.slot == [Block::Image(IMAGES[running.release]); BLOCKS];
            if whole { "verified" } else { "refused by the hash over the slot" }
        }
        (Event::Rot(at), None) if before.slot[at] != Block::Junk => {
            after.slot[at] = Block::Junk;
            "a block rots"
        }
        (Event::RotHint, None) if matches!(before.hint, Hint::Of(..)) => {
            after.hint = Hint::Rotten;
            "the hint rots"
        }
        (Event::Lie(release, at), None) => {
            after.hint = Hint::Of(release, at);
            "a hint that lies"
        }
        _ => return None,
    };
    Some((after, row))
}

/// The releases, verified once.
struct World {
    approved: Vec<Approved<'static>>,
    images: [Vec<u8>; 2],
}

fn world() -> World {
    let image = |seed: u8| (0..BLOCK * BLOCKS).map(|at| (at as u8 & 0x7f) ^ seed).collect::<Vec<u8>>();
    let images = [image(0), image(0x80)];
    let approved = IMAGES.iter().enumerate().map(|(number, image)| {
        let mut fleet = Fleet::default();
        let mut release = Release::new([1, 1, number as u32]);
        release.payloads = vec![Release::raw(&images[*image])];
        release.image = images[*image].clone();
        fleet.targets = vec![release];
        let files: &'static Files = Box::leak(Box::new(fleet.files()));
        let bundle: &'static [u8] = Box::leak(files.bundle().into_boxed_slice());
        let state = TrustState::default();
        let session = Session::new(IDENTITY, &files.root, state, Time::AtLeast(NOW), Policy::production());
        let session: &'static mut Session<'static> = Box::leak(Box::new(session.expect("a session")));
        session.supply_bundle(bundle, |_| Ok(())).expect("well made");
        let facts = DeviceFacts { security_counter: 3, installed: Some(Version([1, 0, 0])) };
        session.select(&fleet.targets[0].digest(), &facts).expect("a release")
    });
    World { approved: approved.collect(), images }
}

/// What the implementation has: flash, record, and how the installation that runs was begun, to be played again.
#[derive(Clone)]
struct Real {
    slot: Slots,
    hint: Option<Vec<u8>>,
    running: Option<(usize, Slots, Option<Vec<u8>>, usize)>,
}

type Installation<'f> = Install<'static, &'f mut Slots, &'f mut Slots, RawDecoder, BLOCK>;

impl World {
    fn begin<'f>(
        &self,
        release: usize,
        slot: Slot,
        flash: &'f mut Slots,
        hint: Option<&[u8]>,
    ) -> Result<Installation<'f>, Error> {
        let limits = Limits { decoder_ram: 0, window_log: 0, slot: CAPACITY as u64, delta_only: false };
        let approved = self.approved[release];
        let choice = choose_payload(approved.target(), None, &limits)?;
        Install::begin(approved, &choice, slot, flash, None, RawDecoder::default(), hint)
    }

    fn push(&self, release: usize, install: &mut Installation<'_>) -> Result<Next, Error> {
        let from = install.next_offset() as usize;
        install.push(&self.images[IMAGES[release]][from..from + BLOCK])
    }

    /// Plays the installation that runs up to where it stands, and then `act`; the slot is what it leaves.
    fn again<R>(&self, real: &mut Real, act: impl FnOnce(usize, Installation<'_>) -> R) -> R {
        let (release, mut flash, hint, pushes) = real.running.clone().expect("it runs");
        let mut install = self.begin(release, Slot::B, &mut flash, hint.as_deref()).expect("it was begun before");
        for _ in 0..pushes {
            self.push(release, &mut install).expect("it was pushed before");
        }
        let result = act(release, install);
        real.slot = flash;
        result
    }

    fn hint_of(install: &Installation<'_>) -> Option<Vec<u8>> {
        let mut record = [0; HINT_RECORD_MAX];
        let length = install.hint(&mut record).expect("there is room");
        length.map(|length| record[..length].to_vec())
    }

    /// An installation begins; what doesn't is as devices do it: the hint is dropped, and nothing was written.
    fn start(&self, real: &mut Real, release: usize, slot: Slot) -> bool {
        let (before, hint) = (real.slot.clone(), real.hint.clone());
        let mut flash = before.clone();
        let begun = self.begin(release, slot, &mut flash, hint.as_deref()).map(|install| install.next_offset());
        assert!(flash.cells == before.cells, "a beginning wrote");
        match begun {
            Ok(_) => real.running = Some((release, before, hint, 0)),
            Err(Error::StateCorrupt) => real.hint = None,
            Err(other) => panic!("{other:?}"),
        }
        begun.is_ok()
    }

    fn act(&self, real: &mut Real, event: Event) -> &'static str {
        match event {
            Event::Begin(release) => {
                self.start(real, release, Slot::B);
                ""
            }
            Event::BeginElsewhere => {
                assert!(!self.start(real, 0, Slot::A), "a hint of the other slot was taken");
                ""
            }
            Event::Push => {
                let pushed = self.again(real, |release, mut install| self.push(release, &mut install));
                match (pushed, &mut real.running) {
                    (Ok(_), Some((.., pushes))) => *pushes += 1,
                    (Err(Error::StateCorrupt), running) => (*running, real.hint) = (None, None),
                    (other, _) => panic!("{other:?}"),
                }
                ""
            }
            Event::Keep => {
                real.hint = self.again(real, |_, install| World::hint_of(&install));
                ""
            }
            Event::Cut => {
                self.again(real, |_, _| ());
                real.running = None;
                ""
            }
            Event::Finish => {
                let finished = self.again(real, |_, install| install.finish().map(drop));
                (real.running, real.hint) = (None, None);
                match finished {
                    Ok(()) => "verified",
                    Err(Error::ImageHash) => "refused by the hash over the slot",
                    Err(other) => panic!("{other:?}"),
                }
            }
            Event::Rot(at) => {
                real.slot.disturb(at * BLOCK + 5);
                ""
            }
            Event::RotHint => {
                real.hint.as_mut().expect("a hint")[40] ^= 1;
                ""
            }
            Event::Lie(release, at) => {
                let mut flash = Slots::new(&Power::default(), CAPACITY);
                let mut install = self.begin(release, Slot::B, &mut flash, None).expect("it begins");
                for _ in 0..at {
                    self.push(release, &mut install).expect("it goes on");
                }
                real.hint = World::hint_of(&install);
                ""
            }
        }
    }

    /// What the implementation has, as the model sees it.
    fn seen(&self, real: &Real, running: Option<Running>) -> Model {
        let slot = std::array::from_fn(|at| {
            let found = &real.slot.cells[at * BLOCK..][..BLOCK];
            let image = self.images.iter().position(|image| *found == image[at * BLOCK..][..BLOCK]);
            match image {
                Some(image) => Block::Image(image),
                None if found.iter().all(|byte| *byte == 0xff) => Block::Erased,
                None => Block::Junk,
            }
        });
        let hint = match &real.hint {
            None => Hint::None,
            Some(record) => {
                let of = |release: usize| {
                    let mut flash = real.slot.clone();
                    let install = self.begin(release, Slot::B, &mut flash, Some(record)).ok()?;
                    Some(Hint::Of(release, install.hinted() as usize / BLOCK))
                };
                let readings: Vec<Hint> = (0..IMAGES.len()).filter_map(of).collect();
                assert!(readings.len() < 2, "one hint is taken for two releases");
                readings.first().copied().unwrap_or(Hint::Rotten)
            }
        };
        let running = real.running.as_ref().map(|(release, ..)| {
            let mut copy = real.clone();
            let done = self.again(&mut copy, |_, install| install.written() as usize / BLOCK);
            Running { release: *release, from: running.map_or(0, |running| running.from), done }
        });
        Model { slot, hint, running }
    }

    /// Whatever is there, the release is installed, if not at once then from the start.
    fn completes(&self, real: &Real, release: usize) -> usize {
        for attempt in 1..=2 {
            let mut real = if attempt == 1 { real.clone() } else { Real { hint: None, ..real.clone() } };
            if !self.start(&mut real, release, Slot::B) {
                continue;
            }
            let done = self.again(&mut real, |release, mut install| {
                while (install.next_offset() as usize) < BLOCK * BLOCKS {
                    self.push(release, &mut install)?;
                }
                install.finish().map(drop)
            });
            if done.is_ok() {
                return attempt;
            }
        }
        panic!("release {release} can't be installed any more");
    }
}

#[test]
fn every_reachable_state_of_a_resume_does_what_the_documented_table_says() {
    let world = world();
    let start = Model { slot: [Block::Junk; BLOCKS], hint: Hint::None, running: None };
    let real = Real { slot: Slots::new(&Power::default(), CAPACITY), hint: None, running: None };
    let mut known = HashMap::from([(start, real)]);
    let (mut open, mut rows, mut steps, mut completions) = (vec![start], BTreeSet::new(), 0, [0; 2]);
    while let Some(before) = open.pop() {
        let at = known[&before].clone();
        if before.running.is_none() {
            for release in 0..IMAGES.len() {
                completions[world.completes(&at, release) - 1] += 1;
            }
        }
        let events = [Event::BeginElsewhere, Event::Push, Event::Keep, Event::Cut, Event::Finish, Event::RotHint]
            .into_iter()
            .chain((0..IMAGES.len()).map(Event::Begin))
            .chain((0..BLOCKS).map(Event::Rot))
            .chain((0..IMAGES.len()).flat_map(|release| (1..=BLOCKS).map(move |to| Event::Lie(release, to))));
        for event in events {
            let Some((after, row)) = model(before, event) else { continue };
            steps += 1;
            let mut real = at.clone();
            let said = world.act(&mut real, event);
            assert!(said.is_empty() || said == row, "{before:?}, {event:?}: {row}, but {said}");
            let seen = world.seen(&real, after.running);
            assert_eq!(seen, after, "{before:?}, {event:?}: {row}");
            rows.insert(row);
            if let Entry::Vacant(unknown) = known.entry(after) {
                unknown.insert(real);
                open.push(after);
            }
        }
    }
    println!("{} states, {steps} steps, {} rows of the table; {completions:?} completions", known.len(), rows.len());
    assert_eq!(rows.len(), 15, "{rows:?}");
    assert!(completions.iter().all(|count| *count > 0), "some at once, some from the start");
}
