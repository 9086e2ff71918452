//! Publication to S3 under kill -9, races and faults: the old release or the new one, never half of one.

use std::path::Path;

use sealift_server::aws::S3Store;
use sealift_server::intake;
use sealift_server::publish::{Options, PublishError, publish};
use sealift_server::store::{ArtifactStore, LocalStore};
use sealift_verifier::trust::Policy;
use serde_json::json;

use crate::localstack::LocalStack;
use crate::release::{Maker, now, target};
use crate::rollouts::kill_at;
use crate::world::{World, path};

fn options() -> Options {
    Options { policy: Policy::production(), now: now(), dry_run: false, actor: "test".into() }
}

/// What a device would find: the timestamp version, after the whole chain and every payload were found there.
async fn current(store: &impl ArtifactStore) -> Option<u64> {
    let catalog = intake::published(store, Policy::production()).await.expect("what is current verifies").catalog?;
    for payload in catalog.targets.iter().flat_map(|target| &target.payloads) {
        let key = sealift_server::store::Key::payload(&payload.digest);
        assert_eq!(store.length(&key).await.unwrap(), Some(payload.length), "a payload of what is current");
    }
    Some(catalog.chain.timestamp.version)
}

/// Kills the publisher at each of its requests, before and after it arrived: the old release is current or the new one,
/// whole, and a second run finishes it. The new payload goes up in two parts.
#[test]
fn killed_at_every_request_a_publication_has_happened_or_not() {
    let mut world = World::new();
    let first = world.release();
    world.maker.next(target([1, 1, 0], 9 << 20));
    let second = world.release();
    let (mut kills, mut old, mut new) = (0, 0, 0);
    for after in [false, true] {
        let mut request = 0;
        loop {
            world.proxy.pass();
            world.new_bucket();
            world.ok(&["publish", "--release", path(&first)]);
            let killed = kill_at(&world, &["publish", "--release", path(&second)], request, after);
            world.proxy.pass();
            let store = S3Store::new(world.s3(), &world.bucket, "prod/");
            let version = world.block_on(current(&store));
            assert!(matches!(version, Some(1 | 2)), "request {request}: {version:?}");
            *(if version == Some(1) { &mut old } else { &mut new }) += 1;
            world.ok(&["publish", "--release", path(&second)]);
            assert_eq!(world.block_on(current(&store)), Some(2), "request {request}");
            let uploads = world.s3().list_multipart_uploads().bucket(&world.bucket);
            let left = world.block_on(uploads.send()).unwrap();
            assert!(left.uploads().is_empty(), "request {request}: an upload was left");
            if !killed {
                break;
            }
            kills += 1;
            request += 1;
        }
    }
    assert!(kills > 40 && old > 30 && new > 4, "{kills} {old} {new}");
    println!("{kills} kills: {old} times the old release, {new} times the new one, never half of one");
}

#[test]
fn a_dry_run_says_what_and_why_and_writes_nothing() {
    let world = World::new();
    let release = world.release();
    let said = world.ok(&["publish", "--release", path(&release), "--dry-run"]);
    let objects = said["objects"].as_array().unwrap();
    assert!(
        objects.iter().all(|object| object["new"] == true && !object["why"].as_str().unwrap().is_empty()),
        "{said}"
    );
    assert_eq!(world.objects(), Vec::<String>::new());
    world.ok(&["publish", "--release", path(&release)]);
    let again = world.ok(&["publish", "--release", path(&release)]);
    assert_eq!(again["changed"], false);
    let log = world.ok(&["audit", "verify"]);
    assert_eq!(log["number"], json!(2), "begun and done, however often it is repeated");
}

/// `rounds` times `racers` publishers with different timestamps of one version: exactly one wins, the others are told who
/// did, and what is current is the winner's. The second number: how many lost the very race for the timestamp.
async fn race<S: ArtifactStore>(store: S, racers: u64, rounds: u64) -> (u64, u64) {
    let store = std::sync::Arc::new(store);
    let mut maker = Maker::default();
    let (mut wins, mut lost) = (0, 0);
    for round in 0..rounds {
        if round > 0 {
            maker.fleet.timestamp_version += 1;
        }
        let folders: Vec<(tempfile::TempDir, Vec<u8>)> = (0..racers)
            .map(|racer| {
                let folder = tempfile::tempdir().unwrap();
                let mut mine = maker.clone();
                mine.fleet.timestamp_expires += racer;
                let timestamp = mine.write(folder.path()).timestamp;
                (folder, timestamp)
            })
            .collect();
        let mut running = tokio::task::JoinSet::new();
        for (racer, (folder, _)) in folders.iter().enumerate() {
            let (store, folder) = (store.clone(), folder.path().to_owned());
            running.spawn(async move { (racer, publish(Path::new(&folder), &*store, options(), |_| {}).await) });
        }
        let ended = running.join_all().await;
        let winners: Vec<usize> = ended.iter().filter(|(_, done)| done.is_ok()).map(|(racer, _)| *racer).collect();
        assert_eq!(winners.len(), 1, "round {round}: {ended:?}");
        wins += 1;
        for (_, done) in ended.iter().filter(|(racer, _)| *racer != winners[0]) {
            match done {
                Err(PublishError::Lost { won, .. }) => {
                    assert_eq!(*won, maker.fleet.timestamp_version);
                    lost += 1;
                }
                // Later by more than a hair: what was current when it looked was another timestamp of this version.
                Err(PublishError::Intake(intake::IntakeError::Refused { .. })) => {}
                other => panic!("round {round}: {other:?}"),
            }
        }
        let timestamp = store.small(&sealift_server::store::Key::timestamp(), 1 << 20).await.unwrap().unwrap().0;
        assert!(timestamp == folders[winners[0]].1, "round {round}: the winner's is current");
        assert_eq!(current(&*store).await, Some(maker.fleet.timestamp_version));
        maker.fleet.timestamp_expires += winners[0] as u64;
    }
    (wins, lost)
}

fn rounds(usual: u64) -> u64 {
    std::env::var("SEALIFT_RACE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// `SEALIFT_RACE_ROUNDS=200 cargo test ... sixteen -- --nocapture` is the whole measurement.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_publishers_race_on_the_local_store_and_one_wins_each_round() {
    let home = tempfile::tempdir().unwrap();
    let (wins, lost) = race(LocalStore::open(home.path()).unwrap(), 16, rounds(12)).await;
    println!("local store: {wins} rounds, one winner each; {lost} lost the race for the timestamp itself");
}

/// LocalStack's conditional writes are atomic, moto's are not.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_publishers_race_on_s3_as_localstack_has_it_and_one_wins_each_round() {
    let Some(localstack) = LocalStack::start() else { return };
    let client = localstack.session().await.s3();
    client.create_bucket().bucket("race").send().await.unwrap();
    let (wins, lost) = race(S3Store::new(client, "race", "prod/"), 16, rounds(4)).await;
    println!("LocalStack: {wins} rounds, one winner each; {lost} lost the race for the timestamp itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_as_localstack_has_it_is_an_artifact_store() {
    let Some(localstack) = LocalStack::start() else { return };
    let client = localstack.session().await.s3();
    client.create_bucket().bucket("suite").send().await.unwrap();
    let store = S3Store::new(client, "suite", "prod/");
    crate::store_suite::all(|| store.clone(), 8, 4).await;
}
