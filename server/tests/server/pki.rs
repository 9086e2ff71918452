//! Key files and the certificate authority.

use std::os::unix::fs::PermissionsExt as _;

use sealift_server::pki::{Authority, PkiError};

use crate::process::{Server, run};

#[test]
fn secrets_are_for_their_owner_only_and_refused_otherwise() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    drop(Server::start(&state));
    let mode = |path: &str| std::fs::metadata(state.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca/ca.key"), mode("")), (0o600, 0o700));
    for wide in [0o640, 0o604, 0o660, 0o644] {
        std::fs::set_permissions(state.join("ca/ca.key"), std::fs::Permissions::from_mode(wide)).unwrap();
        let refused = run(&["serve", "--state", state.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        assert_eq!(refused.status.code(), Some(4), "{wide:o}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 600"));
    }
    std::fs::set_permissions(state.join("ca/ca.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(run(&["serve", "--state", state.to_str().unwrap(), "--listen", "127.0.0.1:0"]).status.code(), Some(4));
}

#[test]
fn a_damaged_authority_is_named_and_never_replaced_in_silence() {
    let home = tempfile::tempdir().unwrap();
    Authority::open(home.path()).unwrap();
    let (key, certificate) = (home.path().join("ca.key"), home.path().join("ca.pem"));
    let (good_key, good_certificate) = (std::fs::read(&key).unwrap(), std::fs::read(&certificate).unwrap());
    let other = tempfile::tempdir().unwrap();
    Authority::open(other.path()).unwrap();
    let spoilt = [b"".to_vec(), b"junk".to_vec(), vec![0xff; 100], std::fs::read(other.path().join("ca.pem")).unwrap()];
    for bytes in &spoilt {
        std::fs::write(&certificate, bytes).unwrap();
        let opened = Authority::open(home.path()).err();
        assert!(opened.is_some(), "certificate {:?}", String::from_utf8_lossy(bytes));
        assert_eq!(&std::fs::read(&certificate).unwrap(), bytes, "left as it is");
    }
    std::fs::write(&certificate, &good_certificate).unwrap();
    for bytes in [&b""[..], b"junk", &[0xff; 100]] {
        std::fs::write(&key, bytes).unwrap();
        assert!(matches!(Authority::open(home.path()).err(), Some(PkiError::Bad { .. })));
    }
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(Authority::open(home.path()).err(), Some(PkiError::Bad { .. })), "a certificate without its key");
    std::fs::write(&key, good_key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    Authority::open(home.path()).unwrap();
}

#[test]
fn a_damaged_database_is_named() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    drop(Server::start(&state));
    std::fs::write(state.join("ledger.redb"), b"not a database at all, but some text").unwrap();
    let refused = run(&["serve", "--state", state.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ledger.redb"));
}
