//! Cases 9 to 14: what a validly signed file may not be taken for.

use sealift_manifests::{
    DelegatedMeta, Delegation, Header, List, Meta, Role, RoleKeys, Snapshot, Targets, Timestamp, Version,
};
use sealift_verifier::Error;
use sealift_verifier::session::{DeviceFacts, Session};
use sealift_verifier::trust::{Policy, Time};

use crate::fleet::*;
use crate::world::*;

/// A fleet whose one key signs every role but root: nothing but the content tells the files apart.
fn one_key_for_all() -> Fleet {
    let mut fleet = Fleet::default();
    for role in 1..4 {
        fleet.roles[role] = Keyring::of(1, &[8]);
    }
    fleet.product = Keyring::of(1, &[8]);
    fleet
}

#[test]
fn attack_09_a_file_of_one_role_is_never_taken_for_another() {
    let fleet = one_key_for_all();
    let files = fleet.files();
    let all = [&files.timestamp, &files.snapshot, &files.targets, &files.product];
    let mut session =
        Session::new(IDENTITY, &files.root, Default::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    session.no_newer_root().unwrap();
    for other in &all[1..] {
        let error = session.supply(other).unwrap_err();
        assert!(matches!(error, Error::Malformed(Role::Timestamp, _)), "{error}");
        assert_eq!(error.code(), 114, "wrong role");
    }
    // Pinned for what they are not.
    let meta = |version, file: &[u8]| Meta::of(version, file).unwrap();
    let ring = fleet.roles[1].all();
    for (wrong, right) in [(&files.timestamp, "snapshot"), (&files.targets, "snapshot"), (&files.product, "snapshot")] {
        let timestamp =
            Timestamp { header: Header::new(REPOSITORY, 1, NOW + DAY), issued: NOW - 60, snapshot: meta(1, wrong) };
        let bundle = [sign(&timestamp.encode(), &ring), wrong.to_vec()].concat();
        assert_eq!(provisioned(&fleet).take(&bundle).unwrap_err().code(), 114, "as {right}");
    }
}

/// A delegated file pinned as the top-level one, and the other way round: the same role number, the same key.
#[test]
fn attack_09_a_delegated_file_is_never_taken_for_the_top_level_one() {
    let fleet = one_key_for_all();
    let files = fleet.files();
    let pinned = |targets: &[u8], product: &[u8]| {
        let delegated = [DelegatedMeta { name: "team", meta: Meta::of(1, product).unwrap() }];
        Snapshot {
            header: Header::new(REPOSITORY, 1, NOW + DAY),
            targets: Meta::of(1, targets).unwrap(),
            delegated: List::new(&delegated),
        }
        .encode()
    };
    for (targets, product) in [(&files.product, &files.product), (&files.targets, &files.targets)] {
        let snapshot = sign(&pinned(targets, product), &fleet.roles[2].all());
        let timestamp = sign(&fleet.timestamp_payload(&snapshot), &fleet.roles[1].all());
        let bundle = [&timestamp[..], &snapshot, targets, product].concat();
        refuses_at(&mut provisioned(&fleet), &bundle, Error::WrongRoleName);
    }
}

#[test]
fn attack_10_a_target_of_another_product_is_refused_though_the_key_is_right() {
    // The same team signs two products; the delegation names both.
    let mut fleet = Fleet { delegation_products: vec!["boiler", "thermostat"], ..Fleet::default() };
    let mut boiler = Release::new([9, 0, 0]);
    boiler.product = "boiler";
    fleet.targets.push(boiler.clone());
    let bundle = fleet.files().bundle();
    refuses_target(&mut provisioned(&fleet), &bundle, boiler.digest(), Error::WrongProduct);
    // The team signs for a product that was not delegated to it.
    let mut fleet = Fleet::default();
    fleet.targets.push(boiler.clone());
    let bundle = fleet.files().bundle();
    refuses_target(&mut provisioned(&fleet), &bundle, boiler.digest(), Error::WrongProduct);
    // Another repository's files, by the very same keys.
    let other = Fleet { repository: sealift_manifests::RepositoryId([9; 16]), ..Fleet::default() };
    refuses(&mut up_to_date(&Fleet::default()), &other.files().bundle(), Error::WrongRepository(Role::Timestamp));
    let next = Fleet { root_version: 2, ..other };
    let root = sign(&next.root_payload(), &next.roles[0].all());
    refuses(&mut up_to_date(&Fleet::default()), &root, Error::WrongRepository(Role::Root));
}

/// CVE-2025-2885.
#[test]
fn attack_11_a_root_that_skips_a_version_is_refused() {
    let fleet = Fleet::default();
    for version in [3, 4, u64::MAX] {
        let next = Fleet { root_version: version, ..fleet.clone() };
        let bundle = [next.root_after(&fleet), fleet.files().bundle()].concat();
        refuses(&mut up_to_date(&fleet), &bundle, Error::RootNotNext);
    }
    // The same version with another content is no successor; an older one is passed over, never trusted again.
    let mut same = fleet.clone();
    same.roles[1] = Keyring::of(1, &[33]);
    let bundle = [same.root_after(&fleet), same.files().bundle()].concat();
    refuses(&mut up_to_date(&fleet), &bundle, Error::ThresholdNotMet(Role::Timestamp));
}

/// The last version number there is: no successor wraps around.
#[test]
fn attack_11_after_the_last_root_version_there_is_none() {
    let last = Fleet { root_version: u64::MAX, ..Fleet::default() };
    for version in [1, u64::MAX] {
        let next = Fleet { root_version: version, counter_ceiling: 11, ..last.clone() };
        let mut device = provisioned(&last);
        let kept = device.root.clone();
        let _ = device.take(&[next.root_after(&last), last.files().bundle()].concat());
        assert_eq!(device.root, kept);
    }
}

/// CVE-2020-15163.
#[test]
fn attack_12_a_root_that_was_refused_is_never_trusted_later() {
    let honest = Fleet::default();
    let mut forged = Fleet { root_version: 2, ..honest.clone() };
    forged.roles = [Keyring::of(1, &[41]), Keyring::of(1, &[42]), Keyring::of(1, &[43]), Keyring::of(1, &[44])];
    let mut device = up_to_date(&honest);
    let root = forged.root();
    // Alone, with files that it would vouch for, and as the step to a root that it signed.
    let third = Fleet { root_version: 3, ..forged.clone() };
    for bundle in [
        root.clone(),
        [root.clone(), forged.files().bundle()].concat(),
        [root.clone(), third.root_after(&forged), third.files().bundle()].concat(),
    ] {
        refuses(&mut device, &bundle, Error::ThresholdNotMet(Role::Root));
    }
    // After the refusals its files alone are refused, and the honest chain goes on.
    refuses(&mut device, &forged.files().bundle(), Error::ThresholdNotMet(Role::Timestamp));
    let next = Fleet { root_version: 2, ..honest.clone() };
    assert_eq!(device.take(&[next.root_after(&honest), next.files().bundle()].concat()), Ok(()));
}

/// Within one session as well: after a refusal it stands where it stood.
#[test]
fn attack_12_a_refused_root_leaves_no_trace_in_its_session() {
    let honest = Fleet::default();
    let forged = Fleet { root_version: 2, ..honest.clone() };
    let root = honest.root();
    let bad = sign(&forged.root_payload(), &[&key(41)]);
    let files = honest.files();
    let mut session =
        Session::new(IDENTITY, &root, Default::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    assert_eq!(session.supply(&bad).map(drop), Err(Error::ThresholdNotMet(Role::Root)));
    assert_eq!(session.root_version(), 1);
    session.supply_bundle(&files.bundle(), |_| Ok(())).unwrap();
}

fn targets_with(delegations: &[Delegation<'_>], fleet: &Fleet) -> Vec<u8> {
    let keys: Vec<_> = fleet.product.keys.iter().map(public).collect();
    Targets {
        header: Header::new(REPOSITORY, 1, NOW + DAY),
        name: None,
        targets: List::new(&[]),
        keys: List::new(&keys),
        delegations: List::new(delegations),
    }
    .encode()
}

/// GHSA-j8x2-777p-23fc, CVE-2025-2886.
#[test]
fn attack_13_a_product_that_two_delegations_name_is_refused_whatever_their_order() {
    let fleet = Fleet::default();
    let index = [0];
    let delegation = |name, products| Delegation {
        name,
        keys: RoleKeys { threshold: 1, keys: List::new(&index) },
        products: List::new(products),
        counter_ceiling: 10,
    };
    let (one, two) = (["thermostat"], ["boiler", "thermostat"]);
    for pair in
        [[delegation("a-team", &one), delegation("team", &two)], [delegation("team", &one), delegation("z-team", &one)]]
    {
        let targets = sign(&targets_with(&pair, &fleet), &fleet.roles[3].all());
        let bundle = Forgery { targets: Some(targets), ..Forgery::of(&fleet) }.files().bundle();
        refuses_at(&mut provisioned(&fleet), &bundle, Error::AmbiguousDelegation);
    }
}

/// The device encoding is one level deep: there is no cycle to run into.
#[test]
fn attack_13_a_delegated_file_that_delegates_is_refused() {
    let fleet = Fleet::default();
    let index = [0];
    let back = [Delegation {
        name: "team",
        keys: RoleKeys { threshold: 1, keys: List::new(&index) },
        products: List::new(&["thermostat"]),
        counter_ceiling: 10,
    }];
    let keys: Vec<_> = fleet.product.keys.iter().map(public).collect();
    let cycle = Targets {
        header: Header::new(REPOSITORY, 1, NOW + DAY),
        name: Some("team"),
        targets: List::new(&[]),
        keys: List::new(&keys),
        delegations: List::new(&back),
    };
    let product = sign(&cycle.encode(), &fleet.product.all());
    let bundle = Forgery { product: Some(product), ..Forgery::of(&fleet) }.files().bundle();
    let error = provisioned(&fleet).take(&bundle).unwrap_err();
    assert!(matches!(error, Error::Malformed(Role::Targets, _)), "{error}");
}

/// RFC 9124, section 4.2.5 and 4.2.6: identity is checked on the signed metadata, before a payload is asked for.
#[test]
fn attack_14_another_hardware_component_or_product_is_refused_before_any_download() {
    type Change = fn(&mut Release);
    let change: [(Change, Error); 4] = [
        (|release| release.hardware = vec!["board-b"], Error::WrongHardware),
        (|release| release.hardware = vec!["board-", "board-a2", "board-aa"], Error::WrongHardware),
        (|release| release.component = "radio", Error::WrongComponent),
        (|release| release.product = "boiler", Error::WrongProduct),
    ];
    for (change, expected) in change {
        let mut fleet = Fleet { delegation_products: vec!["boiler", "thermostat"], ..Fleet::default() };
        change(&mut fleet.targets[0]);
        let wanted = fleet.targets[0].digest();
        // Only an approved target names payloads to fetch, and this one is never approved.
        refuses_target(&mut provisioned(&fleet), &fleet.files().bundle(), wanted, expected);
    }
}

#[test]
fn attack_14_a_release_that_needs_a_bridge_is_refused_until_it_is_installed() {
    let mut fleet = Fleet::default();
    fleet.targets[0].minimum_version = Some(Version([1, 0, 5]));
    let (bundle, wanted) = (fleet.files().bundle(), fleet.targets[0].digest());
    let mut device = provisioned(&fleet);
    for installed in [None, Some(Version([1, 0, 4])), Some(Version([0, u32::MAX, u32::MAX]))] {
        device.facts = DeviceFacts { installed, ..DEVICE };
        refuses_target(&mut device, &bundle, wanted, Error::BridgeRequired);
    }
    device.facts = DeviceFacts { installed: Some(Version([1, 0, 5])), ..DEVICE };
    assert!(device.select(&bundle, Some(wanted)).is_ok());
}
