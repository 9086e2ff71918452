//! The job document: what is read, what is refused, and that both directions agree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sealift_jobs::limits::JOB_DOCUMENT_MAX_CHARS;
use sealift_jobs::{Digest, DocumentError, JobDocument};

fn document() -> JobDocument {
    JobDocument {
        sealift: 1,
        repository: "00112233445566778899aabbccddeeff".into(),
        product: "thermostat".into(),
        target: Digest([7; 32]),
        bundle: Some(vec![1, 2, 3, 255]),
        metadata: "https://localhost:8443/metadata/".into(),
        payloads: BTreeMap::from([(Digest([9; 32]), "https://localhost:8443/payloads/09".into())]),
        delta_only: false,
        critical: vec![],
    }
}

fn with(field: &str, value: serde_json::Value) -> String {
    let mut json: serde_json::Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    json[field] = value;
    json.to_string()
}

#[test]
fn what_is_written_is_read_back() {
    assert_eq!(JobDocument::from_json(&document().to_json().unwrap()).unwrap(), document());
    let without = JobDocument { bundle: None, ..document() };
    let text = without.to_json().unwrap();
    assert!(!text.contains("bundle"));
    assert_eq!(JobDocument::from_json(&text).unwrap(), without);
}

#[test]
fn deltas_alone_is_said_only_when_it_is_so() {
    assert!(!document().to_json().unwrap().contains("deltaOnly"));
    let metered = JobDocument { delta_only: true, ..document() };
    assert_eq!(JobDocument::from_json(&metered.to_json().unwrap()).unwrap(), metered);
    assert!(JobDocument::from_json(&with("deltaOnly", "yes".into())).is_err());
}

#[test]
fn unknown_hints_are_ignored_but_unknown_critical_fields_refused() {
    assert_eq!(JobDocument::from_json(&with("colour", "blue".into())).unwrap(), document());
    let refused = JobDocument::from_json(&with("critical", serde_json::json!(["colour"])));
    assert!(matches!(refused, Err(DocumentError::Critical(name)) if name == "colour"));
    assert!(JobDocument::from_json(&with("critical", serde_json::json!(["bundle"]))).is_ok());
}

#[test]
fn another_format_is_named_before_anything_else_is_judged() {
    assert!(matches!(JobDocument::from_json(r#"{"sealift":2,"entirely":"new"}"#), Err(DocumentError::Format(2))));
}

#[test]
fn bad_fields_are_refused() {
    for (field, value) in [
        ("target", serde_json::json!("AB".repeat(32))),
        ("target", serde_json::json!("ab")),
        ("bundle", serde_json::json!("!")),
        ("bundle", serde_json::json!(7)),
        ("metadata", serde_json::json!("https://localhost/metadata")),
        ("metadata", serde_json::json!("https://local host/")),
        ("repository", serde_json::json!("xyz")),
        ("repository", serde_json::json!("AB")),
        ("product", serde_json::json!("")),
        ("payloads", serde_json::json!({"zz": "https://localhost/"})),
        ("sealift", serde_json::json!("1")),
    ] {
        assert!(JobDocument::from_json(&with(field, value.clone())).is_err(), "{field}: {value}");
    }
    for text in ["", "{}", "[]", "null", "{\"sealift\":1", "\u{0}"] {
        assert!(JobDocument::from_json(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_document_over_the_size_bound_is_refused_both_ways() {
    let large = JobDocument { bundle: Some(vec![0; JOB_DOCUMENT_MAX_CHARS]), ..document() };
    assert!(matches!(large.to_json(), Err(DocumentError::TooLong(_))));
    let padded = format!("{}{}", document().to_json().unwrap(), " ".repeat(JOB_DOCUMENT_MAX_CHARS));
    assert!(matches!(JobDocument::from_json(&padded), Err(DocumentError::TooLong(_))));
}

proptest! {
    #[test]
    fn any_bundle_survives_the_round_trip(bundle in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let document = JobDocument { bundle: Some(bundle), ..document() };
        prop_assert_eq!(JobDocument::from_json(&document.to_json().unwrap()).unwrap(), document);
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = JobDocument::from_json(&text);
    }
}

#[test]
fn an_order_for_a_new_identity_is_read_and_an_operation_that_is_not_known_is_refused() {
    use sealift_jobs::{Order, ROTATE_IDENTITY};
    assert_eq!(Order::from_json(ROTATE_IDENTITY).unwrap(), Order::RotateIdentity);
    assert_eq!(Order::from_json(&document().to_json().unwrap()).unwrap(), Order::Update(Box::new(document())));
    // A device that knows updates alone refuses it: the operation is critical.
    assert!(matches!(JobDocument::from_json(ROTATE_IDENTITY), Err(DocumentError::Critical(_))));
    for (from, to) in [("rotate-identity", "format-disk"), ("[\"operation\"]", "[\"operation\",\"colour\"]")] {
        assert!(
            matches!(Order::from_json(&ROTATE_IDENTITY.replace(from, to)), Err(DocumentError::Critical(_))),
            "{to}"
        );
    }
    assert!(matches!(Order::from_json(&ROTATE_IDENTITY.replace(":1", ":2")), Err(DocumentError::Format(2))));
    assert!(matches!(Order::from_json("{"), Err(DocumentError::Json(_))));
}
