//! Just-in-time registration and provisioning, with real certificates, TLS and MQTT.

use std::time::Duration;

use rcgen::{DnType, KeyPair};
use serde_json::{Value, json};

use super::factory::{Factory, template};
use crate::mqtt::client::{Client, Options};
use crate::mqtt::jobs::topic;
use crate::mqtt::policies::{allow_everything, put};
use crate::process::Server;

const CN: DnType = DnType::CommonName;

fn start(more: &[&str]) -> (tempfile::TempDir, Server) {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(&home.path().join("state"), 0, more);
    (home, server)
}

/// A template in the shape of AWS's example for just-in-time provisioning.
fn document() -> Value {
    json!({
        "Parameters": {
            "AWS::IoT::Certificate::SerialNumber": {"Type": "String"},
            "AWS::IoT::Certificate::Country": {"Type": "String", "Default": "DE"},
            "AWS::IoT::Certificate::Id": {"Type": "String"},
        },
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {
                "ThingName": {"Fn::Join": ["-", ["unit", {"Ref": "AWS::IoT::Certificate::SerialNumber"}]]},
                "AttributePayload": {"country": {"Ref": "AWS::IoT::Certificate::Country"}},
                "ThingTypeName": "thermostat",
                "ThingGroups": ["canary", {"Fn::Join": ["-", ["eu", {"Ref": "AWS::IoT::Certificate::Country"}]]}],
            }},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}},
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "fleet"}},
        },
    })
}

