//! `offline:NAME`: a key that is never on this machine. Its officer signs elsewhere, what `sealift root request` wrote.

use std::fmt;
use std::str::FromStr;

use sealift_manifests::PublicKey;

use super::public_from_cose_hex;

/// An officer's key: a name, and where a command line introduces it (`offline:NAME:COSE_KEY`) its public half.
#[derive(Clone, PartialEq, Eq)]
pub struct OfflineKey {
    /// Whose it is, for people.
    pub name: String,
    /// The public half. Project files keep it under `public`.
    pub public: Option<PublicKey>,
}

impl FromStr for OfflineKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, public) = match text.split_once(':') {
            None => (text, None),
            Some((name, public)) => (name, Some(public_from_cose_hex(public)?)),
        };
        if name.is_empty() {
            return Err("key URI `offline:` names nobody; write offline:NAME".into());
        }
        Ok(OfflineKey { name: name.to_owned(), public })
    }
}

impl fmt::Display for OfflineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offline:{}", self.name)
    }
}
