//! The systemd units, judged by systemd itself.

use std::path::PathBuf;
use std::process::Command;

const UNITS: [&str; 2] = ["sealift-device.service", "sealift-device-boot.service"];

fn unit(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// Copies of the units that name the program where it is, for systemd looks whether it exists.
fn installed() -> Option<tempfile::TempDir> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("LEFT OUT: systemd-analyze isn't installed");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    for name in UNITS {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("/usr/bin/sealift-device", env!("CARGO_BIN_EXE_sealift-device"));
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    Some(directory)
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    let Some(directory) = installed() else { return };
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    let said = verify.args(UNITS.map(|name| directory.path().join(name))).output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}

#[test]
fn systemd_rates_the_units_exposure_below_two_of_ten() {
    let Some(directory) = installed() else { return };
    for name in UNITS {
        let mut security = Command::new("systemd-analyze");
        // The threshold is in tenths.
        let said = security
            .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
            .arg(directory.path().join(name));
        let said = said.output().unwrap();
        let out = String::from_utf8_lossy(&said.stdout);
        assert!(
            said.status.success() && out.contains("Overall exposure level"),
            "{out}{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn the_units_commands_are_ones_that_the_program_takes() {
    for name in UNITS {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/sealift-device ")).unwrap();
        let line = line.replace("'systemctl reboot'", "true").replace("/var/lib/sealift", "/nonexistent/state");
        let said = Command::new(env!("CARGO_BIN_EXE_sealift-device")).args(line.split_whitespace()).output().unwrap();
        // 4: there is no such state. 2 would be an argument that it doesn't know.
        assert_eq!(said.status.code(), Some(4), "{}", String::from_utf8_lossy(&said.stderr));
    }
}
