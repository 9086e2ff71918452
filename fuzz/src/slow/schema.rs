//! `schema.cddl` once more, rule by rule, over serde_cbor's values.

use std::collections::BTreeMap;

use serde_cbor::Value;
use sha2::{Digest, Sha256};

use super::cbor::{Fields, array_of_bytes, ascends, bytes, is, list, read, text, tuple, uint, write};

/// A SHA-256 digest, a key id.
pub type Hash = [u8; 32];

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// A role file.
#[derive(Clone, Debug)]
pub struct File {
    /// What is signed.
    pub payload: Vec<u8>,
    /// Key id and signature.
    pub signatures: Vec<(Hash, [u8; 64])>,
}

/// The fields of every role.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The repository.
    pub repository: [u8; 16],
    /// The version.
    pub version: u64,
    /// The expiry.
    pub expires: u64,
    /// Whether there is a critical extension.
    pub critical: bool,
}

/// Keys and threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleKeys {
    /// How many must sign.
    pub threshold: u64,
    /// Public keys.
    pub keys: Vec<[u8; 32]>,
}

/// Version, length and hash of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// The version.
    pub version: u64,
    /// The length.
    pub length: u64,
    /// The hash.
    pub digest: Hash,
}

/// A target, as far as it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// SHA-256 of the entry.
    pub digest: Hash,
    /// Product, component.
    pub identity: [String; 2],
    /// Hardware ids.
    pub hardware: Vec<String>,
    /// Security counter.
    pub counter: u64,
    /// Bridge release.
    pub minimum: Option<[u64; 3]>,
    /// Whether there is a critical extension.
    pub critical: bool,
}

/// A delegation.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegation {
    /// Name of the role.
    pub name: String,
    /// Who signs.
    pub keys: RoleKeys,
    /// For which products.
    pub products: Vec<String>,
    /// Up to which counter.
    pub ceiling: u64,
}

/// What a role says.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Root: keys of the four roles, and the counter's ceiling.
    Root([RoleKeys; 4], u64),
    /// Timestamp: issued, and the snapshot.
    Timestamp(u64, Meta),
    /// Snapshot: top-level targets, and delegated ones.
    Snapshot(Meta, BTreeMap<String, Meta>),
    /// Targets: name, targets, delegations.
    Targets(Option<String>, Vec<Target>, Vec<Delegation>),
}

const MAX_NUMBER: u64 = u64::MAX;
const MAX_U32: u64 = u32::MAX as u64;

fn between(value: Value, least: u64, most: u64) -> Option<u64> {
    uint(value).filter(|number| (least..=most).contains(number))
}

fn name(value: Value) -> Option<String> {
    let text = text(value)?;
    let first = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let good = text.len() <= 64
        && text.starts_with(first)
        && text.chars().all(|c| first(c) || c == '.' || c == '_' || c == '-');
    good.then_some(text)
}

fn role_name(value: Value) -> Option<String> {
    name(value).filter(|name| !["root", "timestamp", "snapshot", "targets"].contains(&name.as_str()))
}

fn names(value: Value, most: usize) -> Option<Vec<String>> {
    let names = list(value, most, name)?;
    ascends(&names)?;
    Some(names)
}

