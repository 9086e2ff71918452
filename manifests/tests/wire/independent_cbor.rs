//! A CBOR library that is not ours (serde_cbor) reads what we write, field by field, and builds what is signed.

use proptest::prelude::*;
use sealift_manifests::envelope::SigStructure;
use sealift_manifests::report::SignedReport;
use sealift_manifests::*;
use serde_cbor::Value;

use crate::values;

fn read(bytes: &[u8]) -> Value {
    serde_cbor::from_slice(bytes).unwrap()
}

fn field(map: &Value, key: i128) -> Option<&Value> {
    let Value::Map(map) = map else { panic!("not a map: {map:?}") };
    map.get(&Value::Integer(key))
}

fn uint(value: impl Into<u64>) -> Value {
    Value::Integer(value.into().into())
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.into())
}

fn array(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}

fn map(entries: impl IntoIterator<Item = (i128, Option<Value>)>) -> Value {
    let present = entries.into_iter().filter_map(|(key, value)| Some((Value::Integer(key), value?)));
    Value::Map(present.collect())
}

/// `None` for a list that is left out when it is empty.
fn list(items: impl IntoIterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.into_iter().collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

fn extensions(extensions: &Extensions<'_>) -> Option<Value> {
    list(extensions.iter().map(|(number, value)| array([uint(number), bytes(value)])))
}

fn role(number: u64, header: &Header<'_>, own: Vec<(i128, Option<Value>)>) -> Value {
    let head = [
        (1, Some(uint(number))),
        (2, Some(uint(1u64))),
        (3, Some(bytes(&header.repository.0))),
        (4, Some(uint(header.version))),
        (5, Some(uint(header.expires))),
    ];
    let tail = [(22, extensions(&header.critical)), (23, extensions(&header.extensions))];
    map(head.into_iter().chain(own).chain(tail))
}

fn key(key: &PublicKey) -> Value {
    map([(1, Some(uint(1u64))), (-1, Some(uint(6u64))), (-2, Some(bytes(&key.0)))])
}

fn keys(keys: List<'_, PublicKey>) -> Option<Value> {
    list(keys.iter().map(|each| key(&each)))
}

fn role_keys(keys: &RoleKeys<'_>) -> Value {
    array([uint(keys.threshold), array(keys.keys.iter().map(uint))])
}

fn meta(meta: &Meta) -> Value {
    array([uint(meta.version), uint(meta.length), bytes(&meta.digest.0)])
}

fn version(version: &Version) -> Value {
    array(version.0.map(uint))
}

fn image(image: &Image) -> Value {
    array([uint(image.length), bytes(&image.digest.0)])
}

fn payload(payload: &Payload) -> Value {
    let decoder = payload.decoder_ram != 0;
    map([
        (1, Some(uint(payload.codec.0))),
        (2, Some(uint(payload.length))),
        (3, Some(bytes(&payload.digest.0))),
        (4, payload.base.as_ref().map(image)),
        (5, decoder.then(|| uint(payload.decoder_ram))),
        (6, decoder.then(|| uint(payload.window_log))),
    ])
}

fn target(target: &Target<'_>) -> Value {
    map([
        (1, Some(text(target.product))),
        (2, Some(text(target.component))),
        (3, list(target.hardware.iter().map(text))),
        (4, Some(version(&target.version))),
        (5, Some(uint(target.security_counter))),
        (6, target.minimum_version.as_ref().map(version)),
        (7, Some(image(&target.image))),
        (8, list(target.payloads.iter().map(|each| payload(&each)))),
        (9, target.sbom.map(|digest| bytes(&digest.0))),
        (22, extensions(&target.critical)),
        (23, extensions(&target.extensions)),
    ])
}

fn delegation(delegation: &Delegation<'_>) -> Value {
    map([
        (1, Some(text(delegation.name))),
        (2, Some(role_keys(&delegation.keys))),
        (3, list(delegation.products.iter().map(text))),
        (4, Some(uint(delegation.counter_ceiling))),
    ])
}

proptest! {
    #[test]
    fn serde_cbor_reads_every_field_of_a_root(root in values::root()) {
        let [a, b, c, d] = root.roles.each_ref().map(|keys| Some(role_keys(keys)));
        let own = vec![
            (6, keys(root.keys)),
            (7, Some(map([(1, a), (2, b), (3, c), (4, d)]))),
            (8, Some(uint(root.counter_ceiling))),
        ];
        prop_assert_eq!(read(&root.encode()), role(1, &root.header, own));
    }

    #[test]
    fn serde_cbor_reads_every_field_of_a_timestamp(timestamp in values::timestamp()) {
        let own = vec![(6, Some(uint(timestamp.issued))), (7, Some(meta(&timestamp.snapshot)))];
        prop_assert_eq!(read(&timestamp.encode()), role(2, &timestamp.header, own));
    }

    #[test]
    fn serde_cbor_reads_every_field_of_a_snapshot(snapshot in values::snapshot()) {
        let delegated = list(snapshot.delegated.iter().map(|each| array([text(each.name), meta(&each.meta)])));
        let own = vec![(6, Some(meta(&snapshot.targets))), (7, delegated)];
        prop_assert_eq!(read(&snapshot.encode()), role(3, &snapshot.header, own));
    }

    #[test]
    fn serde_cbor_reads_every_field_of_targets(targets in values::targets()) {
        let own = vec![
            (6, targets.name.map(text)),
            (7, list(targets.targets.iter().map(|each| target(&each)))),
            (8, keys(targets.keys)),
            (9, list(targets.delegations.iter().map(|each| delegation(&each)))),
        ];
        prop_assert_eq!(read(&targets.encode()), role(4, &targets.header, own));
    }

    #[test]
    fn serde_cbor_reads_every_field_of_an_envelope(envelope in values::envelope()) {
        let signatures = envelope.signatures.iter().map(|each| {
            let key_id = map([(4, Some(bytes(&each.key_id.0)))]);
            array([bytes(&[0xa1, 0x01, 0x27]), key_id, bytes(each.signature)])
        });
        let body = array([bytes(&[]), map([]), bytes(envelope.payload), array(signatures)]);
        prop_assert_eq!(read(&envelope.encode()), Value::Tag(98, Box::new(body)));
    }

    #[test]
    fn serde_cbor_reads_every_field_of_a_signed_report(signed in values::signed_report()) {
        let key_id = map([(4, Some(bytes(&signed.key_id.0)))]);
        let algorithm = bytes(&[0xa1, 0x01, 0x27]);
        let body = array([algorithm, key_id, bytes(signed.payload), bytes(signed.signature)]);
        prop_assert_eq!(read(&signed.encode()), Value::Tag(18, Box::new(body)));

        let report = report::Report::decode(signed.payload).unwrap();
        let payload = read(signed.payload);
        let fields = [
            (1, uint(1u64)),
            (2, bytes(&report.repository.0)),
            (3, text(report.thing)),
            (4, text(report.job)),
            (5, uint(report.execution)),
            (6, uint(report.boot_count)),
            (7, bytes(&report.image.0)),
            (8, uint(report.security_counter)),
        ];
        for (number, value) in fields {
            prop_assert_eq!(field(&payload, number), Some(&value), "field {}", number);
        }
    }

    /// Deterministic encoding (RFC 8949, section 4.2.1), by serde_cbor's word: what it reads it writes back the same.
    /// Its own key order is that of RFC 7049, the same as ours for keys of one byte.
    #[test]
    fn serde_cbor_writes_targets_back_byte_for_byte(targets in values::targets()) {
        let encoded = targets.encode();
        prop_assert_eq!(serde_cbor::to_vec(&read(&encoded)).unwrap(), encoded);
    }

    /// RFC 9052, section 4.4, by serde_cbor: what we hash in two parts is the `Sig_structure`.
    #[test]
    fn what_a_role_signature_covers_is_the_sig_structure(payload in prop::collection::vec(any::<u8>(), 0..4_000)) {
        let parts = [text("Signature"), bytes(&[]), bytes(&[0xa1, 0x01, 0x27]), bytes(&[]), bytes(&payload)];
        let structure = serde_cbor::to_vec(&array(parts)).unwrap();
        prop_assert_eq!(SigStructure::new(&payload).parts().concat(), structure);
    }

    #[test]
    fn what_a_report_signature_covers_is_the_sig_structure(payload in prop::collection::vec(any::<u8>(), 0..700)) {
        let parts = [text("Signature1"), bytes(&[0xa1, 0x01, 0x27]), bytes(&[]), bytes(&payload)];
        prop_assert_eq!(SignedReport::sig_structure(&payload), serde_cbor::to_vec(&array(parts)).unwrap());
    }
}

/// The lengths at which the head of the payload grows.
#[test]
fn the_sig_structure_is_right_where_the_head_of_the_payload_grows() {
    for length in [0, 1, 23, 24, 255, 256, bounds::MAX_PAYLOAD] {
        let payload = vec![0x5a; length];
        let parts = [text("Signature"), bytes(&[]), bytes(&[0xa1, 0x01, 0x27]), bytes(&[]), bytes(&payload)];
        let structure = serde_cbor::to_vec(&array(parts)).unwrap();
        assert_eq!(SigStructure::new(&payload).to_vec(), structure, "{length} bytes");
    }
}
