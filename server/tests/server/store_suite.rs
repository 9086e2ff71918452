//! What every artifact store must do, whatever is behind it. An adapter's tests call [`all`] with a way to open the same
//! store again, as another process would.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt as _;
use sealift_server::store::{ArtifactStore, Content, Created, Key, Source, StoreError};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A key nobody else uses.
fn key(folder: &str) -> Key {
    format!("{folder}/k{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)).parse().unwrap()
}

async fn bytes(store: &impl ArtifactStore, key: &Key, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let object = store.read(key, range).await.unwrap();
    let pieces: Vec<_> = object.body.try_collect().await.unwrap();
    pieces.concat()
}

/// Runs every behaviour; `racers` writers in each race, `rounds` races.
pub(crate) async fn all<S: ArtifactStore>(open: impl Fn() -> S, racers: usize, rounds: usize) {
    what_is_created_is_read_back(&open()).await;
    an_immutable_object_is_never_changed(&open()).await;
    a_source_that_is_not_what_was_announced_is_not_stored(&open()).await;
    a_large_file_arrives_whole(&open()).await;
    parts_are_read_by_range(&open()).await;
    what_is_missing_is_missing(&open()).await;
    replacing_needs_the_present_tag(&open()).await;
    listing_is_sorted_and_keeps_to_the_folder(&open()).await;
    of_racing_creators_with_other_contents_one_wins(&open, racers, rounds).await;
    of_racing_replacers_one_wins_and_nothing_is_lost(&open, racers, rounds).await;
}

async fn what_is_created_is_read_back(store: &impl ArtifactStore) {
    for content in [vec![], b"x".to_vec(), vec![7; 100_000]] {
        let key = key("payloads");
        assert_eq!(store.create(&key, &Content::from_bytes(content.clone())).await.unwrap(), Created::New);
        assert_eq!(store.length(&key).await.unwrap(), Some(content.len() as u64));
        assert_eq!(bytes(store, &key, None).await, content);
        assert_eq!(store.small(&key, 1 << 20).await.unwrap().unwrap().0, content);
    }
}

async fn an_immutable_object_is_never_changed(store: &impl ArtifactStore) {
    let key = key("metadata");
    store.create(&key, &Content::from_bytes(&b"first"[..])).await.unwrap();
    assert_eq!(store.create(&key, &Content::from_bytes(&b"first"[..])).await.unwrap(), Created::Existed);
    let clash = store.create(&key, &Content::from_bytes(&b"other"[..])).await;
    assert!(matches!(clash, Err(StoreError::Clash { .. })), "{clash:?}");
    assert_eq!(bytes(store, &key, None).await, b"first");
}

async fn a_source_that_is_not_what_was_announced_is_not_stored(store: &impl ArtifactStore) {
    let key = key("payloads");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"what is there").unwrap();
    let announced = Content::from_bytes(&b"what was said"[..]);
    let from_file = Content { source: Source::File(file.path().into()), ..announced.clone() };
    let shorter = Content { length: 3, ..announced.clone() };
    let lying = Content { source: Source::Bytes((&b"what is there"[..]).into()), ..announced };
    for content in [from_file, shorter, lying] {
        let refused = store.create(&key, &content).await;
        assert!(matches!(refused, Err(StoreError::Source { .. })), "{refused:?}");
        assert_eq!(store.length(&key).await.unwrap(), None);
    }
}

