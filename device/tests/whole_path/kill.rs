//! kill -9 of agent and server, both real, all through an update.

use std::time::Duration;

use crate::programs::House;

#[test]
fn agent_and_server_are_killed_again_and_again_and_the_update_completes() {
    let mut house = House::new();
    house.serve();
    let image = |seed: u32| -> Vec<u8> {
        let mut state = seed;
        let noise = std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        noise.take(3_000_000).collect()
    };
    let (old, new) = (house.path("old"), house.path("new"));
    std::fs::write(&old, image(1)).unwrap();
    std::fs::write(&new, image(2)).unwrap();
    house.release("1.0.0", "1", &old, &["--no-deltas"]);
    house.sealift(&["bundle", "export", "--product", "thing", "--out", "1.0.0.bundle"]);
    house.release("1.1.0", "2", &new, &["--no-deltas"]);
    house.publish();
    let bundle = house.path("project/1.0.0.bundle");
    house.device("device", "field", &old, Some(bundle.to_str().unwrap()));
    let rollout = house.roll_out("1.1.0", "field", &["--retries", "10"]);
    let mut random = u64::from(std::process::id());
    println!("SEALIFT_SEED={random}");
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let (mut agent_kills, mut server_kills) = (0, 0);
    for round in 0..400u64 {
        let mut agent =
            house.agent_command("device", &["run", "--once", "--health-check", "sleep 0.05"]).spawn().unwrap();
        // At first too soon for any agent to be done: on a quick machine an update comes to its end within a few rounds.
        let most = if round < 8 { 20 } else { 120 };
        std::thread::sleep(Duration::from_millis(next() % most + round * 4));
        // Once for certain.
        if next().is_multiple_of(4) || round == 1 {
            house.kill_server();
            house.serve();
            server_kills += 1;
        }
        std::thread::sleep(Duration::from_millis(next() % (most / 2)));
        agent_kills += u32::from(agent.try_wait().unwrap().is_none());
        agent.kill().unwrap();
        agent.wait().unwrap();
        let counter = std::fs::read_to_string(house.path("device/counter")).unwrap();
        assert!(["1", "2"].contains(&counter.trim()));
        let status = house.server(&["rollout", "status", &rollout]);
        if status.last()["proven"] == 1 {
            break;
        }
    }
    println!("{agent_kills} kills of the agent, {server_kills} of the server");
    let status = house.server(&["rollout", "status", &rollout]);
    assert_eq!(
        (status.last()["proven"].as_u64(), status.last()["differences"].as_u64()),
        (Some(1), Some(0)),
        "{status:?}"
    );
    assert_eq!(house.version("device"), "1.1.0");
    assert!(agent_kills > 3 && server_kills > 0);
}
