//! Sessions: takeover, wills, what is kept and for how long, keep-alive.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, Options, packet};
use super::jobs::{started, topic};
use super::policies::allow_everything;

#[test]
fn a_second_connection_of_the_same_client_takes_the_session_over() {
    let (_home, server, devices) = started(&["dev-1"]);
    for (level, reason) in [(4, None), (5, Some(0x8e))] {
        let mut first = Client::connect(&devices[0], &Options::new(level, "dev-1", server.mqtt));
        let mut second = Client::connect(&devices[0], &Options::new(level, "dev-1", server.mqtt));
        assert_eq!(first.closed(), reason);
        second.ping().unwrap();
        // Another client of the same thing stands beside it.
        let mut other = Client::connect(&devices[0], &Options::new(level, "dev-1-shell", server.mqtt));
        second.ping().unwrap();
        other.ping().unwrap();
    }
}

#[test]
fn a_kept_session_keeps_subscriptions_and_what_was_not_acknowledged() {
    let (_home, server, devices) = started(&["dev-1"]);
    for level in [4, 5] {
        // MQTT 5 asks for an hour; 3.1.1 gets one.
        let properties = if level == 5 { vec![0x11, 0, 0, 0x0e, 0x10] } else { Vec::new() };
        let options = Options { clean: false, properties, ..Options::new(level, "dev-1", server.mqtt) };
        let mut client = Client::connect(&devices[0], &options);
        assert!(!client.present);
        client.subscribe(&topic("dev-1", "notify"));
        server.job(&format!("a-{level}"), &json!({}), &["--thing", "dev-1"]);
        // Received, and never acknowledged.
        let first = client.message_unacknowledged().unwrap();
        drop(client);
        std::thread::sleep(Duration::from_millis(200));
        server.job(&format!("b-{level}"), &json!({}), &["--thing", "dev-1"]);
        let mut client = Client::connect(&devices[0], &options);
        assert!(client.present, "the session was kept");
        let again = client.message().unwrap();
        assert_eq!((again.id, again.again, &again.payload), (first.id, true, &first.payload));
        let missed = client.message().unwrap();
        assert!(!missed.again && String::from_utf8_lossy(&missed.payload).contains(&format!("b-{level}")));
        assert!(client.silent(Duration::from_millis(300)));
        client.disconnect();
        // A clean start forgets it.
        let clean = Options { clean: true, ..options.clone() };
        assert!(!Client::connect(&devices[0], &clean).present);
        Client::connect(&devices[0], &Options { properties: Vec::new(), ..clean }).disconnect();
        let mut client =
            Client::connect(&devices[0], &Options { clean: false, ..Options::new(level, "dev-1", server.mqtt) });
        assert!(!client.present);
        server.job(&format!("c-{level}"), &json!({}), &["--thing", "dev-1"]);
        assert!(client.silent(Duration::from_millis(300)), "its subscriptions are gone");
        client.disconnect();
        Client::connect(&devices[0], &Options::new(4, "dev-1", server.mqtt)).disconnect();
    }
}

#[test]
fn a_message_that_is_not_acknowledged_comes_again_over_3_1_1_and_a_double_acknowledgement_harms_nothing() {
    let (_home, server, devices) = started(&["dev-1"]);
    let mut client = Client::connect(&devices[0], &Options::new(4, "dev-1", server.mqtt));
    client.subscribe(&topic("dev-1", "notify"));
    server.job("j", &json!({}), &["--thing", "dev-1"]);
    let first = client.message_unacknowledged().unwrap();
    let again = client.message_unacknowledged().unwrap();
    assert_eq!((again.id, again.again), (first.id, true));
    let ack = packet(0x40, &first.id.unwrap().to_be_bytes());
    client.send(&[ack.clone(), ack].concat()).unwrap();
    client.ping().unwrap();
}

#[test]
fn a_client_that_is_gone_without_a_word_has_its_will_said_and_one_that_says_goodbye_has_not() {
    let (home, server, devices) = started(&["dev-1", "dev-2"]);
    allow_everything(&home, &server, &["dev-1", "dev-2"]);
    let mut watcher = Client::connect(&devices[1], &Options::new(5, "dev-2", server.mqtt));
    watcher.subscribe("last/#");
    for level in [4, 5] {
        let will = Some((format!("last/{level}"), b"gone".to_vec(), Vec::new()));
        let options = Options { will, ..Options::new(level, "dev-1", server.mqtt) };
        drop(Client::connect(&devices[0], &options));
        let said = watcher.message().unwrap();
        assert_eq!((said.topic, said.payload), (format!("last/{level}"), b"gone".to_vec()));
        Client::connect(&devices[0], &options).disconnect();
        assert!(watcher.silent(Duration::from_millis(300)));
        // A takeover is no goodbye either.
        let _first = Client::connect(&devices[0], &options);
        Client::connect(&devices[0], &options).disconnect();
        assert_eq!(watcher.message().unwrap().payload, b"gone");
    }
    // MQTT 5: a will that waits isn't said when the client is back in time, and is when it isn't.
    let will = Some(("last/late".to_owned(), b"late".to_vec(), vec![0x18, 0, 0, 0, 1]));
    let properties = vec![0x11, 0, 0, 0, 60];
    let options = Options { will, properties, clean: false, ..Options::new(5, "dev-1", server.mqtt) };
    drop(Client::connect(&devices[0], &options));
    let back = Client::connect(&devices[0], &options);
    assert!(watcher.silent(Duration::from_millis(1_500)));
    drop(back);
    assert_eq!(watcher.message().unwrap().payload, b"late");
}

#[test]
fn a_client_that_falls_silent_is_let_go_after_one_and_a_half_times_its_keep_alive() {
    let (_home, server, devices) = started(&["dev-1"]);
    for (level, reason) in [(4, None), (5, Some(0x8d))] {
        let options = Options { keep_alive: 1, ..Options::new(level, "dev-1", server.mqtt) };
        let mut client = Client::connect(&devices[0], &options);
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(700));
            client.ping().unwrap();
        }
        let start = Instant::now();
        assert_eq!(client.closed(), reason);
        assert!((1_200..6_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}

#[test]
fn a_server_that_stops_says_so() {
    let (_home, mut server, devices) = started(&["dev-1"]);
    let mut client = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
    server.signal("-TERM");
    assert_eq!(client.closed(), Some(0x8b));
    assert_eq!(server.wait(), Some(0));
}
