//! The artifact store in a local folder.
//!
//! `object_store` does what it does soundly (create-only writes by hard link, fsync of file and folder); the
//! conditional replace, which its local store lacks, is a lock file, a comparison and an atomic rename.

use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload, RenameOptions, RenameTargetMode,
};
use sealift_jobs::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::{ArtifactStore, Content, Created, Key, Object, Source, StoreError, Tag};

/// Bytes read from a source at once.
const CHUNK: usize = 256 * 1_024;
/// Uploads in progress stand here until they are complete and checked.
const STAGING: &str = "staging";
/// Staged files older than this were left by a process that was killed.
const STAGING_MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// An artifact store in a folder.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    objects: LocalFileSystem,
}

impl LocalStore {
    /// Opens the store in `root`, which is made when missing, and clears what killed processes left.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder can't be made or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let name = root.display().to_string();
        std::fs::create_dir_all(root).map_err(|e| StoreError::Io {
            key: name.clone(),
            act: "make the store's folder",
            source: e.into(),
        })?;
        let objects = LocalFileSystem::new_with_prefix(root).map_err(|e| StoreError::Io {
            key: name,
            act: "open the store",
            source: e.into(),
        })?;
        let store = Self { root: root.into(), objects: objects.with_fsync(true) };
        store.sweep();
        Ok(store)
    }

    /// Removes staged uploads that nobody can be working on any more. Failing to do so harms nobody.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.root.join(STAGING)) else { return };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|m| m.modified()).ok();
            let age = modified.and_then(|t| SystemTime::now().duration_since(t).ok());
            if age.is_some_and(|age| age > STAGING_MAX_AGE) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn path(key: &Key) -> ObjectPath {
        // A key's parts need no escaping, so the two spellings are the same.
        ObjectPath::from(key.as_str())
    }

    /// Digest and length of an object as it stands.
    async fn found(&self, key: &Key) -> Result<(Digest, u64), StoreError> {
        let mut object = self.read(key, None).await?;
        let mut hasher = Sha256::new();
        while let Some(piece) = object.body.try_next().await? {
            hasher.update(&piece);
        }
        Ok((Digest(hasher.finalize().into()), object.length))
    }

    async fn create_from_file(&self, key: &Key, content: &Content, path: &Path) -> object_store::Result<()> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(generic)?;
        let staged = ObjectPath::from(format!("{STAGING}/{}", hex::encode(random)));
        let mut file = tokio::fs::File::open(path).await.map_err(generic)?;
        let mut upload = self.objects.put_multipart(&staged).await?;
        let (mut hasher, mut length) = (Sha256::new(), 0);
        loop {
            let mut piece = Vec::with_capacity(CHUNK);
            let read = (&mut file).take(CHUNK as u64).read_to_end(&mut piece).await.map_err(generic)?;
            if read == 0 {
                break;
            }
            hasher.update(&piece);
            length += read as u64;
            upload.put_part(PutPayload::from(piece)).await?;
        }
        if let Some(problem) = mismatch(content, length, Digest(hasher.finalize().into())) {
            upload.abort().await?;
            return Err(generic(StoreError::Source { key: key.clone(), problem }));
        }
        upload.complete().await?;
        let create = RenameOptions { target_mode: RenameTargetMode::Create, ..RenameOptions::default() };
        let renamed = self.objects.rename_opts(&staged, &Self::path(key), create).await;
        if renamed.is_err() {
            let _ = self.objects.delete(&staged).await;
        }
        renamed
    }
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "local", source: Box::new(source) }
}

fn mismatch(content: &Content, length: u64, sha256: Digest) -> Option<String> {
    if length != content.length {
        Some(format!("{length} bytes were read, {} announced", content.length))
    } else if sha256 != content.sha256 {
        Some(format!("its SHA-256 is {sha256}, {} announced", content.sha256))
    } else {
        None
    }
}

fn io(key: &Key, act: &'static str) -> impl FnOnce(object_store::Error) -> StoreError {
    let key = key.clone();
    move |error| match error {
        object_store::Error::NotFound { .. } => StoreError::NotFound(key),
        object_store::Error::Generic { source, .. } => match source.downcast::<StoreError>() {
            Ok(ours) => *ours,
            Err(source) => StoreError::Io { key: key.to_string(), act, source },
        },
        other => StoreError::Io { key: key.to_string(), act, source: Box::new(other) },
    }
}

