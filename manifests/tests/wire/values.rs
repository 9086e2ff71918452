//! Proptest strategies for every type of the format. Values borrow, so what they borrow from is leaked: a test process is
//! short, and the strategies stay as plain as the types.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use sealift_manifests::bounds::*;
use sealift_manifests::envelope::Signature;
use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::*;

fn leaked<T>(items: impl IntoIterator<Item = T>) -> &'static [T] {
    Box::leak(items.into_iter().collect::<Vec<_>>().into_boxed_slice())
}

fn leaked_text(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Numbers with every length of head, and their neighbours.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX];
    prop_oneof![0..30u64, prop::sample::select(edges.to_vec()), any::<u64>()]
}

fn small_number(least: u32) -> impl Strategy<Value = u32> {
    number().prop_map(move |n| (n as u32).max(least))
}

pub(crate) fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => "[a-z0-9][a-z0-9._-]{0,7}", 1 => "[a-z0-9][a-z0-9._-]{0,63}"].prop_map(leaked_text)
}

fn role_name() -> impl Strategy<Value = &'static str> {
    name().prop_filter("not a top-level role", |name| Role::ALL.iter().all(|role| role.name() != *name))
}

fn names(most: usize) -> impl Strategy<Value = List<'static, &'static str>> {
    btree_set(name(), 1..=most).prop_map(|names| List::new(leaked(names)))
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn extensions() -> impl Strategy<Value = Extensions<'static>> {
    let values = btree_map(number(), vec(any::<u8>(), 0..=MAX_EXTENSION_VALUE), 0..=MAX_EXTENSIONS);
    let some = values.prop_map(|values| {
        let items = values.into_iter().map(|(number, value)| (number, leaked(value)));
        Extensions::new(leaked(items))
    });
    prop_oneof![2 => Just(Extensions::NONE), 1 => some]
}

fn header() -> impl Strategy<Value = Header<'static>> {
    let plain = (any::<[u8; 16]>(), number().prop_map(|version| version.max(1)), number());
    (plain, extensions(), extensions()).prop_map(|((repository, version, expires), critical, extensions)| Header {
        critical,
        extensions,
        ..Header::new(RepositoryId(repository), version, expires)
    })
}

fn keys() -> impl Strategy<Value = &'static [PublicKey]> {
    btree_set(any::<[u8; 32]>().prop_map(PublicKey), 1..=MAX_KEYS).prop_map(leaked)
}

fn role_keys(count: usize) -> impl Strategy<Value = RoleKeys<'static>> {
    let most = count.min(MAX_ROLE_KEYS);
    (number(), btree_set(0..count as u64, 1..=most))
        .prop_map(|(threshold, keys)| RoleKeys { threshold, keys: List::new(leaked(keys)) })
}

pub(crate) fn root() -> impl Strategy<Value = Root<'static>> {
    let roles = |keys: &'static [PublicKey]| (Just(keys), prop::array::uniform4(role_keys(keys.len())));
    (header(), keys().prop_flat_map(roles), number()).prop_map(|(header, (keys, roles), counter_ceiling)| Root {
        header,
        keys: List::new(keys),
        roles,
        counter_ceiling,
    })
}

fn meta() -> impl Strategy<Value = Meta> {
    (number(), 1..=MAX_ENVELOPE as u32, digest()).prop_map(|(version, length, digest)| Meta {
        version: version.max(1),
        length,
        digest,
    })
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp<'static>> {
    (header(), number(), meta()).prop_map(|(header, issued, snapshot)| Timestamp { header, issued, snapshot })
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot<'static>> {
    let delegated = btree_map(role_name(), meta(), 0..=MAX_DELEGATIONS)
        .prop_map(|entries| leaked(entries.into_iter().map(|(name, meta)| DelegatedMeta { name, meta })));
    (header(), meta(), delegated).prop_map(|(header, targets, delegated)| Snapshot {
        header,
        targets,
        delegated: List::new(delegated),
    })
}

fn version() -> impl Strategy<Value = Version> {
    prop::array::uniform3(small_number(0)).prop_map(Version)
}

fn image() -> impl Strategy<Value = Image> {
    (small_number(1), digest()).prop_map(|(length, digest)| Image { length, digest })
}

