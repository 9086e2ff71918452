//! The real server and those who mean it ill: rogue certificates, foreign things, oversized, slow and broken requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

use crate::device::{Connection, Device, enrolment, post_enrolment, report_key};
use crate::endpoint::with_release;
use crate::process::Server;

/// A certificate for `name` by `issuer`, or by itself.
fn certificate(name: &str, key: &KeyPair, issuer: Option<(&str, &KeyPair)>, days: i64) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(crate::release::now());
    params.not_before = now - Duration::from_secs(10 * 86_400);
    params.not_after = if days < 0 { now - Duration::from_secs(86_400) } else { now + Duration::from_secs(86_400) };
    match issuer {
        Some((ca, ca_key)) => {
            let issuer = rcgen::Issuer::from_ca_cert_pem(ca, ca_key).unwrap();
            params.signed_by(key, &issuer).unwrap().pem()
        }
        None => params.self_signed(key).unwrap().pem(),
    }
}

fn status(server: &Server, certificate: &str, key: &KeyPair, path: &str) -> Option<u16> {
    let mut connection = Connection::open(&server.ca, server.port, Some((certificate, key))).ok()?;
    Some(connection.request("GET", path, "", b"").ok()?.status)
}

#[test]
fn a_certificate_of_another_authority_does_not_get_through_the_handshake() {
    let (_home, server, _) = with_release();
    Device::enrol(&server, "dev-1", "canary");
    let key = KeyPair::generate().unwrap();
    let own = certificate("dev-1", &key, None, 1);
    assert_eq!(status(&server, &own, &key, "/things/dev-1/jobs"), None, "signed by itself");
    let (ca_key, mut ca) = (KeyPair::generate().unwrap(), CertificateParams::default());
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // Even a CA of the very same name.
    let (_, real) = x509_parser::pem::parse_x509_pem(server.ca.as_bytes()).unwrap();
    let name = real.parse_x509().unwrap().subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, name);
    let ca = ca.self_signed(&ca_key).unwrap().pem();
    let forged = certificate("dev-1", &key, Some((&ca, &ca_key)), 1);
    assert_eq!(status(&server, &forged, &key, "/things/dev-1/jobs"), None, "signed by a stranger of our CA's name");
}

#[test]
fn a_certificate_of_our_own_authority_that_nobody_registered_is_nobody() {
    let (_home, server, _) = with_release();
    Device::enrol(&server, "dev-1", "canary");
    // As if the CA's key had leaked.
    let ca_key = KeyPair::from_pem(&std::fs::read_to_string(server.state.join("ca/ca.key")).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaked = certificate("dev-1", &key, Some((&server.ca, &ca_key)), 1);
    assert_eq!(status(&server, &leaked, &key, "/things/dev-1/jobs"), Some(403));
    let expired = certificate("dev-1", &key, Some((&server.ca, &ca_key)), -1);
    assert_eq!(status(&server, &expired, &key, "/things/dev-1/jobs"), None, "expired");
}

#[test]
fn a_thing_never_reaches_another_things_routes() {
    let (_home, server, _) = with_release();
    let (a, b) = (Device::enrol(&server, "dev-a", "canary"), Device::enrol(&server, "dev-b", "canary"));
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "r"]);
    for (method, path) in [
        ("GET", "/things/dev-b/jobs"),
        ("GET", "/things/dev-b/jobs/$next"),
        ("GET", "/things/dev-b/jobs/sl-r-w1"),
        ("PUT", "/things/dev-b/jobs/$next"),
        ("PUT", "/things/dev%2Db/jobs/%24next"),
        ("POST", "/things/dev-b/jobs/sl-r-w1"),
        ("GET", "/things/DEV-A/jobs"),
        ("GET", "/things/+/jobs"),
        ("GET", "/things/%23/jobs"),
    ] {
        let answer = a.request(method, path, &json!({"status": "SUCCEEDED"}));
        assert_eq!(answer.error(), (403, "ForbiddenException"), "{method} {path}");
    }
    // What a client says of itself in headers and bodies is no identity.
    let mut connection = a.connect().unwrap();
    let headers = "x-amzn-iot-thing-name: dev-b\r\nx-forwarded-for: 1.2.3.4\r\n";
    let answer = connection.request("GET", "/things/dev-b/jobs", headers, b"").unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(b.start_next()["status"], "IN_PROGRESS");
}

#[test]
fn attack_73_groups_grant_a_thing_nothing() {
    let (_home, server, _) = with_release();
    let b = Device::enrol(&server, "dev-b", "canary");
    // As many groups as somebody could wish for: the other thing's own, one of the other's name, one of a role's.
    let mut arguments = vec!["devices", "token", "--product", "thermostat"];
    arguments.extend(["canary", "dev-b", "admins", "things"].iter().flat_map(|group| ["--group", *group]));
    let issued = server.ok(&arguments);
    let key = KeyPair::generate().unwrap();
    let body = enrolment(issued["token"].as_str().unwrap(), "dev-a", &key, &report_key("dev-a"));
    let said = post_enrolment(&server, &body).json();
    let certificate = said["certificate"].as_str().unwrap();
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "dev-b", "--name", "r"]);
    for path in ["/things/dev-b/jobs", "/things/dev-b/jobs/$next", "/things/dev-b/jobs/sl-r-w1", "/things/admins/jobs"]
    {
        assert_eq!(status(&server, certificate, &key, path), Some(403), "{path}");
    }
    // A group says who gets a job and nothing else: this one gets it, and the thing of the group's name doesn't.
    assert_eq!(status(&server, certificate, &key, "/things/dev-a/jobs/sl-r-w1"), Some(200));
    assert_eq!(b.get("/things/dev-b/jobs/sl-r-w1").status, 404);
}

