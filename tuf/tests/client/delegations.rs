//! Looking targets up through delegations (section 4.5, section 5.6.7, TAP 15).

use serde_json::{Value, json};

use crate::bench::{Bench, code};
use crate::repo::{PAST, Repo, sha256};

const THRESHOLD_NOT_MET: u16 = 201;
const LENGTH_MISMATCH: u16 = 304;
const HASH_MISMATCH: u16 = 305;
const VERSION_MISMATCH: u16 = 306;
const NOT_IN_SNAPSHOT: u16 = 307;
const ROLLBACK: u16 = 401;
const EXPIRED: u16 = 403;

/// The delegated roles that a look-up asked for, in order.
fn visited(bench: &Bench, path: &str) -> Vec<String> {
    bench.server.requests();
    let mut client = bench.client().unwrap();
    client.refresh().unwrap();
    let top = bench.server.requests().len();
    let _ = (client.target(path).unwrap(), top);
    let requests = bench.server.requests();
    requests.iter().map(|path| path.rsplit('.').nth(1).unwrap().to_owned()).collect()
}

fn paths(pattern: &str) -> Value {
    json!({"paths": [pattern]})
}

#[test]
fn roles_are_visited_in_pre_order_depth_first_and_only_where_the_path_matches() {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", paths("*"));
    repo.delegate("targets", "never", paths("*.py"));
    repo.delegate("targets", "b", paths("?*"));
    repo.delegate("a", "c", paths("*"));
    repo.delegate("a", "d", paths("*"));
    repo.delegate("c", "e", paths("x"));
    repo.publish_all();
    let bench = Bench::new(repo);
    assert_eq!(visited(&bench, "missing"), ["a", "c", "d", "b"]);
    // What was fetched is kept.
    assert_eq!(visited(&bench, "x"), ["e"]);
}

#[test]
fn a_terminating_delegation_ends_the_search_behind_it() {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", paths("*"));
    repo.delegate("targets", "b", paths("*"));
    repo.delegate("a", "c", json!({"paths": ["*"], "terminating": true}));
    repo.delegate("a", "d", paths("*"));
    repo.delegate("c", "e", paths("*"));
    repo.add_target("b", "app", b"from b");
    repo.publish_all();
    let bench = Bench::new(repo);
    assert_eq!(visited(&bench, "app"), ["a", "c", "e"]);
}

#[test]
fn a_cycle_ends() {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", paths("*"));
    repo.delegate("a", "b", paths("*"));
    repo.delegate("b", "a", paths("*"));
    repo.delegate("b", "b", paths("*"));
    repo.publish_all();
    assert_eq!(visited(&Bench::new(repo), "missing"), ["a", "b"]);
}

#[test]
fn the_first_role_that_lists_a_path_wins() {
    let mut repo = Repo::new();
    repo.delegate("targets", "first", paths("*"));
    repo.delegate("targets", "second", paths("*"));
    repo.add_target("second", "app", b"second");
    repo.add_target("first", "app", b"first");
    repo.publish_all();
    assert_eq!(Bench::new(repo).download("app").unwrap(), b"first");
}

#[test]
fn a_role_that_lists_a_path_it_was_not_given_is_passed_over() {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", paths("a/*"));
    repo.delegate("a", "b", paths("*/*"));
    repo.add_target("a", "b/x", b"not a's to give");
    repo.add_target("b", "b/y", b"nor b's, which has it from a");
    repo.publish_all();
    let bench = Bench::new(repo);
    for path in ["b/x", "b/y"] {
        assert!(bench.download(path).unwrap_err().to_string().contains("no target"), "{path}");
    }
}

#[test]
fn path_hash_prefixes_choose_by_the_sha256_of_the_path() {
    let mut repo = Repo::new();
    let hash = sha256(b"some/path.bin");
    let other = if hash.starts_with('0') { "1" } else { "0" };
    repo.delegate("targets", "not", json!({"path_hash_prefixes": [other, &format!("{}{other}", &hash[..0])]}));
    repo.delegate("targets", "hit", json!({"path_hash_prefixes": ["zz", &hash[..5]]}));
    repo.add_target("hit", "some/path.bin", b"found");
    repo.publish_all();
    let bench = Bench::new(repo);
    assert_eq!(bench.download("some/path.bin").unwrap(), b"found");
    assert!(!bench.server.requests().iter().any(|path| path.contains("not")));
}

