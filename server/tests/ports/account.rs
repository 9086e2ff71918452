//! Policies, stack and bucket settings: exactly what the code calls, deployed, and judged.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::moto;
use crate::release::target;
use crate::world::{ROLE, World, path};

const ACCOUNT: &str = "123456789012";

/// Whether IAM's pattern covers a name; told here anew, so that the code's own idea isn't its judge.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => covers(&pattern[1..], name) || (!name.is_empty() && covers(pattern, &name[1..])),
        (Some(expected), Some(found)) if expected == found => covers(&pattern[1..], &name[1..]),
        _ => false,
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        other => other.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
    }
}

fn grants(policy: &Value) -> Vec<(String, Vec<String>)> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let all = statements.flat_map(|statement| {
        let resources = texts(&statement["Resource"]);
        texts(&statement["Action"]).into_iter().map(move |action| (action, resources.clone()))
    });
    all.collect()
}

fn policies(world: &World) -> Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-server"))
        .args(["aws", "policy", "--bucket", &world.bucket, "--prefix", "prod/", "--region", "eu-west-1"])
        .args(["--account", ACCOUNT, "--presign-role", ROLE])
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Holds a role's policy to the calls that were seen: each is allowed, on its resource; and each action that is allowed was
/// called, save for `unseen`, which say why.
fn exact(policy: &Value, calls: &[crate::proxy::Call], unseen: &[(&str, &str)]) {
    let grants = grants(policy);
    let mut called = BTreeSet::new();
    for call in calls.iter().filter(|call| call.action != "sts:GetCallerIdentity") {
        called.insert(call.action.to_owned());
        let allowed = grants.iter().any(|(action, resources)| {
            action == call.action
                && resources
                    .iter()
                    .any(|pattern| covers(pattern.as_bytes(), call.resource.replace("%3A", ":").as_bytes()))
        });
        assert!(allowed, "not allowed: {} on {}", call.action, call.resource);
    }
    for (action, _) in &grants {
        let known = unseen.iter().any(|(name, _)| name == action);
        assert!(called.contains(action) != known, "{action}: allowed, but called: {}", called.contains(action));
        assert!(!action.contains('*'), "{action}");
    }
}

#[test]
fn each_policy_allows_what_the_code_calls_and_nothing_more() {
    let mut world = World::new();
    world.maker.fleet.targets = vec![target([1, 0, 0], 9 << 20)];
    let policies = policies(&world);

    // The publisher: a payload in parts, cut off and finished, one that turns out to be another, and a dry run.
    world.proxy.pass();
    let release = world.release();
    // Begun, one part, and dead at the second.
    let mut sent = 0;
    let killed = crate::rollouts::kill_when(&world, &["publish", "--release", path(&release)], true, move |_, call| {
        sent += usize::from(call.action == "s3:PutObject" && call.resource.contains("/payloads/"));
        sent == 3
    });
    assert!(killed);
    let mut seen = world.proxy.calls();
    world.proxy.pass();
    world.publish();
    world.ok(&["publish", "--release", path(&release), "--dry-run"]);
    world.ok(&["audit", "verify"]);
    seen.extend(world.proxy.calls());
    let rare = [("s3:AbortMultipartUpload", "when a payload changes while it is read: tried in the store's suite")];
    exact(&policies["publisher"], &seen, &rare);

    // The reconciler: everything that an operator can ask for.
    world.things("lab", &["lab-1", "lab-2"]);
    world.proxy.pass();
    let waves = "[[wave]]\nname = \"a\"\ngroups = [\"lab\"]\ngate = { min-finished = 1 }\n\
                 [[wave]]\nname = \"b\"\nthings = [\"lab-2\"]\n";
    world.ok(&["rollout", "plan", path(&world.plan(waves))]);
    world.start("r", waves);
    world.end("lab-1", "sl-r-w1", "SUCCEEDED");
    world.reconcile();
    world.status("r");
    world.ok(&["rollout", "list"]);
    world.ok(&["rollout", "history", "r"]);
    world.ok(&["rollout", "explain", "r", "lab-1"]);
    world.ok(&["rollout", "pause", "r"]);
    world.ok(&["rollout", "resume", "r"]);
    world.ok(&["rollout", "approve", "r", "--wave", "a"]);
    world.ok(&["rollout", "abort", "r", "--force"]);
    world.ok(&["audit", "show"]);
    let role = [("iam:PassRole", "asked by AWS IoT itself when a job names the presign role")];
    exact(&policies["reconciler"], &world.proxy.calls(), &role);
    let pass = policies["reconciler"]["Statement"].as_array().unwrap().last().unwrap();
    assert_eq!(pass["Resource"], ROLE);

    world.proxy.pass();
    world.json(&["aws", "check"]);
    exact(&policies["checker"], &world.proxy.calls(), &[]);

    world.proxy.pass();
    enrolled(&world);
    exact(&policies["registrar"], &world.proxy.calls(), &[]);

    // AWS IoT presigns what job documents name, and those alone.
    assert_eq!(
        grants(&policies["presign"]),
        [("s3:GetObject".to_owned(), vec![format!("arn:aws:s3:::{}/prod/payloads/*", world.bucket)],)]
    );

    // A device: its own thing's topics.
    for statement in policies["device"]["Statement"].as_array().unwrap() {
        for resource in texts(&statement["Resource"]) {
            assert!(resource.contains("${iot:Connection.Thing.ThingName}"), "{resource}");
            let before = resource.split("${iot:").next().unwrap();
            assert!(!before.contains('*') && !before.contains('+'), "a wildcard across things: {resource}");
        }
    }
}