#[test]
fn a_revoked_certificate_is_refused_on_a_connection_that_is_open_already() {
    let (_home, server, _) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let mut connection = device.connect().unwrap();
    assert_eq!(connection.request("GET", "/things/dev-1/jobs", "", b"").unwrap().status, 200);
    server.ok(&["devices", "revoke", "dev-1"]);
    assert_eq!(connection.request("GET", "/things/dev-1/jobs", "", b"").unwrap().status, 403);
    assert_eq!(device.get("/metadata/timestamp").status, 403);
    // A revoked name comes back only by a token made for it.
    let body = |token: &str| enrolment(token, "dev-1", &KeyPair::generate().unwrap(), &report_key("new"));
    assert_eq!(post_enrolment(&server, &body(&server.token("canary"))).status, 409);
    let issued = server.ok(&["devices", "token", "--group", "canary", "--product", "thermostat", "--thing", "dev-1"]);
    assert_eq!(post_enrolment(&server, &body(issued["token"].as_str().unwrap())).status, 201);
    assert_eq!(device.get("/things/dev-1/jobs").status, 403, "the old certificate stays revoked");
}

#[test]
fn bad_enrolments_are_refused_each_for_its_own_reason() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let (key, report) = (KeyPair::generate().unwrap(), report_key("x"));
    let token = server.token("canary");
    let good = enrolment(&token, "dev-1", &key, &report);
    let with = |field: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[field] = value;
        post_enrolment(&server, &body).status
    };
    assert_eq!(with("token", json!("guess")), 403);
    assert_eq!(with("csr", json!("no pem")), 400);
    assert_eq!(with("csr", json!(enrolment(&token, "dev/../1", &key, &report)["csr"])), 400);
    assert_eq!(with("csr", json!(enrolment(&token, "", &key, &report)["csr"])), 400);
    // A report key somebody else holds, and a request under whose digest nothing was signed.
    let stranger = report_key("stranger");
    assert_eq!(with("reportKey", json!(hex::encode(stranger.verifying_key().as_bytes()))), 400);
    assert_eq!(with("csr", json!(enrolment(&token, "dev-2", &key, &report)["csr"])), 400);
    assert_eq!(with("reportKey", json!("00".repeat(32))), 400);
    // A request whose signature is by another key.
    let mut forged = x509_parser::pem::parse_x509_pem(good["csr"].as_str().unwrap().as_bytes()).unwrap().1.contents;
    *forged.last_mut().unwrap() ^= 1;
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(forged);
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
    assert_eq!(with("csr", json!(pem)), 400);
    assert_eq!(post_enrolment(&server, &json!({})).status, 400);
    assert_eq!(post_enrolment(&server, &good).status, 201, "and none of that used the token up");
}

