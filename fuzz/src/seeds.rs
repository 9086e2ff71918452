//! The named seeds in `seeds/`: each is one situation that a fuzzer should not have to find by itself. A test holds the folder to
//! this list; `SEALIFT_BLESS=1` writes it.

use crate::fleet::{DELEGATED, Fleet, Log, ROOT, Release, SNAPSHOT, TARGETS, TIMESTAMP};
use crate::journal;
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

/// A seed of the flash target: name, script (`src/journal.rs` has the table), and what must come of it: boots that ran something,
/// those that ran the update, boots that found nothing to run, installations that ended well. Each script ends with a restart
/// and a boot of its own.
pub const JOURNALS: &[(&str, &[u8], journal::Tally)] = &[
    ("boots_as_it_left_the_factory", &[5], kept(2, 0, 0, 0)),
    ("image_is_installed_tried_and_reverted", &[10, 1, 255, 0, 2, 5], kept(2, 1, 0, 1)),
    ("delta_is_installed_tried_and_confirmed", &[10, 0, 63, 0, 2, 5, 6, 2, 0, 2, 5], kept(3, 3, 0, 1)),
    ("link_breaks_and_the_hint_goes_on", &[10, 1, 63, 60, 2, 10, 1, 63, 0, 5], kept(2, 1, 0, 1)),
    // Refused or found out by the hash over the slot; the device then starts over without it.
    ("hint_of_a_place_beyond_what_was_written", &[0, 5, 6, 1, 1, 3, 0, 3, 0, 10, 1, 63, 0, 5], kept(2, 1, 0, 1)),
    ("hint_of_another_payload", &[0, 5, 6, 0, 1, 0, 200, 0, 50, 10, 1, 63, 0, 5], kept(2, 1, 0, 1)),
    ("image_changed_after_activation", &[10, 1, 63, 0, 7, 1, 1, 0, 9, 1, 5], kept(2, 0, 0, 1)),
    ("image_changed_that_was_confirmed", &[7, 0, 0, 0, 9, 1, 5], kept(0, 0, 2, 0)),
    ("power_ends_in_a_write_of_the_boot_state", &[3, 2, 0, 4, 1, 3, 3, 2, 5], kept(2, 0, 0, 0)),
    // One erasure and 16 writes put the image into its slot, 16 more acts the records beside it: the 33rd is the last.
    ("power_ends_in_an_activation", &[3, 24, 10, 1, 63, 0, 2, 5], kept(2, 0, 0, 1)),
    ("power_ends_before_the_last_act_of_an_activation", &[3, 32, 10, 1, 63, 0, 2, 5], kept(2, 0, 0, 1)),
    ("power_ends_after_an_activation", &[3, 33, 10, 1, 63, 0, 2, 5], kept(2, 1, 0, 1)),
    ("rot_at_the_start_of_a_half", &[4, 0, 0, 5, 4, 5], kept(2, 0, 0, 0)),
    ("rot_in_a_record", &[4, 1, 0, 60, 4, 5], kept(2, 0, 0, 0)),
    ("state_record_lost", &[1, 4, 5], kept(2, 0, 0, 0)),
    ("slot_record_with_a_changed_key", &[7, 1, 1, 0, 0, 0, 0, 3, 0x82, 0, 40, 1, 0, 4, 1, 3, 3, 5], kept(2, 0, 0, 0)),
    // It says that slot B runs, of which it says nothing: slot A boots, for its record is the factory's.
    ("planted_log_of_a_later_generation", &[8, 1, 9, 2, 4, 1, 1, 0, 2, 3, 2, 5], kept(2, 0, 0, 0)),
    ("planted_log_without_a_slot_record", &[8, 1, 9, 1, 4, 1, 1, 0, 2, 5], kept(0, 0, 2, 0)),
    ("counter_above_every_image", &[6, 3, 9, 5], kept(0, 0, 2, 0)),
];

const fn kept(booted: usize, updated: usize, refused: usize, installed: usize) -> journal::Tally {
    journal::Tally { booted, updated, refused, installed }
}

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
    seeds.extend(JOURNALS.iter().map(|(name, script, _)| ("journal_resume", (*name).into(), script.to_vec())));
    seeds.extend(TEXTS.iter().map(|(target, name, text)| (*target, (*name).into(), text.as_bytes().to_vec())));
    seeds.extend(MQTT.iter().map(|(name, stream)| ("mqtt", (*name).into(), [&[0][..], stream].concat())));
    seeds.extend(POLICIES.iter().map(|(name, parts)| ("mqtt", (*name).into(), [&[1][..], parts.as_bytes()].concat())));
    seeds.push(("project_file", "project_with_two_products".into(), project().into_bytes()));
    seeds.extend(
        repositories().into_iter().map(|(name, tree)| ("tuf_json", name.into(), tree.to_string().into_bytes())),
    );
    seeds.extend(SCRIPTS.iter().map(|(name, script, _)| ("trust_machine", (*name).into(), script.to_vec())));
    seeds
}