#[test]
fn succinct_hash_bins_are_named_by_the_first_bits_of_the_paths_hash() {
    for bits in [1, 3, 4, 5, 8] {
        let mut repo = Repo::new();
        let key = repo.new_key();
        let path = "dir/app.bin";
        let first = u32::from_str_radix(&sha256(path.as_bytes())[..8], 16).unwrap();
        let digits = format!("{:x}", (1u64 << bits) - 1).len();
        for bin in 0..1u32 << bits {
            let name = format!("bins-{bin:0digits$x}");
            repo.add_targets_role(&name);
            repo.signers.insert(name, vec![key.clone()]);
        }
        let bin = format!("bins-{:0digits$x}", first >> (32 - bits));
        repo.add_target(&bin, path, b"in its bin");
        repo.role("targets")["delegations"] = json!({
            "keys": { key.id(): key.json() },
            "succinct_roles": {"keyids": [key.id()], "threshold": 1, "bit_length": bits, "name_prefix": "bins"},
        });
        repo.publish_all();
        let bench = Bench::new(repo);
        assert_eq!(bench.download(path).unwrap(), b"in its bin");
        let requests = bench.server.requests();
        let asked: Vec<_> = requests.iter().filter(|path| path.contains("bins-")).collect();
        assert_eq!(asked, [&format!("metadata/1.{bin}.json")]);
        assert!(bench.download("elsewhere").unwrap_err().to_string().contains("no target"));
    }
}

#[test]
fn succinct_roles_outside_1_to_32_bits_or_beside_others_are_refused() {
    let mut repo = Repo::new();
    let key = repo.new_key();
    let succinct =
        |bits: Value| json!({"keyids": [key.id()], "threshold": 1, "bit_length": bits, "name_prefix": "bins"});
    let keys = json!({ key.id(): key.json() });
    for wrong in [
        json!({"keys": keys, "succinct_roles": succinct(json!(0))}),
        json!({"keys": keys, "succinct_roles": succinct(json!(33))}),
        json!({"keys": keys, "succinct_roles": succinct(json!(8)), "roles": []}),
        json!({"keys": keys}),
    ] {
        let mut bench = Bench::new(Repo::new());
        bench.repo.role("targets")["delegations"] = wrong.clone();
        bench.repo.publish_all();
        assert_eq!(bench.refusal() / 100, 1, "{wrong}");
    }
}

#[test]
fn delegations_that_could_be_read_two_ways_are_refused() {
    for change in [
        json!({"paths": ["*"], "path_hash_prefixes": ["00"]}),
        json!({}),
        json!({"paths": "*"}),
        json!({"paths": ["*"], "terminating": 1}),
    ] {
        let mut bench = Bench::new(Repo::new());
        bench.repo.delegate("targets", "app", change.clone());
        bench.repo.publish_all();
        assert_eq!(bench.refusal() / 100, 1, "{change}");
    }
    // One name twice.
    let mut bench = Bench::new(Repo::new());
    bench.repo.delegate("targets", "app", paths("a"));
    bench.repo.delegate("targets", "app", paths("b"));
    bench.repo.publish_all();
    assert_eq!(bench.refusal(), 106);
}

#[test]
fn no_delegated_role_takes_a_top_level_roles_place() {
    for name in ["root", "timestamp", "snapshot", "targets", ""] {
        let mut bench = Bench::new(Repo::new());
        let key = bench.repo.new_key();
        bench.repo.role("targets")["delegations"] = json!({
            "keys": { key.id(): key.json() },
            "roles": [{"name": name, "keyids": [key.id()], "threshold": 1, "terminating": false, "paths": ["*"]}],
        });
        bench.repo.publish_all();
        assert_eq!(bench.refusal(), 111, "{name}");
    }
}

#[test]
fn odd_role_names_are_quoted_in_requests_and_stay_in_the_directory() {
    let long = "x".repeat(300);
    for name in ["../../evil", "/etc/passwd", "a b?c#d", "..", ".hidden", "\u{e9}%2e", &long] {
        let mut repo = Repo::new();
        repo.delegate("targets", name, paths("*"));
        repo.add_target(name, "app", b"x");
        // The server sees what the client asks for.
        let quoted: String = name
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        repo.publish_all();
        let file = repo.files.file(&format!("metadata/1.{name}.json")).unwrap();
        repo.files.put(&format!("metadata/1.{quoted}.json"), &file);
        let bench = Bench::new(repo);
        assert_eq!(bench.download("app").unwrap(), b"x", "{name}");
        let kept = std::fs::read_dir(bench.trust()).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = kept.filter(|name| name.to_string_lossy().ends_with(".json")).count();
        assert_eq!(kept, 5, "{name}");
        assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 2);
        // And is found again.
        bench.server.requests();
        bench.download("app").unwrap();
        assert_eq!(bench.server.requests().len(), 2, "{name}");
    }
}