#[test]
fn broken_and_oversized_requests_are_refused_as_aws_refuses_them() {
    let (_home, server, _) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "r"]);
    let update = "/things/dev-1/jobs/sl-r-w1";
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"status\":7}",
        "{\"status\":\"DONE\"}",
        "{\"status\":\"QUEUED\"}",
        "{\"status\":\"SUCCEEDED\",\"statusDetails\":{\"a b\":\"c\"}}",
        "{\"status\":\"SUCCEEDED\",\"statusDetails\":{\"a\":\"\"}}",
        "{\"status\":\"SUCCEEDED\",\"statusDetails\":{\"a\":\"\\u0000\"}}",
        "{\"status\":\"SUCCEEDED\",\"expectedVersion\":-1}",
        "{\"status\":\"SUCCEEDED\",\"stepTimeoutInMinutes\":0}",
    ] {
        let answer = device.connect().unwrap().request("POST", update, "", body.as_bytes()).unwrap();
        assert_eq!(answer.error(), (400, "InvalidRequestException"), "{body}");
    }
    let long = json!({"status": "SUCCEEDED", "statusDetails": {"report": "x".repeat(1_025)}});
    assert_eq!(device.update("sl-r-w1", &long).status, 400);
    let nested = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(device.connect().unwrap().request("POST", update, "", nested.as_bytes()).unwrap().status, 400);
    for (method, path) in [("DELETE", update), ("POST", "/things/dev-1/jobs"), ("PUT", update), ("POST", "/metadata/x")]
    {
        let answer = device.request(method, path, &json!({"status": "SUCCEEDED"}));
        assert!(matches!(answer.status, 400 | 405), "{method} {path}: {}", answer.status);
    }
    assert_eq!(device.get("/nothing/here").error(), (404, "ResourceNotFoundException"));
    assert_eq!(device.get("/metadata/..%2f..%2fledger.redb").status, 400);
    assert_eq!(device.get("/metadata/.tmp").status, 400);
    assert_eq!(device.get("/payloads/..%2f..%2fca%2fca.key").status, 400);
    // Two hundred kilobytes announced, and two hundred kilobytes sent in chunks without a word before.
    let mut connection = device.connect().unwrap();
    connection.send(format!("POST {update} HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n").as_bytes()).unwrap();
    let _ = connection.send(&vec![b' '; 200_000]);
    assert_eq!(connection.answer("POST").unwrap().status, 413);
    let mut connection = device.connect().unwrap();
    connection
        .send(format!("POST {update} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes())
        .unwrap();
    let chunk = [b"30d40\r\n", &vec![b' '; 200_000][..], b"\r\n0\r\n\r\n"].concat();
    let _ = connection.send(&chunk);
    assert_eq!(connection.answer("POST").unwrap().status, 413);
    // A head without end.
    let mut connection = device.connect().unwrap();
    let _ = connection.send(format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n", "y".repeat(100_000)).as_bytes());
    let _ = connection.send(b"\r\n");
    assert!(connection.answer("GET").map_or(true, |answer| answer.status == 431));
    assert_eq!(device.start_next()["status"], "IN_PROGRESS", "nothing of this changed the job");
}

/// How long until the server hangs up.
fn until_closed(socket: &mut impl std::io::Read) -> Duration {
    let start = Instant::now();
    let mut buffer = [0; 4096];
    while matches!(socket.read(&mut buffer), Ok(n) if n > 0) {}
    start.elapsed()
}

#[test]
fn slow_clients_are_let_go_and_hold_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(&home.path().join("state"), 0, &["--client-timeout", "2"]);
    let device = Device::enrol(&server, "dev-1", "canary");
    let limit = Duration::from_secs(8);
    std::thread::scope(|scope| {
        // A head that comes a letter at a time, a body that never comes, and a pause between two requests.
        scope.spawn(|| {
            let mut connection = device.connect().unwrap();
            let start = Instant::now();
            let dribble = b"GET /healthz HTTP/1.1\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
            for byte in dribble.iter().cycle() {
                if connection.send(&[*byte]).is_err() || start.elapsed() > limit {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(start.elapsed() < limit, "a dribbled head");
        });
        scope.spawn(|| {
            let mut connection = device.connect().unwrap();
            let head = b"PUT /things/dev-1/jobs/$next HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
            connection.send(head).unwrap();
            assert_eq!(connection.answer("PUT").unwrap().status, 408);
            assert!(until_closed(&mut connection.stream) < limit, "a body that never comes");
        });
        scope.spawn(|| {
            let mut connection = device.connect().unwrap();
            connection.request("GET", "/healthz", "", b"").unwrap();
            assert!(until_closed(&mut connection.stream) < limit, "an idle connection");
        });
        // A TCP connection that never speaks TLS: ten seconds for a handshake.
        scope.spawn(|| {
            let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            socket.write_all(&[22, 3, 1]).unwrap();
            assert!(until_closed(&mut socket) < Duration::from_secs(20), "half a handshake");
        });
        // Meanwhile everybody else is served at once.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            assert_eq!(device.get("/healthz").status, 200);
            assert!(asked.elapsed() < Duration::from_secs(2));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn a_client_that_takes_nothing_of_a_large_payload_is_let_go() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(&home.path().join("state"), 0, &["--client-timeout", "2"]);
    let mut maker = crate::release::Maker::default();
    maker.fleet.targets = vec![crate::release::target([1, 0, 0], 48 << 20)];
    crate::endpoint::publish(&server, &maker);
    let device = Device::enrol(&server, "dev-1", "canary");
    let digest = hex::encode(sealift_manifests::sha256(&maker.fleet.targets[0].image).0);
    let mut connection = device.connect().unwrap();
    connection.send(format!("GET /payloads/{digest} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
    let start = Instant::now();
    while !server.log().contains("took nothing of its answer") {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    // What the sockets had buffered still comes; then the connection is over, long before the end.
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(n) = connection.stream.read(&mut buffer) {
        if n == 0 {
            break;
        }
        got += n;
    }
    assert!(got < 48 << 20, "{got} bytes came");
    // One that takes it, however slowly, gets all of it.
    let whole = device.get(&format!("/payloads/{digest}"));
    assert!(whole.body == maker.fleet.targets[0].image);
}

#[test]
fn noise_instead_of_tls_or_http_harms_nobody() {
    let (_home, server, _) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let mut seed = 1_u32;
    for round in 0..200 {
        let mut noise = vec![0; 300];
        for byte in &mut noise {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        if round % 2 == 0 {
            let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            let _ = socket.write_all(&noise);
        } else if let Ok(mut connection) = device.connect() {
            let _ = connection.send(&noise);
        }
    }
    assert_eq!(device.get("/things/dev-1/jobs").status, 200);
    assert!(!server.log().contains("panicked"));
}
