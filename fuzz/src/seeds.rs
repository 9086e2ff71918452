//! The named seeds in `seeds/`: each is one situation that a fuzzer should not have to find by itself. A test holds the folder to
//! this list; `SEALIFT_BLESS=1` writes it.

use crate::fleet::{DELEGATED, Fleet, Log, ROOT, Release, SNAPSHOT, TARGETS, TIMESTAMP};
use crate::script::Tally;

/// A seed of the trust machine: name, script, and what must come of it (bundles accepted, bundles refused, targets approved).
pub const SCRIPTS: &[(&str, &[u8], Tally)] = &[
    ("first_release", &[3, 0, 0, 0], tally(1, 0, 1)),
    ("same_release_twice", &[3, 0, 0, 0, 5, 3, 0, 0, 0], tally(2, 0, 2)),
    ("newer_release_then_the_older_one", &[0, 0x1e, 3, 1, 0, 0, 5, 3, 0, 0, 0], tally(1, 1, 1)),
    ("second_content_under_one_version", &[3, 0, 0, 0, 6, 6, 1, 5, 0, 0, 3, 1, 0, 0], tally(1, 1, 1)),
    // Root's keys 0 to 2 give way to 11 and 12 (threshold 2); then the retired ones alone sign the next root.
    (
        "release_signed_by_retired_root",
        &[1, 0, 0xb3, 2, 0, 0x1e, 3, 1, 0, 0, 2, 0, 0, 7, 1, 1, 0xd1, 1, 0, 0x1e, 3, 2, 0, 0],
        tally(1, 1, 1),
    ),
    // Root's keys change twice between two sessions: the second step is vouched for by the first alone.
    ("root_rotated_twice_in_one_bundle", &[1, 0, 0xb3, 2, 0, 0x1e, 1, 0, 0xd3, 2, 0, 0x1e, 3, 2, 0, 0], tally(1, 0, 1)),
    ("timestamp_key_rotated", &[3, 0, 0, 0, 1, 1, 0x91, 1, 0, 0x1e, 3, 1, 0, 0], tally(2, 0, 2)),
    ("delegation_rotated", &[3, 0, 0, 0, 1, 4, 0xc3, 2, 0, 0x1e, 3, 1, 0, 0], tally(2, 0, 2)),
    ("timestamp_with_threshold_0", &[1, 1, 0x91, 0, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("timestamp_with_threshold_above_its_keys", &[1, 1, 0x91, 3, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    // Version 2^64 - 1 of the timestamp, accepted; the honest one after it is a rollback until the key is rotated.
    (
        "fast_forward_recovered_by_rotation",
        &[7, 1, 3, 0, 0, 0x1c, 3, 1, 0, 0, 7, 1, 0, 9, 0, 0x1c, 3, 2, 0, 0, 1, 1, 0x91, 1, 0, 0x1e, 3, 3, 0, 0],
        tally(2, 1, 2),
    ),
    ("frozen_by_a_clock_far_ahead", &[3, 0, 0, 0, 4, 1, 3, 0, 3, 0, 0, 0], tally(1, 1, 1)),
    ("without_a_clock", &[4, 0, 0, 0, 3, 0, 0, 0], tally(1, 0, 1)),
    ("clock_in_1970", &[4, 1, 0, 0, 3, 0, 0, 0], tally(1, 0, 1)),
    ("file_left_out", &[3, 0, 4, 0, 3, 0, 0, 0], tally(1, 1, 1)),
    ("files_out_of_order", &[3, 0, 0, 0x12, 3, 0, 0, 0], tally(1, 1, 1)),
    ("bytes_behind_the_bundle", &[3, 0, 0x40, 0], tally(0, 1, 0)),
    ("signature_flipped", &[2, 1, 4, 8, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("signature_with_s_plus_l", &[2, 1, 4, 9, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("signature_of_small_order", &[2, 4, 5, 2, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("signed_by_other_keys", &[2, 3, 0, 3, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("payload_changed_after_signing", &[2, 3, 4, 12, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("product_delegated_twice", &[6, 5, 2, 2, 0, 0x1e, 3, 1, 0, 0], tally(0, 1, 0)),
    ("product_not_delegated", &[6, 5, 2, 0, 0, 0x1e, 3, 1, 0x10, 0], tally(1, 0, 0)),
    ("counter_above_the_ceiling", &[6, 5, 0, 1, 200, 0, 0x1e, 3, 1, 0, 0], tally(1, 0, 0)),
    ("nine_roots_at_once", &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0x1f, 3, 9, 0, 0], tally(0, 1, 0)),
];

const fn tally(accepted: usize, refused: usize, approved: usize) -> Tally {
    Tally { accepted, refused, approved }
}

/// A seed: target, name, content.
pub type Seed = (&'static str, String, Vec<u8>);

fn release(fleet: &Fleet) -> Release {
    fleet.release(None, &[], &mut Log::new())
}

/// The payload of a role file that was just made.
fn payload(file: &[u8]) -> Vec<u8> {
    crate::slow::schema::file(file).expect("a role file").payload
}

/// The seeds of the targets that read metadata.
pub fn metadata() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let golden = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/golden").join(name);
        std::fs::read(&path).unwrap_or_else(|why| panic!("read {}: {why}", path.display()))
    };
    let plain = release(&Fleet::default());
    let bare = release(&Fleet { delegations: 0, counters: vec![], ..Fleet::default() });
    let crowded = release(&Fleet { delegations: 2, counters: vec![1, 1 << 40, 3], ..Fleet::default() });
    let threshold_0 = {
        let mut fleet = Fleet::default();
        fleet.keys[TIMESTAMP].0 = 0;
        release(&fleet)
    };
    let largest =
        release(&Fleet { versions: [u64::MAX; 5], expires: [u64::MAX; 5], issued: u64::MAX, ..Fleet::default() });
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("root", plain.files[ROOT].clone()),
        ("timestamp", plain.files[TIMESTAMP].clone()),
        ("snapshot", plain.files[SNAPSHOT].clone()),
        ("targets_that_delegate", plain.files[TARGETS].clone()),
        ("delegated_targets", plain.files[DELEGATED].clone()),
        ("targets_without_anything", bare.files[TARGETS].clone()),
        ("delegated_targets_without_a_release", bare.files[DELEGATED].clone()),
        ("two_delegations_of_one_product", crowded.files[TARGETS].clone()),
        ("three_releases", crowded.files[DELEGATED].clone()),
        ("root_with_threshold_0", threshold_0.files[ROOT].clone()),
        ("timestamp_with_the_largest_numbers", largest.files[TIMESTAMP].clone()),
        ("golden_root_signed_by_three", golden("2.root")),
        ("golden_release_with_deltas", golden("climate.targets")),
    ];
    for (name, file) in &files {
        for target in ["envelope", "roundtrip"] {
            seeds.push((target, (*name).into(), file.clone()));
        }
        for target in ["metadata", "roundtrip"] {
            seeds.push((target, format!("{name}_payload"), payload(file)));
        }
    }
    seeds.push(("bundle", "golden".into(), golden("update.bundle")));
    seeds.push(("bundle", "without_roots".into(), plain.files[1..].concat()));
    let payloads = [&[0x44, 1, 2, 3, 4, 0x40][..]].concat();
    seeds.push(("bundle", "install_file_with_two_payloads".into(), [plain.files[1..].concat(), payloads].concat()));
    seeds.push(("bundle", "one_file".into(), plain.files[TIMESTAMP].clone()));
    seeds.push(("bundle", "thirteen_files".into(), plain.files[TIMESTAMP].repeat(13)));
    let report = golden("report");
    let inner = crate::slow::schema::signed_report(&report).expect("a report").0;
    for target in ["report", "roundtrip"] {
        seeds.push((target, "report".into(), report.clone()));
        seeds.push((target, "report_payload".into(), inner.clone()));
    }
    seeds.extend(SCRIPTS.iter().map(|(name, script, _)| ("trust_machine", (*name).into(), script.to_vec())));
    seeds
}

/// The seeds of the targets that read payloads. They come out of the present encoder, so a better one makes other bytes: they are
/// kept, not compared.
pub fn payloads() -> Vec<Seed> {
    let old: Vec<u8> =
        (0..3000u32).flat_map(|at| ((at / 7).wrapping_mul(2_654_435_761)).to_le_bytes()[..2].to_vec()).collect();
    let mut inserted = old.clone();
    inserted.splice(1000..1000, *b"something new in the middle of the image");
    let swapped = [&old[3000..], &old[..3000]].concat();
    let mut seeds: Vec<Seed> = Vec::new();
    for (name, new) in
        [("unchanged", old.clone()), ("inserted", inserted), ("halves_swapped", swapped), ("repeated", old.repeat(2))]
    {
        let options = crate::delta::CreateOptions::default();
        let made = crate::delta::create(&old, &new, &options).expect("a delta");
        // Length of the base in 256ths of what follows, rounded up, so that all of it is there.
        let share = (old.len() * 256).div_ceil(old.len() + made.patch.len()).min(255);
        let at = (old.len() + made.patch.len()) * share / 256;
        // What the share takes too much goes to the base's end: the header says how long the base is.
        let padding = vec![0; at.saturating_sub(old.len())];
        let input = [&[share as u8, 100][..], &old, &padding, &made.patch].concat();
        seeds.push(("delta_apply", name.into(), input));
    }
    for level in [1, 19] {
        let text = b"an image that repeats itself, repeats itself, repeats itself; ".repeat(40);
        let frame = zstd::bulk::compress(&text, level).expect("a frame");
        seeds.push(("zstd_frames", format!("frame_of_level_{level}"), [&[0][..], &frame].concat()));
        seeds.push(("zstd_frames", format!("two_frames_of_level_{level}"), [&[0][..], &frame, &frame].concat()));
        seeds.push(("zstd_frames", format!("text_to_compress_{level}"), [&[level as u8 * 2 + 1][..], &text].concat()));
    }
    let size = 0xff6e_b001_0800_f855u64.to_le_bytes();
    let frame = [&[0, 0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &size, &[0x55; 40]].concat();
    seeds.push(("zstd_frames", "frame_of_more_than_2_to_the_63_bytes".into(), frame));
    let edits = [0, 0, 100, 1, 100, 50, 2, 0, 30, 9, 9, 9, 3, 7, 200, 4, 0, 90, 0, 128, 255];
    seeds.push(("delta_roundtrip", "one_edit_of_each_kind".into(), [&[0x11, 250][..], &old[..1024], &edits].concat()));
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_script_comes_to_what_its_name_says() {
        for (name, script, expected) in SCRIPTS {
            println!("{name}");
            assert_eq!(crate::script::run(script), *expected, "{name}");
        }
    }

    #[test]
    fn the_folder_holds_these_seeds_and_no_others() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds");
        let compared = metadata();
        let bless = std::env::var_os("SEALIFT_BLESS").is_some();
        // Without optimisation the host's decoder passes over the stack on its way into a box.
        let on_a_large_stack =
            || std::thread::Builder::new().stack_size(1 << 26).spawn(payloads).unwrap().join().unwrap();
        for (target, name, content) in compared.iter().chain(bless.then(on_a_large_stack).iter().flatten()) {
            let path = folder.join(target).join(name);
            if bless {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, content).unwrap();
            }
            let kept = std::fs::read(&path).unwrap_or_else(|why| panic!("read {}: {why}", path.display()));
            assert!(kept == *content, "{} is another seed: SEALIFT_BLESS=1 writes it", path.display());
        }
        let known: Vec<PathBuf> = compared.iter().map(|(target, name, _)| folder.join(target).join(name)).collect();
        for target in ["envelope", "metadata", "roundtrip", "bundle", "report", "trust_machine"] {
            for entry in std::fs::read_dir(folder.join(target)).unwrap() {
                let path = entry.unwrap().path();
                assert!(known.contains(&path), "{} is in no list", path.display());
            }
        }
    }
}
