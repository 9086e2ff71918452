//! AWS's own client, unchanged, against the real server.

use std::process::Command;

use crate::device::Device;
use crate::endpoint::with_release;

/// boto3's `iot-jobs-data` with a client certificate: every operation, and the exceptions it models.
#[test]
fn boto3_works_the_jobs_data_plane_unchanged() {
    let python = crate::python::interpreter();
    let (home, server, _) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    Device::enrol(&server, "dev-2", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "boto"]);
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/boto3_jobs.py");
    let output = Command::new(python)
        .arg(script)
        .arg(format!("https://localhost:{}", server.port))
        .arg(write("ca.pem", &device.ca))
        .arg(write("device.pem", &device.certificate))
        .arg(write("device.key", &device.key.serialize_pem()))
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    assert!(out.contains("12 checks passed"), "{out}");
    let status = server.ok(&["rollout", "status", "boto"]);
    assert_eq!(status["counts"], serde_json::json!({"QUEUED": 1, "SUCCEEDED": 1}));
}
