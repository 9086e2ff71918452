//! AWS's own client, unchanged, against the real server.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::device::Device;
use crate::endpoint::with_release;
use crate::process::Server;

/// The files that AWS's clients are configured with.
fn files(home: &Path, device: &Device) -> [std::path::PathBuf; 3] {
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    [
        write("ca.pem", &device.ca),
        write("device.pem", &device.certificate),
        write("device.key", &device.key.serialize_pem()),
    ]
}

/// One of AWS's MQTT clients works through two jobs.
fn works_the_jobs_topics(client: &str, checks: usize) {
    let python = crate::python::interpreter();
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let device = Device::enrol(&server, "dev-1", "canary");
    for id in ["sl-one", "sl-two"] {
        server.job(id, &json!({"hello": "dev-1"}), &["--thing", "dev-1"]);
    }
    let [ca, certificate, key] = files(home.path(), &device);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/aws_mqtt.py");
    let output = Command::new(python)
        .arg(script)
        .args([client, "localhost", &server.mqtt.to_string()])
        .args([ca, certificate, key])
        .arg("dev-1")
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}\n{}", server.log());
    assert!(out.contains(&format!("{checks} checks passed")), "{out}");
    let shown = server.ok(&["devices", "show", "dev-1"]);
    assert_eq!(shown["executions"][0]["status"], "SUCCEEDED", "{shown}");
}

#[test]
fn awsiotsdk_over_mqtt_5_works_the_jobs_topics_unchanged() {
    works_the_jobs_topics("mqtt5", 16);
}

#[test]
fn awsiotsdk_over_mqtt_3_works_the_jobs_topics_unchanged() {
    works_the_jobs_topics("mqtt3", 16);
}

#[test]
fn the_classic_python_client_works_the_jobs_topics_unchanged() {
    works_the_jobs_topics("classic", 5);
}

/// boto3's `iot-jobs-data` with a client certificate: every operation, and the exceptions it models.
#[test]
fn boto3_works_the_jobs_data_plane_unchanged() {
    let python = crate::python::interpreter();
    let (home, server, _) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    Device::enrol(&server, "dev-2", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "boto"]);
    let [ca, certificate, key] = files(home.path(), &device);
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/boto3_jobs.py");
    let output = Command::new(python)
        .arg(script)
        .arg(format!("https://localhost:{}", server.port))
        .args([ca, certificate, key])
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    assert!(out.contains("12 checks passed"), "{out}");
    let status = server.ok(&["rollout", "status", "boto"]);
    assert_eq!(status["counts"], serde_json::json!({"QUEUED": 1, "SUCCEEDED": 1}));
}