fn with_template() -> (tempfile::TempDir, Server, Factory) {
    let (home, server) = start(&["--metrics-listen", "127.0.0.1:0"]);
    for group in ["canary", "eu-DE"] {
        server.ok(&["groups", "create", group]);
    }
    put(
        &home,
        &server,
        "fleet",
        &json!([
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}"},
            {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": "arn:aws:iot:*:*:topic/$aws/things/${iot:Connection.Thing.ThingName}/jobs/*"},
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/by-name/${iot:Certificate.Subject.CommonName}"},
        ]),
    );
    template(&server, home.path(), "factory", "JITP", &document());
    let factory = Factory::new("Factory CA");
    factory.register(&server, home.path(), &["--auto-registration", "--template", "factory"]);
    (home, server, factory)
}

fn refused(server: &Server, device: &crate::device::Device, client_id: &str) {
    let answer = Client::try_connect(device, &Options::new(5, client_id, server.mqtt)).map(drop);
    assert_eq!(answer, Err(None), "the connection ends before CONNACK");
}

#[test]
fn a_template_makes_a_thing_in_its_groups_on_the_first_connection_and_the_second_is_served() {
    let (_home, mut server, factory) = with_template();
    let serial = (DnType::CustomDnType(vec![2, 5, 4, 5]), "0042");
    let device = factory.device(&server, &[(CN, "a name of the factory"), serial]);
    refused(&server, &device, "unit-0042");
    let shown = server.ok(&["devices", "show", "unit-0042"]);
    assert_eq!((&shown["product"], &shown["attributes"]), (&json!("thermostat"), &json!({"country": "DE"})));
    let groups: Vec<&str> = shown["groups"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(groups.contains(&"canary") && groups.contains(&"eu-DE") && groups.len() == 3, "{groups:?}");
    assert_eq!(shown["policies"], json!(["fleet"]));
    server.job("j", &json!({"hello": 1}), &["--group", "eu-DE"]);
    // What the first connection brought is on disk.
    server.crash_and_restart();
    for alpn in [None, Some("x-amzn-mqtt-ca")] {
        let options = Options { alpn, ..Options::new(5, "unit-0042", server.mqtt) };
        let mut client = Client::connect(&device, &options);
        let (verdict, answer) = client.ask(&topic("unit-0042", "get"), &json!({}));
        assert_eq!((verdict.as_str(), &answer["queuedJobs"][0]["jobId"]), ("accepted", &json!("j")));
    }
    // The second door: who it is follows from the certificate, whatever that one calls itself.
    assert_eq!(device.get("/things/unit-0042/jobs").status, 200);
    assert_eq!(device.get("/things/unit-0043/jobs").status, 403);
    // The template's policy holds: not the default one, under which a client id may have an ending.
    let code = Client::try_connect(&device, &Options::new(5, "unit-0042-x", server.mqtt)).map(drop);
    assert_eq!(code, Err(Some(0x87)));
    // A thing like any other: its certificate is revoked, and doesn't come back as a new one.
    server.ok(&["devices", "revoke", "unit-0042"]);
    let code = Client::try_connect(&device, &Options::new(5, "unit-0042", server.mqtt)).map(drop);
    assert_eq!(code, Err(Some(0x87)));
    assert_eq!(server.ok(&["certificates", "list"]), json!([]));
}

#[test]
fn an_unknown_certificate_is_registered_told_and_waits_until_it_is_activated() {
    let (home, server) = start(&["--metrics-listen", "127.0.0.1:0"]);
    let factory = Factory::new("Factory CA");
    let ca = factory.register(&server, home.path(), &["--auto-registration"]);
    assert_eq!((&ca["mode"], &ca["active"]), (&json!("DEFAULT"), &json!(true)));
    let watcher = crate::device::Device::enrol(&server, "watcher", "canary");
    allow_everything(&home, &server, &["watcher"]);
    let mut watcher = Client::connect(&watcher, &Options::new(5, "watcher", server.mqtt));
    let told = format!("$aws/events/certificates/registered/{}", ca["id"].as_str().unwrap());
    assert_eq!(watcher.subscribe(&told), 1);
    let device = factory.device(&server, &[(CN, "dev-7")]);
    refused(&server, &device, "dev-7");
    let event = watcher.message().unwrap();
    assert_eq!(event.topic, told);
    let (event, listed) = (event.json(), server.ok(&["certificates", "list"]));
    assert_eq!(event["certificateStatus"], "PENDING_ACTIVATION");
    assert_eq!((&event["caCertificateId"], &event["certificateId"]), (&ca["id"], &listed[0]["id"]));
    assert_eq!(listed[0]["status"], "PENDING_ACTIVATION");
    // It stays out, is told of once, and nobody can have its name meanwhile by coming first.
    refused(&server, &device, "dev-7");
    assert!(watcher.silent(Duration::from_millis(300)));
    let id = listed[0]["id"].as_str().unwrap();
    let activate = ["certificates", "activate", id, "--thing", "dev-7", "--product", "thermostat"];
    let (answer, exit) = server.json(&[&activate[..], &["--group", "nowhere"]].concat());
    assert_eq!(exit, 2, "{answer}");
    for _ in 0..2 {
        let thing = server.ok(&[&activate[..], &["--group", "canary"]].concat());
        assert_eq!((&thing["name"], &thing["active"]), (&json!("dev-7"), &json!(true)));
    }
    let mut client = Client::connect(&device, &Options::new(5, "dev-7", server.mqtt));
    assert_eq!(client.ask(&topic("dev-7", "get"), &json!({})).0, "accepted", "under the default policy");
    assert_eq!(server.ok(&["certificates", "list"]), json!([]));
    let page = metrics(&server);
    assert!(page.contains("event=\"certificates_registered\"} 1\n"), "{page}");
}

fn metrics(server: &Server) -> String {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", server.metrics)).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn a_certificate_that_its_template_cannot_use_waits_and_takes_nobodys_name() {
    let (home, server, factory) = with_template();
    // No serial number in the subject, and no default for it.
    let nameless = factory.device(&server, &[(CN, "dev-1")]);
    refused(&server, &nameless, "dev-1");
    let listed = server.ok(&["certificates", "list"]);
    assert_eq!(listed[0]["status"], "PENDING_ACTIVATION");
    assert!(listed[0]["problem"].as_str().unwrap().contains("SerialNumber"), "{listed}");
    // A serial number that stands there twice is nobody's, and one that makes no name is none.
    let serial = |text| (DnType::CustomDnType(vec![2, 5, 4, 5]), text);
    let unfit = factory.device(&server, &[(CN, "dev-2"), serial("no name/+")]);
    refused(&server, &unfit, "dev-2");
    // The name of a thing that is there, with another key.
    crate::device::Device::enrol(&server, "unit-7", "canary");
    let thief = factory.device(&server, &[(CN, "unit-7"), serial("7")]);
    for _ in 0..2 {
        refused(&server, &thief, "unit-7");
    }
    assert_eq!(server.ok(&["certificates", "list"]).as_array().unwrap().len(), 3);
    assert!(server.log().contains("exists with another key"));
    let page = metrics(&server);
    assert!(page.contains("event=\"provisioning_rejected\"} 3\n"), "{page}");
    // A template that is mended serves those who wait, when they come again.
    let mut mended = document();
    mended["Parameters"]["AWS::IoT::Certificate::SerialNumber"]["Default"] = json!("spare");
    template(&server, home.path(), "factory", "JITP", &mended);
    refused(&server, &nameless, "unit-spare");
    Client::connect(&nameless, &Options::new(5, "unit-spare", server.mqtt)).ping().unwrap();
}

#[test]
fn what_no_registered_ca_vouches_for_stays_out() {
    let (home, server, factory) = with_template();
    let day = 24 * 3_600;
    let serial = |text| (DnType::CustomDnType(vec![2, 5, 4, 5]), text);
    // A CA that only calls itself the same, and a certificate that has expired or isn't good yet.
    let rogue = Factory::new("Factory CA");
    refused(&server, &rogue.device(&server, &[(CN, "x"), serial("1")]), "unit-1");
    for (from, to) in [(-9 * day, -day), (day, 9 * day)] {
        let mut device = factory.device(&server, &[(CN, "x"), serial("2")]);
        device.certificate = factory.certify(&[(CN, "x"), serial("2")], &device.key, from, to);
        refused(&server, &device, "unit-2");
    }
    assert_eq!(server.ok(&["devices", "list"]), json!([]));
    assert!(server.log().contains("a TLS handshake failed"));
    // Switched off, a CA brings in nobody new; who is there goes on.
    let known = factory.device(&server, &[(CN, "x"), serial("3")]);
    refused(&server, &known, "unit-3");
    let id = server.ok(&["ca", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.ok(&["ca", "deactivate", &id])["active"], false);
    let late = factory.device(&server, &[(CN, "x"), serial("4")]);
    refused(&server, &late, "unit-4");
    Client::connect(&known, &Options::new(5, "unit-3", server.mqtt)).ping().unwrap();
    assert_eq!(server.ok(&["ca", "activate", &id])["active"], true);
    refused(&server, &late, "unit-4");
    Client::connect(&late, &Options::new(5, "unit-4", server.mqtt)).ping().unwrap();
    // Registered without a proof, a CA's devices have to name the server; an address isn't a name.
    let other = Factory::new("Other CA");
    let path = home.path().join("other.pem");
    std::fs::write(&path, &other.pem).unwrap();
    let register = ["ca", "register", "--certificate", path.to_str().unwrap(), "--sni-only"];
    server.ok(&[&register[..], &["--auto-registration", "--template", "factory"]].concat());
    let device = other.device(&server, &[(CN, "x"), serial("5")]);
    let by_address = Options { name: "127.0.0.1".into(), ..Options::new(5, "unit-5", server.mqtt) };
    for _ in 0..2 {
        assert_eq!(Client::try_connect(&device, &by_address).map(drop), Err(None));
    }
    assert_eq!(server.json(&["devices", "show", "unit-5"]).1, 2);
    refused(&server, &device, "unit-5");
    Client::connect(&device, &Options::new(5, "unit-5", server.mqtt)).ping().unwrap();
    assert_eq!(Client::try_connect(&device, &by_address).map(drop), Err(None), "SNI is asked for every time");
}

#[test]
fn an_expired_ca_brings_in_nobody_new_and_its_devices_go_on() {
    let (home, server) = start(&[]);
    let factory = Factory::until("Short CA", 4);
    factory.register(&server, home.path(), &["--auto-registration"]);
    let known = factory.device(&server, &[(CN, "dev-1")]);
    refused(&server, &known, "dev-1");
    let id = server.ok(&["certificates", "list"])[0]["id"].as_str().unwrap().to_owned();
    server.ok(&["certificates", "activate", &id, "--thing", "dev-1", "--product", "thermostat"]);
    std::thread::sleep(Duration::from_secs(5));
    Client::connect(&known, &Options::new(5, "dev-1", server.mqtt)).ping().unwrap();
    refused(&server, &factory.device(&server, &[(CN, "dev-2")]), "dev-2");
    assert_eq!(server.ok(&["certificates", "list"]), json!([]));
    assert!(server.log().contains("its CA has expired"));
    let path = home.path().join("factory.pem");
    let again = ["ca", "register", "--certificate", path.to_str().unwrap(), "--sni-only"];
    assert!(server.json(&again).0["error"]["message"].as_str().unwrap().contains("expired"));
}

#[test]
fn a_ca_is_registered_by_its_proof_alone() {
    let (home, server) = start(&[]);
    let factory = Factory::new("Factory CA");
    let code = server.ok(&["ca", "code"])["registrationCode"].as_str().unwrap().to_owned();
    let key = KeyPair::generate().unwrap();
    let day = 24 * 3_600;
    let (ca, proof) = (home.path().join("ca.pem"), home.path().join("proof.pem"));
    let check = |certificate: &str, verification: &str, word: &str| {
        std::fs::write(&ca, certificate).unwrap();
        std::fs::write(&proof, verification).unwrap();
        let files = ["--certificate", ca.to_str().unwrap(), "--verification-certificate", proof.to_str().unwrap()];
        let (answer, exit) = server.json(&[&["ca", "register"][..], &files].concat());
        assert_eq!(exit, 2, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{word}: {answer}");
    };
    let good = factory.certify(&[(CN, &code)], &key, -day, day);
    let leaf = factory.certify(&[(CN, "dev-1")], &key, -day, day);
    check("junk", &good, "no PEM certificate");
    check(&format!("{0}{0}", factory.pem), &good, "2 certificates");
    check(&leaf, &good, "no CA's");
    check(&server.ca, &good, "name of this server's own CA");
    check(&factory.pem, "junk", "verification certificate");
    check(&factory.pem, &factory.certify(&[(CN, "0123")], &key, -day, day), "registration code");
    check(&factory.pem, &factory.certify(&[(CN, &code)], &key, -9 * day, -day), "valid now");
    // Signed by a stranger with the CA's name.
    check(&factory.pem, &Factory::new("Factory CA").certify(&[(CN, &code)], &key, -day, day), "isn't signed by");
    assert_eq!(server.ok(&["ca", "list"]), json!([]));
    let first = factory.register(&server, home.path(), &[]);
    let again = factory.register(&server, home.path(), &["--auto-registration"]);
    assert_eq!((&first["id"], &again["autoRegistration"]), (&again["id"], &json!(true)));
    // A template that isn't there, or is for something else.
    let (answer, exit) = server.json(&[
        "ca",
        "register",
        "--certificate",
        home.path().join("factory.pem").to_str().unwrap(),
        "--sni-only",
        "--auto-registration",
        "--template",
        "none",
    ]);
    assert_eq!(exit, 2, "{answer}");
    // Another server has another code.
    let other = Server::start(&home.path().join("other"));
    assert_ne!(other.ok(&["ca", "code"])["registrationCode"], json!(code));
}

/// One element of DER.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        n @ 0..128 => vec![n as u8],
        n @ 128..256 => vec![0x81, n as u8],
        n => vec![0x82, (n >> 8) as u8, n as u8],
    };
    [vec![tag], length, content].concat()
}

/// A certificate of version 1, as `openssl x509 -req` makes it without extensions.
fn version_one(issuer: &Factory, key: &KeyPair, serial: &str, until: &str) -> String {
    use rcgen::{PublicKeyData as _, SigningKey as _};
    const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let (_, ca) = x509_parser::parse_x509_certificate(&issuer.der).unwrap();
    let algorithm = der(0x30, &[&der(6, &[&ECDSA_SHA256])]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[until.as_bytes()])]);
    let part =
        |kind: u8, text: &str| der(0x31, &[&der(0x30, &[&der(6, &[&[0x55, 4, kind]]), &der(12, &[text.as_bytes()])])]);
    let subject = der(0x30, &[&part(3, "whatever"), &part(5, serial)]);
    let key = key.subject_public_key_info();
    let body = der(0x30, &[&der(2, &[&[7]]), &algorithm, ca.subject().as_raw(), &validity, &subject, &key]);
    let signature = issuer.key.sign(&body).unwrap();
    sealift_server::pki::pem(&der(0x30, &[&body, &algorithm, &der(3, &[&[0], &signature])]))
}

#[test]
fn certificates_of_version_1_as_openssl_makes_them_are_taken_of_registered_cas() {
    let (_home, server, factory) = with_template();
    let made = |issuer: &Factory, serial: &str, until: &str| {
        let mut device = factory.device(&server, &[(CN, "x")]);
        device.certificate = version_one(issuer, &device.key, serial, until);
        device
    };
    let device = made(&factory, "1", "491231235959Z");
    refused(&server, &device, "unit-1");
    Client::connect(&device, &Options::new(5, "unit-1", server.mqtt)).ping().unwrap();
    assert_eq!(device.get("/things/unit-1/jobs").status, 200);
    // Expired; by a stranger of the CA's name; with another's key; changed after it was signed.
    refused(&server, &made(&factory, "2", "210101000000Z"), "unit-2");
    refused(&server, &made(&Factory::new("Factory CA"), "3", "491231235959Z"), "unit-3");
    let thief = crate::device::Device { key: KeyPair::generate().unwrap(), ..device.copy() };
    refused(&server, &thief, "unit-1");
    assert_eq!(server.ok(&["devices", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(server.ok(&["certificates", "list"]), json!([]));
}
