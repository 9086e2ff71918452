//! Fleet provisioning by claim: AWS's own client, and those who try more than a claim allows.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ed25519_dalek::Signer as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use redb::Database;
use redb::backends::InMemoryBackend;
use sealift_server::ledger::{Certificate, CertificateStatus, Ledger, Ownership, ProvisioningTemplate, TemplateKind};
use sealift_server::provisioning::{self, Claimed, Failure, Request, Response, TOKEN_SECONDS};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::factory::template;
use crate::device::{Device, report_key};
use crate::mqtt::client::{Client, Options};
use crate::mqtt::jobs::topic;
use crate::process::Server;

const CREATE: &str = "$aws/certificates/create-from-csr/json";
const REGISTER: &str = "$aws/provisioning-templates/line-1/provision/json";

fn document() -> Value {
    json!({
        "Parameters": {"SerialNumber": {"Type": "String"}, "AWS::IoT::Certificate::Id": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {
                "ThingName": {"Fn::Sub": "unit-${SerialNumber}"}, "ThingTypeName": "thermostat", "ThingGroups": ["canary"]}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"}},
        },
        "DeviceConfiguration": {"colour": "blue"},
    })
}

/// A server with a template, and what a claim's holder has.
pub fn started() -> (tempfile::TempDir, Server, Device) {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    server.ok(&["groups", "create", "canary"]);
    template(&server, home.path(), "line-1", "FLEET_PROVISIONING", &document());
    let claim = claim(&server, &home.path().join("line-1"), "line-1");
    (home, server, claim)
}

fn claim(server: &Server, folder: &Path, template: &str) -> Device {
    let folder = folder.to_str().unwrap();
    let made = server.ok(&["claims", "create", "--template", template, "--days", "7", "--out", folder]);
    assert_eq!(server.ok(&["claims", "create", "--template", template, "--out", folder])["id"], made["id"], "repeated");
    let read = |name: &str| std::fs::read_to_string(Path::new(folder).join(name)).unwrap();
    Device {
        name: made["id"].as_str().unwrap().into(),
        key: KeyPair::from_pem(&read("claim.key")).unwrap(),
        report_key: report_key("claim"),
        certificate: read("claim.pem"),
        ca: server.ca.clone(),
        port: server.port,
    }
}

fn csr(key: &KeyPair) -> rcgen::CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "anything");
    params.serialize_request(key).unwrap()
}

fn create(client: &mut Client, key: &KeyPair) -> Value {
    let (verdict, made) = client.ask(CREATE, &json!({ "certificateSigningRequest": csr(key).pem().unwrap() }));
    assert_eq!(verdict, "accepted", "{made}");
    made
}

fn register(client: &mut Client, token: &Value, parameters: &Value) -> (String, Value) {
    client.ask(REGISTER, &json!({ "certificateOwnershipToken": token, "parameters": parameters }))
}

fn refusal((verdict, body): (String, Value)) -> (u64, String) {
    assert_eq!(verdict, "rejected", "{body}");
    assert!(!body["errorMessage"].as_str().unwrap().is_empty());
    (body["statusCode"].as_u64().unwrap(), body["errorCode"].as_str().unwrap().to_owned())
}

#[test]
fn awsiotsdk_enrols_devices_by_one_claim_unchanged() {
    let python = crate::python::interpreter();
    let (home, server, _) = started();
    for (client, serial) in [("mqtt5", "0001"), ("mqtt3", "0002")] {
        let out = home.path().join(client);
        std::fs::create_dir(&out).unwrap();
        let ca = home.path().join("ca.pem");
        std::fs::write(&ca, &server.ca).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/aws_claim.py");
        let output = Command::new(&python)
            .arg(script)
            .args([client, "localhost", &server.mqtt.to_string()])
            .args([ca, home.path().join("line-1/claim.pem"), home.path().join("line-1/claim.key")])
            .args(["line-1", serial])
            .arg(out)
            .output()
            .unwrap();
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{errors}\n{}", server.log());
        assert!(said.contains("12 checks passed"), "{said}");
    }
    let names = server.ok(&["devices", "list", "--group", "canary"]);
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["unit-0001", "unit-0002"]);
}

