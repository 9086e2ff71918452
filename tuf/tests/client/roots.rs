//! The chain of roots (section 5.3).

use sealift_verifier::trust::Policy;
use serde_json::json;

use crate::bench::{Bench, code};
use crate::repo::{Key, PAST, Repo, signed};

const THRESHOLD_NOT_MET: u16 = 201;
const EXAMPLE_KEY: u16 = 203;
const ROOT_NOT_NEXT: u16 = 302;
const EXPIRED: u16 = 403;
const TOO_MANY_ROOTS: u16 = 404;

#[test]
fn a_root_that_its_predecessors_keys_did_not_sign_is_refused_and_never_kept() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.rotate("root");
    bench.repo.publish(&["root"]);
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
    assert_eq!(bench.kept("root"), Some(1));
}

#[test]
fn a_root_that_its_own_keys_did_not_sign_is_refused() {
    let mut bench = Bench::new(Repo::new());
    let old = bench.repo.signers["root"].clone();
    bench.repo.rotate("root");
    bench.repo.signers.insert("root".into(), old);
    bench.repo.publish(&["root"]);
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
    assert_eq!(bench.kept("root"), Some(1));
}

#[test]
fn a_root_that_skips_a_version_is_refused() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.publish(&["root"]);
    let third = json!(3);
    bench.repo.role("root")["version"] = third;
    let file = signed(&bench.repo.roles["root"], &bench.repo.signers["root"]);
    bench.repo.files.put("metadata/2.root.json", file.to_string().as_bytes());
    assert_eq!(bench.refusal(), ROOT_NOT_NEXT);
    assert_eq!(bench.kept("root"), Some(1));
}

#[test]
fn each_root_of_a_rotation_is_walked_through_even_when_expired_and_kept() {
    let mut bench = Bench::new(Repo::new());
    let first = bench.repo.signers["root"].clone();
    bench.repo.rotate("root");
    let second = bench.repo.signers["root"].clone();
    bench.repo.signers.insert("root".into(), [first, second.clone()].concat());
    bench.repo.role("root")["expires"] = json!(PAST);
    bench.repo.publish(&["root"]);
    // The second has expired: nothing but roots is taken under it ...
    assert_eq!(bench.refusal(), EXPIRED);
    assert_eq!((bench.kept("root"), bench.kept("timestamp")), (Some(2), None));
    assert!(!bench.server.requests().contains(&"metadata/timestamp.json".to_owned()));
    // ... and it does not block the way to the third.
    bench.repo.signers.insert("root".into(), second);
    bench.repo.role("root")["expires"] = json!(crate::repo::LATER);
    bench.repo.publish(&["root"]);
    bench.refresh().unwrap();
    assert_eq!(bench.kept("root"), Some(3));
}

#[test]
fn more_roots_than_one_refresh_may_take_are_taken_by_the_next() {
    let mut bench = Bench::new(Repo::new());
    bench.config.limits.roots = 3;
    for _ in 0..7 {
        bench.repo.publish(&["root"]);
    }
    let error = bench.refresh().unwrap_err();
    assert_eq!(code(&error), TOO_MANY_ROOTS);
    assert_eq!(bench.kept("root"), Some(4));
    assert_eq!(bench.server.requests().len(), 4);
    assert_eq!(bench.refusal(), TOO_MANY_ROOTS);
    bench.refresh().unwrap();
    assert_eq!(bench.kept("root"), Some(8));
}

#[test]
fn a_trusted_root_that_its_own_keys_did_not_sign_is_refused_before_any_request() {
    let bench = Bench::new(Repo::new());
    let mut root: serde_json::Value = serde_json::from_slice(&bench.repo.first_root()).unwrap();
    root["signed"]["expires"] = json!("2041-01-01T00:00:00Z");
    std::fs::write(bench.trust().join("root.json"), root.to_string()).unwrap();
    assert_eq!(code(&bench.client().unwrap_err()), THRESHOLD_NOT_MET);
    assert_eq!(bench.server.requests().len(), 0);
}

#[test]
fn an_initialised_client_keeps_its_root() {
    let mut bench = Bench::new(Repo::new());
    bench.init(&bench.repo.first_root()).unwrap();
    bench.repo.publish(&["root"]);
    bench.refresh().unwrap();
    // Neither the older root of the same repository nor one of another replaces it.
    let error = bench.init(&bench.repo.first_root()).unwrap_err().to_string();
    assert!(error.contains("already holds a trusted root"), "{error}");
    assert_eq!(bench.kept("root"), Some(2));
}

#[test]
fn a_client_without_a_root_makes_no_request_and_says_what_to_do() {
    let bench = Bench::new(Repo::new());
    std::fs::remove_file(bench.trust().join("root.json")).unwrap();
    let error = bench.refresh().unwrap_err().to_string();
    assert!(error.contains("initialise it"), "{error}");
    assert_eq!(bench.server.requests().len(), 0);
}

#[test]
fn a_published_example_key_is_refused_outside_development() {
    // The same list of thumbprints as in the device encoding.
    use base64::Engine as _;
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/../keys-example/EXAMPLE-INSECURE-timestamp.pem");
    let pem = std::fs::read_to_string(pem).unwrap();
    let der = base64::engine::general_purpose::STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
    let key = Key::from_seed(der[der.len() - 32..].try_into().unwrap());
    let mut bench = Bench::new(Repo::new());
    bench.repo.set_keys("timestamp", &[key], 1);
    bench.repo.publish(&["root", "timestamp"]);
    assert_eq!(bench.refusal(), EXAMPLE_KEY);
    assert_eq!(bench.kept("root"), Some(1));
    bench.config.policy = Policy::development();
    bench.refresh().unwrap();
}
