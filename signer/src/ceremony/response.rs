//! A response: one officer's signatures over a sign-request, short enough for a QR code.
//!
//! ```text
//! SEALIFT-RESPONSE-1:<base32>
//! version (1) | SHA-256 of the request (32) | public key (32) | items signed, a bit each (4)
//!   | per item: signature of the device encoding (64), and of the host encoding where the request has one (64)
//!   | first bytes of the SHA-256 of all this (4)
//! ```
//! The signatures speak for themselves; the checksum only tells a slip of the finger from another request's response.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use sealift_manifests::{Digest, PublicKey, sha256};

use crate::error::{Error, Result};

const PREFIX: &str = "SEALIFT-RESPONSE-1:";
const VERSION: u8 = 1;
const HEAD: usize = 1 + 32 + 32 + 4;
const CHECKSUM: usize = 4;

/// Most bytes of a response file: 34 items, which no ceremony has.
pub const MAX_RESPONSE: u64 = 16 * 1024;

/// The signatures over one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Over the `Sig_structure` of the device encoding.
    pub device: [u8; 64],
    /// Over the canonical JSON of the host encoding.
    pub host: Option<[u8; 64]>,
}

/// One officer's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request they are for.
    pub request: Digest,
    /// The key that made them.
    pub key: PublicKey,
    /// By the number of the item.
    pub signatures: BTreeMap<usize, Signed>,
}

impl Response {
    /// The text of a response file, without a line end.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.request.0);
        bytes.extend(self.key.0);
        let items = self.signatures.keys().fold(0u32, |items, index| items | 1 << index);
        bytes.extend(items.to_be_bytes());
        for signed in self.signatures.values() {
            bytes.extend(signed.device);
            bytes.extend(signed.host.iter().flatten());
        }
        bytes.extend(&sha256(&bytes).0[..CHECKSUM]);
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
    }

    /// Reads a response. `place` names it in errors.
    pub fn decode(text: &str, place: &str) -> Result<Self> {
        let refuse = |fault: &str| Error::Input {
            place: place.to_owned(),
            fault: fault.to_owned(),
            remedy: "give the file that `sealift root sign` wrote, or the text of its QR code, whole".into(),
        };
        // A mail program wraps lines, a person types in lower case.
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().to_uppercase();
        let encoded = text.strip_prefix(PREFIX).ok_or_else(|| refuse("this is no response to a sign-request"))?;
        let bytes = BASE32_NOPAD.decode(encoded.as_bytes()).map_err(|_| refuse("the response is damaged"))?;
        let body = bytes.len().checked_sub(CHECKSUM).filter(|length| *length >= HEAD);
        let (body, checksum) = bytes.split_at(body.ok_or_else(|| refuse("the response is cut short"))?);
        if sha256(body).0[..CHECKSUM] != *checksum {
            return Err(refuse("the response is damaged: its checksum does not fit"));
        }
        let damaged = || refuse("the response is damaged");
        let (head, mut rest) = body.split_at(HEAD);
        if head[0] != VERSION {
            return Err(refuse("the response is of a version that is not known here"));
        }
        let array = |range: std::ops::Range<usize>| head.get(range).and_then(|part| part.try_into().ok());
        let request = Digest(array(1..33).ok_or_else(damaged)?);
        let key = PublicKey(array(33..65).ok_or_else(damaged)?);
        let items = head.get(65..69).and_then(|part| part.try_into().ok()).map(u32::from_be_bytes);
        let items = items.ok_or_else(damaged)?;
        let count = items.count_ones() as usize;
        let host = match rest.len() {
            length if count > 0 && length == count * 64 => false,
            length if count > 0 && length == count * 128 => true,
            _ => return Err(damaged()),
        };
        let mut next = || {
            let (signature, after) = rest.split_first_chunk::<64>()?;
            rest = after;
            Some(*signature)
        };
        let mut signatures = BTreeMap::new();
        for index in (0..32).filter(|index| items & 1 << index != 0) {
            let device = next().ok_or_else(damaged)?;
            let host = if host { Some(next().ok_or_else(damaged)?) } else { None };
            signatures.insert(index, Signed { device, host });
        }
        Ok(Response { request, key, signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_reads_back_and_a_slip_of_the_finger_is_noticed() {
        for host in [None, Some([2; 64])] {
            let signatures = [(0, Signed { device: [1; 64], host }), (2, Signed { device: [3; 64], host })].into();
            let response = Response { request: Digest([7; 32]), key: PublicKey([9; 32]), signatures };
            let text = response.encode();
            assert_eq!(Response::decode(&format!(" {}\r\n", text.to_lowercase()), "it").unwrap(), response);
            let last = text.len() - 3;
            let other = if text.as_bytes()[last] == b'A' { "B" } else { "A" };
            let slip = format!("{}{other}{}", &text[..last], &text[last + 1..]);
            assert!(Response::decode(&slip, "it").unwrap_err().to_string().contains("checksum"));
            assert!(Response::decode(&text[..last], "it").is_err());
        }
    }
}
