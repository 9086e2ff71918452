//! Deltas on the command line: what a person types, what comes back, and what is left behind when things go wrong.

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use programs::{Dice, Field, Program, Set};
use support::sealift_in;

/// Two versions of a program, in a folder of their own.
fn folder() -> (tempfile::TempDir, Vec<u8>, Vec<u8>) {
    let program = Program::new(Set::Thumb, Field::Pointer32, 900);
    let (old, new) = (program.link(0x0802_0000, &[]), program.link(0x0802_0000, &[(20, 64), (77, 12)]));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old.bin"), &old).unwrap();
    fs::write(folder.path().join("new.bin"), &new).unwrap();
    (folder, old, new)
}

const CREATE: [&str; 8] = ["delta", "create", "--from", "old.bin", "--to", "new.bin", "--output", "p"];
const APPLY: [&str; 8] = ["delta", "apply", "--from", "old.bin", "--patch", "p", "--output", "out"];

#[test]
fn create_inspect_apply() {
    let (folder, _, new) = folder();
    let run = |words: &[&str]| sealift_in(folder.path(), words);
    let made = run(&[&CREATE[..], &["--ram", "16KiB", "--json"]].concat()).ok();
    assert_eq!(made.stderr, "", "no progress bar off a terminal");
    let facts = made.json();
    assert_eq!(
        (&facts["codec"], &facts["gain"], &facts["ram_class"]),
        (&"delta".into(), &true.into(), &"16KiB".into())
    );
    let classes = facts["class_lengths"].as_object().unwrap();
    assert_eq!(classes.len(), 4, "{classes:?}");
    assert_eq!(classes["16KiB"], facts["length"]);
    assert_eq!(facts["length"], fs::metadata(folder.path().join("p")).unwrap().len());

    let facts = run(&["delta", "inspect", "p", "--json"]).ok().json();
    assert_eq!(
        (&facts["kind"], &facts["architecture"], &facts["version"]),
        (&"delta".into(), &"thumb".into(), &1.into())
    );
    assert!(facts["fields"].as_array().unwrap().contains(&"pointers of 32 bits".into()), "{facts}");
    let regions = facts["map"]["regions"].as_array().unwrap();
    assert!(regions.iter().any(|region| region["address"] == 0x0802_0000 && region["kind"] == "code"), "{regions:?}");
    assert_eq!(facts["map"]["shifts"].as_array().unwrap().len() as u64, facts["shifts"].as_u64().unwrap());
    let words = run(&["delta", "inspect", "p"]).ok().stdout;
    assert!(words.contains("thumb, branches") && words.contains("0x08020000"), "{words}");

    let facts = run(&[&APPLY[..], &["--json"]].concat()).ok().json();
    assert_eq!(facts["length"], new.len());
    assert!(fs::read(folder.path().join("out")).unwrap() == new);
}

/// A program of this machine, and a later one: what comes out is the file, byte for byte.
#[test]
fn a_program_of_an_operating_system_is_the_file_that_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let old = fs::read("/bin/sh").unwrap();
    assert!(old.starts_with(b"\x7fELF"), "/bin/sh is no ELF file");
    let mut new = old.clone();
    let half = new.len() / 2;
    new[half..half + 40].fill(0x90);
    // What no segment loads belongs to it.
    new.extend(b"signed by somebody");
    fs::write(folder.path().join("old.bin"), &old).unwrap();
    fs::write(folder.path().join("new.bin"), &new).unwrap();
    let facts = sealift_in(folder.path(), &[&CREATE[..], &["--json"]].concat()).ok().json();
    assert_eq!((&facts["image_format"], &facts["codec"]), (&"raw".into(), &"delta".into()), "{facts}");
    sealift_in(folder.path(), &APPLY).ok();
    assert!(fs::read(folder.path().join("out")).unwrap() == new);
}

