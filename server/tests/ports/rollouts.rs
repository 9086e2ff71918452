//! Rollouts through AWS IoT Jobs with the real binary: from an empty bucket to the last wave, and everything that can
//! come between.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::proxy::{Call, Fate};
use crate::world::{ROLE, World, answer, path};

const TWO_WAVES: &str = "
    [[wave]]
    name = \"first\"
    groups = [\"lab\"]
    gate = { success-ratio = 1.0, min-finished = 2 }
    abort = [{ on = \"failed\", percent = 50.0, min-finished = 2 }]
    [[wave]]
    name = \"rest\"
    percent = 100
    abort = []
";

fn world() -> World {
    let world = World::new();
    world.publish();
    world.things("lab", &["lab-1", "lab-2"]);
    world.things("field", &["field-1", "field-2", "field-3"]);
    world
}

#[test]
fn from_an_empty_bucket_to_the_last_wave() {
    let world = world();
    let preview = world.ok(&["rollout", "plan", path(&world.plan(TWO_WAVES))]);
    assert_eq!((&preview["waves"][0]["devices"], &preview["waves"][1]["devices"]), (&json!(2), &json!(5)));
    assert_eq!(world.ok(&["rollout", "list"]), json!([]), "a plan that was looked at is no rollout");

    let made = world.start("r", TWO_WAVES);
    assert_eq!(made["created"], true);
    assert_eq!(world.start("r", TWO_WAVES)["created"], false, "the same again finds it there");

    // The job as AWS IoT has it: paced, presigned, with the document that a device reads.
    let iot = world.block_on(world.moto.session()).iot();
    let job = world.block_on(iot.describe_job().job_id("sl-r-w1").send()).unwrap();
    let job = job.job().unwrap();
    let presign = job.presigned_url_config().unwrap();
    assert_eq!((presign.role_arn(), presign.expires_in_sec()), (Some(ROLE), Some(3_600)));
    assert_eq!(job.job_executions_rollout_config().unwrap().maximum_per_minute(), Some(500));
    let document = world.block_on(iot.get_job_document().job_id("sl-r-w1").send()).unwrap();
    let document = sealift_jobs::JobDocument::from_json(document.document().unwrap()).unwrap();
    assert_eq!(document.metadata, format!("{}/{}/prod/metadata/", world.proxy.endpoint, world.bucket));
    let (digest, url) = document.payloads.first_key_value().unwrap();
    let place = format!("https://s3.eu-west-1.amazonaws.com/{}/prod/payloads/{digest}", world.bucket);
    assert_eq!(*url, format!("${{aws:iot:s3-presigned-url:{place}}}"));

    world.reconcile();
    assert_eq!(world.status("r")["waves"][1]["progress"], Value::Null, "nobody has proven anything");
    world.end("lab-1", "sl-r-w1", "SUCCEEDED");
    // Success that nobody proved: called out, and no step on.
    world.end_with("lab-2", "sl-r-w1", "SUCCEEDED", &json!({}));
    world.reconcile();
    let status = world.status("r");
    assert_eq!((&status["proven"], &status["differences"]), (&json!(1), &json!(1)), "{status}");
    assert_eq!(status["waves"][1]["progress"], Value::Null);
}

#[test]
fn waves_follow_each_other_by_proof_and_every_act_is_on_record() {
    let world = world();
    world.start("r", TWO_WAVES);
    for thing in ["lab-1", "lab-2"] {
        world.end(thing, "sl-r-w1", "SUCCEEDED");
    }
    world.reconcile();
    let status = world.status("r");
    assert_eq!(status["waves"][1]["progress"]["counts"], json!({"QUEUED": 5}), "{status}");
    // A report of another execution is refused, and seen.
    let foreign = world.report("field-2", "sl-r-w2", 1);
    world.end_with("field-1", "sl-r-w2", "SUCCEEDED", &json!({ "report": foreign }));
    for thing in ["field-2", "field-3", "lab-1", "lab-2"] {
        world.end(thing, "sl-r-w2", "SUCCEEDED");
    }
    world.reconcile();
    let status = world.status("r");
    assert_eq!((&status["state"], &status["differences"]), (&json!("COMPLETED"), &json!(1)), "{status}");
    let refused = status["devices"].as_array().unwrap().iter().find(|d| d["differs"] == true).unwrap();
    assert!(refused["proven"]["problem"].as_str().unwrap().contains("key the thing didn't enrol"), "{refused}");

    let explained = world.ok(&["rollout", "explain", "r", "field-2"]);
    assert_eq!(explained["wave"], 1);
    let image = status["target"]["image"].as_str().unwrap();
    assert!(explained["payloadWhy"].as_str().unwrap().contains(image), "{explained}");
    let metered = world.ok(&["rollout", "explain", "r", "field-2", "--metered"]);
    assert_eq!(metered["payload"], Value::Null, "{metered}");

    let history = world.ok(&["rollout", "history", "r"]);
    let entries = history.as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["by"].as_str().unwrap().contains("(erin)")), "{history}");
    let head = world.ok(&["audit", "verify"]);
    assert_eq!(head["number"], entries.len() as u64 + 2, "each act once, and the publication's two: {history}");
    let kept = format!("{}:{}", head["number"], head["sha256"].as_str().unwrap());
    assert_eq!(world.ok(&["audit", "verify", "--head", &kept]), head);

    // Who alters an entry or cuts the end off is found.
    let key = "prod/audit/000000000003.json";
    let altered = String::from_utf8(world.object(key).unwrap()).unwrap().replace("erin", "mallory");
    let put = |key: &str, body: String| {
        let put = world.s3().put_object().bucket(&world.bucket).key(key).body(body.into_bytes().into());
        world.block_on(put.send()).unwrap();
    };
    let before = String::from_utf8(world.object(key).unwrap()).unwrap();
    put(key, altered);
    let (said, exit) = world.json(&["audit", "verify"]);
    assert_eq!(exit, 3, "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("audit entry 4"), "{said}");
    put(key, before);
    let last = format!("prod/audit/{:012}.json", head["number"].as_u64().unwrap());
    world.block_on(world.s3().delete_object().bucket(&world.bucket).key(last).send()).unwrap();
    assert_eq!(world.json(&["audit", "verify"]).1, 0, "a chain that is shorter is whole in itself");
    assert_eq!(world.json(&["audit", "verify", "--head", &kept]).1, 3, "but not what it was");
}

#[test]
fn a_threshold_stops_it_and_spares_who_has_not_started() {
    let world = world();
    world.things("lab", &["lab-3", "lab-4"]);
    world.start("r", TWO_WAVES);
    world.end("lab-1", "sl-r-w1", "FAILED");
    world.end("lab-2", "sl-r-w1", "FAILED");
    world.reconcile();
    let status = world.status("r");
    assert_eq!((&status["state"], &status["counts"]), (&json!("STOPPED"), &json!({"FAILED": 2, "CANCELED": 2})));
    assert!(status["comment"].as_str().unwrap().contains("2 of 2 devices failed"), "{status}");
    assert!(!world.end_with("lab-3", "sl-r-w1", "SUCCEEDED", &json!({})), "lab-3 is spared");
    let output = world.command(&["rollout", "watch", "r"]).output().unwrap();
    assert_eq!(answer(&output).1, 3);
}

#[test]
fn pause_resume_and_abort_from_any_machine() {
    let world = world();
    world.start("r", TWO_WAVES);
    world.end("lab-1", "sl-r-w1", "SUCCEEDED");
    let paused = world.ok(&["rollout", "pause", "r", "--comment", "a bad feeling"]);
    assert_eq!((&paused["state"], &paused["counts"]["CANCELED"]), (&json!("PAUSED"), &json!(1)));
    world.reconcile();
    assert_eq!(world.ok(&["rollout", "resume", "r"])["state"], "RUNNING");
    let status = world.status("r");
    assert_eq!(status["waves"][0]["job"], "sl-r-w1-a1", "{status}");
    world.end("lab-2", "sl-r-w1-a1", "SUCCEEDED");
    let aborted = world.ok(&["rollout", "abort", "r", "--force", "--comment", "enough"]);
    assert_eq!((&aborted["state"], &aborted["comment"]), (&json!("CANCELED"), &json!("enough")));
    let passed = world.reconcile();
    assert_eq!(passed[0]["state"], "CANCELED");
    assert_eq!(world.json(&["rollout", "resume", "r"]).1, 2);
}

#[test]
fn a_job_cancelled_or_deleted_in_the_console_stops_the_rollout() {
    let world = world();
    world.start("cancelled", TWO_WAVES);
    let iot = world.block_on(world.moto.session()).iot();
    world.block_on(iot.cancel_job().job_id("sl-cancelled-w1").send()).unwrap();
    world.reconcile();
    let status = world.status("cancelled");
    assert_eq!(status["state"], "STOPPED", "{status}");
    assert!(status["comment"].as_str().unwrap().contains("cancelled or deleted by somebody else"), "{status}");
}

#[test]
fn a_metered_group_is_offered_deltas_alone() {
    let world = world();
    world.start("m", "metered-groups = [\"lab\"]\n[[wave]]\nname = \"cell\"\ngroups = [\"lab\"]\n");
    let iot = world.block_on(world.moto.session()).iot();
    let document = world.block_on(iot.get_job_document().job_id("sl-m-w1").send()).unwrap();
    let document = sealift_jobs::JobDocument::from_json(document.document().unwrap()).unwrap();
    assert!(document.payloads.is_empty(), "the only payload of this release is a whole image: {document:?}");
    let explained = world.ok(&["rollout", "explain", "m", "lab-1"]);
    assert!(explained["payloadWhy"].as_str().unwrap().contains("deltas alone"), "{explained}");
}

/// Jobs that were made, and how often the call was sent.
fn creations(calls: &[Call]) -> (usize, usize) {
    let all = calls.iter().filter(|call| call.action == "iot:CreateJob");
    let done = all.clone().filter(|call| call.status == Some(200)).count();
    (all.count(), done)
}

/// Kills the reconciler before and after its calls, in each of its situations: once again, and it is as it should be; and no
/// job was asked for twice. Every third call, beginning with another one each half; with SEALIFT_KILL_AT_EVERY_CALL=1 every one.
#[test]
fn killed_at_every_call_the_reconciler_converges_in_one_pass_and_makes_no_job_twice() {
    let world = world();
    // A percentage asks for a hundred groups one by one: here a group, for fewer calls to be killed at.
    let small = TWO_WAVES.replace("percent = 100", "groups = [\"field\"]");
    let step = if std::env::var_os("SEALIFT_KILL_AT_EVERY_CALL").is_some() { 1 } else { 3 };
    let (mut kills, mut jobs) = (0, 0);
    for (after, first) in [(false, 0), (true, step / 2)] {
        let mut call = first;
        loop {
            let name = format!("k{}-{call}", u8::from(after));
            // Two devices prove themselves; the pass that is killed passes the gate and begins the second wave.
            world.proxy.pass();
            world.start(&name, &small);
            for thing in ["lab-1", "lab-2"] {
                world.end(thing, &format!("sl-{name}-w1"), "SUCCEEDED");
            }
            let killed = kill_at(&world, &["rollout", "reconcile", &name], call, after);
            let before = creations(&world.proxy.calls());
            world.proxy.pass();
            world.ok(&["rollout", "reconcile", &name]);
            let again = creations(&world.proxy.calls());
            let status = world.status(&name);
            assert_eq!(status["waves"][1]["progress"]["counts"], json!({"QUEUED": 3}), "call {call}: {status}");
            let made = before.1 + again.1;
            assert_eq!(made, 1, "call {call} (after: {after}): {before:?} {again:?}");
            assert_eq!(
                status["history"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|e| e["what"].as_str().unwrap().starts_with("wave rest begins"))
                    .count(),
                1
            );
            jobs += made;
            world.ok(&["rollout", "abort", &name]);
            if !killed {
                break;
            }
            kills += 1;
            call += step;
        }
    }
    assert!(kills > 20, "{kills}");
    world.ok(&["audit", "verify"]);
    println!("{kills} kills, {jobs} jobs, each made once");
}

/// Runs a command and kills it at its n-th call, before or after that call arrived; false when it has fewer calls.
pub(crate) fn kill_at(world: &World, arguments: &[&str], call: usize, after: bool) -> bool {
    kill_when(world, arguments, after, move |index, _| index == call)
}

/// Runs a command and kills it at the first call that is `fatal`.
pub(crate) fn kill_when(
    world: &World,
    arguments: &[&str],
    after: bool,
    mut fatal: impl FnMut(usize, &Call) -> bool + Send + 'static,
) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    let fate = if after { Fate::LoseAnswer } else { Fate::LoseCall };
    let mut dead = false;
    world.proxy.judge(move |index, call| {
        if dead {
            return Fate::LoseCall;
        }
        dead = fatal(index, call);
        if dead {
            let _ = sender.send(index);
            return fate;
        }
        Fate::Pass
    });
    let mut child = world.spawn(arguments);
    let start = Instant::now();
    loop {
        if let Ok(call) = receiver.try_recv() {
            if after {
                // The answer is held back until the call was done.
                while world.proxy.calls().get(call).is_none_or(|call| call.status.is_none()) {
                    assert!(start.elapsed() < Duration::from_secs(30));
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        if let Some(status) = child.try_wait().unwrap() {
            if receiver.try_recv().is_ok() {
                return true;
            }
            assert!(status.success(), "{arguments:?}: {status}");
            return false;
        }
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn two_reconcilers_at_once_do_no_harm() {
    let world = world();
    for round in 0..5 {
        let name = format!("two-{round}");
        world.start(&name, TWO_WAVES);
        for thing in ["lab-1", "lab-2"] {
            world.end(thing, &format!("sl-{name}-w1"), "SUCCEEDED");
        }
        world.proxy.pass();
        let mut both: Vec<_> = (0..2).map(|_| world.spawn(&["rollout", "reconcile", &name])).collect();
        for child in &mut both {
            child.wait().unwrap();
        }
        let (_, made) = creations(&world.proxy.calls());
        world.ok(&["rollout", "reconcile", &name]);
        assert_eq!(made, 1, "{:?}", world.proxy.calls());
        let history = world.ok(&["rollout", "history", &name]).to_string();
        assert_eq!(history.matches("wave rest begins").count(), 1, "{history}");
        world.ok(&["rollout", "abort", &name]);
    }
    let log = String::from_utf8(world.command(&["audit", "export"]).output().unwrap().stdout).unwrap();
    let mut keys: Vec<Value> =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].clone()).collect();
    let all = keys.len();
    keys.sort_by_key(Value::to_string);
    keys.dedup();
    assert_eq!(keys.len(), all, "each act is in the log once");
}

#[test]
fn lost_and_doubled_calls_and_throttling_change_nothing_in_the_end() {
    let world = world();
    for (round, fate) in [Fate::LoseCall, Fate::LoseAnswer, Fate::Twice, Fate::Throttle].into_iter().enumerate() {
        let name = format!("bad-{round}");
        world.start(&name, TWO_WAVES);
        for thing in ["lab-1", "lab-2"] {
            world.end(thing, &format!("sl-{name}-w1"), "SUCCEEDED");
        }
        let mut made = 0;
        // Every third call goes wrong, each time others, until a pass has come through.
        let mut passes = 0;
        loop {
            let shift = passes;
            world.proxy.judge(move |index, _| if index % 3 == shift % 3 { fate } else { Fate::Pass });
            let mut command = world.command(&["rollout", "reconcile", &name]);
            let exit = command.env("AWS_MAX_ATTEMPTS", "4").output().unwrap().status.code();
            made += creations(&world.proxy.calls()).1;
            passes += 1;
            let begun = world.object(&format!("prod/rollouts/{name}.json")).unwrap();
            let begun = String::from_utf8(begun).unwrap().contains("wave rest begins");
            if exit == Some(0) && begun {
                break;
            }
            assert!(passes < 40, "{fate:?}: {exit:?}");
        }
        world.proxy.pass();
        world.reconcile();
        let status = world.status(&name);
        assert_eq!(status["waves"][1]["progress"]["counts"], json!({"QUEUED": 5}), "{fate:?}: {status}");
        assert!(made <= 1, "{fate:?}: {made}");
        world.ok(&["rollout", "abort", &name]);
    }
    world.ok(&["audit", "verify"]);
}

#[test]
fn what_is_wrong_with_account_or_plan_is_told_with_call_and_remedy_before_anything_is_touched() {
    let world = world();
    let plan = world.plan(TWO_WAVES);
    let refused = |action: &'static str, fate: Fate, exit: i32, words: &[&str]| {
        world.proxy.judge(move |_, call| if call.action == action { fate } else { Fate::Pass });
        let (said, found) = world.json(&["rollout", "start", path(&plan), "--name", "x"]);
        let text = said["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(found, exit, "{said}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        let calls = world.proxy.calls();
        assert!(calls.iter().all(|call| call.action != "iot:CreateJob"), "{calls:?}");
    };
    refused("sts:GetCallerIdentity", Fate::Deny("ExpiredToken"), 3, &["sts:GetCallerIdentity", "expired", "log in"]);
    refused("sts:GetCallerIdentity", Fate::Deny("InvalidClientTokenId"), 3, &["credentials are not valid"]);
    refused("s3:GetObject", Fate::Deny("AccessDenied"), 3, &["s3:GetObject", "lacks this permission"]);
    refused("s3:GetObject", Fate::Throttle, 1, &["s3:GetObject", "fewer requests"]);
    refused("s3:GetObject", Fate::Deny("PermanentRedirect"), 2, &["another region", "--region"]);
    refused("iot:ListThingsInThingGroup", Fate::Deny("AccessDeniedException"), 3, &["iot:ListThingsInThingGroup"]);
    refused("iot:ListThingsInThingGroup", Fate::Throttle, 1, &["iot:ListThingsInThingGroup", "fewer requests"]);
    world.proxy.pass();
    assert_eq!(world.ok(&["rollout", "list"]), json!([]), "none of them left a rollout");

    let wrong = |waves: &str, exit: i32, word: &str| {
        let (said, found) = world.json(&["rollout", "start", path(&world.plan(waves))]);
        assert_eq!(found, exit, "{waves}: {said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(word), "{waves}: {said}");
    };
    wrong("[[wave]]\nname = \"x\"\ngroups = [\"nobody\"]", 2, "wave x: no group is called nobody");
    wrong("[[wave]]\nname = \"x\"\nthings = [\"nobody\"]", 2, "wave x: no device is called nobody");
    wrong("[[wave]]\nname = \"x\"\npercent = 5\nrate = 1001", 4, "rate");
    wrong("metered-groups = [\"lab\"]\n[[wave]]\nname = \"x\"\ngroups = [\"lab\", \"field\"]", 4, "wave of their own");
    let mut without = world.command(&["rollout", "start", path(&plan)]);
    let (said, exit) = answer(&without.env_remove("SEALIFT_PRESIGN_ROLE").output().unwrap());
    assert!(exit == 2 && said["error"]["message"].as_str().unwrap().contains("--presign-role"), "{said}");
    let mut without = world.command(&["rollout", "list"]);
    let (said, exit) = answer(&without.env_remove("AWS_REGION").output().unwrap());
    assert!(exit == 2 && said["error"]["message"].as_str().unwrap().contains("--region"), "{said}");
    assert_eq!(world.ok(&["rollout", "list"]), json!([]));
}

/// On a terminal the picture is redrawn in place; elsewhere each change is a line.
#[test]
fn watching_shows_progress_live_and_carries_the_rollout_on() {
    let world = world();
    world.start("r", TWO_WAVES);
    let watch = ["rollout", "watch", "r", "--every", "1"];
    let plain = world.command(&watch);
    let arguments = plain.get_args().filter(|argument| *argument != "--json");
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", "import os,pty,sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"])
        .arg(plain.get_program())
        .args(arguments)
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (sender, shows) = std::sync::mpsc::channel();
    let mut terminal = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        let mut piece = [0; 4_096];
        while let Ok(length @ 1..) = std::io::Read::read(&mut terminal, &mut piece) {
            let _ = sender.send(String::from_utf8_lossy(&piece[..length]).into_owned());
        }
    });
    let mut shown = String::new();
    while !shown.contains("not begun") {
        shown += &shows.recv_timeout(Duration::from_secs(60)).expect("a first picture");
    }
    for thing in ["lab-1", "lab-2"] {
        world.end(thing, "sl-r-w1", "SUCCEEDED");
    }
    let start = Instant::now();
    while !world.ok(&["rollout", "history", "r"]).to_string().contains("wave rest begins") {
        assert!(start.elapsed() < Duration::from_secs(60), "whoever watches carries on");
        std::thread::sleep(Duration::from_millis(300));
    }
    while !shown.contains("5 QUEUED") {
        shown += &shows.recv_timeout(Duration::from_secs(60)).expect("a picture of the second wave");
    }
    world.ok(&["rollout", "abort", "r", "--comment", "seen enough"]);
    let status = child.wait().unwrap();
    shown.extend(shows.iter());
    assert_eq!(status.code(), Some(3), "{shown}");
    for part in ["\x1b[", "r: Running; thermostat 1.0.0", "not begun", "[##############################] 2 SUCCEEDED"] {
        assert!(shown.contains(part), "{part:?}: {shown}");
    }
    assert!(shown.contains("seen enough"), "{shown}");
}

/// The worst moment of all, by itself: the job is made, and nobody has put that on record.
#[test]
fn killed_between_a_job_and_its_record_the_next_pass_records_it_and_makes_no_second_one() {
    let world = world();
    world.start("r", TWO_WAVES);
    for thing in ["lab-1", "lab-2"] {
        world.end(thing, "sl-r-w1", "SUCCEEDED");
    }
    let at_creation = |_: usize, call: &Call| call.action == "iot:CreateJob";
    assert!(kill_when(&world, &["rollout", "reconcile", "r"], true, at_creation));
    let made = creations(&world.proxy.calls());
    world.proxy.pass();
    world.reconcile();
    assert_eq!((made.1, creations(&world.proxy.calls()).0), (1, 0), "made once, and not asked for again");
    let history = world.ok(&["rollout", "history", "r"]).to_string();
    assert_eq!(history.matches("wave rest begins").count(), 1, "{history}");
}
