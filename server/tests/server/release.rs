//! Releases as the signer writes them, made from the verifier's test fleet with every part open to be made wrong.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sealift_manifests::sha256;

use crate::fleet::{Files, Fleet, Release};

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A repository that grows by releases.
#[derive(Clone)]
pub struct Maker {
    pub fleet: Fleet,
    /// Every root so far.
    pub roots: Vec<Vec<u8>>,
}

impl Default for Maker {
    fn default() -> Self {
        let later = now() + 30 * 86_400;
        let fleet = Fleet {
            root_expires: later,
            timestamp_expires: later,
            snapshot_expires: later,
            targets_expires: later,
            product_expires: later,
            issued: now() - 60,
            targets: vec![target([1, 0, 0], 20_000)],
            ..Fleet::default()
        };
        Self { roots: vec![fleet.root()], fleet }
    }
}

/// A target whose image has `length` bytes that differ with the version.
pub fn target(version: [u32; 3], length: usize) -> Release {
    let seed = version.iter().fold(7_u32, |seed, part| seed.wrapping_mul(31).wrapping_add(*part));
    let image: Vec<u8> =
        (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8).collect();
    Release { payloads: vec![Release::raw(&image)], image, ..Release::new(version) }
}

impl Maker {
    /// The next release: another version of everything.
    pub fn next(&mut self, target: Release) {
        self.fleet.bump();
        self.fleet.targets = vec![target];
    }

    pub fn write(&self, folder: &Path) -> Files {
        let files = self.fleet.files();
        self.write_files(folder, &files);
        files
    }

    pub fn write_files(&self, folder: &Path, files: &Files) {
        let (metadata, payloads) = (folder.join("metadata"), folder.join("payloads"));
        std::fs::create_dir_all(&metadata).unwrap();
        std::fs::create_dir_all(&payloads).unwrap();
        for (index, root) in self.roots.iter().enumerate() {
            std::fs::write(metadata.join(format!("{}.root", index + 1)), root).unwrap();
        }
        let pinned = |bytes: &[u8], role: &str| format!("{}.{role}", hex::encode(sha256(bytes).0));
        std::fs::write(metadata.join("timestamp"), &files.timestamp).unwrap();
        std::fs::write(metadata.join(pinned(&files.snapshot, "snapshot")), &files.snapshot).unwrap();
        std::fs::write(metadata.join(pinned(&files.targets, "targets")), &files.targets).unwrap();
        std::fs::write(metadata.join(pinned(&files.product, "targets")), &files.product).unwrap();
        for release in self.fleet.targets.iter().chain(&self.fleet.top_level) {
            std::fs::write(payloads.join(hex::encode(sha256(&release.image).0)), &release.image).unwrap();
        }
    }
}
