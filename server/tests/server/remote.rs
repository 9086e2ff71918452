//! The control API on the network, as operators, strangers and a machine that tries everything meet it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::device::{Answer, Connection, Device};
use crate::process::{Server, run};

const LISTEN: [&str; 2] = ["--control-listen", "127.0.0.1:0"];

fn start(home: &Path, more: &[&str]) -> Server {
    Server::start_with(&home.join("state"), 0, &[&LISTEN, more].concat())
}

fn token(server: &Server, name: &str, role: &str) -> String {
    server.ok(&["operators", "add", name, "--role", role])["token"].as_str().unwrap().to_owned()
}

fn ask_with(server: &Server, headers: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut connection = Connection::open(&server.ca, server.control, None).unwrap();
    connection.request(method, path, headers, body.as_bytes()).unwrap()
}

fn ask(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    ask_with(server, &format!("authorization: Bearer {token}\r\nidempotency-key: key-0001\r\n"), method, path, body)
}

#[test]
fn each_role_may_do_what_it_is_for_and_nothing_above_it() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), &[]);
    let tokens = ["viewer", "operator", "admin"].map(|role| token(&server, role, role));
    let enrolment = json!({ "product": "p", "groups": [], "seconds": 60 });
    for (method, path, body, least) in [
        ("GET", "/v1/devices", Value::Null, 0),
        ("GET", "/v1/openapi.json", Value::Null, 0),
        ("POST", "/v1/groups", json!({ "name": "g" }), 1),
        ("POST", "/v1/tokens", enrolment, 2),
        ("GET", "/v1/operators", Value::Null, 2),
        ("DELETE", "/v1/operators/nobody", Value::Null, 2),
    ] {
        for (rank, token) in tokens.iter().enumerate() {
            let status = ask(&server, token, method, path, &body).status;
            assert_eq!(status, if rank >= least { 200 } else { 403 }, "{method} {path} as {rank}");
        }
    }
    // What isn't there is nobody's, and says so in the same shape.
    let answer = ask(&server, &tokens[2], "GET", "/v1/nothing", &Value::Null);
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("ResourceNotFound")));
    let log = server.log();
    assert!(log.contains("asked for more than his role allows"), "{log}");
    let kept = std::fs::read_to_string(home.path().join("state/operators.json")).unwrap();
    assert!(
        tokens.iter().all(|token| !log.contains(token.as_str()) && !kept.contains(token.as_str())),
        "a token leaked"
    );
    let mode = std::fs::metadata(home.path().join("state/operators.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn strangers_are_refused_then_slowed_and_nobody_else_notices() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), &[]);
    let good = token(&server, "ci", "viewer");
    let answer = ask_with(&server, "", "GET", "/v1/devices", &Value::Null);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    let statuses: Vec<u16> =
        (0..15).map(|_| ask(&server, "slop_guess", "GET", "/v1/devices", &Value::Null).status).collect();
    assert_eq!((statuses[0], statuses[14]), (401, 429), "{statuses:?}");
    assert_eq!(ask(&server, &good, "GET", "/v1/devices", &Value::Null).status, 200);
    // A token ends with its operator, at once, on a connection that is open.
    let mut open = Connection::open(&server.ca, server.control, None).unwrap();
    let bearer = format!("authorization: Bearer {good}\r\n");
    assert_eq!(open.request("GET", "/v1/devices", &bearer, b"").unwrap().status, 200);
    assert_eq!(server.ok(&["operators", "remove", "ci"])["removed"], true);
    assert_eq!(server.ok(&["operators", "remove", "ci"])["removed"], false);
    assert!(matches!(open.request("GET", "/v1/devices", &bearer, b"").unwrap().status, 401 | 429));
}

#[test]
fn a_flood_of_one_operator_is_throttled_and_the_others_are_not() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), &["--control-rate", "1"]);
    let (loud, quiet) = (token(&server, "loud", "viewer"), token(&server, "quiet", "viewer"));
    let mut connection = Connection::open(&server.ca, server.control, None).unwrap();
    let bearer = format!("authorization: Bearer {loud}\r\n");
    let answers: Vec<Answer> =
        (0..10).map(|_| connection.request("GET", "/v1/groups", &bearer, b"").unwrap()).collect();
    assert_eq!(answers[0].status, 200);
    let last = &answers[9];
    assert_eq!((last.status, last.json()["code"].as_str()), (429, Some("RequestThrottled")));
    assert!(last.header("retry-after").is_some());
    assert_eq!(ask(&server, &quiet, "GET", "/v1/groups", &Value::Null).status, 200);
}