async fn a_large_file_arrives_whole(store: &impl ArtifactStore) {
    let content: Vec<u8> = (0..9_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    let announced = Content::from_bytes(content.clone());
    let key = key("payloads");
    let from_file = Content { source: Source::File(file.path().into()), ..announced };
    assert_eq!(store.create(&key, &from_file).await.unwrap(), Created::New);
    assert!(bytes(store, &key, None).await == content);
    assert_eq!(store.create(&key, &from_file).await.unwrap(), Created::Existed);
    let small = store.small(&key, 1_000).await;
    assert!(matches!(small, Err(StoreError::TooLarge { length: 9_000_001, .. })), "{small:?}");
}

async fn parts_are_read_by_range(store: &impl ArtifactStore) {
    let key = key("payloads");
    let content: Vec<u8> = (0..=255).collect();
    store.create(&key, &Content::from_bytes(content.clone())).await.unwrap();
    for range in [0..1, 0..256, 100..200, 255..256] {
        let part = bytes(store, &key, Some(range.clone())).await;
        assert_eq!(part, content[range.start as usize..range.end as usize]);
    }
    let object = store.read(&key, Some(250..1_000)).await.unwrap();
    assert_eq!((object.length, object.range), (256, 250..256));
    for start in [256, 1_000] {
        let outside = store.read(&key, Some(start..start + 10)).await;
        assert!(matches!(outside.map(|o| o.range), Err(StoreError::Range { length: 256, .. })));
    }
}

async fn what_is_missing_is_missing(store: &impl ArtifactStore) {
    let key = key("metadata");
    assert_eq!(store.length(&key).await.unwrap(), None);
    assert!(store.small(&key, 10).await.unwrap().is_none());
    assert!(matches!(store.read(&key, None).await.map(|o| o.length), Err(StoreError::NotFound(_))));
    assert!(matches!(store.read(&key, Some(0..1)).await.map(|o| o.length), Err(StoreError::NotFound(_))));
}

async fn replacing_needs_the_present_tag(store: &impl ArtifactStore) {
    let key = key("rollouts");
    let first = store.replace(&key, b"1", None).await.unwrap();
    assert!(matches!(store.replace(&key, b"x", None).await, Err(StoreError::Raced { .. })));
    let second = store.replace(&key, b"2", Some(&first)).await.unwrap();
    assert_ne!(first, second);
    let raced = store.replace(&key, b"x", Some(&first)).await;
    assert!(matches!(&raced, Err(StoreError::Raced { found, .. }) if found.as_ref() == Some(&second)), "{raced:?}");
    let (now, tag) = store.small(&key, 10).await.unwrap().unwrap();
    assert_eq!((&now[..], tag), (&b"2"[..], second));
}

async fn listing_is_sorted_and_keeps_to_the_folder(store: &impl ArtifactStore) {
    let mut keys: Vec<Key> = (0..5).map(|_| key("listed")).collect();
    for key in keys.iter().rev() {
        store.create(key, &Content::from_bytes(key.to_string())).await.unwrap();
    }
    keys.sort();
    assert_eq!(store.list("listed").await.unwrap(), keys);
    assert_eq!(store.list("nothing-here").await.unwrap(), []);
}

async fn of_racing_creators_with_other_contents_one_wins<S: ArtifactStore>(
    open: &impl Fn() -> S,
    racers: usize,
    rounds: usize,
) {
    for _ in 0..rounds {
        let key = key("metadata");
        let mut running = tokio::task::JoinSet::new();
        for n in 0..racers {
            let (store, key) = (open(), key.clone());
            running.spawn(async move { (n, store.create(&key, &Content::from_bytes(format!("{n}"))).await) });
        }
        let ended = running.join_all().await;
        let winners: Vec<usize> =
            ended.iter().filter(|(_, done)| matches!(done, Ok(Created::New))).map(|(n, _)| *n).collect();
        assert_eq!(winners.len(), 1, "{ended:?}");
        assert!(ended.iter().all(|(n, done)| *n == winners[0] || matches!(done, Err(StoreError::Clash { .. }))));
        assert_eq!(bytes(&open(), &key, None).await, winners[0].to_string().as_bytes());
    }
}

async fn of_racing_replacers_one_wins_and_nothing_is_lost<S: ArtifactStore>(
    open: &impl Fn() -> S,
    racers: usize,
    rounds: usize,
) {
    let key = key("rollouts");
    let mut tag = open().replace(&key, b"start", None).await.unwrap();
    for round in 0..rounds {
        let mut running = tokio::task::JoinSet::new();
        for n in 0..racers {
            let (store, key, tag) = (open(), key.clone(), tag.clone());
            running.spawn(async move {
                let content = format!("{round} {n}");
                (content.clone(), store.replace(&key, content.as_bytes(), Some(&tag)).await)
            });
        }
        let ended = running.join_all().await;
        let mut winners = ended.iter().filter_map(|(content, done)| done.as_ref().ok().map(|tag| (content, tag)));
        let (content, new) = winners.next().expect("one wins");
        assert_eq!(winners.next(), None, "only one wins");
        assert_eq!(open().small(&key, 100).await.unwrap().unwrap().0, content.as_bytes());
        tag = new.clone();
    }
}
