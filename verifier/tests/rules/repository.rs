//! The chain of trust over a whole repository, as signers, servers and auditors follow it.

use std::collections::BTreeMap;

use sealift_manifests::{Delegation, Version};
use sealift_verifier::Error;
use sealift_verifier::repository::Repository;
use sealift_verifier::session::Fetch;
use sealift_verifier::trust::{Policy, Time};

use crate::fleet::*;

/// What a server has, by name.
fn served(fleet: &Fleet) -> BTreeMap<String, Vec<u8>> {
    let files = fleet.files();
    let digest = |bytes: &[u8]| sealift_manifests::sha256(bytes);
    BTreeMap::from([
        (Fetch::timestamp().to_string(), files.timestamp),
        (format!("{}.snapshot", digest(&files.snapshot)), files.snapshot),
        (format!("{}.targets", digest(&files.targets)), files.targets),
        (format!("{}.targets", digest(&files.product)), files.product),
    ])
}

/// Opens the repository and verifies its one delegation.
fn verified(root: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Result<(u64, Vec<Version>), Error> {
    let file = |fetch: &Fetch| files.get(&fetch.to_string()).map(Vec::as_slice);
    let repository = Repository::open(root, file, Time::AtLeast(NOW), Policy::production())?;
    let delegation: Delegation<'_> = repository.targets().delegations.iter().next().expect("a delegation");
    let fetch = repository.delegated_file(&delegation).expect("the snapshot lists it");
    let targets = repository.delegated(&delegation, file(&fetch).expect("it is there"))?;
    Ok((repository.root().header.version, targets.targets.iter().map(|target| target.version).collect()))
}

#[test]
fn a_repository_is_verified_to_the_targets_of_its_delegations() {
    let fleet = Fleet::default();
    assert_eq!(verified(&fleet.root(), &served(&fleet)), Ok((1, vec![Version([1, 1, 0])])));
}

#[test]
fn a_delegation_that_has_no_file_yet_is_none_to_fetch() {
    let fleet = Fleet::default();
    let (root, files) = (fleet.root(), served(&fleet));
    let file = |fetch: &Fetch| files.get(&fetch.to_string()).map(Vec::as_slice);
    let repository = Repository::open(&root, file, Time::AtLeast(NOW), Policy::production()).unwrap();
    let listed = repository.targets().delegations.iter().next().unwrap();
    assert_eq!(repository.delegated_file(&Delegation { name: "nobody", ..listed }), None);
    assert!(repository.delegated_file(&listed).is_some());
}

#[test]
fn roots_are_followed_to_the_last_one() {
    let before = Fleet::default();
    let mut fleet = before.clone();
    fleet.root_version = 2;
    fleet.roles[1] = Keyring::of(1, &[14]);
    let mut files = served(&fleet);
    // Without it the timestamp's signer is unknown.
    assert!(verified(&before.root(), &files).is_err());
    files.insert(Fetch::root(2).to_string(), fleet.root_after(&before));
    assert_eq!(verified(&before.root(), &files).map(|(version, _)| version), Ok(2));
}

#[test]
fn a_delegated_target_of_another_product_is_refused() {
    let mut fleet = Fleet::default();
    fleet.targets[0].product = "doorbell";
    assert_eq!(verified(&fleet.root(), &served(&fleet)), Err(Error::WrongProduct));
    fleet.delegation_products = vec!["doorbell", "thermostat"];
    assert!(verified(&fleet.root(), &served(&fleet)).is_ok());
}

/// Root's ceiling and the delegation's, whichever is lower; at it is allowed.
#[test]
fn a_delegated_target_above_either_counter_ceiling_is_refused() {
    for (root, delegation, counter, allowed) in
        [(10, 10, 10, true), (10, 10, 11, false), (10, 6, 6, true), (10, 6, 7, false), (6, 10, 7, false)]
    {
        let mut fleet = Fleet { counter_ceiling: root, delegation_ceiling: delegation, ..Fleet::default() };
        fleet.targets[0].security_counter = counter;
        let outcome = verified(&fleet.root(), &served(&fleet)).map(drop);
        let expected = if allowed { Ok(()) } else { Err(Error::CounterAboveCeiling) };
        assert_eq!(outcome, expected, "{counter} under {root} and {delegation}");
    }
}
