//! Project files and rollout plans: refused with a reason, or whole; every question that is asked of them has an answer.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use sealift_manifests::Role;
use sealift_rollout::plan::Plan;
use sealift_signer::project::Project;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Project::parse(Path::new("sealift.toml"), text, true) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(project) => {
            for role in Role::ALL {
                let signers = project.role(role);
                let keys = project.keys_of(&signers.keys).count() as u64;
                assert!(keys == signers.keys.len() as u64, "{role}: a key that is not there");
                assert!((1..=keys).contains(&signers.threshold), "{role}: {} of {keys}", signers.threshold);
            }
            for id in project.products.keys() {
                assert!(project.product(id).is_ok());
                let (_, delegation) = project.delegation_of(id).expect("each product is delegated");
                assert!((1..=delegation.keys.len() as u64).contains(&delegation.threshold));
                assert!(delegation.counter_ceiling <= project.counter_ceiling);
            }
            // Outside of development only the keys can still be refused.
            let _ = Project::parse(Path::new("sealift.toml"), text, false);
        }
    }
    match Plan::from_toml(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(plan) => {
            let mut buckets = Vec::new();
            for wave in 0..plan.waves.len() {
                let targets = plan.targets_of(wave);
                assert!(!targets.groups.is_empty() || !targets.things.is_empty(), "wave {wave} is for nobody");
                buckets.extend(plan.buckets_of(wave));
            }
            let count = buckets.len();
            buckets.sort_unstable();
            buckets.dedup();
            assert_eq!(buckets.len(), count, "a bucket stands in two waves");
            let written = toml::to_string(&plan).expect("a plan can be written");
            assert_eq!(Plan::from_toml(&written).expect("what was written is read"), plan);
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::text::toml(data, size, max_size, seed)
});
