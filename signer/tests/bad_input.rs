//! Every file that is read, when it is missing, empty, cut off, of another type, too large or unreadable: a sentence that
//! names file, place and remedy, exit code 4, and nothing changed.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::{Project, firmware, sealift_in};

const RELEASE: [&str; 7] = ["release", "create", "--product", "thermostat", "--security-counter", "1", "--image"];

fn release<'a>(image: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&RELEASE[..], &[image, "--version", "1.0.0"], rest].concat()
}

#[test]
fn project_files() {
    let folder = tempfile::tempdir().unwrap();
    sealift_in(folder.path(), &["renew"]).fails(4, &["sealift.toml", "cannot read", "sealift init"]);
    let bad = |content: &[u8], words: &[&str]| {
        fs::write(folder.path().join("sealift.toml"), content).unwrap();
        sealift_in(folder.path(), &["renew"]).fails(4, words);
    };
    bad(b"", &["is empty"]);
    bad(&[0xff; 10], &["is not text"]);
    bad(&[b'#'; 300_000], &["larger than"]);
    bad(b"format = ", &["line 1"]);
    bad(b"format = 1\n", &["missing field"]);
    fs::remove_file(folder.path().join("sealift.toml")).unwrap();
    fs::create_dir(folder.path().join("sealift.toml")).unwrap();
    sealift_in(folder.path(), &["renew"]).fails(4, &["not a regular file"]);

    // A good file with one thing wrong.
    let wrong = |from: &str, to: &str, words: &[&str]| {
        let project = Project::new();
        project.edit(from, to);
        project.run(&["renew"]).fails(4, words);
    };
    wrong("threshold = 1", "treshold = 1", &["line 43", "treshold"]);
    wrong("format = 1", "format = 2", &["format 2"]);
    wrong("id = \"", "id = \"x", &["32 hexadecimal digits", "line"]);
    wrong("public = \"a3", "public = \"a4", &["COSE_Key", "line"]);
    wrong("expires = \"52w\"", "expires = \"soon\"", &["`soon` is no duration", "line"]);
    wrong("expires = \"52w\"", "expires = \"-1w\"", &["sensible"]);
    wrong("custody = \"offline\"", "custody = \"pocket\"", &["pocket", "line"]);
    wrong("uri = \"file:", "uri = \"gopher:", &["gopher", "known are"]);
    wrong("decoder-ram = \"24KiB\"", "decoder-ram = \"1 KiB\"", &["decoder class", "16KiB"]);
    wrong("keys = [\"root-1\"]", "keys = [\"root-7\"]", &["roles.root.keys", "no key `root-7`"]);
    wrong("keys = [\"root-1\"]", "keys = [\"root-1\", \"root-1\"]", &["lists a key twice"]);
    wrong("threshold = 1", "threshold = 0", &["roles.root.threshold"]);
    wrong("threshold = 1", "threshold = 2", &["2 of 1 keys"]);
    wrong("products = [\"thermostat\"]", "products = []", &["0 delegations list it"]);
    wrong("products = [\"thermostat\"]", "products = [\"thermostat\", \"kettle\"]", &["no product `kettle`"]);
    wrong("[products.thermostat]", "[products.Thermostat]", &["`Thermostat` is no name"]);
    wrong("keep-releases = 4", "keep-releases = 0", &["at least 1"]);
}

#[test]
fn images() {
    let project = Project::new();
    let elf =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../test-images/images/station-1.0.0-mps2-an385.elf")).unwrap();
    let hex =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../test-images/images/station-1.0.0-mps2-an385.hex")).unwrap();
    let before = project.repository();
    let refused = |name: &str, words: &[&str]| {
        project.run(&release(name, &[])).fails(4, &[&[name][..], words].concat());
        assert!(project.repository() == before, "{name} changed something");
    };
    refused("missing", &["No such file"]);
    project.write("empty", b"");
    refused("empty", &["is empty"]);
    fs::create_dir(project.file("folder")).unwrap();
    refused("folder", &["not a regular file"]);
    for length in [5, 40, 60, 3_000, elf.len() / 2] {
        project.write("cut.elf", &elf[..length]);
        refused("cut.elf", &[]);
    }
    project.write("cut.hex", &hex[..hex.len() / 2]);
    refused("cut.hex", &["Intel HEX"]);
    let lines = std::str::from_utf8(&hex).unwrap().lines();
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    project.write("endless.hex", lines[..lines.len() - 1].join("\n"));
    refused("endless.hex", &["end-of-file record"]);
    let mut damaged = hex.clone();
    damaged[200] = if damaged[200] == b'0' { b'1' } else { b'0' };
    project.write("damaged.hex", &damaged);
    refused("damaged.hex", &["record"]);
    project.write("far.hex", ":0400000001020304F2\n:02000004F0000A\n:0400000001020304F2\n:00000001FF\n");
    refused("far.hex", &["this is not one image"]);
    project.write("twice.hex", ":0400000001020304F2\n:0400020001020304F0\n:00000001FF\n");
    refused("twice.hex", &["overlap"]);
    if fs::metadata("/proc/self").is_ok() && !running_as_root() {
        project.write("locked", b"image");
        fs::set_permissions(project.file("locked"), Permissions::from_mode(0o000)).unwrap();
        refused("locked", &["Permission denied"]);
    } else {
        println!("LEFT OUT: an unreadable image, since root reads every file");
    }
}

