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

/// AWS's client for Node.js, pinned; it brings its native part along, so that no script of the package has to run.
const NODE_CLIENT: &str = "aws-iot-device-sdk-v2@1.28.0";

/// The folder with AWS's client for Node.js under `target/`; `None` on a machine without Node.js.
fn node_modules() -> Option<std::path::PathBuf> {
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    if !(runs("node") && runs("npm")) {
        return None;
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), std::path::PathBuf::from);
    let home = target.join("node");
    std::fs::create_dir_all(&home).unwrap();
    let lock = std::fs::File::create(target.join("node.lock")).unwrap();
    lock.lock().unwrap();
    let installed = home.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|was| was == NODE_CLIENT) {
        return Some(home.join("node_modules"));
    }
    println!("installing with npm in {}: {NODE_CLIENT}", home.display());
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&home).arg(NODE_CLIENT);
    let done = npm.output().unwrap();
    assert!(done.status.success(), "{npm:?}: {}", String::from_utf8_lossy(&done.stderr));
    std::fs::write(&installed, NODE_CLIENT).unwrap();
    Some(home.join("node_modules"))
}

#[test]
fn the_node_client_over_mqtt_5_works_the_jobs_topics_unchanged() {
    let Some(modules) = node_modules() else {
        println!("LEFT OUT: AWS's client for Node.js needs node and npm");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let device = Device::enrol(&server, "dev-1", "canary");
    for id in ["sl-one", "sl-two"] {
        server.job(id, &json!({"hello": "dev-1"}), &["--thing", "dev-1"]);
    }
    let output = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/aws_mqtt5.js"))
        .args(["localhost", &server.mqtt.to_string()])
        .args(files(home.path(), &device))
        .arg("dev-1")
        .env("SEALIFT_NODE_MODULES", modules)
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}\n{}", server.log());
    assert!(out.contains("6 checks passed"), "{out}");
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
