//! A new TLS key by a job, with the real server: the device makes it, the old one is dropped, and updates go on.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::programs::House;

fn house() -> House {
    let mut house = House::new();
    house.serve();
    let image = house.path("v0.bin");
    std::fs::write(&image, [7; 30_000]).unwrap();
    house.device("dev-1", "canary", &image, None);
    house
}

fn rotate(house: &House, id: &str) {
    house.server(&["devices", "rotate", "--id", id, "--thing", "dev-1"]);
}

fn fingerprint(house: &House) -> Value {
    house.server(&["devices", "show", "dev-1"]).last()["fingerprint"].clone()
}

fn status(house: &House, job: &str) -> String {
    let jobs = house.server(&["devices", "show", "dev-1"]).last()["executions"].clone();
    let found = jobs.as_array().unwrap().iter().find(|execution| execution["job"] == job).cloned().unwrap();
    found["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_job_gives_a_device_a_new_key_and_the_old_certificate_opens_nothing_any_more() {
    let house = house();
    let keys = house.path("dev-1/keys");
    let read = |name: &str| std::fs::read(keys.join(name)).unwrap();
    let (old_key, old_certificate, report_key) = (read("tls.key"), read("certificate.pem"), read("report.key"));
    let before = fingerprint(&house);
    rotate(&house, "keys-1");
    let said = house.agent("dev-1", &["run", "--once"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.event("rotated")["job"], "keys-1");
    assert_eq!(status(&house, "keys-1"), "SUCCEEDED");
    assert_ne!(fingerprint(&house), before);
    assert_ne!(read("tls.key"), old_key);
    assert_eq!(read("report.key"), report_key);
    assert_eq!(std::fs::metadata(keys.join("tls.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<String> = std::fs::read_dir(&keys)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("next"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(house.agent("dev-1", &["run", "--once"]).code, 0, "the new one works");
    // A thief of the old pair.
    let (new_key, new_certificate) = (read("tls.key"), read("certificate.pem"));
    std::fs::write(keys.join("tls.key"), &old_key).unwrap();
    std::fs::write(keys.join("certificate.pem"), &old_certificate).unwrap();
    assert_eq!(house.agent("dev-1", &["run", "--once"]).code, 1, "the old one is dropped");
    std::fs::write(keys.join("tls.key"), new_key).unwrap();
    std::fs::write(keys.join("certificate.pem"), new_certificate).unwrap();
    assert_eq!(house.agent("dev-1", &["run", "--once"]).code, 0);
}

#[test]
fn a_device_killed_at_any_moment_of_a_rotation_still_speaks_and_ends_it() {
    let house = house();
    for number in 0..8u64 {
        let id = format!("keys-{number}");
        rotate(&house, &id);
        let mut child = house.agent_command("dev-1", &["run", "--once"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10 + number * 12));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut tries = 0;
        while status(&house, &id) != "SUCCEEDED" {
            let said = house.agent("dev-1", &["run", "--once"]);
            assert_eq!(said.code, 0, "{id}: {said:?}");
            tries += 1;
            assert!(tries < 4, "{id} doesn't end: {said:?}");
        }
    }
}

#[test]
fn a_stolen_tls_key_alone_gets_no_new_certificate() {
    let house = house();
    let before = fingerprint(&house);
    // The thief has the TLS pair and a report key of his own.
    let keys = house.path("dev-1/keys");
    std::fs::write(keys.join("report.key"), format!("{}\n", "42".repeat(32))).unwrap();
    rotate(&house, "keys-1");
    let said = house.agent("dev-1", &["run", "--once"]);
    assert_eq!((said.code, said.event("reported")["code"].as_str()), (1, Some("SL-802")), "{said:?}");
    assert_eq!(fingerprint(&house), before);
}
