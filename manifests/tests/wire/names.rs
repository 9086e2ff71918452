//! Names: one alphabet, everywhere.

use proptest::prelude::*;
use sealift_manifests::{Fault, Targets, Version, is_name};

use crate::documents::{self, text};
use crate::tree::Tree;

fn fault_as_product(name: Tree) -> Option<Fault> {
    let mut targets = documents::delegated_targets();
    *targets.field(7).items()[0].field(1) = name;
    Targets::decode(&targets.bytes()).err().map(|error| error.fault())
}

#[test]
fn names_that_could_escape_a_folder_or_look_alike_are_refused() {
    let long = "a".repeat(65);
    let bad = [
        "",
        ".",
        "..",
        "../etc",
        "/etc",
        "a/b",
        "a\\b",
        ".hidden",
        "-flag",
        "_x",
        "A",
        "aB",
        "a b",
        " a",
        "a ",
        "a\0",
        "a\n",
        "é",
        "а",
        "ａ",
        "a:b",
        "a%2fb",
        "con\u{202e}",
        "a+b",
        "a,b",
        "*",
        &long,
    ];
    for name in bad {
        assert!(!is_name(name), "{name:?}");
        let expected = if name.len() > 64 { Fault::TooLarge } else { Fault::BadText };
        assert_eq!(fault_as_product(text(name)), Some(expected), "{name:?}");
    }
}

#[test]
fn names_in_use_are_accepted() {
    let longest = "a".repeat(64);
    for name in ["a", "0", "thermostat", "board-a.rev_2", "esp32-c3", "a..b", "a-", &longest] {
        assert!(is_name(name), "{name:?}");
        assert_eq!(fault_as_product(text(name)), None, "{name:?}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    for raw in [&b"\x61\xff"[..], b"\x61\x80", b"\x62\xc0\x80", b"\x63\xed\xa0\x80", b"\x64\xf5\x80\x80\x80"] {
        assert_eq!(fault_as_product(Tree::Raw(raw.into())), Some(Fault::BadText), "{raw:02x?}");
    }
}

proptest! {
    #[test]
    fn is_name_is_the_pattern_of_the_schema(name in prop_oneof!["[ -~]{0,6}", "[a-z0-9._-]{0,70}", "\\PC{0,4}"]) {
        let mut characters = name.chars();
        let first = |c: char| matches!(c, 'a'..='z' | '0'..='9');
        let later = |c: char| first(c) || matches!(c, '.' | '_' | '-');
        let matches = characters.next().is_some_and(first) && characters.all(later) && name.chars().count() <= 64;
        prop_assert_eq!(is_name(&name), matches);
        prop_assert_eq!(fault_as_product(text(&name)).is_none(), matches);
    }
}

#[test]
fn a_version_is_one_to_three_numbers_and_nothing_else() {
    for (text, expected) in
        [("1", [1, 0, 0]), ("1.2", [1, 2, 0]), ("1.2.3", [1, 2, 3]), ("0.0.4294967295", [0, 0, u32::MAX])]
    {
        assert_eq!(text.parse(), Ok(Version(expected)), "{text}");
    }
    for text in ["", ".", "1.", ".1", "1..2", "1.2.3.4", "1.2.3.", "v1", "1.2.x", "+1", "-1", " 1", "1.4294967296"] {
        assert_eq!(text.parse::<Version>(), Err(Fault::BadText), "{text:?}");
    }
}
