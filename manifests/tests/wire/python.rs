//! The Python in which other people's implementations judge ours. `cargo xtask test` makes it and names it in
//! `$SEALIFT_PYTHON`; under plain `cargo test` it is made here, in the same place from the same list.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A script beside these tests.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// A Python interpreter with the packages of `xtask/python-packages.txt`. Fails the test, saying why, if there is none: a
/// judge that is missing must not look like one that agrees.
pub(crate) fn interpreter() -> PathBuf {
    if let Some(python) = std::env::var_os("SEALIFT_PYTHON") {
        return python.into();
    }
    let list_file = project().join("xtask/python-packages.txt");
    let list = fs::read_to_string(&list_file).unwrap_or_else(|why| panic!("read {}: {why}", list_file.display()));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), PathBuf::from);
    let home = target.join("python");
    let (python, installed) = (home.join("bin/python"), home.join("installed.txt"));
    fs::create_dir_all(&target).unwrap();
    // Test processes run side by side; one of them makes it.
    let lock = File::create(target.join("python.lock")).unwrap();
    lock.lock().unwrap();
    if !(python.exists() && fs::read_to_string(&installed).is_ok_and(|was| was == list)) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(&python).args(pip).arg(&list_file));
        fs::write(&installed, &list).unwrap();
    }
    python
}

fn run(command: &mut Command) {
    const REMEDY: &str = "these tests need python3 with venv (Debian: python3-venv) and a package index that pip can reach; \
                          `cargo xtask test` installs both, or set SEALIFT_PYTHON to a Python that has the packages of \
                          xtask/python-packages.txt";
    match command.output() {
        Ok(Output { status, .. }) if status.success() => {}
        Ok(Output { status, stderr, .. }) => {
            panic!("{command:?}: {status}\n{}\n{REMEDY}", String::from_utf8_lossy(&stderr))
        }
        Err(why) => panic!("{command:?}: {why}\n{REMEDY}"),
    }
}