#[test]
fn firmware_in_an_elf_file_is_the_image_in_the_slot_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let image = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-images/images").join(name);
    fs::copy(image("station-1.0.0-mps2-an385.elf"), folder.path().join("old.bin")).unwrap();
    fs::copy(image("station-1.1.0-mps2-an385.elf"), folder.path().join("new.bin")).unwrap();
    let words = sealift_in(folder.path(), &CREATE).ok().stdout;
    assert!(words.contains("what the ELF file loads, as it stands in the slot"), "{words}");
    sealift_in(folder.path(), &APPLY).ok();
    let hex = fs::read_to_string(image("station-1.1.0-mps2-an385.hex")).unwrap();
    fs::write(folder.path().join("new.hex"), hex).unwrap();
    let words = sealift_in(folder.path(), &[&CREATE[..5], &["new.hex", "--output", "q"]].concat()).ok().stdout;
    assert!(words.contains("what the Intel HEX file holds"), "{words}");
    sealift_in(folder.path(), &["delta", "apply", "--from", "old.bin", "--patch", "q", "--output", "again"]).ok();
    let applied = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(applied("out") == fs::read(image("station-1.1.0-mps2-an385.bin")).unwrap());
    assert!(applied("out") == applied("again"), "one image in two formats");
    // Who wants the file itself says so.
    let raw = ["--image-format", "raw", "--force"];
    sealift_in(folder.path(), &[&CREATE[..], &raw].concat()).ok();
    sealift_in(folder.path(), &[&APPLY[..], &raw].concat()).ok();
    assert!(applied("out") == applied("new.bin"));
}

#[test]
fn without_gain_the_full_image_is_written_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(4);
    for (name, old, new) in [("noise", dice.bytes(50_000), dice.bytes(50_000)), ("tiny", vec![1], b"a".to_vec())] {
        fs::write(folder.path().join("old.bin"), &old).unwrap();
        fs::write(folder.path().join("new.bin"), &new).unwrap();
        let words = sealift_in(folder.path(), &[&CREATE[..], &["--force"]].concat()).ok().stdout;
        assert!(words.contains("no gain") && words.contains("full image"), "{name}: {words}");
        let facts = sealift_in(folder.path(), &[&CREATE[..], &["--force", "--json"]].concat()).ok().json();
        assert_eq!((&facts["codec"], &facts["gain"]), (&"zstd".into(), &false.into()), "{name}: {facts}");
        assert!(facts["length"].as_u64() < facts["delta_length"].as_u64(), "{name}: {facts}");
        let written = fs::read(folder.path().join("p")).unwrap();
        // The reference reads it, too.
        assert!(zstd::decode_all(&written[..]).unwrap() == new, "{name}");
        sealift_in(folder.path(), &[&APPLY[..], &["--force"]].concat()).ok();
        assert!(fs::read(folder.path().join("out")).unwrap() == new, "{name}");
        let facts = sealift_in(folder.path(), &["delta", "inspect", "p", "--json"]).ok().json();
        assert_eq!((&facts["kind"], &facts["target"]["length"]), (&"zstd".into(), &new.len().into()), "{name}");
    }
    let facts = sealift_in(folder.path(), &[&CREATE[..], &["--force", "--json"]].concat()).ok().json();
    assert_eq!(facts["containers"].as_array().map(Vec::len), Some(0), "{facts}");
}

/// Such a delta is the target in one frame, and what it saves is what a larger window than the decoder's memory does.
#[test]
fn images_that_have_little_in_common_are_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(4);
    // A language whose words come again, most of them farther away than any window of the class.
    let language: Vec<Vec<u8>> = (0..900).map(|at| dice.bytes(4 + at % 9)).collect();
    let new: Vec<u8> = (0..9_000).flat_map(|_| language[dice.roll(900) as usize].clone()).collect();
    fs::write(folder.path().join("old.bin"), dice.bytes(50_000)).unwrap();
    fs::write(folder.path().join("new.bin"), &new).unwrap();
    let made = sealift_in(folder.path(), &CREATE).ok().stdout;
    assert!(made.contains("little in common") && !made.contains("no gain"), "{made}");
    let facts = sealift_in(folder.path(), &["delta", "inspect", "p", "--json"]).ok().json();
    assert_eq!(facts["fields"], serde_json::json!(["one zstd frame over both images"]));
    assert_eq!((&facts["architecture"], &facts["read_back"]), (&"none".into(), &true.into()), "{facts}");
    sealift_in(folder.path(), &APPLY).ok();
    assert!(fs::read(folder.path().join("out")).unwrap() == new);
    // A slot that can't be read back takes none.
    let facts =
        sealift_in(folder.path(), &[&CREATE[..], &["--force", "--no-read-back", "--json"]].concat()).ok().json();
    assert!(facts["fields"].as_array().is_none_or(|fields| fields.is_empty()), "{facts}");
}