/// Streams of MQTT packets.
const MQTT: &[(&str, &[u8])] = &[
    ("connect_3_1_1_and_ping", b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1\xc0\0"),
    ("connect_5_with_a_will", b"\x10\x23\0\x04MQTT\x05\x06\0\x3c\x05\x11\0\0\0\x0a\0\x05dev-1\0\0\x03a/b\0\x03bye"),
    (
        "subscribe_and_publish",
        b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1\x82\x08\0\x01\0\x03a/#\x01\x32\x0a\0\x03a/b\0\x02abc\xe0\0",
    ),
    ("jobs_request", b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1\x30\x22\0\x1e$aws/things/dev-1/jobs/$next/get{}"),
    ("publish_before_connect", b"\x30\x05\0\x01ahi"),
    ("second_connect", b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1"),
    ("length_of_five_bytes", b"\x10\xff\xff\xff\xff\x01"),
    ("packet_that_never_ends", b"\x10\xff\xff\xff\x7f\0\x04MQTT"),
    ("qos_2", b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1\x34\x07\0\x01a\0\x01hi"),
];

/// Policies with a client id and a topic.
const POLICIES: &[(&str, &str)] = &[
    (
        "policy_that_denies_below_what_it_allows",
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"iot:*\",\"Resource\":\"*\"},{\"Effect\":\"Deny\",\"Action\":[\"iot:Publish\"],\"Resource\":\"arn:aws:iot:eu-1:1:topic/secret/*\"}]}\0c\0secret/1",
    ),
    (
        "client_id_that_is_a_wildcard",
        "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":\"arn:aws:iot:r:1:topic/c/${iot:ClientId}/x\"}}\0*\0c/a/x",
    ),
    ("topic_of_another_thing", "{}\0c\0$aws/things/dev-2/jobs/get"),
];

/// Seeds that are text: target, name, content.
const TEXTS: &[(&str, &str, &str)] = &[
    (
        "job_document",
        "document_with_a_bundle",
        r#"{"sealift":1,"repository":"00112233445566778899aabbccddeeff","product":"thermostat","target":"0707070707070707070707070707070707070707070707070707070707070707","bundle":"AQID/w==","metadata":"https://localhost:8443/metadata/","payloads":{"0909090909090909090909090909090909090909090909090909090909090909":"https://localhost:8443/payloads/09"}}"#,
    ),
    (
        "job_document",
        "document_with_a_critical_field",
        r#"{"sealift":1,"repository":"00","product":"p","target":"0707070707070707070707070707070707070707070707070707070707070707","metadata":"https://h/","critical":["bundle"]}"#,
    ),
    ("job_document", "document_of_a_later_format", r#"{"sealift":2,"critical":["x"],"entirely":"new"}"#),
    (
        "job_document",
        "update_with_details",
        r#"{"status":"IN_PROGRESS","statusDetails":{"code":"SL-201","reason":"signature"},"expectedVersion":3,"executionNumber":1,"includeJobExecutionState":true,"includeJobDocument":false,"stepTimeoutInMinutes":-1}"#,
    ),
    (
        "job_document",
        "execution_with_its_document",
        r#"{"execution":{"jobId":"j-1","thingName":"t","status":"QUEUED","queuedAt":1,"lastUpdatedAt":2,"versionNumber":1,"executionNumber":1,"jobDocument":"{}"}}"#,
    ),
    (
        "job_document",
        "pending_executions",
        r#"{"inProgressJobs":[{"jobId":"j-1","queuedAt":1,"lastUpdatedAt":2,"startedAt":2,"versionNumber":1,"executionNumber":1}],"queuedJobs":[]}"#,
    ),
    ("job_document", "error_of_a_version_that_moved_on", r#"{"code":"VersionMismatch","message":"2"}"#),
    ("job_document", "name_with_a_wildcard", "thing/+"),
    ("job_document", "name_that_is_next", "$next"),
    (
        "project_file",
        "plan_with_three_waves",
        r#"product = "thermostat"
version = "1.1.0"
window = { from = "22:00:00", to = "04:00:00" }

[[wave]]
name = "canary"
things = ["lab-1", "lab-2"]
rate = 10
gate = { success-ratio = 1.0, min-finished = 2, soak = "1h", approval = true }

[[wave]]
name = "early"
percent = 5
rate = { base = 10, factor = 1.5, succeeded = 50, max = 500 }
gate = { success-ratio = 0.98, min-finished = 100, soak = "24h" }
abort = [{ on = "failed", percent = 2.5, min-finished = 20 }]

[[wave]]
name = "all"
percent = 100
retries = 2
timeout = "2 days"
"#,
    ),
    (
        "project_file",
        "plan_with_a_rate_that_is_no_number",
        "product='p'\nversion='1'\n[[wave]]\nname='a'\npercent=100\nrate={base=1,factor=nan,succeeded=1,max=1}\n",
    ),
    ("tuf_json", "name_that_stands_twice", r#"{"version":1,"x":{"a":1,"a":1}}"#),
    ("tuf_json", "fraction", "[1.0,1e3,-0]"),
    ("tuf_json", "largest_and_smallest_integer", "[18446744073709551615,-9223372036854775808,18446744073709551616]"),
    ("tuf_json", "escapes", r#""a\"\\\n\u0001\u00e9\ud83d\ude00/""#),
    ("tuf_json", "lone_surrogate", r#""\ud800""#),
];

/// A project file as `sealift init` writes it.
fn project() -> String {
    use sealift_signer::project::{Custody, Draft, DraftKey};
    let key = |number: usize, role: &'static str, custody| DraftKey {
        name: format!("{role}-{number}"),
        roles: vec![role],
        uri: format!("file:keys/{number}.pem").parse().expect("a URI"),
        custody,
        public: sealift_manifests::PublicKey(crate::fleet::public(number)),
    };
    Draft {
        development: false,
        id: sealift_manifests::RepositoryId(crate::fleet::REPOSITORY),
        keys: vec![
            key(0, "root", Custody::Offline),
            key(1, "root", Custody::Offline),
            key(2, "targets", Custody::Offline),
            key(3, "snapshot", Custody::Cloud),
            key(4, "timestamp", Custody::Cloud),
            key(5, "product", Custody::Ci),
        ],
        root_threshold: 2,
        targets_threshold: 1,
        products: vec!["thermostat".into(), "valve".into()],
        hardware: vec![],
        decoder_ram: "24KiB".parse().expect("a class"),
        counter_ceiling: 100,
    }
    .to_toml()
}

/// Repositories that meet a client of version 1: each is one lie.
fn repositories() -> Vec<(&'static str, serde_json::Value)> {
    use crate::tuf::honest;
    use serde_json::json;
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut tree = honest(2);
        change(&mut tree);
        tree
    };
    vec![
        ("honest_repository", honest(2)),
        ("the_same_again", honest(1)),
        ("root_of_a_stranger", changed(&|tree| tree["forged"] = json!(["2.root.json"]))),
        ("timestamp_of_a_stranger", changed(&|tree| tree["forged"] = json!(["timestamp.json"]))),
        (
            "snapshot_takes_targets_back",
            changed(&|tree| {
                tree["files"]["2.snapshot.json"]["meta"]["targets.json"]["version"] = json!(1);
            }),
        ),
        ("timestamp_of_version_0", changed(&|tree| tree["files"]["timestamp.json"]["version"] = json!(0))),
        ("threshold_0", changed(&|tree| tree["files"]["2.root.json"]["roles"]["timestamp"]["threshold"] = json!(0))),
        (
            "delegation_to_itself",
            changed(&|tree| {
                tree["files"]["2.team.json"]["delegations"] = tree["files"]["2.targets.json"]["delegations"].clone();
            }),
        ),
        (
            "targets_expired",
            changed(&|tree| tree["files"]["2.targets.json"]["expires"] = json!("2025-12-31T23:59:59Z")),
        ),
        ("path_that_climbs_out", changed(&|tree| tree["path"] = json!("team/../../x"))),
    ]
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
    fn every_journal_comes_to_what_its_name_says() {
        let wrong: Vec<_> = JOURNALS
            .iter()
            .filter_map(|(name, script, expected)| {
                let found = on_a_large_stack(|| journal::run(script));
                (found != *expected).then(|| format!("{name}: {found:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Without optimisation the host's decoder passes over the stack on its way into a box.
    fn on_a_large_stack<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            std::thread::Builder::new().stack_size(1 << 26).spawn_scoped(scope, act).unwrap().join().unwrap()
        })
    }

    #[test]
    fn the_folder_holds_these_seeds_and_no_others() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds");
        let compared = metadata();
        let bless = std::env::var_os("SEALIFT_BLESS").is_some();
        let made = bless.then(|| on_a_large_stack(payloads));
        for (target, name, content) in compared.iter().chain(made.iter().flatten()) {
            let path = folder.join(target).join(name);
            if bless {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, content).unwrap();
            }
            let kept = std::fs::read(&path).unwrap_or_else(|why| panic!("read {}: {why}", path.display()));
            assert!(kept == *content, "{} is another seed: SEALIFT_BLESS=1 writes it", path.display());
        }
        let known: Vec<PathBuf> = compared.iter().map(|(target, name, _)| folder.join(target).join(name)).collect();
        let mut targets: Vec<&str> = compared.iter().map(|(target, ..)| *target).collect();
        targets.sort_unstable();
        targets.dedup();
        assert!(targets.len() >= 10, "{targets:?}");
        for target in targets {
            for entry in std::fs::read_dir(folder.join(target)).unwrap() {
                let path = entry.unwrap().path();
                assert!(known.contains(&path), "{} is in no list", path.display());
            }
        }
    }
}
