//! A bad network: requests that are dropped, come twice or in the wrong order, connections that are cut, that hang half
//! open, or crawl. Whatever was acknowledged is so, and no state is one that nobody asked for.
//!
//! `SEALIFT_DELIVERIES=100000 cargo test --release -p sealift-server --test server lossy -- --nocapture` is the long form.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Options, packet, text};
use super::jobs::{started_with, topic};
use crate::device::Device;
use crate::process::Server;

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// A proxy that harms some of the connections it carries; its port.
fn bad_network(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let Ok(client) = client else { return };
            std::thread::spawn(move || {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
                let mut random = Random(number as u64 * 77 + 1);
                // Bytes until it happens, each way together.
                let left = Arc::new(AtomicU64::new(8_000 + random.below(200_000)));
                let (half_open, slow) = (random.below(12) == 0, random.below(6) == 0);
                let pipe = |mut from: TcpStream, mut to: TcpStream| {
                    let left = left.clone();
                    move || {
                        let mut buffer = [0; 1_024];
                        while let Ok(n @ 1..) = from.read(&mut buffer) {
                            if slow {
                                std::thread::sleep(Duration::from_millis(2));
                            }
                            if left.fetch_sub((n as u64).min(left.load(Ordering::Relaxed)), Ordering::Relaxed)
                                <= n as u64
                            {
                                if half_open {
                                    // Neither side hears of it for a while.
                                    std::thread::sleep(Duration::from_secs(4));
                                }
                                break;
                            }
                            if to.write_all(&buffer[..n]).is_err() {
                                break;
                            }
                        }
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    }
                };
                let mut one = pipe(client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(pipe(server, client));
                one();
            });
        }
    });
    port
}

/// A device that keeps book of what was acknowledged.
struct Worker<'a> {
    device: &'a Device,
    port: u16,
    client: Option<Client>,
    random: Random,
    /// The version that was acknowledged last, and the step it carried.
    version: u64,
    step: u64,
    deliveries: u64,
    faults: u64,
    packet_id: u16,
}

impl Worker<'_> {
    fn topic(&self) -> String {
        topic(&self.device.name, "j/update")
    }

    fn body(step: u64, expected: u64) -> Value {
        json!({"status": "IN_PROGRESS", "statusDetails": {"step": step.to_string()}, "expectedVersion": expected,
            "includeJobExecutionState": true, "clientToken": format!("{step}-{expected}")})
    }

    fn packet(&mut self, body: &Value, again: bool) -> Vec<u8> {
        if !again {
            self.packet_id = self.packet_id.wrapping_add(1).max(1);
        }
        let mut bytes = text(&self.topic());
        bytes.extend(self.packet_id.to_be_bytes());
        bytes.extend(body.to_string().as_bytes());
        packet(if again { 0x3a } else { 0x32 }, &bytes)
    }

    /// Connects until that works, and then asks where things stand: exactly where they were acknowledged to be, or one
    /// step further when the last one was sent and its answer lost.
    fn client(&mut self, unsure: bool) -> &mut Client {
        if self.client.is_none() {
            let described = loop {
                let options = Options::new(4, &self.device.name, self.port);
                let Ok(mut client) = Client::try_connect(self.device, &options) else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                client.stream.sock.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let topic = topic(&self.device.name, "j/get");
                if client.publish(&topic, b"{}", 1).is_ok()
                    && let Ok(message) = client.message()
                {
                    self.client = Some(client);
                    break message.json()["execution"].clone();
                }
            };
            let found = described["versionNumber"].as_u64().unwrap();
            let step = described["statusDetails"]["step"].as_str().map_or(0, |step| step.parse().unwrap());
            let as_acknowledged = (found, step) == (self.version, self.step);
            let one_further = unsure && (found, step) == (self.version + 1, self.step + 1);
            assert!(as_acknowledged || one_further, "acknowledged {} {}, found {described}", self.version, self.step);
            (self.version, self.step) = (found, step);
        }
        self.client.as_mut().unwrap()
    }

    /// Sends packets and reads as many answers.
    fn exchange(&mut self, bytes: &[u8], answers: usize) -> std::io::Result<Vec<(String, Value)>> {
        let client = self.client(false);
        client.send(bytes)?;
        let mut got = Vec::new();
        while got.len() < answers {
            let message = client.message()?;
            let verdict = message.topic.rsplit('/').next().unwrap().to_owned();
            got.push((verdict, message.json()));
        }
        Ok(got)
    }

    fn accepted(&mut self, (verdict, answer): &(String, Value), step: u64) {
        assert_eq!(verdict, "accepted", "{answer}");
        assert_eq!(answer["clientToken"], format!("{step}-{}", self.version));
        self.version += 1;
        self.step = step;
        assert_eq!(answer["executionState"]["versionNumber"], self.version);
    }

    fn refused(&self, (verdict, answer): &(String, Value)) {
        assert_eq!((verdict.as_str(), &answer["code"]), ("rejected", &json!("VersionMismatch")));
        assert_eq!(answer["executionState"]["versionNumber"], self.version, "{answer}");
    }

    /// One update, which one in ten times meets a fault of its own besides those of the network.
    fn deliver(&mut self) {
        self.client(false);
        let (step, version) = (self.step + 1, self.version);
        let body = Self::body(step, version);
        let fault = self.random.below(30);
        self.faults += u64::from(fault < 3);
        self.deliveries += 1;
        let done = match fault {
            // Its answer is lost: nobody knows whether it arrived.
            0 => {
                let bytes = self.packet(&body, false);
                let _ = self.client(false).send(&bytes);
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            // It comes twice.
            1 => {
                let bytes = [self.packet(&body, false), self.packet(&body, true)].concat();
                self.exchange(&bytes, 2).map(|answers| {
                    self.accepted(&answers[0], step);
                    self.refused(&answers[1]);
                })
            }
            // The next one overtakes it.
            2 => {
                let bytes =
                    [self.packet(&Self::body(step + 1, version + 1), false), self.packet(&body, false)].concat();
                self.exchange(&bytes, 2).map(|answers| {
                    self.refused(&answers[0]);
                    self.accepted(&answers[1], step);
                })
            }
            _ => {
                let bytes = self.packet(&body, false);
                self.exchange(&bytes, 1).map(|answers| self.accepted(&answers[0], step))
            }
        };
        if done.is_err() {
            self.client = None;
            self.client(true);
        }
    }
}

