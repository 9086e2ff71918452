//! Enrolment by claim with the real server: one claim, many devices, and kill -9 in the middle of it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::programs::{House, Said};

fn house() -> House {
    let mut house = House::new();
    house.serve();
    let document = json!({
        "Parameters": {"SerialNumber": {"Type": "String"}, "AWS::IoT::Certificate::Id": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {
                "ThingName": {"Fn::Sub": "unit-${SerialNumber}"}, "ThingTypeName": "thing", "ThingGroups": ["canary"]}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}},
        },
    });
    std::fs::write(house.path("line-1.json"), document.to_string()).unwrap();
    house.server(&["groups", "create", "canary"]);
    for name in ["line-1", "line-2"] {
        let put = ["templates", "put", "--name", name, "--kind", "FLEET_PROVISIONING", "--document", "line-1.json"];
        house.server(&put);
    }
    house.server(&["claims", "create", "--template", "line-1", "--out", "line-1"]);
    house
}

fn provisioned(house: &House, name: &str) {
    let image = house.path("v0.bin");
    std::fs::write(&image, [7; 30_000]).unwrap();
    let root = house.path("project/root.cbor");
    let (root, image) = (root.to_str().unwrap(), image.to_str().unwrap());
    let what = ["provision", "--root", root, "--product", "thing", "--hardware", "thing", "--image", image];
    let facts = ["--image-version", "0.9.0", "--security-counter", "1", "--slot-size", "40000"];
    assert_eq!(house.agent(name, &[&what[..], &facts].concat()).code, 0);
}

fn arguments<'a>(house: &'a House, template: &'a str, parameters: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["enrol", "--server", &house.url, "--ca", "server/ca/ca.pem", "--template", template];
    all.extend(["--claim", "line-1/claim.pem", "line-1/claim.key"]);
    parameters.iter().for_each(|one| all.extend(["--parameter", one]));
    all
}

fn enrol(house: &House, name: &str, serial: &str) -> Said {
    let parameter = format!("SerialNumber={serial}");
    house.agent(name, &arguments(house, "line-1", &[&parameter]))
}

fn devices(house: &House) -> Vec<String> {
    let listed = house.server(&["devices", "list"]).last().clone();
    listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn left(house: &House, name: &str) -> bool {
    house.path(name).join("keys/claim.json").exists()
}

#[test]
fn a_claim_enrols_one_device_after_the_other_and_none_keeps_it() {
    let house = house();
    for (name, serial) in [("one", "1"), ("two", "2")] {
        provisioned(&house, name);
        let said = enrol(&house, name, serial);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(said.last()["thing"], format!("unit-{serial}"));
        assert_eq!(house.agent(name, &["run", "--once"]).code, 0, "it works under its own certificate");
        let key = house.path(name).join("keys/tls.key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let claim = std::fs::read(house.path("line-1/claim.pem")).unwrap();
        assert_ne!(std::fs::read(house.path(name).join("keys/certificate.pem")).unwrap(), claim);
        assert!(!left(&house, name));
    }
    assert_eq!(devices(&house), ["unit-1", "unit-2"]);
    let shown = house.server(&["devices", "show", "unit-1"]).last().clone();
    let groups: Vec<&str> = shown["groups"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(groups.contains(&"canary"), "{groups:?}");
    // Its reports count: the server knows the key that signs them.
    let status = house.agent("one", &["status"]).last().clone();
    assert_eq!(shown["reportKey"].as_str().map(str::len), Some(64), "{status}");
    // Enrolled again, it stays what it is.
    assert_eq!(enrol(&house, "one", "1").code, 0);
    assert_eq!(house.agent("one", &["run", "--once"]).code, 0);
    assert_eq!(devices(&house).len(), 2);
}

#[test]
fn what_a_claim_does_not_allow_is_told_and_leaves_nothing_half_enrolled() {
    let house = house();
    provisioned(&house, "one");
    assert_eq!(enrol(&house, "one", "1").code, 0);
    provisioned(&house, "thief");
    let told = |said: &Said| said.last()["error"].as_str().unwrap_or_default().to_owned();
    let said = enrol(&house, "thief", "1");
    assert!(said.code == 1 && told(&said).contains("ResourceConflict"), "{said:?}");
    let said = house.agent("thief", &arguments(&house, "line-1", &[]));
    assert!(said.code == 1 && told(&said).contains("SerialNumber"), "{said:?}");
    let said = house.agent("thief", &arguments(&house, "line-2", &["SerialNumber=9"]));
    assert!(said.code == 1 && told(&said).contains("template"), "{said:?}");
    assert_eq!(house.agent("thief", &["run", "--once"]).code, 4, "it isn't enrolled");
    // A key that others may read isn't used.
    let key = house.path("line-1/claim.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = enrol(&house, "thief", "2");
    assert!(said.code == 4 && told(&said).contains("chmod 600"), "{said:?}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    for wrong in [&["--parameter", "novalue"][..], &["--thing", "x"], &["--token-file", "t"]] {
        let said = house.agent("thief", &[&arguments(&house, "line-1", &[]), wrong].concat());
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
    }
    // A token that has ended or belongs to nobody: another certificate is asked for.
    let kept = house.path("thief/keys/claim.json");
    assert!(kept.exists(), "what was got before the refusal is kept for the next try");
    let mut pending: Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    pending["template"] = json!("line-1");
    pending["token"] = json!("0123.4567");
    std::fs::write(&kept, pending.to_string()).unwrap();
    let said = enrol(&house, "thief", "2");
    assert_eq!((said.code, said.last()["thing"].as_str()), (0, Some("unit-2")), "{said:?}");
    // A claim that was revoked enrols nobody; those who are there go on.
    let claim = house.server(&["claims", "list"]).last()[0]["id"].as_str().unwrap().to_owned();
    house.server(&["claims", "revoke", &claim]);
    provisioned(&house, "late");
    let said = enrol(&house, "late", "3");
    assert!(said.code == 1 && told(&said).contains("0x87"), "{said:?}");
    assert_eq!(house.agent("one", &["run", "--once"]).code, 0);
}

#[test]
fn a_device_killed_at_any_moment_of_its_enrolment_ends_it_as_one_thing() {
    let mut house = house();
    let mut interrupted = 0;
    for number in 0..10u64 {
        let (name, serial) = (format!("d-{number}"), format!("{number}"));
        provisioned(&house, &name);
        for round in 0..3 {
            let parameter = format!("SerialNumber={serial}");
            let mut child = house.agent_command(&name, &arguments(&house, "line-1", &[&parameter])).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(4 + number * 5 + round * 3));
            child.kill().unwrap();
            child.wait().unwrap();
            interrupted += u32::from(left(&house, &name));
            // Not enrolled, or enrolled and well: nothing in between.
            let code = house.agent(&name, &["run", "--once"]).code;
            assert!(code == 4 || code == 0, "{code}");
        }
        if number % 4 == 3 {
            house.kill_server();
            house.serve();
        }
        let said = enrol(&house, &name, &serial);
        assert_eq!(
            (said.code, said.last()["thing"].as_str()),
            (0, Some(format!("unit-{serial}").as_str())),
            "{said:?}"
        );
        assert_eq!(house.agent(&name, &["run", "--once"]).code, 0);
        assert!(!left(&house, &name));
    }
    assert_eq!(devices(&house).len(), 10);
    println!("{interrupted} kills left a certificate without its thing, and the next try went on with it");
}
