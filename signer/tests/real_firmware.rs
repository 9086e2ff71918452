//! Real firmware through `release create`: every payload of the release gives the image back, with the devices' decoder.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use sealift_signer::delta;
use support::Project;

/// The folder with `NAME/old` and `NAME/new`; it is no part of the project.
fn firmware() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/firmware");
    let folder = std::env::var_os("SEALIFT_FIRMWARE").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("SEALIFT_REQUIRE_FIRMWARE").is_none(), "real firmware is required: {}", folder.display());
    println!("LEFT OUT: real firmware is not at {}", folder.display());
    None
}

#[test]
fn a_release_of_real_firmware_reaches_the_image_from_its_predecessor() {
    let Some(folder) = firmware() else { return };
    for pair in ["stm32f4_upy", "atf_imx8mp", "tasmota8266_gz"] {
        let [old, new] = ["old", "new"].map(|which| fs::read(folder.join(pair).join(which)).unwrap());
        let project = Project::new();
        project.release("1.0.0", &old);
        let created = project.release("1.1.0", &new);
        let payloads = created["release"]["payloads"].as_array().unwrap();
        let read = |payload: &serde_json::Value| {
            let digest = payload["sha256"].as_str().unwrap();
            fs::read(project.file(&format!("repository/payloads/{digest}"))).unwrap()
        };
        let of_codec = |codec: &str| payloads.iter().find(|payload| payload["codec"] == codec);
        assert!(read(of_codec("raw").unwrap()) == new, "{pair}");
        if let Some(payload) = of_codec("zstd") {
            assert!(zstd::decode_all(read(payload).as_slice()).unwrap() == new, "{pair}: the reference zstd reads it");
        }
        let patch = read(of_codec("delta").unwrap());
        assert!(delta::apply(&old, &patch).unwrap() == new, "{pair}");
        // Compressed images share next to nothing.
        let most = if pair == "tasmota8266_gz" { new.len() } else { new.len() / 4 };
        assert!(patch.len() < most, "{pair}: {} of {} bytes", patch.len(), new.len());
        project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
        project.run(&["verify", "repository", "--root", "root"]).ok();
        project.run(&["bundle", "export", "--product", "thermostat", "--out", "bundle"]).ok();
        let bundle = fs::metadata(project.file("bundle")).unwrap().len();
        assert!(bundle <= 1536, "{pair}: a bundle of two releases has {bundle} bytes");
    }
}
