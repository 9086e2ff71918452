//! kill -9 at any point: what runs is always verified, the counter never falls, and the update completes.

use std::time::Duration;

use crate::server::Reply;
use crate::world::*;

/// A number that differs from run to run; printed, so that a failure can be understood.
fn seed() -> u64 {
    let seed = std::env::var("SEALIFT_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEALIFT_SEED={seed}");
    seed
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_killed_agent_leaves_the_old_or_the_new_image_and_completes_the_update() {
    let mut random = seed();
    let rounds: u32 = std::env::var("SEALIFT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut kills = 0;
    for _ in 0..rounds {
        let world = World::new();
        let image = world.fleet.targets[0].image.clone();
        // Some 350 ms of download.
        let pause = Duration::from_millis(8);
        world.server.put(world.payload_path(), Reply::Throttled(image, 16 * 1024, pause));
        world.queue(Some(&world.fleet.files().bundle()));
        world.server.lock().job.as_mut().unwrap().retries = 1_000;
        let mut lived = Duration::from_millis(1);
        loop {
            let mut child = world.command(&["run", "--once", "--health-check", "sleep 0.05"]).spawn().unwrap();
            // Longer and longer on average, so that it ends.
            let patience = lived + Duration::from_millis(next(&mut random) % 300);
            lived += Duration::from_millis(20);
            std::thread::sleep(patience);
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            kills += u32::from(ended.is_none());
            assert!([3, 5].contains(&world.counter()));
            // The boot stage alone, as a reboot would run it; sometimes cut as well.
            if next(&mut random).is_multiple_of(3) {
                let version = world.version();
                assert!(["1.0.0", "1.1.0"].contains(&version.as_str()));
                assert!(version == "1.1.0" || world.counter() == 3);
            }
            if world.server.outcome().0 == "SUCCEEDED" {
                break;
            }
        }
        world.assert_outcome("SUCCEEDED", None, "1.1.0");
        assert_eq!(world.counter(), 5);
        let shared = world.server.lock();
        let ends: Vec<_> = shared.updates.iter().filter(|(status, _)| status != "IN_PROGRESS").collect();
        // On the way nothing failed but trials that a kill ended.
        for (status, details) in &ends[..ends.len() - 1] {
            assert_eq!((status.as_str(), details["code"].as_str()), ("FAILED", Some("SL-706")), "{details}");
        }
    }
    println!("{kills} kills in {rounds} updates");
    assert!(kills >= rounds * 3);
}
