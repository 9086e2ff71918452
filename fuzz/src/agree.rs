//! The strict decoder and the slow one must agree on every input: accept or refuse, and every field.

use std::collections::BTreeMap;

use sealift_manifests::{
    Delegation, Envelope, Header, Meta, Role, RoleKeys, Root, Snapshot, Target, Targets, Timestamp, bundle, report,
};

use crate::slow::{cbor, schema};

fn header(header: &Header<'_>) -> schema::Header {
    schema::Header {
        repository: header.repository.0,
        version: header.version,
        expires: header.expires,
        critical: !header.critical.is_empty(),
    }
}

fn meta(meta: &Meta) -> schema::Meta {
    schema::Meta { version: meta.version, length: meta.length.into(), digest: meta.digest.0 }
}

fn keys(role: &RoleKeys<'_>, listed: sealift_manifests::List<'_, sealift_manifests::PublicKey>) -> schema::RoleKeys {
    schema::RoleKeys { threshold: role.threshold, keys: role.resolve(listed).map(|key| key.0).collect() }
}

fn target((target, encoded): (Target<'_>, &[u8])) -> schema::Target {
    schema::Target {
        digest: schema::sha256(encoded),
        identity: [target.product.into(), target.component.into()],
        hardware: target.hardware.iter().map(str::to_owned).collect(),
        counter: target.security_counter,
        minimum: target.minimum_version.map(|version| version.0.map(u64::from)),
        critical: !target.critical.is_empty(),
    }
}

fn delegation(each: &Delegation<'_>, targets: &Targets<'_>) -> schema::Delegation {
    schema::Delegation {
        name: each.name.into(),
        keys: keys(&each.keys, targets.keys),
        products: each.products.iter().map(str::to_owned).collect(),
        ceiling: each.counter_ceiling,
    }
}

/// What the strict decoder reads as `role`, in the slow one's terms, and written back.
fn strict(role: Role, payload: &[u8]) -> Option<(schema::Header, schema::Role, Vec<u8>)> {
    Some(match role {
        Role::Root => {
            let root = Root::decode(payload).ok()?;
            let roles = root.roles.each_ref().map(|role| keys(role, root.keys));
            (header(&root.header), schema::Role::Root(roles, root.counter_ceiling), root.encode())
        }
        Role::Timestamp => {
            let timestamp = Timestamp::decode(payload).ok()?;
            let said = schema::Role::Timestamp(timestamp.issued, meta(&timestamp.snapshot));
            (header(&timestamp.header), said, timestamp.encode())
        }
        Role::Snapshot => {
            let snapshot = Snapshot::decode(payload).ok()?;
            let delegated: BTreeMap<_, _> =
                snapshot.delegated.iter().map(|entry| (entry.name.to_owned(), meta(&entry.meta))).collect();
            for (name, pinned) in &delegated {
                assert_eq!(snapshot.delegated(name).as_ref().map(meta).as_ref(), Some(pinned));
            }
            (header(&snapshot.header), schema::Role::Snapshot(meta(&snapshot.targets), delegated), snapshot.encode())
        }
        Role::Targets => {
            let targets = Targets::decode(payload).ok()?;
            let all = targets.targets.entries().map(target).collect();
            let delegations = targets.delegations.iter().map(|each| delegation(&each, &targets)).collect();
            let said = schema::Role::Targets(targets.name.map(str::to_owned), all, delegations);
            (header(&targets.header), said, targets.encode())
        }
    })
}

/// A payload under every role: both read it or both refuse it; what is read is the same, and writes back as it was.
/// Returns whether any role read it.
pub fn on_role(payload: &[u8]) -> bool {
    let slow = schema::role(payload);
    let mut read = false;
    for role in Role::ALL {
        let expected = slow.as_ref().filter(|(_, said)| {
            matches!(
                (role, said),
                (Role::Root, schema::Role::Root(..))
                    | (Role::Timestamp, schema::Role::Timestamp(..))
                    | (Role::Snapshot, schema::Role::Snapshot(..))
                    | (Role::Targets, schema::Role::Targets(..))
            )
        });
        match (strict(role, payload), expected) {
            (None, None) => {}
            (Some((header, said, written)), Some((slow_header, slow_said))) => {
                assert_eq!((&header, &said), (slow_header, slow_said), "{role}: other fields");
                assert_eq!(written, payload, "{role}: not written back as it was read");
                assert_eq!(Role::peek(payload), Ok(role));
                read = true;
            }
            (strict, slow) => panic!("{role}: strict {strict:?}, slow {slow:?}"),
        }
    }
    read
}

/// An envelope: both read the same, and it writes back as it was. Returns its payload.
pub fn on_envelope(file: &[u8]) -> Option<Vec<u8>> {
    match (Envelope::decode(file), schema::file(file)) {
        (Err(_), None) => None,
        (Ok(envelope), Some(slow)) => {
            assert_eq!(envelope.payload, slow.payload);
            let signatures: Vec<_> = envelope.signatures.iter().map(|each| (each.key_id.0, *each.signature)).collect();
            assert_eq!(signatures, slow.signatures);
            assert_eq!(envelope.encode(), file);
            assert_eq!(envelope.sig_structure().to_vec(), schema::sig_structure(&slow.payload));
            assert!(file.len() <= sealift_manifests::bounds::MAX_ENVELOPE);
            Some(slow.payload)
        }
        (strict, slow) => panic!("strict {strict:?}, slow {slow:?}"),
    }
}

/// A bundle: both see the same files up to the same fault.
pub fn on_bundle(bytes: &[u8]) {
    let mut strict = bundle::files(bytes);
    for (at, item) in cbor::sequence(bytes).into_iter().enumerate() {
        let expected = item.filter(|item| at < bundle::MAX_FILES && schema::file(item).is_some());
        let found = strict.next().expect("a file or an error");
        assert_eq!(found.ok(), expected, "file {at}");
        if expected.is_none() {
            break;
        }
    }
    assert_eq!(strict.next(), None, "nothing follows the end or an error");
}

/// A signed report and what is in it.
pub fn on_report(bytes: &[u8]) {
    match (report::SignedReport::decode(bytes), schema::signed_report(bytes)) {
        (Err(_), None) => {}
        (Ok(strict), Some((payload, key_id, signature))) => {
            assert_eq!((strict.payload, strict.key_id.0, strict.signature), (&payload[..], key_id, &signature));
            assert_eq!(strict.encode(), bytes);
            on_report_payload(strict.payload);
        }
        (strict, slow) => panic!("strict {strict:?}, slow {slow:?}"),
    }
}

/// A report's payload.
pub fn on_report_payload(payload: &[u8]) {
    match (report::Report::decode(payload), schema::report(payload)) {
        (Err(_), None) => {}
        (Ok(report), Some((thing, job))) => {
            assert_eq!((report.thing, report.job), (&thing[..], &job[..]));
            assert_eq!(report.encode(), payload);
        }
        (strict, slow) => panic!("strict {strict:?}, slow {slow:?}"),
    }
}

/// An install file: both see the same bundle and the same payloads up to the same fault.
pub fn on_install_file(bytes: &[u8]) {
    let items = cbor::sequence(bytes);
    let is_file = |at: usize, item: &Option<&[u8]>| at == 0 || item.is_some_and(|item| item[0] >> 5 == 6);
    let files = items.iter().enumerate().take_while(|(at, item)| is_file(*at, item)).count();
    let role_file = |item: &Option<&[u8]>| item.is_some_and(|item| schema::file(item).is_some());
    // An item that is cut short stands for itself: what it would have been shows in its first byte.
    let length: usize = items[..files].iter().flatten().map(|item| item.len()).sum();
    let cut = bytes.get(length).is_some_and(|head| head >> 5 == 6);
    let good = files <= bundle::MAX_FILES && items[..files].iter().all(role_file) && !cut;
    match sealift_manifests::install_file::split(bytes) {
        Err(_) => assert!(!good, "the slow decoder sees {files} files"),
        Ok((bundle, payloads)) => {
            assert!(good, "the strict decoder sees a bundle of {} bytes", bundle.len());
            assert_eq!(bundle, &bytes[..length]);
            let expected = items[files..].iter().map(|item| cbor::bytes(cbor::read((*item)?)?));
            let mut failed = false;
            for (found, expected) in payloads.zip(expected) {
                assert!(!failed, "nothing follows an error");
                assert_eq!(found.ok().map(<[u8]>::to_vec), expected);
                failed = expected.is_none();
            }
        }
    }
}