/// Puts things on record as an operator does: a new one, one that lacks something, the same again, and what is refused.
fn enrolled(world: &World) {
    let iot = world.block_on(world.moto.session()).iot();
    let key = hex::encode(crate::world::report_key("new-1").verifying_key().to_bytes());
    let bucket =
        sealift_rollout::buckets::group_name("thermostat", sealift_rollout::buckets::bucket_of("thermostat", "new-1"));
    let certificate = world.block_on(async {
        let _ = iot.create_thing_group().thing_group_name("lab").send().await;
        iot.create_policy().policy_name("sealift-prod-device").policy_document("{}").send().await.unwrap();
        let made = iot.create_keys_and_certificate().set_as_active(true).send().await.unwrap();
        made.certificate_arn().unwrap().to_owned()
    });
    let enrol = ["aws", "enrol", "new-1", "--product", "thermostat", "--report-key", &key, "--group", "lab"];

    // Without the bucket's group nothing is written.
    let (said, exit) = world.json(&enrol);
    assert!(exit == 2 && said["error"]["message"].as_str().unwrap().contains(&bucket), "{said}");
    assert!(world.block_on(iot.describe_thing().thing_name("new-1").send()).is_err());
    world.block_on(iot.create_thing_group().thing_group_name(&bucket).send()).unwrap();

    let said = world.ok(&enrol);
    assert_eq!((&said["created"], &said["groups"]), (&json!(true), &json!(["lab", bucket])), "{said}");
    let more = [&enrol[..], &["--decoder-ram", "24576", "--certificate", &certificate]].concat();
    assert_eq!(world.ok(&more)["created"], false);
    assert_eq!(world.ok(&more)["created"], false);
    let thing = world.block_on(iot.describe_thing().thing_name("new-1").send()).unwrap();
    let attributes = thing.attributes().unwrap();
    assert_eq!((&*attributes["sealift-report-key"], &*attributes["sealift-decoder-ram"]), (&*key, "24576"));
    let principals = world.block_on(iot.list_thing_principals().thing_name("new-1").send()).unwrap();
    assert_eq!(principals.principals(), std::slice::from_ref(&certificate));
    let policies = world.block_on(iot.list_attached_policies().target(&certificate).send()).unwrap();
    assert_eq!(policies.policies()[0].policy_name(), Some("sealift-prod-device"));

    // Who replaces a report key says from then on what the device runs.
    let other = hex::encode(crate::world::report_key("other").verifying_key().to_bytes());
    let swap = ["aws", "enrol", "new-1", "--product", "thermostat", "--report-key", &other];
    let (said, exit) = world.json(&swap);
    assert!(exit == 3 && said["error"]["message"].as_str().unwrap().contains("--replace"), "{said}");
    world.ok(&[&swap[..], &["--replace"]].concat());
    let thing = world.block_on(iot.describe_thing().thing_name("new-1").send()).unwrap();
    assert_eq!(thing.attributes().unwrap()["sealift-report-key"], other);
    let (said, exit) = world.json(&["aws", "enrol", "new-1", "--product", "thermostat", "--report-key", "ab"]);
    assert!(exit == 2 && said["error"]["message"].as_str().unwrap().contains("64 hex digits"), "{said}");
    let groups = world.ok(&["aws", "enrol", "new-1", "--product", "thermostat", "--print-groups"]);
    assert_eq!(groups["groups"], json!([bucket]));
}