fn payload() -> impl Strategy<Value = Payload> {
    let codec = prop_oneof![3 => 0..3u64, 1 => number().prop_map(|number| number.max(3))];
    let decoder = (any::<bool>(), small_number(1), 1..=31u8);
    (codec, small_number(1), digest(), proptest::option::of(image()), decoder).prop_map(
        |(codec, length, digest, base, (decoder, ram, window))| {
            let base = match codec {
                0 | 1 => None,
                2 => base.or(Some(Image { length, digest })),
                _ => base,
            };
            let decoder = codec != 0 && (decoder || codec < 3);
            let (decoder_ram, window_log) = if decoder { (ram, window) } else { (0, 0) };
            Payload { codec: Codec(codec), length, digest, base, decoder_ram, window_log }
        },
    )
}

pub(crate) fn target() -> impl Strategy<Value = Target<'static>> {
    let who = (name(), name(), names(MAX_HARDWARE), version(), number(), proptest::option::of(version()));
    let payloads = vec(payload(), 1..=MAX_PAYLOADS).prop_map(leaked);
    let what = (image(), payloads, proptest::option::of(digest()), extensions(), extensions());
    (who, what).prop_map(
        |(
            (product, component, hardware, version, security_counter, minimum_version),
            (image, payloads, sbom, critical, extensions),
        )| Target {
            product,
            component,
            hardware,
            version,
            security_counter,
            minimum_version,
            image,
            payloads: List::new(payloads),
            sbom,
            critical,
            extensions,
        },
    )
}

fn delegations(count: usize) -> impl Strategy<Value = &'static [Delegation<'static>]> {
    let rest = (role_keys(count), names(MAX_PRODUCTS), number());
    btree_map(role_name(), rest, 1..=6).prop_map(|entries| {
        leaked(entries.into_iter().map(|(name, (keys, products, counter_ceiling))| Delegation {
            name,
            keys,
            products,
            counter_ceiling,
        }))
    })
}

pub(crate) fn targets() -> impl Strategy<Value = Targets<'static>> {
    let none = || Just((&[][..], &[][..]));
    let some = keys().prop_flat_map(|keys| (Just(keys), delegations(keys.len())));
    let place = prop_oneof![
        role_name().prop_map(Some).prop_flat_map(move |name| (Just(name), none())),
        Just(None).prop_flat_map(move |name| (Just(name), none())),
        (Just(None), some),
    ];
    (header(), place, vec(target(), 0..=4)).prop_map(|(header, (name, (keys, delegations)), targets)| Targets {
        header,
        name,
        targets: List::new(leaked(targets)),
        keys: List::new(keys),
        delegations: List::new(delegations),
    })
}

fn any_signature() -> impl Strategy<Value = &'static [u8; 64]> {
    vec(any::<u8>(), 64).prop_map(|bytes| leaked(bytes).try_into().unwrap())
}

pub(crate) fn envelope_around(payload: &'static [u8]) -> impl Strategy<Value = Envelope<'static>> {
    btree_map(digest(), any_signature(), 1..=MAX_SIGNATURES).prop_map(move |entries| {
        let signatures = entries.into_iter().map(|(key_id, signature)| Signature { key_id, signature });
        Envelope { payload, signatures: List::new(leaked(signatures)) }
    })
}

pub(crate) fn envelope() -> impl Strategy<Value = Envelope<'static>> {
    vec(any::<u8>(), 0..=MAX_PAYLOAD).prop_flat_map(|payload| envelope_around(leaked(payload)))
}

pub(crate) fn report() -> impl Strategy<Value = Report<'static>> {
    let ids = ("[a-zA-Z0-9:_-]{1,128}".prop_map(leaked_text), "[a-zA-Z0-9_-]{1,64}".prop_map(leaked_text));
    (any::<[u8; 16]>(), ids, [number(), number(), number()], digest()).prop_map(
        |(repository, (thing, job), [execution, boot_count, security_counter], image)| Report {
            repository: RepositoryId(repository),
            thing,
            job,
            execution,
            boot_count,
            image,
            security_counter,
        },
    )
}

pub(crate) fn signed_report() -> impl Strategy<Value = SignedReport<'static>> {
    (report(), digest(), any_signature()).prop_map(|(report, key_id, signature)| SignedReport {
        payload: leaked(report.encode()),
        key_id,
        signature,
    })
}