#[test]
fn what_a_delta_cannot_see_into_is_reported() {
    let (folder, _, new) = folder();
    let packed = [&new[..], &[0x1f, 0x8b, 8, 0], &Dice(6).bytes(40_000)].concat();
    fs::write(folder.path().join("new.bin"), packed).unwrap();
    let made = sealift_in(folder.path(), &CREATE).ok().stdout;
    assert!(made.contains("gzip") && made.contains("can't see into it"), "{made}");
}

#[test]
fn bad_input_is_told_by_its_name_and_leaves_nothing() {
    let (folder, old, _) = folder();
    let file = |name: &str| folder.path().join(name);
    let run = |words: &[&str]| sealift_in(folder.path(), words);
    run(&CREATE).ok();
    let patch = fs::read(file("p")).unwrap();

    run(&CREATE).fails(3, &["exists", "--force"]);
    run(&[&CREATE[..], &["--force", "--ram", "8KiB"]].concat()).fails(2, &["8KiB"]);
    run(&["delta", "create", "--from", "missing", "--to", "new.bin", "--output", "q"])
        .fails(4, &["missing", "cannot read"]);
    fs::write(file("bad.elf"), b"\x7fELF\x01\x01\x01").unwrap();
    run(&["delta", "create", "--from", "old.bin", "--to", "bad.elf", "--output", "q"]).fails(4, &["bad.elf", "ELF"]);
    assert!(!file("q").exists());

    let apply = |patch: &[u8], code: i32, words: &[&str]| {
        fs::write(file("p"), patch).unwrap();
        run(&APPLY).fails(code, words);
        assert!(!file("out").exists(), "{words:?}");
    };
    apply(b"not a delta, by its first bytes or any other thing about it; it must be some hundred bytes long to say so......", 3, &["magic"]);
    apply(&patch[..50], 3, &["ends early"]);
    apply(&patch[..patch.len() - 1], 3, &["ends early"]);
    let mut other = patch.clone();
    other[4] = 9;
    apply(&other, 3, &["version 9"]);
    let mut other = patch.clone();
    let last = other.len() - 3;
    other[last] ^= 0x40;
    fs::write(file("p"), &other).unwrap();
    assert_eq!(run(&APPLY).code, 3);
    assert!(!file("out").exists());
    apply(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0], 3, &["compressed image"]);
    fs::write(file("old.bin"), &old[1..]).unwrap();
    apply(&patch, 3, &["not the base", "SHA-256"]);
    fs::write(file("p"), b"").unwrap();
    run(&["delta", "inspect", "p"]).fails(4, &["p"]);
    run(&["delta", "inspect", "nowhere"]).fails(4, &["nowhere"]);
}