#[test]
fn an_operators_certificate_is_known_by_its_fingerprint_and_a_devices_is_not_one() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), &[]);
    let made = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key)
    };
    let ((alice, key), (mallory, other)) = (made("alice"), made("alice"));
    let path = home.path().join("alice.pem");
    std::fs::write(&path, &alice).unwrap();
    server.ok(&["operators", "add", "alice", "--role", "operator", "--certificate", path.to_str().unwrap()]);
    let connect = |certificate: &str, key: &KeyPair| {
        let mut connection = Connection::open(&server.ca, server.control, Some((certificate, key)))?;
        connection.request("GET", "/v1/groups", "", b"")
    };
    assert_eq!(connect(&alice, &key).unwrap().status, 200);
    assert!(connect(&mallory, &other).is_err(), "the same name under another key");
    let device = Device::enrol(&server, "dev-1", "canary");
    assert!(connect(&device.certificate, &device.key).is_err(), "a device is no operator");
    let mut open = Connection::open(&server.ca, server.control, Some((&alice, &key))).unwrap();
    assert_eq!(open.request("GET", "/v1/groups", "", b"").unwrap().status, 200);
    server.ok(&["operators", "remove", "alice"]);
    assert_eq!(open.request("GET", "/v1/groups", "", b"").unwrap().status, 401);
    // And the device endpoint knows no operators.
    assert!(
        Connection::open(&server.ca, server.port, Some((&alice, &key)))
            .and_then(|mut c| c.request("GET", "/healthz", "", b""))
            .is_err()
    );
}

#[test]
fn every_write_may_be_repeated_even_after_a_crash() {
    let home = tempfile::tempdir().unwrap();
    let mut server = start(home.path(), &[]);
    let admin = token(&server, "admin", "admin");
    let enrolment = json!({ "product": "p", "groups": ["g"], "thing": "t", "seconds": 600 });
    let issue = |server: &Server, key: &str, body: &Value| {
        ask_with(
            server,
            &format!("authorization: Bearer {admin}\r\nidempotency-key: {key}\r\n"),
            "POST",
            "/v1/tokens",
            body,
        )
    };
    let first = issue(&server, "key-one-1", &enrolment);
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(issue(&server, "key-one-1", &enrolment).json(), first.json());
    assert_ne!(issue(&server, "key-two-2", &enrolment).json()["token"], first.json()["token"]);
    let other = json!({ "product": "q", "groups": ["g"], "thing": "t", "seconds": 600 });
    assert_eq!(issue(&server, "key-one-1", &other).status, 409, "the same key for something else");
    let bare = format!("authorization: Bearer {admin}\r\n");
    assert_eq!(ask_with(&server, &bare, "POST", "/v1/tokens", &enrolment).status, 400, "no key");
    server.kill();
    let state = server.state.clone();
    server = Server::start_with(&state, 0, &LISTEN);
    assert_eq!(issue(&server, "key-one-1", &enrolment).json(), first.json(), "after a crash");

    Device::enrol(&server, "dev-1", "canary");
    let job = json!({ "id": "j", "document": "{}", "things": ["dev-1"] });
    let policy = json!({ "name": "p", "document":
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"*\"}]}" });
    let name = json!({ "name": "bob", "role": "viewer" });
    for (path, body) in [
        ("/v1/groups", json!({ "name": "g2" })),
        ("/v1/jobs", job),
        ("/v1/jobs/j/cancel", json!({ "force": true })),
        ("/v1/policies", policy),
        ("/v1/policies/p/attach/dev-1", json!({})),
        ("/v1/policies/p/detach/dev-1", json!({})),
        ("/v1/devices/dev-1/revoke", json!({})),
        ("/v1/operators", name),
    ] {
        let (once, twice) = (ask(&server, &admin, "POST", path, &body), ask(&server, &admin, "POST", path, &body));
        assert_eq!((once.status, twice.status), (200, 200), "{path}: {once:?} {twice:?}");
        let without_time = |answer: &Answer| {
            let mut value = answer.json();
            if let Some(policy) = value.get_mut(0) {
                policy["updatedAt"] = Value::Null;
            }
            value
        };
        assert_eq!(without_time(&once), without_time(&twice), "{path}");
    }
}