#[test]
fn delegated_files_are_held_to_length_hash_version_expiry_and_signatures() {
    type Spoil = fn(&mut Repo);
    let cases: [(&str, u16, Spoil); 6] = [
        ("length", LENGTH_MISMATCH, |repo| repo.role("snapshot")["meta"]["app.json"]["length"] = json!(100_000)),
        ("hash", HASH_MISMATCH, |repo| {
            repo.role("snapshot")["meta"]["app.json"]["hashes"] = json!({"sha256": "00".repeat(32)});
        }),
        ("version", VERSION_MISMATCH, |repo| {
            let file = repo.files.file("metadata/1.app.json").unwrap();
            repo.files.put("metadata/9.app.json", &file);
            repo.role("snapshot")["meta"]["app.json"]["version"] = json!(9);
        }),
        ("expiry", EXPIRED, |repo| {
            repo.role("app")["expires"] = json!(PAST);
            repo.publish(&["app"]);
        }),
        ("signature", THRESHOLD_NOT_MET, |repo| {
            let other = repo.new_key();
            repo.signers.insert("app".into(), vec![other]);
            repo.publish(&["app"]);
        }),
        ("listing", NOT_IN_SNAPSHOT, |repo| {
            repo.role("snapshot")["meta"].as_object_mut().unwrap().remove("app.json");
        }),
    ];
    for (what, wanted, spoil) in cases {
        let mut repo = Repo::new();
        repo.delegate("targets", "app", paths("*"));
        repo.add_target("app", "app", b"x");
        repo.publish_all();
        spoil(&mut repo);
        repo.publish(&["snapshot", "timestamp"]);
        let bench = Bench::new(repo);
        assert_eq!(code(&bench.download("app").unwrap_err()), wanted, "{what}");
        assert_eq!(bench.kept("app"), None, "{what}");
        assert!(!bench.out().join("app").exists());
    }
}

#[test]
fn a_delegated_role_is_not_taken_back() {
    let mut bench = Bench::new({
        let mut repo = Repo::new();
        repo.delegate("targets", "app", paths("*"));
        repo.add_target("app", "app", b"x");
        repo.publish_all();
        repo.publish_all();
        repo
    });
    bench.download("app").unwrap();
    assert_eq!(bench.kept("app"), Some(2));
    bench.repo.role("app")["version"] = json!(0);
    bench.repo.publish(&["app", "snapshot", "timestamp"]);
    assert_eq!(code(&bench.download("app").unwrap_err()), ROLLBACK);
}

#[test]
fn a_kept_role_is_verified_anew_for_every_delegator() {
    let mut repo = Repo::new();
    repo.delegate("targets", "parent-a", paths("a/*"));
    repo.delegate("targets", "parent-b", paths("b/*"));
    let from_a = repo.delegate("parent-a", "release", paths("a/*"));
    repo.delegate("parent-b", "release", paths("b/*"));
    repo.signers.insert("release".into(), vec![from_a]);
    repo.add_target("release", "a/app", b"a");
    repo.add_target("release", "b/app", b"b");
    repo.publish_all();
    let bench = Bench::new(repo);
    let mut client = bench.client().unwrap();
    client.download("a/app", &bench.out()).unwrap();
    assert_eq!(code(&client.download("b/app", &bench.out()).unwrap_err()), THRESHOLD_NOT_MET);
    client.download("a/app", &bench.out()).unwrap();
    drop(client);
    // Nor in a later run, in either order.
    assert_eq!(code(&bench.download("b/app").unwrap_err()), THRESHOLD_NOT_MET);
    assert_eq!(bench.download("a/app").unwrap(), b"a");
}

#[test]
fn a_key_that_the_delegator_dropped_counts_no_more_for_what_is_kept() {
    let mut bench = Bench::new({
        let mut repo = Repo::new();
        repo.delegate("targets", "app", paths("*"));
        repo.add_target("app", "app", b"x");
        repo.publish_all();
        repo
    });
    bench.download("app").unwrap();
    let new = bench.repo.new_key();
    let delegations = &mut bench.repo.role("targets")["delegations"];
    delegations["keys"] = json!({ new.id(): new.json() });
    delegations["roles"][0]["keyids"] = json!([new.id()]);
    // The delegated file stays what it was, signed by the old key.
    bench.repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(code(&bench.download("app").unwrap_err()), THRESHOLD_NOT_MET);
}

#[test]
fn more_roles_than_may_be_visited_end_the_search_with_an_error() {
    let mut repo = Repo::new();
    let mut parent = "targets".to_owned();
    for number in 0..10 {
        let name = format!("role-{number}");
        repo.delegate(&parent, &name, paths("*"));
        parent = name;
    }
    repo.add_target(&parent, "app", b"deep");
    repo.publish_all();
    let mut bench = Bench::new(repo);
    bench.config.limits.visited_roles = 10;
    let error = bench.download("app").unwrap_err().to_string();
    assert!(error.contains("more than 10 roles"), "{error}");
    bench.config.limits.visited_roles = 11;
    assert_eq!(bench.download("app").unwrap(), b"deep");
}