impl ArtifactStore for LocalStore {
    async fn create(&self, key: &Key, content: &Content) -> Result<Created, StoreError> {
        let written = match &content.source {
            Source::Bytes(bytes) => {
                let length = bytes.len() as u64;
                if let Some(problem) = mismatch(content, length, Digest(Sha256::digest(bytes).into())) {
                    return Err(StoreError::Source { key: key.clone(), problem });
                }
                let payload = PutPayload::from(bytes.clone());
                self.objects.put_opts(&Self::path(key), payload, PutMode::Create.into()).await.map(drop)
            }
            // An upload that is repeated after a crash needn't be copied again to be found complete.
            Source::File(_) if self.length(key).await?.is_some() => {
                Err(object_store::Error::AlreadyExists { path: key.to_string(), source: "found".into() })
            }
            Source::File(path) => self.create_from_file(key, content, path).await,
        };
        match written {
            Ok(()) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let (sha256, length) = self.found(key).await?;
                match mismatch(content, length, sha256) {
                    None => Ok(Created::Existed),
                    Some(_) => Err(StoreError::Clash { key: key.clone(), found: format!("SHA-256 {sha256}") }),
                }
            }
            Err(error) => Err(io(key, "write")(error)),
        }
    }

    async fn replace(&self, key: &Key, bytes: &[u8], expected: Option<&Tag>) -> Result<Tag, StoreError> {
        let (root, key, bytes, expected) = (self.root.clone(), key.clone(), bytes.to_vec(), expected.cloned());
        let name = key.to_string();
        tokio::task::spawn_blocking(move || replace(&root, &key, &bytes, expected.as_ref()))
            .await
            .unwrap_or_else(|e| Err(StoreError::Io { key: name, act: "replace", source: Box::new(e) }))
    }

    async fn small(&self, key: &Key, most: u64) -> Result<Option<(Bytes, Tag)>, StoreError> {
        let got = match self.objects.get(&Self::path(key)).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(io(key, "read")(error)),
        };
        let length = got.meta.size;
        if length > most {
            return Err(StoreError::TooLarge { key: key.clone(), length, most });
        }
        let bytes = got.bytes().await.map_err(io(key, "read"))?;
        let tag = tag(&bytes);
        Ok(Some((bytes, tag)))
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        if let Some(range) = &range {
            let length = self.length(key).await?.ok_or_else(|| StoreError::NotFound(key.clone()))?;
            if range.start >= length || range.is_empty() {
                return Err(StoreError::Range { key: key.clone(), start: range.start, length });
            }
        }
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.objects.get_opts(&Self::path(key), options).await.map_err(io(key, "read"))?;
        let (length, range, owner) = (got.meta.size, got.range.clone(), key.clone());
        let body = got.into_stream().map_err(move |e| io(&owner, "read")(e)).boxed();
        Ok(Object { length, range, body })
    }

    async fn length(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        match self.objects.head(&Self::path(key)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(io(key, "look at")(error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Key>, StoreError> {
        let failed = |e: object_store::Error| StoreError::Io { key: folder.into(), act: "list", source: Box::new(e) };
        let found: Vec<_> = self.objects.list(Some(&ObjectPath::from(folder))).try_collect().await.map_err(failed)?;
        // Names that are no keys are temporary files.
        let mut keys: Vec<Key> = found.iter().filter_map(|meta| meta.location.as_ref().parse().ok()).collect();
        keys.sort();
        Ok(keys)
    }
}

fn tag(bytes: &[u8]) -> Tag {
    Tag(hex::encode(Sha256::digest(bytes)))
}

fn replace(root: &Path, key: &Key, bytes: &[u8], expected: Option<&Tag>) -> Result<Tag, StoreError> {
    let failed = |act, e: std::io::Error| StoreError::Io { key: key.to_string(), act, source: Box::new(e) };
    let path = root.join(key.as_str());
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(|e| failed("make the folder of", e))?;
    // The lock ends with the process, however it ends. It is never removed: a removed lock file locks nobody out.
    let lock = File::options().create(true).append(true).open(root.join(".replace.lock"));
    let lock = lock.map_err(|e| failed("lock", e))?;
    lock.lock().map_err(|e| failed("lock", e))?;
    let found = match std::fs::read(&path) {
        Ok(present) => Some(tag(&present)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed("read", e)),
    };
    if found.as_ref() != expected {
        return Err(StoreError::Raced { key: key.clone(), found });
    }
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed("write beside", e))?;
    temporary.write_all(bytes).map_err(|e| failed("write beside", e))?;
    temporary.as_file().sync_all().map_err(|e| failed("sync", e))?;
    temporary.persist(&path).map_err(|e| failed("replace", e.error))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| failed("sync the folder of", e))?;
    Ok(tag(bytes))
}