/// Root reads every file, whatever its mode.
fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[test]
fn what_else_a_release_takes() {
    let project = Project::new();
    project.write("image.bin", firmware(4_000, 1));
    let run = |rest: &[&str]| project.run(&release("image.bin", rest));
    project.write("sbom", b"{\"bomFormat\":");
    run(&["--sbom", "sbom"]).fails(4, &["sbom", "no JSON"]);
    project.write("sbom", b"{\"name\": \"no bill\"}");
    run(&["--sbom", "sbom"]).fails(4, &["sbom", "CycloneDX"]);
    run(&["--sbom", "nothing"]).fails(4, &["nothing"]);
    run(&["--from", "0.9.0"]).fails(3, &["0.9.0 was never released", "known releases: none"]);
    run(&["--from", "old.bin"]).fails(4, &["old.bin"]);
    run(&["--hardware", "board-z"]).fails(2, &["`board-z`", "board-a, board-b"]);
    run(&["--minimum-version", "1.0.0"]).fails(2, &["minimum version"]);
    run(&["--component", "Boot"]).fails(2, &["`Boot`"]);
    project
        .run(
            &[&["release", "create", "--product", "kettle"][..], &RELEASE[4..], &["image.bin", "--version", "1"]]
                .concat(),
        )
        .fails(2, &["no product `kettle`", "thermostat"]);
    let mut epoch = support::command(project.path(), &release("image.bin", &[]));
    epoch.env("SOURCE_DATE_EPOCH", "yesterday");
    support::Run::run(&mut epoch).fails(2, &["SOURCE_DATE_EPOCH"]);
}

#[test]
fn repositories() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    for (name, _) in project.repository() {
        if name.starts_with("/tuf") || name.starts_with("/payloads") {
            continue;
        }
        for bad in [&b""[..], b"x", &[0xd8; 6_000], &[0; 100]] {
            let copy = project.copy();
            copy.write(&format!("repository{name}"), bad);
            let outcome = copy.run(&["renew"]);
            // Former states' files are not read.
            assert!(matches!(outcome.code, 0 | 3 | 4), "{name}: {outcome:?}");
            if name == "/metadata/timestamp" || name == "/metadata/1.root" {
                assert_ne!(outcome.code, 0, "{name}");
                assert!(outcome.stderr.contains("help:"), "{outcome:?}");
            }
        }
    }
    let empty = Project::new();
    fs::remove_dir_all(empty.file("repository")).unwrap();
    empty.run(&["renew"]).fails(4, &["no repository yet", "sealift init"]);
}

#[test]
fn a_targets_file_that_is_too_large_is_refused_with_advice() {
    let project = Project::new();
    project.edit("keep-releases = 4", "keep-releases = 16");
    let mut outcome = None;
    for minor in 0..16 {
        project.write("image.bin", firmware(4_000, minor));
        let version = format!("1.{minor}.0");
        let before = project.repository();
        let run = project.run(&[&RELEASE[..], &["image.bin", "--version", &version]].concat());
        if run.code != 0 {
            assert!(project.repository() == before, "a refused release changes nothing");
            outcome = Some(run);
            break;
        }
    }
    outcome
        .expect("it grows until it is refused")
        .fails(3, &["at most 3584", "release withdraw", "delegations of their own"]);
}

#[test]
fn too_many_releases_are_refused_by_the_formats_bound() {
    let project = Project::new();
    project.edit("keep-releases = 4", "keep-releases = 40");
    for minor in 0..17 {
        // Too small to compress, so that the count is what is reached first.
        project.write("image.bin", [minor as u8; 1]);
        let version = format!("1.{minor}.0");
        let run = project.run(&[&RELEASE[..], &["image.bin", "--version", &version, "--no-deltas"]].concat());
        match minor {
            0..16 => drop(run.ok()),
            _ => drop(run.fails(3, &["16 releases a file"])),
        }
    }
}
