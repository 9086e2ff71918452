//! Plan files: what they say, and everything that can be wrong with them.

use sealift_rollout::buckets;
use sealift_rollout::explain::{Device, explain};
use sealift_rollout::plan::Plan;

const PLAN: &str = r#"
product = "thermostat"
version = "1.1.0"
window = { from = "22:00:00", to = "04:00:00" }

[[wave]]
name = "canary"
things = ["lab-1", "lab-2"]
rate = 10
gate = { success-ratio = 1.0, min-finished = 2, soak = "1h", approval = true }

[[wave]]
name = "early"
percent = 5
rate = { base = 10, factor = 1.5, succeeded = 50, max = 500 }
gate = { success-ratio = 0.98, min-finished = 100, soak = "24h" }
abort = [{ on = "failed", percent = 2.5, min-finished = 20 }]

[[wave]]
name = "all"
percent = 100
retries = 2
timeout = "2 days"
"#;

#[test]
fn a_whole_plan_reads_and_writes_back() {
    let plan = Plan::from_toml(PLAN).unwrap();
    assert_eq!(plan.waves.len(), 3);
    assert_eq!(plan.waves[1].gate.soak.seconds, 86_400);
    let text = toml::to_string(&plan).unwrap();
    assert_eq!(Plan::from_toml(&text).unwrap(), plan);
}

#[test]
fn waves_take_every_bucket_once_and_keep_them_when_asked_again() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let mut taken: Vec<u8> = (0..3).flat_map(|wave| plan.buckets_of(wave)).collect();
    assert_eq!(plan.buckets_of(1).len(), 5);
    assert_eq!(plan.buckets_of(1), plan.buckets_of(1));
    taken.sort_unstable();
    assert_eq!(taken, (0..100).collect::<Vec<u8>>());
    assert!(plan.targets_of(2).groups.len() <= 100);
    assert_ne!(buckets::order(1), buckets::order(2), "another rollout starts with other devices");
}

#[test]
fn things_spread_evenly_over_the_buckets() {
    let mut counts = [0u32; 100];
    for thing in 0..100_000 {
        counts[usize::from(buckets::bucket_of("thermostat", &format!("thing-{thing}")))] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn a_device_is_told_in_which_wave_it_is_and_why() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let of = |thing: &str, product: &str, groups: &[&str]| {
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        explain(&plan, &Device { thing, product, groups: &groups })
    };
    assert_eq!(of("lab-2", "thermostat", &[]).wave, Some(0));
    assert!(of("field-17", "thermostat", &["cellular"]).wave >= Some(1));
    assert_eq!(of("lab-2", "boiler", &[]).wave, None);
}

#[test]
fn every_mistake_is_named_by_its_field_before_anything_is_touched() {
    let one = |wave: &str| format!("product = \"p\"\nversion = \"1.0.0\"\n[[wave]]\nname = \"w\"\n{wave}\n");
    let cases = [
        (one("percent = 5\nthings = [\"a\"]"), "either `percent` or `groups` and `things`"),
        (one(""), "either `percent` or `groups` and `things`"),
        (one("percent = 0"), "adds nobody"),
        (one("percent = 101"), "adds nobody"),
        (one("percent = 5\n[[wave]]\nname = \"x\"\npercent = 5"), "wave[1] (x).percent"),
        (one("percent = 5\n[[wave]]\nname = \"w\"\npercent = 6"), "a name of its own"),
        (one("percent = 5\nrate = 0"), "1 to 1000"),
        (one("percent = 5\nrate = 1001"), "1 to 1000"),
        (one("percent = 5\nrate = { base = 1, factor = 6.0, succeeded = 1, max = 5 }"), "rate.factor"),
        (one("percent = 5\nrate = { base = 1, factor = 1.25, succeeded = 1, max = 5 }"), "one decimal"),
        (one("percent = 5\ntimeout = \"8 days\""), "7 days"),
        (one("percent = 5\ntimeout = \"soon\""), "`soon` is no length of time"),
        (one("percent = 5\nretries = 11"), "at most 10"),
        (one("percent = 5\ngate = { success-ratio = 1.5 }"), "gate.success-ratio"),
        (one("percent = 5\nabort = [{ on = \"failed\", percent = 0.0, min-finished = 1 }]"), "abort.percent"),
        (one("percent = 5\nabort = [{ on = \"sad\", percent = 1.0, min-finished = 1 }]"), "unknown variant `sad`"),
        (one("percent = 5\ncolour = \"red\""), "unknown field `colour`"),
        (one("things = [\"a\", \"a\"]"), "named twice"),
        ("product = \"p\"\nversion = \"1\"\nwave = []".to_owned(), "at least one wave"),
        ("this is no toml".to_owned(), "does not read"),
    ];
    for (text, expected) in cases {
        let error = Plan::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let many: Vec<String> = (0..101).map(|thing| format!("\"t{thing}\"")).collect();
    let error = Plan::from_toml(&one(&format!("things = [{}]", many.join(",")))).unwrap_err().to_string();
    assert!(error.contains("at most 100 groups and things"), "{error}");
}

#[test]
fn metered_groups_get_a_wave_of_their_own_with_deltas_alone() {
    let of = |metered: &str, waves: &str| {
        let text = format!("product = \"p\"\nversion = \"1.0.0\"\nmetered-groups = {metered}\n{waves}");
        Plan::from_toml(&text)
    };
    let own = "[[wave]]\nname = \"cell\"\ngroups = [\"cellular\"]\n[[wave]]\nname = \"all\"\npercent = 100\n";
    let plan = of("[\"cellular\"]", own).unwrap();
    assert_eq!((plan.is_delta_only(0), plan.is_delta_only(1)), (true, false));
    let mixed = of("[\"cellular\"]", "[[wave]]\nname = \"w\"\ngroups = [\"cellular\", \"lab\"]\n").unwrap_err();
    assert!(mixed.to_string().contains("wave[0] (w).groups"), "{mixed}");
    let unused = of("[\"satellite\"]", own).unwrap_err();
    assert!(unused.to_string().contains("`metered-groups`") && unused.to_string().contains("satellite"), "{unused}");
}
