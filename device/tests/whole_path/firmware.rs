//! Real firmware through the whole path: by delta, as a whole image, from a USB stick, and altered in the bucket. (Every pair's way
//! by delta is tested in `xtask/tests`.)

use std::path::PathBuf;

use crate::programs::House;

/// The folder with the pairs; `None`, told plainly, when it isn't there.
fn pairs() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/firmware");
    let folder = std::env::var_os("SEALIFT_FIRMWARE").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("SEALIFT_REQUIRE_FIRMWARE").is_none_or(|required| required != "1"),
        "SEALIFT_REQUIRE_FIRMWARE=1, and there is no real firmware in {}",
        folder.display()
    );
    println!("LEFT OUT: no real firmware in {} (set SEALIFT_FIRMWARE)", folder.display());
    None
}

/// One pair: a device that runs the old image takes the delta, one that runs something else the whole image; one whose
/// payload is altered in the bucket refuses; and one takes it from a USB stick.
fn through(pair: &str) {
    let Some(folder) = pairs() else { return };
    let (old, new) = (folder.join(pair).join("old"), folder.join(pair).join("new"));
    let mut house = House::new();
    house.serve();
    house.release("1.0.0", "1", &old, &[]);
    let bundle = house.path("1.0.0.bundle");
    let bundle = bundle.to_str().unwrap();
    house.sealift(&["bundle", "export", "--product", "thing", "--out", bundle]);
    house.release("1.1.0", "2", &new, &[]);
    house.publish();
    house.device("by-delta", "field", &old, Some(bundle));
    let other = house.path("other");
    std::fs::write(&other, b"something else altogether").unwrap();
    house.device("by-image", "field", &other, None);
    let rollout = house.roll_out("1.1.0", "field", &[]);
    let image = std::fs::read(&new).unwrap();
    for (device, kind) in [("by-delta", "delta"), ("by-image", "full")] {
        let said = house.agent(device, &["run", "--once"]);
        assert_eq!(said.code, 0, "{said:?}");
        let activated = said.event("activated");
        assert_eq!(activated["payload"], kind);
        let bytes = activated["bytes"].as_u64().unwrap();
        println!("{pair}: {kind} payload of {bytes} bytes for an image of {}", image.len());
        assert!(bytes <= image.len() as u64);
        assert_eq!(house.version(device), "1.1.0");
        let slot = std::fs::read(house.path(&format!("{device}/slots/b"))).unwrap();
        assert!(slot.starts_with(&image), "what stands in the slot is the image, byte for byte");
    }
    let status = house.server(&["rollout", "status", &rollout]);
    assert_eq!(status.last()["proven"], 2, "{status:?}");
    assert_eq!(status.last()["differences"], 0);

    house.device("altered", "lab", &old, Some(bundle));
    house.device("by-stick", "nowhere", &old, Some(bundle));
    let stick = house.path("update.sealift");
    let stick = stick.to_str().unwrap();
    let what =
        ["bundle", "export", "--product", "thing", "--version", "1.1.0", "--with-payload", "all", "--out", stick];
    house.sealift(&what);
    let said = house.agent("by-stick", &["install", stick]);
    assert_eq!((said.code, said.event("activated")["payload"].as_str()), (0, Some("delta")), "{said:?}");
    assert_eq!(house.version("by-stick"), "1.1.0");

    for entry in std::fs::read_dir(house.path("server/artifacts/payloads")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let rollout = house.roll_out("1.1.0", "lab", &[]);
    let said = house.agent("altered", &["run", "--once"]);
    assert_eq!((said.code, said.event("reported")["code"].as_str()), (3, Some("SL-603")), "{said:?}");
    assert_eq!(house.version("altered"), "1.0.0");
    let status = house.server(&["rollout", "status", &rollout]).last().to_string();
    assert!(status.contains("REJECTED") && status.contains("SL-603"), "{status}");
}

#[test]
fn micropython_for_an_esp8266_goes_the_whole_path() {
    through("esp8266_upy");
}