#[test]
fn the_command_line_works_the_same_from_another_machine() {
    let (home, server) = {
        let home = tempfile::tempdir().unwrap();
        let server = start(home.path(), &[]);
        (home, server)
    };
    let write = |name: &str, text: &str, mode: u32| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let file = write("admin.token", &format!("{}\n", token(&server, "admin", "admin")), 0o600);
    let ca = write("ca.pem", &server.ca, 0o644);
    let url = format!("https://localhost:{}", server.control);
    let elsewhere = ["--server", &url, "--ca", &ca, "--token-file", &file];
    let there = |arguments: &[&str]| crate::process::json(&[arguments, &elsewhere].concat());
    Device::enrol(&server, "dev-1", "canary");
    assert_eq!(there(&["devices", "list"]), (server.ok(&["devices", "list"]), 0));
    assert_eq!(there(&["groups", "create", "late"]).1, 0);
    assert!(there(&["devices", "token", "--group", "late", "--product", "p"]).0["token"].is_string());
    assert_eq!(there(&["rollout", "list"]), (json!([]), 0));
    assert_eq!(there(&["operators", "list"]).0[0]["role"], "admin");
    // And where it can't, it says why, with the exit code for it.
    let open = write("open.token", "slop_x", 0o644);
    let foreign = write(
        "foreign.pem",
        &{
            let key = KeyPair::generate().unwrap();
            CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
        },
        0o644,
    );
    let wrong = write("wrong.token", "slop_x", 0o600);
    for (ca, token, exit, word) in [
        (&ca, &open, 4, "chmod 600"),
        (&foreign, &file, 1, "--ca"),
        (&ca, &wrong, 3, "token"),
        (&ca, &home.path().join("none").to_str().unwrap().to_owned(), 1, "none"),
    ] {
        let output = run(&["devices", "list", "--server", &url, "--ca", ca, "--token-file", token]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(exit) && said.contains(word), "{exit} {word}: {output:?}");
    }
    let output = run(&["devices", "list", "--server", &url, "--ca", &ca]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn bad_requests_to_the_control_api_are_refused_by_name_and_it_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), &["--client-timeout", "1"]);
    let admin = token(&server, "admin", "admin");
    let bearer = format!("authorization: Bearer {admin}\r\nidempotency-key: key-0001\r\n");
    let send = |method: &str, path: &str, body: &[u8]| {
        Connection::open(&server.ca, server.control, None).unwrap().request(method, path, &bearer, body).unwrap()
    };
    for (method, path, body, status, code) in [
        ("POST", "/v1/groups", b"{".as_slice(), 400, "InvalidJson"),
        ("POST", "/v1/groups", b"{\"name\":7}", 400, "InvalidRequest"),
        ("POST", "/v1/groups", b"{\"name\":\"g\",\"x\":1}", 400, "InvalidRequest"),
        ("POST", "/v1/groups", &vec![b' '; 300_000], 413, "InvalidRequest"),
        ("GET", "/v1/devices?group=%ff", b"", 400, "InvalidRequest"),
        ("GET", "/v1/devices/a%2fb", b"", 400, "InvalidRequest"),
        ("PUT", "/v1/groups", b"", 405, "InvalidRequest"),
        ("DELETE", "/v1/operators/%ff", b"", 400, "InvalidRequest"),
    ] {
        let answer = send(method, path, body);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{method} {path}: {answer:?}"
        );
    }
    // A head that comes byte by byte, and one without end.
    let mut slow = Connection::open(&server.ca, server.control, None).unwrap();
    slow.send(b"GET /v1/devices HTTP/1.1\r\n").unwrap();
    let begun = std::time::Instant::now();
    assert!(slow.answer("GET").is_err() && begun.elapsed().as_secs() < 15, "slowloris is let go");
    let mut long = Connection::open(&server.ca, server.control, None).unwrap();
    let endless = long.request("GET", "/v1/devices", &format!("x: {}\r\n", "y".repeat(100_000)), b"");
    assert!(endless.map_or(true, |answer| answer.status == 431), "a head without end");
    // Without TLS there is nothing.
    use std::io::{Read as _, Write as _};
    let mut plain = std::net::TcpStream::connect(("127.0.0.1", server.control)).unwrap();
    plain.write_all(b"GET /v1/devices HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/1.1 200"));
    assert_eq!(send("GET", "/v1/devices", b"").status, 200);
}

/// Schemathesis makes requests from the document, good and bad, and holds every answer to it.
#[test]
fn schemathesis_finds_nothing_that_the_openapi_document_does_not_say() {
    let python = crate::python::interpreter();
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), &["--control-rate", "100000", "--client-timeout", "120"]);
    let admin = token(&server, "admin", "admin");
    Device::enrol(&server, "dev-1", "canary");
    let document = home.path().join("openapi.json");
    std::fs::write(&document, ask(&server, &admin, "GET", "/v1/openapi.json", &Value::Null).body).unwrap();
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, &server.ca).unwrap();
    let mut schemathesis = Command::new(python);
    schemathesis.args(["-m", "schemathesis.cli", "run"]).arg(&document);
    schemathesis.args(["--url", &format!("https://localhost:{}", server.control)]);
    schemathesis.args(["--header", &format!("Authorization: Bearer {admin}"), "--tls-verify"]).arg(&ca);
    schemathesis.args(["--max-examples", "12", "--seed", "8", "--phases", "coverage,fuzzing", "--no-color"]);
    // Without a token first a stranger's tries are counted, and then slowed: 429 in place of 401 is right.
    schemathesis.args(["--exclude-checks", "ignored_auth,positive_data_acceptance"]);
    schemathesis.current_dir(home.path()).env("REQUESTS_CA_BUNDLE", &ca);
    let output = schemathesis.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let tail: String = said.chars().rev().take(6_000).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(
        !server.log().contains("panicked"),
        "{}",
        server.log().lines().filter(|l| l.contains("panicked")).collect::<String>()
    );
    assert!(output.status.success(), "{tail}\n{}", String::from_utf8_lossy(&output.stderr));
    // It really asked: an empty document would pass too.
    let tested = server.log().lines().filter(|line| line.contains("\"control\"")).count();
    assert!(tested > 200, "{tested} writes\n{tail}");
    assert_eq!(ask(&server, &admin, "GET", "/v1/devices", &Value::Null).status, 200);
}
