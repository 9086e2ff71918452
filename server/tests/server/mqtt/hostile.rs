//! Attackers: every kind of bad input is refused, counted or logged, and another device notices nothing.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use serde_json::json;

use super::client::{Client, Options, connect_packet, packet, text};
use super::jobs::{started, started_with, topic};
use crate::device::Device;
use crate::process::Server;
use crate::watching::page;

/// A device that works on while others misbehave.
fn bystander(server: &Server) -> Client {
    let device = Device::enrol(server, "bystander", "canary");
    Client::connect(&device, &Options::new(5, "bystander", server.mqtt))
}

fn works(client: &mut Client) {
    let asked = Instant::now();
    assert_eq!(client.ask(&topic("bystander", "get"), &json!({})).0, "accepted");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn malformed_packets_end_their_own_connection_with_the_reason() {
    let (_home, server, devices) = started(&["dev-1"]);
    let mut other = bystander(&server);
    let publish = |body: &[u8], head: u8| packet(head, body);
    let name = topic("dev-1", "get");
    let attacks: Vec<(&str, Vec<u8>, u8)> = vec![
        ("a type that doesn't exist", vec![0x00, 0], 0x82),
        ("reserved flags", vec![0xc1, 0], 0x81),
        ("a length without end", vec![0x30, 0xff, 0xff, 0xff, 0xff], 0x81),
        ("a second CONNECT", connect_packet(&Options::new(5, "dev-1", 0)), 0x82),
        ("QoS 3", publish(&text(&name), 0x36), 0x81),
        ("QoS 2", publish(&[text(&name), vec![0, 1, 0]].concat(), 0x34), 0x9b),
        ("the packet id 0", publish(&[text(&name), vec![0, 0, 0]].concat(), 0x32), 0x82),
        ("a topic longer than its packet", publish(&[0xff, 0xff, b'x'], 0x30), 0x81),
        ("a topic that isn't UTF-8", publish(&[0, 2, 0xff, 0xfe, 0], 0x30), 0x81),
        ("a wildcard in a topic", publish(&[text("$aws/things/dev-1/jobs/+"), vec![0]].concat(), 0x30), 0x90),
        ("no topic at all", publish(&[0, 0, 0], 0x30), 0x90),
        ("an alias that stands for nothing", publish(&[0, 0, 3, 0x23, 0, 1], 0x30), 0x82),
        ("an alias out of bounds", publish(&[text(&name), vec![3, 0x23, 0, 9]].concat(), 0x30), 0x94),
        ("the retain flag", publish(&[text(&name), vec![0]].concat(), 0x31), 0x87),
        ("a repeated QoS 0", publish(&[text(&name), vec![0]].concat(), 0x38), 0x81),
        ("properties that aren't", publish(&[text(&name), vec![2, 0x99, 0]].concat(), 0x30), 0x81),
        ("SUBSCRIBE without a filter", packet(0x82, &[0, 1, 0]), 0x81),
        ("SUBSCRIBE with QoS 3", packet(0x82, &[vec![0, 1, 0], text("x"), vec![3]].concat()), 0x81),
        ("nine filters", packet(0x82, &[vec![0, 1, 0], [text("x"), vec![0]].concat().repeat(9)].concat()), 0x82),
        ("PUBREL", vec![0x62, 2, 0, 1], 0x9b),
        ("AUTH", vec![0xf0, 0], 0x82),
        ("a server's packet", vec![0x20, 2, 0, 0], 0x82),
        ("PINGREQ with a body", vec![0xc0, 1, 0], 0x82),
    ];
    for (what, bytes, reason) in attacks {
        let mut client = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
        client.send(&bytes).unwrap();
        assert_eq!(client.closed(), Some(reason), "{what}");
        // 3.1.1 has no word for it: the connection just ends.
        if what != "a second CONNECT" && !what.contains("alias") && !what.contains("propert") && !what.contains("AUTH")
        {
            let mut client = Client::connect(&devices[0], &Options::new(4, "dev-1", server.mqtt));
            client.send(&bytes).unwrap();
            assert_eq!(client.closed(), None, "{what}");
        }
        works(&mut other);
    }
}

#[test]
fn a_bad_first_packet_is_refused_in_the_words_of_its_version_or_not_at_all() {
    let (_home, server, devices) = started(&["dev-1"]);
    let options = Options::new(5, "dev-1", server.mqtt);
    let refused = |options: &Options| Client::try_connect(&devices[0], options).err().flatten();
    assert_eq!(refused(&Options { level: 6, ..options.clone() }), Some(1));
    assert_eq!(refused(&Options { client_id: "x".repeat(129), ..options.clone() }), Some(0x85));
    assert_eq!(refused(&Options { client_id: String::new(), clean: false, level: 4, ..options.clone() }), Some(2));
    let will = |topic: &str| Options { will: Some((topic.into(), b"x".to_vec(), Vec::new())), ..options.clone() };
    assert_eq!(refused(&will("x/#")), Some(0x90));
    assert_eq!(refused(&will(&topic("dev-1", "get"))), Some(0x90), "no will on reserved topics");
    assert_eq!(refused(&will("x/y")), Some(0x87), "the policy doesn't let it publish there");
    for (what, bytes) in [
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("PINGREQ", vec![0xc0, 0]),
        ("an empty CONNECT", vec![0x10, 0]),
        ("a reserved flag", packet(0x10, &[text("MQTT"), vec![4, 3, 0, 60], text("dev-1")].concat())),
        ("a will of QoS 3", packet(0x10, &[text("MQTT"), vec![4, 0x1e, 0, 60], text("dev-1")].concat())),
        ("bytes after the end", packet(0x10, &[text("MQTT"), vec![4, 2, 0, 60], text("dev-1"), vec![1]].concat())),
    ] {
        let mut client = Client::open(&devices[0], &options).unwrap();
        client.send(&bytes).unwrap();
        assert_eq!(client.closed(), None, "{what}");
    }
    let mut assigned = Client::connect(&devices[0], &Options { client_id: String::new(), ..options });
    assigned.ping().unwrap();
}

#[test]
fn oversized_and_endless_packets_are_refused_before_they_are_read() {
    let (_home, server, devices) = started_with(&["dev-1"], &["--client-timeout", "2"]);
    let mut other = bystander(&server);
    let options = Options::new(5, "dev-1", server.mqtt);
    // 128 KB is the most a message may have; its answer says that this one is no JSON.
    let mut client = Client::connect(&devices[0], &options);
    let (verdict, answer) = {
        client.publish(&topic("dev-1", "get"), &vec![b'x'; 128 * 1_024], 1).unwrap();
        let message = client.message().unwrap();
        (message.topic.clone(), message.json())
    };
    assert!(verdict.ends_with("/rejected") && answer["code"] == "InvalidJson");
    let bytes = client.publish_packet(&topic("dev-1", "get"), &vec![b'x'; 128 * 1_024 + 1], 1);
    client.send(&bytes).unwrap();
    assert_eq!(client.closed(), Some(0x95));
    // A packet of 256 MB is refused by its length alone.
    let mut client = Client::connect(&devices[0], &options);
    client.send(&[0x30, 0xff, 0xff, 0xff, 0x7f]).unwrap();
    assert_eq!(client.closed(), Some(0x95));
    // A packet that never ends.
    let mut client = Client::connect(&devices[0], &options);
    client.send(&[0x30, 0x80, 0x08]).unwrap();
    let start = Instant::now();
    while client.send(b"x").is_ok() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() < Duration::from_secs(8), "a slow packet goes on for {:?}", start.elapsed());
    works(&mut other);
}

