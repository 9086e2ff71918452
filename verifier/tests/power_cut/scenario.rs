//! What is simulated: releases, payloads, and how the device and its link behave.

use sealift_manifests::{Codec, Digest, Payload, Version};
use sealift_verifier::Error;
use sealift_verifier::image::Limits;

use crate::fleet::{Fleet, Release};

pub(crate) const OLD: Version = Version([1, 0, 0]);
pub(crate) const NEW: Version = Version([1, 1, 0]);
pub(crate) const COUNTER_OLD: u64 = 3;
pub(crate) const COUNTER_NEW: u64 = 5;
pub(crate) const LIMITS: Limits = Limits { decoder_ram: 24 * 1024, window_log: 14, slot: 16 * 1024, delta_only: false };

/// Old image, new image, delta.
const DELTA: [&[u8]; 3] =
    [include_bytes!("delta/old.bin"), include_bytes!("delta/new.bin"), include_bytes!("delta/patch.sld")];
/// The same of images that have little in common: the delta is one frame over both.
const FRAME: [&[u8]; 3] = [
    include_bytes!("delta/frame-old.bin"),
    include_bytes!("delta/frame-new.bin"),
    include_bytes!("delta/frame-patch.sld"),
];

/// One way for an update to go.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
    pub(crate) root: Vec<u8>,
    /// The newest root in the bundle.
    pub(crate) root_version: u64,
    pub(crate) bundle: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) payload: Vec<u8>,
    /// Whether the new image confirms itself; one that does not hangs until the watchdog bites.
    pub(crate) healthy: bool,
    /// The security counter at the end.
    pub(crate) counter: u64,
    /// Bytes of image between two resume hints.
    pub(crate) hint_every: u32,
    /// Bytes of payload after which the link breaks.
    pub(crate) link_holds_for: usize,
    /// Lives that are led before the first cut: so that a scenario can begin in the middle of an update.
    pub(crate) lives_before: usize,
}

/// Bytes that look random.
fn image(seed: u32, length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Whether a life may end with this error while the power is on: something failed, and it is tried again.
pub(crate) fn may_end_a_life(error: Error) -> bool {
    // What failed, or the image and the hint that a failure left.
    matches!(error, Error::Storage | Error::ImageHash | Error::StateCorrupt | Error::BaseMismatch)
}

impl Scenario {
    /// The whole image as it is, without a break.
    pub(crate) fn full(length: usize) -> Self {
        let (old, new) = (image(1, length - 200), image(77, length));
        Self::of("full image", old, new.clone(), Release::raw(&new), new)
    }

    /// The parts of an update with one payload.
    fn of(name: &'static str, old: Vec<u8>, new: Vec<u8>, payload: Payload, bytes: Vec<u8>) -> Self {
        let fleet = Self::fleet(&new, payload);
        Scenario {
            name,
            root: fleet.root(),
            root_version: 1,
            bundle: fleet.files().bundle(),
            digest: fleet.targets[0].digest(),
            payload: bytes,
            old,
            new,
            healthy: true,
            counter: COUNTER_NEW,
            hint_every: 1024,
            link_holds_for: usize::MAX,
            lives_before: 0,
        }
    }

    fn fleet(new: &[u8], payload: Payload) -> Fleet {
        let mut release = Release::new(NEW.0);
        release.security_counter = COUNTER_NEW;
        release.image = new.to_vec();
        release.payloads = vec![payload];
        Fleet { targets: vec![release], ..Fleet::default() }
    }

    /// The link breaks again and again, and each session goes on from the hint.
    pub(crate) fn resume(length: usize) -> Self {
        Scenario { name: "resume", hint_every: 300, link_holds_for: length / 3, ..Self::full(length) }
    }

    /// From the boot that starts the trial on: confirm, and the raise of the counter.
    pub(crate) fn confirm(length: usize) -> Self {
        Scenario { name: "trial, confirm and counter raise", lives_before: 1, ..Self::full(length) }
    }

    /// The new image hangs.
    pub(crate) fn revert(length: usize) -> Self {
        Scenario { name: "revert", healthy: false, counter: COUNTER_OLD, lives_before: 1, ..Self::full(length) }
    }

    /// Two newer roots come with the release; the second changes every online key.
    pub(crate) fn root_rotation(length: usize) -> Self {
        use crate::fleet::Keyring;
        let base = Self::full(length);
        let first = Self::fleet(&base.new, Release::raw(&base.new));
        let second = Fleet { root_version: 2, ..first.clone() };
        let mut third = Fleet { root_version: 3, ..first.clone() };
        third.roles[1] = Keyring::of(1, &[14]);
        third.roles[2] = Keyring::of(1, &[15]);
        third.roles[0] = Keyring::of(2, &[1, 2, 13]);
        let bundle = [second.root_after(&first), third.root_after(&second), third.files().bundle()].concat();
        Scenario { name: "root rotation", root: first.root(), root_version: 3, bundle, ..base }
    }

    /// So many hints that the log is full, and begun anew, within one session.
    pub(crate) fn journal_wrap() -> Self {
        Scenario { name: "journal wrap", hint_every: 1, ..Self::full(7_900) }
    }

    /// A delta, made by the signer's engine (xtask's test `power_cut_delta` holds the files to it).
    pub(crate) fn delta() -> Self {
        Self::delta_of("delta", DELTA)
    }

    /// The delta, resumed after each break of the link.
    pub(crate) fn delta_resumed() -> Self {
        Self::delta().resumed("delta, resumed", 67)
    }

    /// A delta of one frame, whose window is read from the slot where it goes on.
    pub(crate) fn frame_resumed() -> Self {
        Self::delta_of("one frame", FRAME).resumed("one frame, resumed", 90)
    }

    fn delta_of(name: &'static str, files: [&[u8]; 3]) -> Self {
        let [old, new, patch] = files.map(<[u8]>::to_vec);
        let payload = Payload {
            codec: Codec::DELTA,
            base: Some(crate::fleet::image_of(&old)),
            decoder_ram: 24 * 1024,
            window_log: 12,
            ..Release::raw(&patch)
        };
        Self::of(name, old, new, payload, patch)
    }

    /// The link breaks after so many hundredths of the payload, behind the first place to go on from.
    fn resumed(self, name: &'static str, hundredths: usize) -> Self {
        Scenario { name, hint_every: 200, link_holds_for: self.payload.len() * hundredths / 100, ..self }
    }

    /// An update that leaves the security counter where it is, so that the old image may still run.
    pub(crate) fn same_counter(length: usize) -> Self {
        let base = Self::full(length);
        let mut fleet = Self::fleet(&base.new, Release::raw(&base.new));
        fleet.targets[0].security_counter = COUNTER_OLD;
        let (bundle, digest) = (fleet.files().bundle(), fleet.targets[0].digest());
        Scenario { name: "same counter", bundle, digest, counter: COUNTER_OLD, ..base }
    }
}
