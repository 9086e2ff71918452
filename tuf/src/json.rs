//! The generic JSON tree and its canonical form.
//!
//! TUF signs the canonical form of a tree (OLPC's canonical JSON), not the bytes that carry it. Working on the tree, and not
//! on typed structures, keeps every unknown field under the signature (specification 1.0.34, section 4.1).

use std::collections::BTreeMap;
use std::fmt;

use sealift_manifests::Fault;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::Malformed;

/// A JSON value. There are no fractions: canonical JSON has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer from -2^63 to 2^64 - 1.
    Integer(i128),
    /// Text.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// An object. Names are unique, and ordered by their bytes as canonical JSON wants them.
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads exactly one value. Refused: a name that stands twice in an object, a fraction, nesting deeper than 128, and
    /// anything but white space behind the value.
    pub fn parse(bytes: &[u8]) -> Result<Json, Malformed> {
        serde_json::from_slice(bytes).map_err(|error| {
            let fault = match error.classify() {
                serde_json::error::Category::Eof => Fault::Truncated,
                _ if error.to_string().starts_with("trailing characters") => Fault::TrailingBytes,
                _ => Fault::BadValue,
            };
            Malformed::new("", fault, format!("not the JSON that TUF allows: {error}"))
        })
    }

    /// The canonical form: no white space, names in the order of their bytes, `"` and `\` escaped and nothing else.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Json::String(text) => write_text(text, out),
            Json::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Json::Object(fields) => {
                out.push(b'{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Integer(_) => "an integer",
            Json::String(_) => "a string",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = fields.next_entry::<String, Json>()? {
            // Readers differ on which of two would hold: then a signature says nothing.
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} stands twice in one object")));
            }
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

/// A value and the way to it, so that what is wrong can be said with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node<'j> {
    value: &'j Json,
    place: String,
}

impl<'j> Node<'j> {
    pub(crate) fn new(value: &'j Json, place: &str) -> Self {
        Node { value, place: place.to_owned() }
    }

    pub(crate) fn json(&self) -> &'j Json {
        self.value
    }

    pub(crate) fn fault(&self, fault: Fault, what: impl Into<String>) -> Malformed {
        Malformed::new(&self.place, fault, what)
    }

    fn wrong_type(&self, wanted: &str) -> Malformed {
        self.fault(Fault::WrongType, format!("{wanted} is wanted, not {}", self.value.kind()))
    }

    fn child(&self, name: &str, value: &'j Json) -> Node<'j> {
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        Node { value, place }
    }

    /// The named values of an object.
    pub(crate) fn fields(&self) -> Result<impl Iterator<Item = (&'j str, Node<'j>)>, Malformed> {
        let Json::Object(fields) = self.value else { return Err(self.wrong_type("an object")) };
        Ok(fields.iter().map(move |(name, value)| (name.as_str(), self.child(name, value))))
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Node<'j>>, Malformed> {
        let Json::Array(items) = self.value else { return Err(self.wrong_type("a list")) };
        Ok(items.iter().enumerate().map(move |(index, value)| self.child(&index.to_string(), value)))
    }

    /// A field that may be missing.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<Node<'j>>, Malformed> {
        let Json::Object(fields) = self.value else { return Err(self.wrong_type("an object")) };
        Ok(fields.get(name).map(|value| self.child(name, value)))
    }

    /// A field that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<Node<'j>, Malformed> {
        self.optional(name)?.ok_or_else(|| self.fault(Fault::MissingField, format!("the field {name:?} is missing")))
    }

    pub(crate) fn text(&self) -> Result<&'j str, Malformed> {
        match self.value {
            Json::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, Malformed> {
        match self.value {
            Json::Bool(value) => Ok(*value),
            _ => Err(self.wrong_type("a boolean")),
        }
    }

    /// An integer from `least` to 2^64 - 1.
    pub(crate) fn integer(&self, least: u64) -> Result<u64, Malformed> {
        let Json::Integer(number) = self.value else { return Err(self.wrong_type("an integer")) };
        let found = u64::try_from(*number).ok().filter(|number| *number >= least);
        found.ok_or_else(|| self.fault(Fault::BadValue, format!("{number} is below {least}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        String::from_utf8(Json::parse(text.as_bytes()).unwrap().canonical()).unwrap()
    }

    #[test]
    fn canonical_form_sorts_names_by_bytes_and_drops_white_space() {
        assert_eq!(
            canonical(r#" { "b" : [ 1 , -2, true, null ] , "a" : {} , "Z": "" } "#),
            r#"{"Z":"","a":{},"b":[1,-2,true,null]}"#
        );
        assert_eq!(canonical("{\"\u{ffff}\":1,\"\u{1f600}\":2}"), "{\"\u{ffff}\":1,\"\u{1f600}\":2}");
    }

    #[test]
    fn canonical_form_escapes_quote_and_backslash_alone() {
        assert_eq!(canonical(r#""a\"\\\n\t\u0001\u00e9/""#), "\"a\\\"\\\\\n\t\u{1}é/\"");
    }

    #[test]
    fn what_canonical_json_has_no_form_for_is_refused() {
        for text in ["1.0", "1e3", "-0", "18446744073709551616", "[1.5]"] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(canonical("18446744073709551615"), "18446744073709551615");
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let error = Json::parse(br#"{"version":1,"x":{"a":1,"a":1}}"#).unwrap_err();
        assert!(error.to_string().contains("stands twice"), "{error}");
    }

    #[test]
    fn deep_nesting_and_trailing_bytes_are_refused_without_a_panic() {
        assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
        assert_eq!(Json::parse(b"{} x").unwrap_err().fault, Fault::TrailingBytes);
        assert_eq!(Json::parse(b"{\"a\":").unwrap_err().fault, Fault::Truncated);
        assert!(Json::parse(b"{} \n").is_ok());
        assert!(Json::parse(b"\xff").is_err());
    }
}