#[test]
fn a_claim_reaches_its_own_template_and_nothing_else() {
    let (home, server, line) = started();
    template(&server, home.path(), "line-2", "FLEET_PROVISIONING", &document());
    let options = Options::new(5, "anything", server.mqtt);
    let mut client = Client::connect(&line, &options);
    for filter in ["#", "$aws/#", "$aws/things/+/jobs/#", "$aws/provisioning-templates/+/provision/json/accepted"] {
        assert_eq!(client.subscribe(filter), 0x87, "{filter}");
    }
    assert_eq!(client.subscribe(&format!("{CREATE}/accepted")), 1);
    for forbidden in [
        REGISTER.replace("line-1", "line-2"),
        topic("dev-1", "get"),
        topic(&line.name, "get"),
        "sensors/1".into(),
        // CBOR isn't spoken here.
        CREATE.replace("json", "cbor"),
    ] {
        let mut client = Client::connect(&line, &options);
        let bytes = client.publish_packet(&forbidden, b"{}", 1);
        client.send(&bytes).unwrap();
        assert!(matches!(client.closed(), Some(0x87 | 0x90)), "{forbidden}");
    }
    // A claim is no device: no jobs, no payloads, no metadata over HTTPS.
    for path in ["/things/anything/jobs", "/metadata/timestamp"] {
        assert_eq!(line.get(path).status, 403, "{path}");
    }
    // A thing's default policy doesn't open the claims' topics.
    let device = Device::enrol(&server, "dev-1", "canary");
    let mut client = Client::connect(&device, &Options::new(5, "dev-1", server.mqtt));
    let bytes = client.publish_packet(CREATE, b"{}", 1);
    client.send(&bytes).unwrap();
    assert_eq!(client.closed(), Some(0x87));
}

#[test]
fn an_answer_goes_to_the_device_that_asked_and_to_no_other_of_its_claim() {
    let (_home, server, line) = started();
    let mut one = Client::connect(&line, &Options::new(5, "one", server.mqtt));
    let mut two = Client::connect(&line, &Options::new(4, "two", server.mqtt));
    assert_eq!(two.subscribe(&format!("{CREATE}/accepted")), 1);
    assert_eq!(two.subscribe(&format!("{REGISTER}/accepted")), 1);
    let key = KeyPair::generate().unwrap();
    let made = create(&mut one, &key);
    let token = &made["certificateOwnershipToken"];
    assert_eq!(register(&mut one, token, &json!({"SerialNumber": "1"})).0, "accepted");
    assert!(two.silent(Duration::from_millis(300)), "the token is for nobody else to see");
    // And the log doesn't have it.
    assert!(!server.log().contains(token.as_str().unwrap()));
}