#[test]
fn connections_that_never_speak_are_let_go() {
    let (_home, server, devices) = started(&["dev-1"]);
    let mut other = bystander(&server);
    std::thread::scope(|scope| {
        // TLS, and then nothing; and a CONNECT that comes letter by letter.
        scope.spawn(|| {
            let mut client = Client::open(&devices[0], &Options::new(5, "dev-1", server.mqtt)).unwrap();
            client.send(&[0x10]).unwrap();
            let start = Instant::now();
            assert_eq!(client.closed(), None);
            assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        });
        scope.spawn(|| {
            let mut socket = TcpStream::connect(("127.0.0.1", server.mqtt)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.write_all(&[22, 3, 1]).unwrap();
            let start = Instant::now();
            let _ = std::io::Read::read_to_end(&mut socket, &mut Vec::new());
            assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        });
        for _ in 0..20 {
            works(&mut other);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn neither_a_stranger_nor_one_device_can_hold_every_place() {
    // On each port 64 places: 16 for strangers of one address, 8 for one certificate.
    let more = ["--max-connections", "64", "--metrics-listen", "127.0.0.1:0"];
    let (_home, server, devices) = started_with(&["dev-1", "dev-2"], &more);
    let mut other = bystander(&server);
    let options = Options::new(5, "dev-1", server.mqtt);
    // One device: TLS, and never a CONNECT; kept-alive HTTPS, and never a request.
    let greedy: Vec<Client> = (0..40).filter_map(|_| Client::open(&devices[0], &options).ok()).collect();
    let mut spoken = 0;
    for mut client in greedy {
        // The handshake is the client's to begin: its end shows in the first packet.
        spoken += usize::from(client.send(&[0x10]).is_ok());
        std::mem::forget(client);
    }
    assert!(spoken > 0);
    // Forty strangers who begin a handshake and leave it.
    let strangers: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", server.mqtt)).unwrap();
            let _ = socket.write_all(&[22, 3, 1]);
            socket
        })
        .collect();
    let start = Instant::now();
    works(&mut other);
    // Another address than the strangers'. (Theirs has to wait until they are let go.)
    let options = Options { from: Some("127.0.0.2"), ..Options::new(5, "dev-2", server.mqtt) };
    Client::connect(&devices[1], &options).ping().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(strangers);
    let crowded = page(&server)
        .lines()
        .find_map(|line| line.strip_prefix("sealift_mqtt_events_total{event=\"crowded\"} ")?.parse().ok());
    assert!(crowded.is_some_and(|count: u64| count >= 24 + 32), "{crowded:?}");
    assert!(server.log().contains("too many connections of one certificate"));
    assert!(server.log().contains("too many connections of one address"));
}

#[test]
fn a_flood_is_throttled_then_cut_off_and_nobody_else_notices() {
    let (_home, server, devices) = started(&["dev-1"]);
    let mut other = bystander(&server);
    let mut client = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
    let one = client.publish_packet(&topic("dev-1", "get"), b"{}", 0);
    let flood = one.repeat(50);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            let writer = client.stream.sock.try_clone().unwrap();
            writer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // Reads what comes back, so that it isn't let go for not reading.
            client.stream.sock.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let mut throttled = false;
            while start.elapsed() < Duration::from_secs(20) {
                if client.send(&flood).is_err() {
                    break;
                }
                while let Ok(packet) = client.read() {
                    throttled |= String::from_utf8_lossy(&packet.body).contains("RequestThrottled");
                }
            }
            assert!(throttled, "told to slow down first");
            assert!(start.elapsed() < Duration::from_secs(20), "never cut off");
        });
        for _ in 0..30 {
            works(&mut other);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(server.log().contains("a client floods the server"));
}

#[test]
fn a_client_that_takes_nothing_is_let_go_and_its_messages_stay_within_bounds() {
    let (home, server, devices) = started_with(&["dev-1"], &["--client-timeout", "2", "--publish-rate", "1000"]);
    super::policies::allow_everything(&home, &server, &["dev-1"]);
    let mut other = bystander(&server);
    server.ok(&["policies", "attach", "--name", "everything", "--thing", "bystander"]);
    let mut lazy = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
    assert_eq!(lazy.subscribe("x"), 1);
    let payload = vec![b'y'; 100_000];
    // Whichever bound it meets first.
    let let_go =
        || ["too many messages wait", "nothing of what it was sent"].iter().any(|why| server.log().contains(why));
    let start = Instant::now();
    while !let_go() && start.elapsed() < Duration::from_secs(30) {
        other.publish("x", &payload, 1).unwrap();
    }
    assert!(let_go(), "{}", server.log());
    assert!(server.memory() < 200_000_000, "{}", server.memory());
    works(&mut other);
}

#[test]
fn rogue_and_expired_certificates_wrong_names_and_no_certificate_fail_in_the_handshake() {
    let (home, server, devices) = started(&["dev-1"]);
    let mut other = bystander(&server);
    let options = Options::new(5, "dev-1", server.mqtt);
    let refused = |device: &Device, options: &Options| {
        assert_eq!(Client::try_connect(device, options).err(), Some(None));
    };
    // The right name, by a stranger's CA.
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "dev-1");
    let key = KeyPair::generate().unwrap();
    let rogue = params.self_signed(&key).unwrap().pem();
    let with = |certificate: String, key: KeyPair| Device { certificate, key, ..devices[0].copy() };
    refused(&with(rogue, key), &options);
    // By the true CA's key, which nobody should have: expired; and in time, but never registered.
    let ca_key = KeyPair::from_pem(&std::fs::read_to_string(home.path().join("state/ca/ca.key")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&devices[0].ca, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    refused(&with(params.signed_by(&key, &issuer).unwrap().pem(), key), &options);
    let key = KeyPair::generate().unwrap();
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let forged = with(params.signed_by(&key, &issuer).unwrap().pem(), key);
    assert_eq!(Client::try_connect(&forged, &options).err(), Some(Some(0x87)), "another certificate of the same name");
    // A name that isn't this server's.
    refused(&devices[0], &Options { name: "elsewhere.example.com".into(), ..options.clone() });
    assert!(server.log().contains("elsewhere.example.com"));
    // Another ALPN name; and by address, without any.
    refused(&devices[0], &Options { alpn: Some("h2"), ..options.clone() });
    Client::connect(&devices[0], &Options { name: "127.0.0.1".into(), ..options.clone() }).ping().unwrap();
    // No certificate: on the port for MQTT, and by ALPN on the port for HTTPS.
    for (port, alpn) in [(server.mqtt, None), (server.port, Some("x-amzn-mqtt-ca"))] {
        let options = Options { port, alpn, ..options.clone() };
        assert!(super::client::anonymous(&devices[0], &options).is_err(), "{port}");
    }
    works(&mut other);
}

#[test]
fn noise_in_packets_harms_nobody() {
    let (_home, server, devices) = started(&["dev-1"]);
    let mut other = bystander(&server);
    let mut seed = 7_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for round in 0..150 {
        let level = if round % 2 == 0 { 4 } else { 5 };
        let mut client = Client::connect(&devices[0], &Options::new(level, "dev-1", server.mqtt));
        // Good packets with some bytes changed, and noise behind them.
        let mut bytes = client.publish_packet(&topic("dev-1", "get"), b"{\"clientToken\":\"a\"}", 1);
        bytes.extend(packet(
            0x82,
            &[vec![0, 9], if level == 5 { vec![0] } else { vec![] }, text("$aws/things/dev-1/jobs/#"), vec![1]]
                .concat(),
        ));
        for _ in 0..1 + round % 4 {
            let at = usize::from(random()) % bytes.len();
            bytes[at] = random();
        }
        bytes.extend((0..50).map(|_| random()));
        let _ = client.send(&bytes);
    }
    works(&mut other);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn one_thing_cannot_fill_the_server_with_sessions() {
    let (_home, server, devices) = started(&["dev-1"]);
    let open: Vec<Client> =
        (0..8).map(|n| Client::connect(&devices[0], &Options::new(5, &format!("dev-1-{n}"), server.mqtt))).collect();
    let more = Options::new(5, "dev-1-9", server.mqtt);
    assert_eq!(Client::try_connect(&devices[0], &more).err(), Some(Some(0x97)));
    drop(open);
    std::thread::sleep(Duration::from_millis(500));
    Client::connect(&devices[0], &more).ping().unwrap();
}
