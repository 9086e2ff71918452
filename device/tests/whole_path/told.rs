//! The agent over MQTT: told of a job at once, back by itself after the server was killed, and over HTTPS when MQTT is
//! refused.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::programs::House;

/// An agent that runs on and on.
struct Agent {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    fn start(house: &House, name: &str, more: &[&str]) -> Agent {
        let mut command = house.agent_command(name, &[&["run", "--log-format", "json"], more].concat());
        command.stderr(std::fs::File::create(house.path(&format!("{name}.log"))).unwrap());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Agent { child, lines }
    }

    /// The next report, and how long it took to come.
    fn reported(&mut self) -> (Value, Duration) {
        let start = Instant::now();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the agent ended");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "reported" {
                return (event, start.elapsed());
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn image(house: &House, name: &str, seed: u8) -> std::path::PathBuf {
    let path = house.path(name);
    std::fs::write(&path, (0..60_000_u32).map(|n| (n.wrapping_mul(31) >> 3) as u8 ^ seed).collect::<Vec<_>>()).unwrap();
    path
}

#[test]
fn over_mqtt_the_agent_is_told_of_a_job_comes_back_by_itself_and_uses_https_when_it_must() {
    let mut house = House::new();
    let old = image(&house, "old.img", 1);
    house.release("1.0.0", "2", &image(&house, "one.img", 2), &[]);
    house.serve();
    house.publish();
    for (device, group) in [("told", "first"), ("asks", "second")] {
        house.device(device, group, &old, None);
    }
    // It asks once an hour: what it learns sooner it was told.
    let mut agent = Agent::start(&house, "told", &["--poll", "3600"]);
    std::thread::sleep(Duration::from_secs(3));
    house.roll_out("1.0.0", "first", &["--name", "one"]);
    let (report, took) = agent.reported();
    assert_eq!((&report["status"], report["accepted"].as_bool()), (&Value::from("SUCCEEDED"), Some(true)), "{report}");
    assert!(took < Duration::from_secs(60), "{took:?}");

    // Killed and started again: the agent is back without being asked.
    house.kill_server();
    std::thread::sleep(Duration::from_secs(1));
    house.serve();
    house.release("1.1.0", "2", &image(&house, "two.img", 3), &[]);
    house.publish();
    house.roll_out("1.1.0", "first", &["--name", "two"]);
    assert_eq!(agent.reported().0["status"], "SUCCEEDED");

    // A policy that refuses its MQTT leaves it HTTPS.
    let nothing = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"iot:*","Resource":"*"}}"#;
    std::fs::write(house.path("nothing.json"), nothing).unwrap();
    house.server(&["policies", "put", "--name", "nothing", "--document", "nothing.json"]);
    house.server(&["policies", "attach", "--name", "nothing", "--thing", "asks"]);
    let mut agent = Agent::start(&house, "asks", &["--poll", "1"]);
    house.roll_out("1.1.0", "second", &["--name", "three"]);
    assert_eq!(agent.reported().0["status"], "SUCCEEDED");
}
