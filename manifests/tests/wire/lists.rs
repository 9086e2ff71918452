//! Lists: what they say of themselves, and which key an index names.

use sealift_manifests::{List, PublicKey, Root, Snapshot, Targets};

use crate::documents;

fn keys(numbers: &[u8]) -> Vec<PublicKey> {
    numbers.iter().map(|&number| PublicKey([number; 32])).collect()
}

#[test]
fn lists_are_the_same_when_they_list_the_same_in_the_same_order() {
    let (one, same, other, swapped, longer) =
        (keys(&[1, 2]), keys(&[1, 2]), keys(&[1, 3]), keys(&[2, 1]), keys(&[1, 2, 3]));
    assert_eq!(List::new(&one), List::new(&same));
    for different in [&other, &swapped, &longer, &keys(&[1]), &keys(&[])] {
        assert_ne!(List::new(&one), List::new(different));
        assert_ne!(List::new(different), List::new(&one));
    }
    assert_eq!(List::new(&keys(&[])), List::EMPTY);
}

/// A role lists its keys by their place in the file's list.
#[test]
fn a_roles_keys_are_those_that_its_numbers_name() {
    let bytes = documents::root().bytes();
    let root = Root::decode(&bytes).unwrap();
    let mut seen = 0;
    for role in &root.roles {
        let resolved: Vec<PublicKey> = role.resolve(root.keys).collect();
        let numbers: Vec<u64> = role.keys.iter().collect();
        assert_eq!(resolved.len(), numbers.len());
        for (key, number) in resolved.iter().zip(&numbers) {
            assert_eq!(root.keys.iter().nth(*number as usize).as_ref(), Some(key));
        }
        seen += resolved.len();
    }
    assert!(seen >= 4, "only {seen} keys");
}

#[test]
fn a_product_is_delegated_by_those_that_name_it_and_no_other() {
    let bytes = documents::top_level_targets().bytes();
    let targets = Targets::decode(&bytes).unwrap();
    assert!(!targets.delegations.is_empty());
    for delegation in targets.delegations.iter() {
        for product in delegation.products.iter() {
            let names: Vec<&str> = targets.delegations_of(product).map(|each| each.name).collect();
            let expected: Vec<&str> = targets
                .delegations
                .iter()
                .filter(|each| each.products.iter().any(|listed| listed == product))
                .map(|each| each.name)
                .collect();
            assert_eq!(names, expected, "{product}");
            assert!(names.contains(&delegation.name));
        }
    }
    assert_eq!(targets.delegations_of("another").count(), 0);
}

#[test]
fn a_snapshot_gives_each_delegated_roles_own_file_and_none_for_another_name() {
    let bytes = documents::snapshot().bytes();
    let snapshot = Snapshot::decode(&bytes).unwrap();
    let version = |name: &str| snapshot.delegated(name).map(|meta| meta.version);
    assert_eq!((version("team-a"), version("team-b")), (Some(2), Some(70_000)));
    assert_eq!(version("team-c"), None);
}