#[test]
fn a_token_is_good_once_for_the_claim_that_asked_and_a_repeat_gets_the_same_answer() {
    let (home, mut server, line) = started();
    let other = claim(&server, &home.path().join("again"), "line-1");
    let key = KeyPair::generate().unwrap();
    let mut client = Client::connect(&line, &Options::new(5, "one", server.mqtt));
    let made = create(&mut client, &key);
    let token = made["certificateOwnershipToken"].clone();
    let device = Device {
        name: "unit-9".into(),
        key,
        report_key: report_key("unit-9"),
        certificate: made["certificatePem"].as_str().unwrap().into(),
        ca: server.ca.clone(),
        port: server.port,
    };
    // Not a thing's yet.
    assert_eq!(Client::try_connect(&device, &Options::new(5, "unit-9", server.mqtt)).map(drop), Err(Some(0x87)));
    server.crash_and_restart();
    let mut client = Client::connect(&line, &Options::new(5, "one", server.mqtt));
    let mut stranger = Client::connect(&other, &Options::new(5, "two", server.mqtt));
    let bad_token = (400, "InvalidCertificateOwnershipToken".to_owned());
    let serial = json!({"SerialNumber": "9"});
    assert_eq!(refusal(register(&mut stranger, &token, &serial)), bad_token);
    for bogus in [json!(""), json!("x"), json!("x.y"), json!(format!("{}.00", made["certificateId"].as_str().unwrap()))]
    {
        assert_eq!(refusal(register(&mut client, &bogus, &serial)), bad_token, "{bogus}");
    }
    let missing = refusal(register(&mut client, &token, &json!({})));
    assert_eq!(missing, (400, "InvalidParameters".into()));
    let unfit = refusal(register(&mut client, &token, &json!({"SerialNumber": "no name/#"})));
    assert_eq!(unfit, (400, "ResourceRegistrationFailure".into()));
    for payload in ["", "[]", "{\"certificateOwnershipToken\":1}", "{\"a\":1}", "{"] {
        client.publish(REGISTER, payload.as_bytes(), 1).unwrap();
        assert_eq!(client.message().unwrap().json()["errorCode"], "InvalidPayload", "{payload}");
    }
    // MQTT may deliver a message twice, and a device that lost the answer asks again.
    for _ in 0..2 {
        let (verdict, answer) = register(&mut client, &token, &serial);
        assert_eq!((verdict.as_str(), &answer["thingName"]), ("accepted", &json!("unit-9")));
        assert_eq!(answer["deviceConfiguration"], json!({"colour": "blue"}));
    }
    server.crash_and_restart();
    let mut client = Client::connect(&line, &Options::new(5, "one", server.mqtt));
    assert_eq!(refusal(register(&mut client, &token, &json!({"SerialNumber": "10"}))), bad_token, "used");
    Client::connect(&device, &Options::new(5, "unit-9", server.mqtt)).ping().unwrap();
    // Nobody takes a name over: another key under the same serial number is refused, whatever claim it comes with.
    let thief = KeyPair::generate().unwrap();
    let made = create(&mut client, &thief);
    let taken = refusal(register(&mut client, &made["certificateOwnershipToken"], &serial));
    assert_eq!(taken, (409, "ResourceConflict".into()));
    // The device itself, which lost everything but its key, gets a new certificate.
    let made = create(&mut client, &device.key);
    assert_eq!(register(&mut client, &made["certificateOwnershipToken"], &serial).0, "accepted");
    let again = Device { certificate: made["certificatePem"].as_str().unwrap().into(), ..device.copy() };
    Client::connect(&again, &Options::new(5, "unit-9", server.mqtt)).ping().unwrap();
    assert_eq!(Client::try_connect(&device, &Options::new(5, "unit-9", server.mqtt)).map(drop), Err(Some(0x87)));
}

#[test]
fn a_request_that_its_key_did_not_sign_gets_no_certificate() {
    let (_home, server, line) = started();
    let mut client = Client::connect(&line, &Options::new(5, "one", server.mqtt));
    let der = csr(&KeyPair::generate().unwrap()).der().to_vec();
    // The last byte is the signature's; one in the middle is the key's, or the name's.
    for at in [der.len() - 1, der.len() / 2, 8] {
        let mut spoilt = der.clone();
        spoilt[at] ^= 1;
        let pem = sealift_server::pki::pem(&spoilt).replace("CERTIFICATE", "CERTIFICATE REQUEST");
        let answer = client.ask(CREATE, &json!({ "certificateSigningRequest": pem }));
        assert_eq!(refusal(answer), (400, "InvalidCertificateSigningRequest".into()), "byte {at}");
    }
    let long = json!({ "certificateSigningRequest": "x".repeat(20_000) });
    assert_eq!(refusal(client.ask(CREATE, &long)).1, "InvalidCertificateSigningRequest");
    assert_eq!(server.ok(&["certificates", "list"]).as_array().unwrap().len(), 1, "the claim alone");
}

