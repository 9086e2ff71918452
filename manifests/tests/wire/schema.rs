//! `schema.cddl` and the code hold each other: an independent CDDL tool validates what we write, and refuses
//! what was changed. `judge.rs` asks a second tool.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::documents::{self, Kind, rule};
use crate::tree::Tree;
use crate::values;
use cddl::ast::CDDL;
use cddl::validator::Validator as _;
use cddl::validator::cbor::CBORValidator;
use cddl::validator::cbor_value::decode_cbor;
use proptest::prelude::*;

const SCHEMA: &str = include_str!("../../schema.cddl");
const NAME: &str = r#".regexp "[a-z0-9][a-z0-9._-]{0,63}""#;

/// The schema with `rule` as the type that documents must have: a CDDL tool starts at the first rule.
fn starting_at(rule: &'static str) -> &'static CDDL<'static> {
    thread_local! {
        static PARSED: RefCell<HashMap<&'static str, &'static CDDL<'static>>> = RefCell::default();
    }
    PARSED.with_borrow_mut(|parsed| {
        *parsed.entry(rule).or_insert_with(|| {
            // RFC 8610, section 3.8.3: XSD expressions match the whole text. This tool searches in it.
            let schema = SCHEMA
                .replace(NAME, &format!(".regexp \"^({})$\"", NAME.trim_start_matches(".regexp ").trim_matches('"')));
            assert_ne!(schema, SCHEMA, "the schema's expression for names has changed");
            let text: &'static str = Box::leak(format!("start = {rule}\n{schema}").into_boxed_str());
            Box::leak(Box::new(cddl::cddl_from_str(text, true).expect("the schema is CDDL")))
        })
    })
}

/// Whether the schema allows these bytes as `rule`; if not, why.
pub(crate) fn check(rule: &'static str, bytes: &[u8]) -> Result<(), String> {
    let value = decode_cbor(bytes).map_err(|why| why.to_string())?;
    CBORValidator::new(starting_at(rule), value, None).validate().map_err(|why| why.to_string())
}

#[test]
fn the_schema_allows_one_document_of_every_type() {
    for (kind, document) in documents::all() {
        assert_eq!(check(rule(kind), &document.bytes()), Ok(()), "{kind:?}");
    }
    for (kind, document) in documents::all() {
        if matches!(kind, Kind::Envelope | Kind::SignedReport) {
            assert_eq!(check("sealift-file", &document.bytes()), Ok(()), "{kind:?}");
        }
    }
}

#[test]
fn the_schema_refuses_a_document_of_another_type() {
    for (kind, document) in documents::all() {
        for (other, _) in documents::all().into_iter().filter(|(other, _)| *other != kind) {
            assert!(check(rule(other), &document.bytes()).is_err(), "{kind:?} passes as {other:?}");
        }
    }
}

/// An envelope around a payload that the schema must see as a role, not just as bytes.
#[test]
fn the_schema_looks_into_the_payload_of_an_envelope() {
    let mut role = documents::timestamp();
    *role.field(6) = Tree::Negative(0);
    assert!(check("role-file", &documents::envelope_of(role).bytes()).is_err());
}

/// Each with one field changed, so that it is this rule of the schema that refuses it.
#[test]
fn the_schema_refuses_each_changed_field() {
    let mut refused = 0;
    for (kind, document) in documents::all() {
        for path in document.paths() {
            let mut changed = document.clone();
            let item = changed.at(&path);
            *item = match item {
                Tree::Uint(_) => Tree::Negative(0),
                Tree::Negative(n) => Tree::Negative(*n + 1),
                Tree::Bytes(content) if content.is_empty() => Tree::Bytes(vec![0; 300]),
                Tree::Bytes(content) => Tree::Bytes(vec![0; content.len() + 255]),
                Tree::Text(_) => Tree::Text("\u{fc}".repeat(80)),
                _ => continue,
            };
            assert!(check(rule(kind), &changed.bytes()).is_err(), "{kind:?}: the schema allows {path:?} changed");
            refused += 1;
        }
    }
    assert!(refused > 300, "only {refused} fields were changed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_schema_allows_every_root(value in values::root()) {
        prop_assert_eq!(check("root", &value.encode()), Ok(()));
    }

    #[test]
    fn the_schema_allows_every_timestamp(value in values::timestamp()) {
        prop_assert_eq!(check("timestamp", &value.encode()), Ok(()));
    }

    #[test]
    fn the_schema_allows_every_snapshot(value in values::snapshot()) {
        prop_assert_eq!(check("snapshot", &value.encode()), Ok(()));
    }

    #[test]
    fn the_schema_allows_all_targets(value in values::targets()) {
        prop_assert_eq!(check("targets", &value.encode()), Ok(()));
    }

    #[test]
    fn the_schema_allows_every_envelope(envelope in values::timestamp().prop_flat_map(|role| {
        values::envelope_around(Box::leak(role.encode().into_boxed_slice()))
    })) {
        prop_assert_eq!(check("role-file", &envelope.encode()), Ok(()));
    }

    #[test]
    fn the_schema_allows_every_signed_report(value in values::signed_report()) {
        prop_assert_eq!(check("signed-report", &value.encode()), Ok(()));
    }
}