#[test]
fn on_a_bad_network_nothing_acknowledged_is_lost_and_no_state_is_wrong() {
    const WORKERS: u64 = 4;
    let deliveries = std::env::var("SEALIFT_DELIVERIES").map_or(2_000, |n| n.parse::<u64>().unwrap());
    let names = ["dev-0", "dev-1", "dev-2", "dev-3"];
    let (_home, server, devices) = started_with(&names, &["--publish-rate", "10000"]);
    server.job("j", &json!({}), &["--group", "canary"]);
    let port = bad_network(server.mqtt);
    let (done, faults) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (number, device) in devices.iter().enumerate() {
            let (done, faults) = (&done, &faults);
            scope.spawn(move || {
                let random = Random(number as u64 + 1);
                let (version, step, packet_id) = (1, 0, 0);
                let mut worker =
                    Worker { device, port, client: None, random, version, step, deliveries: 0, faults: 0, packet_id };
                while worker.deliveries < deliveries / WORKERS {
                    worker.deliver();
                }
                done.fetch_add(worker.deliveries, Ordering::Relaxed);
                faults.fetch_add(worker.faults, Ordering::Relaxed);
                // The end is as every other step: until it is acknowledged, it isn't certain.
                loop {
                    let (version, token) = (worker.version, "end");
                    let body = json!({"status": "SUCCEEDED", "expectedVersion": version, "clientToken": token});
                    let bytes = worker.packet(&body, false);
                    match worker.exchange(&bytes, 1) {
                        Ok(answers) => {
                            let (verdict, answer) = &answers[0];
                            let over = answer["executionState"]["status"] == "SUCCEEDED";
                            assert!(verdict == "accepted" || over, "{answer}");
                            break;
                        }
                        Err(_) => worker.client = Some(reconnected(device, port)),
                    }
                }
            });
        }
    });
    check(&server, &names);
    let (done, faults) = (done.into_inner(), faults.into_inner());
    assert!(faults * 14 > done, "{faults} faults in {done} deliveries");
    println!(
        "{done} deliveries, {faults} of them dropped, doubled or overtaken, and cut, hanging and slow connections"
    );
}

fn reconnected(device: &Device, port: u16) -> Client {
    loop {
        if let Ok(client) = Client::try_connect(device, &Options::new(4, &device.name, port)) {
            client.stream.sock.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            return client;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check(server: &Server, names: &[&str]) {
    for name in names {
        let shown = server.ok(&["devices", "show", name]);
        assert_eq!(shown["executions"][0]["status"], "SUCCEEDED", "{shown}");
    }
    assert!(!server.log().contains("panicked"));
}

/// kill -9 of the server while devices work over MQTT.
#[test]
fn killed_under_mqtt_load_the_server_loses_nothing_it_acknowledged_and_devices_come_back_by_themselves() {
    let kills = std::env::var("SEALIFT_KILLS").map_or(15, |n| n.parse::<u64>().unwrap());
    let names = ["dev-0", "dev-1", "dev-2", "dev-3"];
    let (_home, mut server, devices) = started_with(&names, &["--publish-rate", "10000"]);
    server.job("j", &json!({}), &["--group", "canary"]);
    let port = server.mqtt;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let total = std::thread::scope(|scope| {
        let workers: Vec<_> = devices
            .iter()
            .enumerate()
            .map(|(number, device)| {
                let stop = &stop;
                scope.spawn(move || {
                    let random = Random(number as u64 + 9);
                    let (version, step, packet_id) = (1, 0, 0);
                    let mut worker = Worker {
                        device,
                        port,
                        client: None,
                        random,
                        version,
                        step,
                        deliveries: 0,
                        faults: 0,
                        packet_id,
                    };
                    while !stop.load(Ordering::Relaxed) {
                        worker.deliver();
                    }
                    worker.step
                })
            })
            .collect();
        for round in 0..kills {
            std::thread::sleep(Duration::from_millis(150 + round * 37 % 250));
            server.crash_and_restart();
        }
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>()
    });
    assert!(total > kills, "only {total} updates: no load");
    println!("{total} updates across {kills} kills, every one where it was acknowledged to be");
}
