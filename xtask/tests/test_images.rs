//! The checked-in images are what `test-images/README.md` says of them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use sha2::{Digest, Sha256};

struct Row {
    file: String,
    bytes: usize,
    sha256: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../test-images")
}

fn rows() -> Vec<Row> {
    let readme = fs::read_to_string(folder().join("README.md")).expect("test-images/README.md");
    let cells = readme.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        Row { file: cells[1].into(), bytes: cells[2].parse().expect("a size"), sha256: cells[3].into() }
    });
    cells.collect()
}

fn image(name: &str) -> Vec<u8> {
    fs::read(folder().join("images").join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn every_image_has_the_size_and_hash_of_the_table() {
    let rows = rows();
    assert!(rows.len() >= 15, "the table has {} rows", rows.len());
    for row in rows {
        let bytes = image(&row.file);
        assert_eq!(bytes.len(), row.bytes, "{}", row.file);
        assert_eq!(hex::encode(Sha256::digest(&bytes)), row.sha256, "{}", row.file);
    }
}

#[test]
fn no_image_is_missing_from_the_table() {
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row.file).collect();
    let entries = fs::read_dir(folder().join("images")).expect("test-images/images");
    let present: BTreeSet<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(listed, present);
}

#[test]
fn the_hex_file_says_the_same_as_the_raw_image() {
    for (name, base) in [("1.1.0-mps2-an385", 0x10_0000), ("1.1.0-qemu-virt-rv32", 0x8010_0000)] {
        let text = String::from_utf8(image(&format!("station-{name}.hex"))).expect("text");
        let (mut raw, mut upper) = (Vec::new(), 0u32);
        for record in ihex::Reader::new(&text) {
            match record.expect("a record") {
                ihex::Record::ExtendedLinearAddress(high) => upper = u32::from(high) << 16,
                ihex::Record::Data { offset, value } => {
                    assert_eq!((upper + u32::from(offset) - base) as usize, raw.len(), "{name}: a gap");
                    raw.extend_from_slice(&value);
                }
                ihex::Record::EndOfFile => break,
                other => panic!("{name}: unexpected {other:?}"),
            }
        }
        assert_eq!(raw, image(&format!("station-{name}.bin")), "{name}");
    }
}

#[test]
fn images_carry_their_version_and_hardware() {
    for (name, version, hardware) in [
        ("station-1.0.0-mps2-an385.bin", "1.0.0", "mps2-an385"),
        ("station-1.1.0-mps2-an385.bin", "1.1.0", "mps2-an385"),
        ("station-1.1.0-mps2-an386.bin", "1.1.0", "mps2-an386"),
        ("station-1.1.0-qemu-virt-rv32.bin", "1.1.0", "qemu-virt-rv32"),
    ] {
        let bytes = image(name);
        assert_eq!(&bytes[0x100..0x108], b"STATION\0", "{name}: no image record at 0x100");
        assert_eq!(bytes[0x108..0x118].split(|b| *b == 0).next(), Some(version.as_bytes()), "{name}");
        assert_eq!(bytes[0x118..0x130].split(|b| *b == 0).next(), Some(hardware.as_bytes()), "{name}");
    }
}

#[test]
fn no_image_names_a_folder_of_the_machine_that_built_it() {
    for row in rows() {
        let bytes = image(&row.file);
        for folder in ["/home/", "/root/", "/tmp/", "/work/", "/.cargo/"] {
            assert!(!contains(&bytes, folder), "{} contains {folder}", row.file);
        }
    }
}
