//! Percentages of a fleet, made of thing groups.
//!
//! AWS IoT Jobs targets things and groups, at most 100 a job, and knows no percentages; a thing may be in 10 groups. So at
//! its enrolment each thing joins one of 100 groups of its product, by a hash of its name. A seed per rollout permutes the
//! groups, so that not always the same devices go first, and a wave of N percent takes the first N of them: waves are
//! stable when they are asked again, and a larger wave contains a smaller one.

use sha2::{Digest, Sha256};

/// How many bucket groups a product has: one percent each.
pub const BUCKETS: u8 = 100;

/// The bucket of a thing: 0 to 99.
pub fn bucket_of(product: &str, thing: &str) -> u8 {
    // A length before the first part, so that no two pairs hash the same text.
    let length = (product.len() as u64).to_be_bytes();
    let digest: [u8; 32] =
        Sha256::new().chain_update(length).chain_update(product).chain_update(thing).finalize().into();
    let number = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    // 2^64 is no multiple of 100; the unevenness is below one in 10^17.
    (number % u64::from(BUCKETS)) as u8
}

/// The name of a bucket's thing group.
pub fn group_name(product: &str, bucket: u8) -> String {
    format!("sealift-{product}-bucket-{bucket:02}")
}

/// Whether a thing group is a bucket: made by Sealift, not by a person.
pub fn is_bucket_group(name: &str) -> bool {
    name.strip_prefix("sealift-")
        .and_then(|rest| rest.rsplit_once("-bucket-"))
        .is_some_and(|(_, bucket)| bucket.len() == 2)
}

/// The order in which a rollout takes the buckets: a permutation of 0 to 99, by its seed.
pub fn order(seed: u64) -> [u8; BUCKETS as usize] {
    let mut order: [u8; BUCKETS as usize] = std::array::from_fn(|bucket| bucket as u8);
    // Sorting by a hash of seed and bucket is a permutation that needs no generator to be kept stable.
    order.sort_by_key(|bucket| -> [u8; 32] {
        Sha256::new().chain_update(seed.to_be_bytes()).chain_update([*bucket]).finalize().into()
    });
    order
}
