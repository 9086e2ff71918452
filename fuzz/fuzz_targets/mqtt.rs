//! MQTT as it comes from a client: packets whatever the pieces they arrive in, topics, and policies that allow no more than they say.
//!
//! Input: a byte that chooses, then a stream of packets (0), or a policy, a client id and a topic, each ended by a zero (1).
//! The server's own modules are built in here, without the rest of it: a whole server would take minutes to build.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the server uses the rest of them")]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/mqtt/limits.rs"]
mod limits;
#[path = "../../server/src/mqtt/message.rs"]
mod message;
#[path = "../../server/src/mqtt/policy/mod.rs"]
mod policy;
#[path = "../../server/src/mqtt/topics.rs"]
mod topics;
#[path = "../../server/src/mqtt/wire.rs"]
mod wire;

use policy::{Action, Policy, Principal, allows};
use wire::{Broken, Framer, Packet};

const ACTIONS: [Action; 5] =
    [Action::Connect, Action::Publish, Action::RetainPublish, Action::Subscribe, Action::Receive];

/// What comes of a stream that arrives in pieces of this length.
fn parse(stream: &[u8], piece: usize) -> (Vec<Packet>, Result<(), Broken>) {
    let (mut framer, mut packets) = (Framer::new(), Vec::new());
    for bytes in stream.chunks(piece.max(1)) {
        if let Err(broken) = framer.feed(bytes, &mut packets) {
            return (packets, Err(broken));
        }
    }
    (packets, Ok(()))
}

fn stream(bytes: &[u8]) {
    let (whole, ended) = parse(bytes, bytes.len());
    for piece in [1, 7] {
        let (pieces, then) = parse(bytes, piece);
        assert_eq!(then, ended, "the outcome depends on the pieces");
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "the packets depend on the pieces");
    }
    for (at, packet) in whole.iter().enumerate() {
        assert_eq!(at == 0, matches!(packet, Packet::Connect(_)), "CONNECT is the first packet and no other");
        match packet {
            Packet::Publish(publish) => {
                assert!(publish.payload.len() <= limits::PAYLOAD_MAX && publish.id != Some(0));
                topic(&publish.topic);
            }
            Packet::Subscribe { id, filters } => {
                assert!(*id != 0);
                filters.iter().for_each(|(filter, _)| topic(filter));
            }
            Packet::Unsubscribe { id, filters } => {
                assert!(*id != 0);
                filters.iter().for_each(|filter| topic(filter));
            }
            _ => {}
        }
    }
}

fn topic(text: &str) {
    if topics::is_name(text) {
        assert!(topics::is_filter(text), "a name is a filter for itself");
        assert!(!text.contains(['+', '#', '\0']) && !text.is_empty() && text.len() <= limits::TOPIC_MAX);
    }
    match topics::reserved(text) {
        Some(topics::Reserved::Jobs(thing, _)) => {
            let own = text.strip_prefix("$aws/things/").and_then(|rest| rest.strip_prefix(thing.as_str()));
            assert!(own.is_some_and(|rest| rest.starts_with("/jobs/")), "another thing than the topic says");
        }
        Some(_) => assert!(text.starts_with('$')),
        None => assert!(!text.starts_with('$'), "a topic of AWS's is taken for the clients' own"),
    }
}

fn judge(document: &str, client_id: &str, name: &str) {
    let thing = "dev-1".parse().expect("a name");
    let who = Principal { thing: Some(&thing), common_name: Some("dev-1"), client_id };
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}"#;
    let deny = Arc::new(Policy::from_json(deny).expect("a policy"));
    let Ok(read) = Policy::from_json(document) else { return };
    let read = Arc::new(read);
    for action in ACTIONS {
        assert!(!allows(&[], action, name, who), "allowed by nobody");
        let allowed = allows(std::slice::from_ref(&read), action, name, who);
        for policies in [[read.clone(), deny.clone()], [deny.clone(), read.clone()]] {
            assert!(!allows(&policies, action, name, who), "allowed in spite of a Deny");
        }
        assert!(!allowed || document.contains("Allow"), "allowed by a document that allows nothing");
        assert_eq!(
            allows(&[read.clone(), read.clone()], action, name, who),
            allowed,
            "twice is another answer than once"
        );
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    if choice & 1 == 0 {
        stream(rest);
        return;
    }
    let mut parts = rest.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).unwrap_or_default());
    let mut next = || parts.next().unwrap_or_default();
    let (document, client_id, name) = (next(), next(), next());
    topic(name);
    judge(document, client_id, name);
});