#[test]
fn the_stack_deploys_and_its_bucket_passes_the_check() {
    let mut world = World::new();
    world.bucket = "acme-prod".into();
    let template = world.home.path().join("stack.json");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-server"))
        .args(["aws", "stack", "--environment", "prod", "--bucket", "acme-prod", "--prefix", "prod/"])
        .args(["--product", "thermostat", "--logging"])
        .output()
        .unwrap();
    assert!(output.status.success());
    std::fs::write(&template, &output.stdout).unwrap();
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.stdout.len() < 51_200, "a template of more goes by S3 alone: {}", output.stdout.len());
    assert_eq!(whole["Resources"]["Product0Bucket07"]["Properties"]["ThingGroupName"], "sealift-thermostat-bucket-07");

    let deployed = std::process::Command::new(moto::python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/deploy_stack.py"))
        .args([&world.moto.endpoint, path(&template)])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&deployed.stderr).into_owned();
    assert!(deployed.status.success(), "{text}");
    let deployed: Value = serde_json::from_slice(&deployed.stdout).unwrap();
    let outputs = &deployed["outputs"];
    assert_eq!(outputs["PresignRole"], format!("arn:aws:iam::{ACCOUNT}:role/sealift-prod-presign"), "{deployed}");
    assert_eq!(outputs["MetadataUrl"], "https://acme-prod.s3.eu-west-1.amazonaws.com/prod/metadata/");
    // What was deployed is what `aws policy` prints.
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-server"))
        .args([
            "aws",
            "policy",
            "--bucket",
            "acme-prod",
            "--prefix",
            "prod/",
            "--region",
            "eu-west-1",
            "--account",
            ACCOUNT,
        ])
        .output()
        .unwrap();
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    for role in ["publisher", "reconciler", "checker", "registrar", "presign"] {
        assert_eq!(deployed["roles"][format!("sealift-prod-{role}")], printed[role], "{role}");
    }
    assert_eq!(deployed["device"], printed["device"]);
    assert_eq!(deployed["bucketPolicy"], printed["bucket"]);

    let findings = world.ok(&["aws", "check"]);
    assert!(findings.as_array().unwrap().iter().all(|found| found["verdict"] == "good"), "{findings}");

    // Everybody may write, everything is readable, roots expire, nothing is versioned.
    let spoilt = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "s3:Put*", "Resource": "arn:aws:s3:::acme-prod/*" },
        { "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-prod/*" },
    ] });
    let s3 = world.s3();
    world.block_on(async {
        s3.put_bucket_policy().bucket("acme-prod").policy(spoilt.to_string()).send().await.unwrap();
        s3.delete_bucket_lifecycle().bucket("acme-prod").send().await.unwrap();
        s3.delete_public_access_block().bucket("acme-prod").send().await.unwrap();
    });
    let output = world.command(&["aws", "check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let first = String::from_utf8_lossy(&output.stdout).lines().next().unwrap().to_owned();
    let findings: Value = serde_json::from_str(&first).unwrap();
    let verdict = |setting: &str| {
        let all = findings.as_array().unwrap();
        all.iter().find(|found| found["setting"] == setting).unwrap()["verdict"].as_str().unwrap().to_owned()
    };
    for setting in
        ["no public writes", "payloads private", "audit log and rollouts private", "access lists open nothing"]
    {
        assert_eq!(verdict(setting), "bad", "{findings}");
    }
    for setting in ["nothing is overwritten unseen", "unfinished uploads end"] {
        assert_eq!(verdict(setting), "weak", "{findings}");
    }
}