#[test]
fn a_revoked_claim_is_cut_off_at_once_and_the_devices_it_enrolled_go_on() {
    let (home, server, line) = started();
    let mut client = Client::connect(&line, &Options::new(5, "one", server.mqtt));
    let key = KeyPair::generate().unwrap();
    let made = create(&mut client, &key);
    // With a report key, joined to the request by its signature, as sealift-device sends it.
    let report = report_key("unit-1");
    let signed = |context: &[u8]| {
        let message = [context, &Sha256::digest(csr(&key).der())].concat();
        hex::encode(report.sign(&message).to_bytes())
    };
    let parameters = |proof: String| {
        json!({"SerialNumber": "1", "SealiftReportKey": hex::encode(report.verifying_key().as_bytes()),
               "SealiftReportKeyProof": proof})
    };
    let token = &made["certificateOwnershipToken"];
    // Another signature than over this request joins nothing. (The request was made again for it: ECDSA signs differently
    // each time, so its digest is another one.)
    let wrong = refusal(register(&mut client, token, &parameters(signed(b"sealift enrol v1\0"))));
    assert_eq!(wrong, (400, "InvalidParameters".into()));
    let (verdict, _) = register(&mut client, token, &json!({"SerialNumber": "1"}));
    assert_eq!(verdict, "accepted");
    let (answer, exit) = server.json(&["policies", "delete", "--name", "claim-line-1"]);
    assert_eq!(exit, 2, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains(&line.name), "{answer}");
    server.ok(&["claims", "revoke", &line.name]);
    assert_eq!(client.closed(), Some(0x87));
    assert_eq!(Client::try_connect(&line, &Options::new(5, "one", server.mqtt)).map(drop), Err(Some(0x87)));
    let device = Device {
        name: "unit-1".into(),
        key,
        report_key: report,
        certificate: made["certificatePem"].as_str().unwrap().into(),
        ca: server.ca.clone(),
        port: server.port,
    };
    Client::connect(&device, &Options::new(5, "unit-1", server.mqtt)).ping().unwrap();
    assert_eq!(server.ok(&["policies", "delete", "--name", "claim-line-1"])["removed"], true);
    // A new claim of the same folder is another one.
    let folder = home.path().join("line-1");
    std::fs::remove_file(folder.join("claim.pem")).unwrap();
    let next = server.ok(&["claims", "create", "--template", "line-1", "--out", folder.to_str().unwrap()]);
    assert_ne!(next["id"], json!(line.name));
}

#[test]
fn a_token_ends_after_an_hour_and_what_came_of_nothing_goes_with_it() {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    let ask = |request: &Request, now: u64| {
        let transaction = database.begin_write().unwrap();
        let answer = {
            let mut ledger = Ledger::open(&transaction).unwrap();
            provisioning::handle(&mut ledger, request, now)
        };
        transaction.commit().unwrap();
        answer
    };
    let mut plain = document();
    plain["Resources"]["thing"]["Properties"]["ThingGroups"] = json!([]);
    let template = ProvisioningTemplate {
        name: "line-1".into(),
        kind: TemplateKind::FleetProvisioning,
        document: plain.to_string(),
        updated_at: 0,
    };
    ask(&Request::PutTemplate(template), 0).unwrap();
    let certificate = |id: &str, now: u64| Certificate {
        id: id.into(),
        certificate: String::new(),
        key_fingerprint: format!("key of {id}"),
        status: CertificateStatus::PendingActivation,
        ca: None,
        claim: None,
        policies: Default::default(),
        registered_at: now,
        not_after: u64::MAX,
        ownership: Some(Ownership {
            token: format!("token of {id}"),
            asked_by: "claim".into(),
            request: String::new(),
            expires_at: now + TOKEN_SECONDS,
            provisioned: None,
        }),
        problem: None,
    };
    let claimed = |id: &str| {
        let parameters = [("SerialNumber".to_owned(), id.to_owned())].into();
        let (asked_by, token) = ("claim".into(), format!("token of {id}"));
        Request::Claim(Box::new(Claimed { asked_by, token, id: id.into(), template: "line-1".into(), parameters }))
    };
    for id in ["a", "b"] {
        ask(&Request::Create(Box::new(certificate(id, 100))), 100).unwrap();
    }
    assert!(matches!(ask(&claimed("a"), 100 + TOKEN_SECONDS - 1), Ok(Response::Claimed { .. })));
    assert!(matches!(ask(&claimed("b"), 100 + TOKEN_SECONDS), Err(Failure::Token)));
    // The next one that is made sweeps; what a token was used for is the thing's by then.
    ask(&Request::Create(Box::new(certificate("c", 9_999))), 9_999).unwrap();
    let listed = match ask(&Request::Certificates { after: None, limit: 10 }, 9_999).unwrap() {
        Response::Certificates(listed) => listed,
        other => panic!("{other:?}"),
    };
    assert_eq!(listed.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(matches!(ask(&claimed("a"), 9_999), Err(Failure::Token)));
}