/// A process that is killed at any moment leaves no output, or a whole one.
#[test]
fn killed_half_way_nothing_half_written_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(8);
    let old = dice.bytes(600_000);
    let mut new = old.clone();
    (0..3000).for_each(|at| new[at * 199] ^= 1);
    fs::write(folder.path().join("old.bin"), &old).unwrap();
    fs::write(folder.path().join("new.bin"), &new).unwrap();
    let binary = assert_cmd::cargo::cargo_bin("sealift");
    let run = |words: &[&str], life: Option<Duration>| {
        let mut command = Command::new(&binary);
        let mut child =
            command.args(words).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(life) = life {
            std::thread::sleep(life);
            let _ = child.kill();
        }
        child.wait().unwrap().success()
    };
    let start = Instant::now();
    assert!(run(&CREATE, None));
    let whole = start.elapsed();
    let patch = fs::read(folder.path().join("p")).unwrap();
    let (mut killed, mut done) = (0, 0);
    for step in 0..14u32 {
        fs::remove_file(folder.path().join("p")).ok();
        let finished = run(&CREATE, Some(whole * step / 12));
        match fs::read(folder.path().join("p")) {
            Ok(written) => assert!(written == patch, "step {step}: {} bytes", written.len()),
            Err(_) => assert!(!finished, "step {step}"),
        }
        if finished { done += 1 } else { killed += 1 }
    }
    assert!(killed > 0, "{killed} killed, {done} done");
    // What a killed run leaves under a temporary name disturbs no later one.
    fs::remove_file(folder.path().join("p")).ok();
    assert!(run(&CREATE, None));
    assert!(fs::read(folder.path().join("p")).unwrap() == patch);
    assert!(run(&APPLY, None));
    assert!(fs::read(folder.path().join("out")).unwrap() == new);
}

/// Peak memory of a run in KiB, as the kernel counts it.
fn peak(folder: &Path, words: &[&str]) -> u64 {
    let binary = assert_cmd::cargo::cargo_bin("sealift");
    let mut child = Command::new(binary).args(words).current_dir(folder).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = most.max(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return most;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn memory_is_at_most_nine_and_a_half_bytes_a_byte_of_image_everything_included() {
    if !cfg!(target_os = "linux") {
        println!("LEFT OUT: memory is read from /proc");
        return;
    }
    let (small, ..) = folder();
    let folder = tempfile::tempdir().unwrap();
    // Code that moved, between stretches that did not, and some that changed altogether: 10 MiB.
    let program = Program::new(Set::A64, Field::A64AdrpAdd, 2000);
    let (one, other) = (program.link(0x8_0000, &[]), program.link(0x8_0000, &[(40, 64), (90, 32)]));
    let mut dice = Dice(5);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    while old.len() < 10 << 20 {
        let noise = dice.bytes(60_000);
        old.extend([&one[..], &noise].concat());
        new.extend([&other[..], &noise[..59_000], &dice.bytes(1000)].concat());
    }
    fs::write(folder.path().join("old.bin"), &old).unwrap();
    fs::write(folder.path().join("new.bin"), &new).unwrap();
    for predict in ["off", "likeliest"] {
        let words = [&CREATE[..], &["--force", "--predict", predict]].concat();
        // What any run takes: the program itself, and the decoder that checks the result.
        let fixed = peak(small.path(), &words);
        let taken = peak(folder.path(), &words).saturating_sub(fixed) * 1024;
        let each = taken as f64 / old.len().max(new.len()) as f64;
        println!("{predict}: {each:.2} bytes a byte of image, besides {fixed} KiB");
        assert!(each <= 9.5, "{predict}: {each:.2} bytes a byte of image");
    }
}

#[test]
fn a_terminal_gets_a_progress_bar_and_json_stays_clean() {
    let Ok(version) = Command::new("script").arg("--version").output() else {
        println!("LEFT OUT: no `script` to make a terminal");
        return;
    };
    assert!(version.status.success());
    let (folder, ..) = folder();
    let mut dice = Dice(8);
    let old = dice.bytes(900_000);
    let new: Vec<u8> = old.iter().enumerate().map(|(at, byte)| if at % 29 == 0 { byte ^ 1 } else { *byte }).collect();
    fs::write(folder.path().join("old.bin"), old).unwrap();
    fs::write(folder.path().join("new.bin"), new).unwrap();
    let binary = assert_cmd::cargo::cargo_bin("sealift");
    let line = format!("{} {} --json > json", binary.display(), CREATE.join(" "));
    let shown = Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(folder.path()).output().unwrap();
    assert!(shown.status.success());
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("delta") && text.contains('%'), "{text}");
    let facts: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("json")).unwrap()).unwrap();
    assert_eq!(facts["gain"], true);
}
