//! Names: products, components, hardware, roles. One alphabet, so that a name is also a safe file name, URL segment and
//! AWS thing-group name.

use crate::bounds::MAX_NAME;
use crate::cbor::{Fault, Reader};
use crate::role::Role;

/// Whether `text` is a name: 1 to [`MAX_NAME`] characters of `[a-z0-9._-]`, the first of them a letter or digit.
pub fn is_name(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME
        && bytes.iter().all(inner)
        && bytes.first().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Reads the name of a delegated role. Those of the top-level roles are taken: a file of one never passes as the other's.
pub(crate) fn decode_role<'a>(reader: &mut Reader<'a>) -> &'a str {
    let at = reader.position();
    let name = decode(reader);
    let taken = Role::ALL.iter().any(|role| role.name() == name);
    if taken {
        reader.refuse_at(Fault::BadText, at);
    }
    name
}

/// Reads a name.
pub(crate) fn decode<'a>(reader: &mut Reader<'a>) -> &'a str {
    let at = reader.position();
    let text = reader.text(MAX_NAME);
    if !is_name(text) {
        reader.refuse_at(Fault::BadText, at);
    }
    text
}
