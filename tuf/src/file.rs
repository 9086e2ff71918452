//! A received JSON role file: the tree, its signed part in canonical form, and its signatures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use sealift_manifests::{Digest, Fault, Role, sha256};
use sealift_verifier::trust::format::{RoleFacts, SignedFile};

use crate::error::Malformed;
use crate::json::{Json, Node};
use crate::key::{Key, KeyIds};

/// A role that this encoding can read.
pub(crate) trait JsonRole: Sized {
    /// Which role it is.
    const ROLE: Role;
    /// Reads its signed part.
    fn read(signed: &Node<'_>, key_ids: KeyIds) -> Result<Self, Malformed>;
}

/// A received role file that is expected to be an `R`.
#[derive(Debug)]
pub(crate) struct JsonFile<'a, R> {
    bytes: &'a [u8],
    signed: Json,
    canonical: Vec<u8>,
    /// By key id. What is no hex is no signature, and stands here as an empty one.
    signatures: BTreeMap<String, Vec<u8>>,
    key_ids: KeyIds,
    /// What was wrong with the signed part: the machine's error has no room for it.
    fault: RefCell<Option<Malformed>>,
    role: PhantomData<R>,
}

impl<'a, R: JsonRole> JsonFile<'a, R> {
    /// Reads the file; its signed part stays unread until its signatures are counted.
    pub(crate) fn new(bytes: &'a [u8], key_ids: KeyIds) -> Result<Self, Malformed> {
        let Json::Object(mut fields) = Json::parse(bytes)? else {
            return Err(Malformed::new("", Fault::WrongType, "a metadata file is an object"));
        };
        let signed = fields
            .remove("signed")
            .ok_or_else(|| Malformed::new("", Fault::MissingField, "the field \"signed\" is missing"))?;
        let tree = Json::Object(fields);
        let mut signatures = BTreeMap::new();
        for entry in Node::new(&tree, "").required("signatures")?.items()? {
            let id = entry.required("keyid")?;
            let signature = hex::decode(entry.required("sig")?.text()?).unwrap_or_default();
            // Specification 1.0.34, section 4.2: the key id MUST be unique here.
            if signatures.insert(id.text()?.to_owned(), signature).is_some() {
                return Err(id.fault(Fault::NotAscending, "two signatures under one key id"));
            }
        }
        let canonical = signed.canonical();
        Ok(JsonFile { bytes, signed, canonical, signatures, key_ids, fault: RefCell::default(), role: PhantomData })
    }

    /// What was wrong with the signed part, if it was that.
    pub(crate) fn take_fault(&self) -> Option<Malformed> {
        self.fault.take()
    }

    fn read(&self) -> Result<R, Malformed> {
        let signed = Node::new(&self.signed, "signed");
        let kind = signed.required("_type")?;
        if kind.text()? != R::ROLE.name() {
            return Err(
                kind.fault(Fault::WrongRole, format!("{:?} where {:?} is wanted", kind.text()?, R::ROLE.name()))
            );
        }
        let version = signed.required("spec_version")?;
        // Section 4.3: clients MUST refuse a major version other than theirs. Older repositories write two numbers.
        let mut parts = version.text()?.split('.');
        let ours = parts.next() == Some("1")
            && (1..=2).contains(&parts.clone().count())
            && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        if !ours {
            return Err(version.fault(
                Fault::UnknownVersion,
                format!("{:?} is not a version 1 of the specification", version.text()?),
            ));
        }
        R::read(&signed, self.key_ids)
    }
}

impl<R: JsonRole + RoleFacts> SignedFile<Key> for JsonFile<'_, R> {
    type Content = R;

    fn bytes(&self) -> &[u8] {
        self.bytes
    }

    fn content_digest(&self) -> Digest {
        sha256(&self.canonical)
    }

    fn check_signature(&self, key: &Key, check: impl FnOnce(&[&[u8]], &[u8]) -> bool) -> bool {
        match self.signatures.get(&key.id) {
            Some(signature) => check(&[&self.canonical], signature),
            None => false,
        }
    }

    fn open(&self) -> Result<R, sealift_verifier::Error> {
        self.read().map_err(|fault| {
            let refusal = fault.refusal(R::ROLE);
            self.fault.replace(Some(fault));
            refusal
        })
    }
}
