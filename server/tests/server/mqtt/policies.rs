//! Identity and policies: the thing is the certificate, and the policies say what it may do.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, Options};
use super::jobs::{started, topic};
use crate::process::Server;

pub fn put(home: &tempfile::TempDir, server: &Server, name: &str, statements: &serde_json::Value) {
    let path = home.path().join("policy.json");
    std::fs::write(&path, json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap();
    server.ok(&["policies", "put", "--name", name, "--document", path.to_str().unwrap()]);
}

pub fn allow_everything(home: &tempfile::TempDir, server: &Server, things: &[&str]) {
    put(home, server, "everything", &json!([{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]));
    for thing in things {
        server.ok(&["policies", "attach", "--name", "everything", "--thing", thing]);
    }
}

#[test]
fn under_the_default_policy_a_thing_reaches_its_own_jobs_topics_only() {
    let (_home, server, devices) = started(&["dev-1", "dev-2"]);
    let mut victim = Client::connect(&devices[1], &Options::new(5, "dev-2", server.mqtt));
    for level in [4, 5] {
        let options = Options::new(level, "dev-1", server.mqtt);
        // Another thing's name as the client id opens nothing, and disturbs nobody.
        let code =
            Client::try_connect(&devices[0], &Options { client_id: "dev-2".into(), ..options.clone() }).err().flatten();
        assert_eq!(code, Some(if level == 5 { 0x87 } else { 5 }));
        let mut client = Client::connect(&devices[0], &options);
        let refused = if level == 5 { 0x87 } else { 0x80 };
        for filter in
            ["#", "$aws/#", "$aws/things/+/jobs/notify", "$aws/things/dev-2/jobs/#", "$aws/things/dev-1/#", "x/y"]
        {
            assert_eq!(client.subscribe(filter), refused, "{filter}");
        }
        assert_eq!(client.subscribe(&topic("dev-1", "#")), 1);
        // A forbidden publish ends the connection.
        for forbidden in
            [topic("dev-2", "get"), "$aws/things/dev-1/shadow/update".into(), "x/y".into(), "$SYS/x".into()]
        {
            let mut client = Client::connect(&devices[0], &options);
            let bytes = client.publish_packet(&forbidden, b"{}", 1);
            client.send(&bytes).unwrap();
            assert_eq!(client.closed(), (level == 5).then_some(0x87), "{forbidden}");
        }
    }
    victim.ping().unwrap();
}

#[test]
fn a_revoked_certificate_is_cut_off_at_once_and_does_not_come_back() {
    let (_home, server, devices) = started(&["dev-1", "dev-2"]);
    let mut clients: Vec<Client> = [4, 5]
        .map(|level| Client::connect(&devices[0], &Options::new(level, &format!("dev-1-{level}"), server.mqtt)))
        .into();
    let mut other = Client::connect(&devices[1], &Options::new(5, "dev-2", server.mqtt));
    let start = Instant::now();
    server.ok(&["devices", "revoke", "dev-1"]);
    assert_eq!((clients[0].closed(), clients[1].closed()), (None, Some(0x87)));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    for (level, code) in [(4, 5), (5, 0x87)] {
        let again = Client::try_connect(&devices[0], &Options::new(level, "dev-1", server.mqtt));
        assert_eq!(again.err(), Some(Some(code)));
    }
    other.ping().unwrap();
}

#[test]
fn policies_are_evaluated_on_connect_publish_subscribe_and_receive_and_change_open_connections() {
    let (home, server, devices) = started(&["dev-1", "dev-2"]);
    put(
        &home,
        &server,
        "sensors",
        &json!([
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:eu-central-1:123456789012:client/${iot:Connection.Thing.ThingName}"},
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:eu-central-1:123456789012:topic/sensors/${iot:ClientId}/*"},
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "arn:aws:iot:eu-central-1:123456789012:topicfilter/sensors/*"},
            {"Effect": "Allow", "Action": "iot:Receive", "Resource": "arn:aws:iot:eu-central-1:123456789012:topic/sensors/*"},
            {"Effect": "Deny", "Action": "iot:Receive", "Resource": "arn:aws:iot:*:*:topic/*/secret"},
        ]),
    );
    for thing in ["dev-1", "dev-2"] {
        server.ok(&["policies", "attach", "--name", "sensors", "--thing", thing]);
    }
    let mut one = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
    let mut two = Client::connect(&devices[1], &Options::new(4, "dev-2", server.mqtt));
    assert_eq!(two.subscribe("sensors/#"), 1);
    assert_eq!(two.subscribe(&topic("dev-2", "notify")), 0x80, "the default policy no longer applies");
    one.publish("sensors/dev-1/heat", b"21", 1).unwrap();
    one.publish("sensors/dev-1/secret", b"x", 1).unwrap();
    one.publish("sensors/dev-1/light", b"3", 1).unwrap();
    let got: Vec<String> = (0..2).map(|_| two.message().unwrap().topic).collect();
    assert_eq!(got, ["sensors/dev-1/heat", "sensors/dev-1/light"]);
    // Taking the permission away acts on the open connection.
    put(&home, &server, "sensors", &json!([{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]));
    std::thread::sleep(Duration::from_millis(300));
    let bytes = one.publish_packet("sensors/dev-1/heat", b"22", 1);
    one.send(&bytes).unwrap();
    assert_eq!(one.closed(), Some(0x87));
    server.ok(&["policies", "detach", "--name", "sensors", "--thing", "dev-1"]);
    let mut one = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
    assert_eq!(one.ask(&topic("dev-1", "get"), &json!({})).0, "accepted", "the default policy applies again");
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_refused_with_its_reason() {
    let (home, server, _) = started(&["dev-1"]);
    let path = home.path().join("policy.json");
    std::fs::write(
        &path,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{}}]}"#,
    )
    .unwrap();
    let (answer, exit) = server.json(&["policies", "put", "--name", "x", "--document", path.to_str().unwrap()]);
    assert_eq!(exit, 4, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("Condition"), "{answer}");
    let (answer, exit) = server.json(&["policies", "attach", "--name", "none", "--thing", "dev-1"]);
    assert_eq!(exit, 2, "{answer}");
}
