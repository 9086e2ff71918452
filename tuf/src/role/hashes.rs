//! Hashes of a file, by algorithm.

use std::collections::BTreeMap;

use sealift_manifests::Fault;
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::Malformed;
use crate::json::Node;

/// The hashes that metadata states of a file. `sha256` and `sha512` are known; others are passed over beside one of them,
/// and a file with others alone matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    by_algorithm: BTreeMap<String, String>,
}

impl Hashes {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, Malformed> {
        let mut by_algorithm = BTreeMap::new();
        for (algorithm, hash) in node.fields()? {
            let bytes = match algorithm {
                "sha256" => Some(32),
                "sha512" => Some(64),
                _ => None,
            };
            let text = hash.text()?;
            if bytes.is_some_and(|bytes| hex::decode(text).map_or(0, |hash| hash.len()) != bytes) {
                return Err(hash.fault(Fault::BadValue, format!("no {algorithm} in hex")));
            }
            // It becomes a part of a file name in requests.
            if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(hash.fault(Fault::BadText, "a hash is written in letters and digits"));
            }
            by_algorithm.insert(algorithm.to_owned(), text.to_owned());
        }
        if by_algorithm.is_empty() {
            return Err(node.fault(Fault::Empty, "no hash is given"));
        }
        Ok(Hashes { by_algorithm })
    }

    /// The hashes, as they are written, by the name of their algorithm.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_algorithm.iter().map(|(algorithm, hash)| (algorithm.as_str(), hash.as_str()))
    }

    /// One that can be checked, to name the file by; `None` when none can.
    pub(crate) fn name(&self) -> Option<&str> {
        ["sha256", "sha512"].into_iter().find_map(|known| self.by_algorithm.get(known)).map(String::as_str)
    }

    /// Whether `bytes` have every hash that is known.
    pub(crate) fn match_bytes(&self, bytes: &[u8]) -> bool {
        let mut check = HashCheck::new(self);
        check.update(bytes);
        check.matches()
    }
}

/// Checks [`Hashes`] of a file that comes in pieces.
#[derive(Debug)]
pub struct HashCheck<'h> {
    hashes: &'h Hashes,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl<'h> HashCheck<'h> {
    /// Begins with nothing read.
    pub fn new(hashes: &'h Hashes) -> Self {
        let known = |algorithm| hashes.by_algorithm.contains_key(algorithm);
        HashCheck { hashes, sha256: known("sha256").then(Sha256::new), sha512: known("sha512").then(Sha512::new) }
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(bytes);
        }
    }

    /// Whether the pieces have every hash that is known, and one is.
    pub fn matches(self) -> bool {
        if self.sha256.is_none() && self.sha512.is_none() {
            return false;
        }
        let wanted = |algorithm| self.hashes.by_algorithm.get(algorithm).map(|hash| hash.to_ascii_lowercase());
        self.sha256.is_none_or(|hasher| wanted("sha256") == Some(hex::encode(hasher.finalize())))
            && self.sha512.is_none_or(|hasher| wanted("sha512") == Some(hex::encode(hasher.finalize())))
    }
}
