//! Keys and thresholds, as a root or a delegation lists them; the set of keys that signed.

use std::collections::{BTreeMap, BTreeSet};

use sealift_manifests::{Digest, Fault};
use sealift_verifier::trust::SignerSet;
use sealift_verifier::trust::format::Authority;

use crate::error::Malformed;
use crate::json::Node;
use crate::key::{Key, KeyIds, PublicKey, check_key_id};

/// The keys that a root or a delegating role lists, by id. A key of an unknown kind has no public part here.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTable(BTreeMap<String, Option<PublicKey>>);

impl KeyTable {
    pub(crate) fn read(node: &Node<'_>, key_ids: KeyIds) -> Result<Self, Malformed> {
        let mut keys = BTreeMap::new();
        for (id, key) in node.fields()? {
            let public = PublicKey::read(&key)?;
            check_key_id(id, &key, key_ids)?;
            keys.insert(id.to_owned(), public);
        }
        Ok(KeyTable(keys))
    }

    /// The usable keys of `role`, each under the id it is listed by.
    pub(crate) fn authority(&self, role: &RoleKeys) -> ListedKeys {
        let keys = role.ids.iter().filter_map(|id| {
            let public = self.0.get(id)?.clone()?;
            Some(Key { id: id.clone(), public })
        });
        ListedKeys { threshold: role.threshold, keys: keys.collect() }
    }
}

/// Key ids and threshold of one role.
#[derive(Clone, Debug)]
pub(crate) struct RoleKeys {
    ids: Vec<String>,
    threshold: u64,
}

impl RoleKeys {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, Malformed> {
        let ids = node.required("keyids")?.items()?.map(|id| Ok(id.text()?.to_owned())).collect::<Result<_, _>>()?;
        let threshold = node.required("threshold")?;
        // Specification 1.0.34, section 4.3: a positive number. With 0, no signature would be a signature.
        let threshold = threshold
            .integer(1)
            .map_err(|error| Malformed::new(&error.place, Fault::BadValue, "a threshold is 1 or more"))?;
        Ok(RoleKeys { ids, threshold })
    }
}

/// Keys and threshold of a role, for the trust machine.
#[derive(Clone, Debug)]
pub struct ListedKeys {
    threshold: u64,
    keys: Vec<Key>,
}

impl ListedKeys {
    /// The fingerprints of the keys.
    pub(crate) fn fingerprints(&self) -> KeySet {
        use sealift_verifier::trust::format::VerificationKey as _;
        KeySet(self.keys.iter().map(|key| key.fingerprint()).collect())
    }
}

impl Authority for ListedKeys {
    type Key = Key;
    // TUF's roots may list keys of any scheme, and thresholds that no signature reaches.
    const MAY_BE_UNREACHABLE: bool = true;
    fn threshold(&self) -> u64 {
        self.threshold
    }
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().cloned()
    }
}

/// A set of key fingerprints without a bound: a host has room for what a file of bounded length can list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(BTreeSet<Digest>);

impl SignerSet for KeySet {
    fn insert(&mut self, fingerprint: Digest) -> bool {
        self.0.insert(fingerprint);
        true
    }
    fn contains(&self, fingerprint: &Digest) -> bool {
        self.0.contains(fingerprint)
    }
    fn count(&self) -> u64 {
        self.0.len() as u64
    }
}
