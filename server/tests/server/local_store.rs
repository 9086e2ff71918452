//! The local artifact store.

use sealift_server::store::{ArtifactStore as _, Content, Key, LocalStore};

use crate::store_suite;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_does_what_every_store_must() {
    let home = tempfile::tempdir().unwrap();
    // Each call opens the folder anew, as another process would.
    store_suite::all(|| LocalStore::open(home.path()).unwrap(), 16, 200).await;
}

#[test]
fn no_key_leaves_the_store_or_hides_in_it() {
    for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.lock", "a b", "ä", "a%2fb", "a\\b"] {
        assert!(bad.parse::<Key>().is_err(), "{bad}");
    }
    assert!(Key::metadata("a/b").is_err());
    assert!(Key::metadata("1.root").is_ok());
}

#[tokio::test]
async fn what_killed_writers_left_is_neither_listed_nor_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let key = Key::metadata("1.root").unwrap();
    store.create(&key, &Content::from_bytes(&b"x"[..])).await.unwrap();
    std::fs::create_dir_all(home.path().join("staging")).unwrap();
    for left in ["metadata/2.root#1", "metadata/.tmpAbC", "staging/0123", "staging/0123#1"] {
        std::fs::write(home.path().join(left), b"half").unwrap();
    }
    let store = LocalStore::open(home.path()).unwrap();
    assert_eq!(store.list("metadata").await.unwrap(), [key]);
    let next = Key::metadata("2.root").unwrap();
    store.create(&next, &Content::from_bytes(&b"whole"[..])).await.unwrap();
    assert_eq!(store.small(&next, 10).await.unwrap().unwrap().0, &b"whole"[..]);
}