fn optional<T>(value: Option<Value>, read: impl Fn(Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

fn extensions(value: Option<Value>) -> Option<bool> {
    let Some(value) = value else { return Some(false) };
    let numbers = list(value, 8, |item| {
        let [number, content] = tuple(item)?;
        bytes(content).filter(|content| content.len() <= 256)?;
        uint(number)
    })?;
    ascends(&numbers)?;
    Some(true)
}

/// Both kinds of extensions; whether there is a critical one.
fn extensible(fields: &mut Fields) -> Option<bool> {
    let critical = extensions(fields.take(22))?;
    extensions(fields.take(23))?;
    Some(critical)
}

fn public_keys(value: Value) -> Option<Vec<[u8; 32]>> {
    let keys = list(value, 32, |key| {
        let mut fields = Fields::of(key)?;
        is(fields.take(1)?, 1)?;
        is(fields.take(-1)?, 6)?;
        let x = array_of_bytes(fields.take(-2)?)?;
        fields.finish()?;
        Some(x)
    })?;
    ascends(&keys)?;
    Some(keys)
}

fn role_keys(value: Value, keys: &[[u8; 32]]) -> Option<RoleKeys> {
    let [threshold, indexes] = tuple(value)?;
    let indexes = list(indexes, 8, uint)?;
    ascends(&indexes)?;
    let keys: Option<Vec<_>> = indexes.iter().map(|index| keys.get(usize::try_from(*index).ok()?).copied()).collect();
    Some(RoleKeys { threshold: uint(threshold)?, keys: keys? })
}

fn meta(value: Value) -> Option<Meta> {
    let [version, length, digest] = tuple(value)?;
    Some(Meta {
        version: between(version, 1, MAX_NUMBER)?,
        length: between(length, 1, 5305)?,
        digest: array_of_bytes(digest)?,
    })
}

fn release(value: Value) -> Option<[u64; 3]> {
    let [major, minor, patch] = tuple(value)?;
    Some([between(major, 0, MAX_U32)?, between(minor, 0, MAX_U32)?, between(patch, 0, MAX_U32)?])
}

fn image(value: Value) -> Option<()> {
    let [length, digest] = tuple(value)?;
    between(length, 1, MAX_U32)?;
    array_of_bytes::<32>(digest).map(|_| ())
}

fn payload(value: Value) -> Option<()> {
    let mut fields = Fields::of(value)?;
    let codec = uint(fields.take(1)?)?;
    between(fields.take(2)?, 1, MAX_U32)?;
    array_of_bytes::<32>(fields.take(3)?)?;
    let base = optional(fields.take(4), image)?.is_some();
    let ram = optional(fields.take(5), |ram| between(ram, 1, MAX_U32))?.is_some();
    let window = optional(fields.take(6), |window| between(window, 1, 31))?.is_some();
    fields.finish()?;
    let complete = match codec {
        0 => !base && !ram,
        1 => !base && ram,
        2 => base && ram,
        _ => true,
    };
    (complete && ram == window).then_some(())
}

fn target(value: Value) -> Option<Target> {
    let digest = sha256(&write(&value));
    let mut fields = Fields::of(value)?;
    let identity = [name(fields.take(1)?)?, name(fields.take(2)?)?];
    let hardware = names(fields.take(3)?, 16)?;
    release(fields.take(4)?)?;
    let counter = uint(fields.take(5)?)?;
    let minimum = optional(fields.take(6), release)?;
    image(fields.take(7)?)?;
    list(fields.take(8)?, 16, payload)?;
    optional(fields.take(9), array_of_bytes::<32>)?;
    let critical = extensible(&mut fields)?;
    fields.finish()?;
    Some(Target { digest, identity, hardware, counter, minimum, critical })
}

fn delegation(value: Value, keys: &[[u8; 32]]) -> Option<Delegation> {
    let mut fields = Fields::of(value)?;
    let delegation = Delegation {
        name: role_name(fields.take(1)?)?,
        keys: role_keys(fields.take(2)?, keys)?,
        products: names(fields.take(3)?, 16)?,
        ceiling: uint(fields.take(4)?)?,
    };
    fields.finish()?;
    Some(delegation)
}

/// Which role a payload says it is: key 1.
pub fn number(payload: &[u8]) -> Option<u64> {
    uint(Fields::of(read(payload)?)?.take(1)?)
}

/// Reads a role's payload.
pub fn role(payload: &[u8]) -> Option<(Header, Role)> {
    let mut fields = Fields::of(read(payload)?)?;
    let number = uint(fields.take(1)?)?;
    is(fields.take(2)?, 1)?;
    let repository = array_of_bytes(fields.take(3)?)?;
    let version = between(fields.take(4)?, 1, MAX_NUMBER)?;
    let expires = uint(fields.take(5)?)?;
    let role = match number {
        1 => {
            let keys = public_keys(fields.take(6)?)?;
            let mut roles = Fields::of(fields.take(7)?)?;
            let mut next = |number| role_keys(roles.take(number)?, &keys);
            let all = [next(1)?, next(2)?, next(3)?, next(4)?];
            roles.finish()?;
            Role::Root(all, uint(fields.take(8)?)?)
        }
        2 => Role::Timestamp(uint(fields.take(6)?)?, meta(fields.take(7)?)?),
        3 => {
            let targets = meta(fields.take(6)?)?;
            let delegated = optional(fields.take(7), |value| {
                list(value, 32, |entry| {
                    let [name, pinned] = tuple(entry)?;
                    Some((role_name(name)?, meta(pinned)?))
                })
            })?;
            let delegated = delegated.unwrap_or_default();
            ascends(&delegated.iter().map(|(name, _)| name).collect::<Vec<_>>())?;
            Role::Snapshot(targets, delegated.into_iter().collect())
        }
        4 => {
            let name = optional(fields.take(6), role_name)?;
            let targets = optional(fields.take(7), |value| list(value, 16, target))?.unwrap_or_default();
            let keys = optional(fields.take(8), public_keys)?;
            let delegations = optional(fields.take(9), Some)?;
            let delegations = match (keys, delegations) {
                (None, None) => vec![],
                (Some(keys), Some(value)) if name.is_none() => list(value, 32, |value| delegation(value, &keys))?,
                _ => return None,
            };
            ascends(&delegations.iter().map(|delegation| &delegation.name).collect::<Vec<_>>())?;
            Role::Targets(name, targets, delegations)
        }
        _ => return None,
    };
    let critical = extensible(&mut fields)?;
    fields.finish()?;
    Some((Header { repository, version, expires, critical }, role))
}

const ALGORITHM: [u8; 3] = [0xa1, 0x01, 0x27];

fn key_id(value: Value) -> Option<Hash> {
    let mut fields = Fields::of(value)?;
    let id = array_of_bytes(fields.take(4)?)?;
    fields.finish()?;
    Some(id)
}

/// Reads the envelope of a role file.
pub fn file(file: &[u8]) -> Option<File> {
    let Value::Tag(98, body) = read(file)? else { return None };
    let [protected, unprotected, payload, signatures] = tuple(*body)?;
    let empty = bytes(protected)?.is_empty();
    Fields::of(unprotected)?.finish()?;
    let payload = bytes(payload).filter(|payload| empty && payload.len() <= 3584)?;
    let signatures = list(signatures, 16, |signature| {
        let [protected, unprotected, signature] = tuple(signature)?;
        (bytes(protected)? == ALGORITHM).then_some(())?;
        Some((key_id(unprotected)?, array_of_bytes(signature)?))
    })?;
    ascends(&signatures.iter().map(|(key_id, _)| key_id).collect::<Vec<_>>())?;
    Some(File { payload, signatures })
}

/// What a signed report says: payload, key id, signature.
pub fn signed_report(report: &[u8]) -> Option<(Vec<u8>, Hash, [u8; 64])> {
    let Value::Tag(18, body) = read(report)? else { return None };
    let [protected, unprotected, payload, signature] = tuple(*body)?;
    (report.len() <= 768 && bytes(protected)? == ALGORITHM).then_some(())?;
    Some((bytes(payload)?, key_id(unprotected)?, array_of_bytes(signature)?))
}

/// Whether a report's payload is one; its thing and job.
pub fn report(payload: &[u8]) -> Option<(String, String)> {
    let mut fields = Fields::of(read(payload)?)?;
    is(fields.take(1)?, 1)?;
    array_of_bytes::<16>(fields.take(2)?)?;
    let thing = text(fields.take(3)?).filter(|thing| (1..=128).contains(&thing.len()))?;
    let job = text(fields.take(4)?).filter(|job| (1..=64).contains(&job.len()))?;
    uint(fields.take(5)?)?;
    uint(fields.take(6)?)?;
    array_of_bytes::<32>(fields.take(7)?)?;
    uint(fields.take(8)?)?;
    fields.finish()?;
    Some((thing, job))
}

/// The key id of a public key (RFC 9679).
pub fn thumbprint(public: &[u8; 32]) -> Hash {
    let parameters = [(1, Value::Integer(1)), (-1, Value::Integer(6)), (-2, Value::Bytes(public.to_vec()))];
    sha256(&write(&Value::Map(parameters.map(|(label, value)| (Value::Integer(label), value)).into())))
}

/// What a signature on a role file covers (RFC 9052, section 4.4).
pub fn sig_structure(payload: &[u8]) -> Vec<u8> {
    let empty = || Value::Bytes(vec![]);
    let algorithm = Value::Bytes(ALGORITHM.to_vec());
    let context = Value::Text("Signature".into());
    write(&Value::Array(vec![context, empty(), algorithm, empty(), Value::Bytes(payload.to_vec())]))
}
