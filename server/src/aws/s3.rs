//! The artifact store in an S3 bucket.
//!
//! Immutable objects are put with `If-None-Match: *` and their SHA-256, which S3 checks; larger ones go up in parts, each
//! with its own, and a run that was killed goes on with the parts that are there already. The timestamp is replaced with
//! `If-Match`: of two publishers one wins, and the other is told. The whole object's SHA-256 is kept as metadata too,
//! because the checksum of a multipart object is one over its parts.

use std::ops::Range;
use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use sealift_jobs::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::AwsError;
use crate::store::{ArtifactStore, Content, Created, Key, Object, Source, StoreError, Tag};

/// Objects above this go up in parts.
const MULTIPART_ABOVE: u64 = 8 * 1_024 * 1_024;
/// Bytes of one part: with S3's 10,000 parts, 80 GB.
const PART: usize = 8 * 1_024 * 1_024;
/// The object's SHA-256, as user metadata.
const SHA256: &str = "sealift-sha256";
/// S3's answers to a condition that does not hold.
const CONDITION_FAILED: &[&str] = &["PreconditionFailed", "ConditionalRequestConflict"];
const NOT_FOUND: &[&str] = &["NotFound", "NoSuchKey"];

/// A bucket, or the part of it below a prefix.
#[derive(Clone, Debug)]
pub struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Store {
    /// The store in `bucket` below `prefix` (`prod/`; empty for the whole bucket).
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), prefix: prefix.into() }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn head(&self, key: &Key) -> Result<Option<HeadObjectOutput>, StoreError> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.name(key)).send().await;
        match head.map_err(|error| AwsError::new("s3:GetObject", error)) {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.is(NOT_FOUND) => Ok(None),
            Err(error) => Err(io(key, "look at it", error)),
        }
    }

    /// The object is there already: is it the same?
    async fn existing(&self, key: &Key, content: &Content) -> Result<Created, StoreError> {
        let head = self.head(key).await?.ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let (length, digest) = (length_of(&head), head.metadata().and_then(|metadata| metadata.get(SHA256)));
        if length == content.length && digest.is_some_and(|digest| *digest == content.sha256.to_string()) {
            return Ok(Created::Existed);
        }
        let found = format!("{length} bytes, SHA-256 {}", digest.map_or("unknown", String::as_str));
        Err(StoreError::Clash { key: key.clone(), found })
    }

    async fn put(&self, key: &Key, content: &Content, bytes: Bytes) -> Result<Created, StoreError> {
        check_source(key, content, bytes.len() as u64, Digest(Sha256::digest(&bytes).into()))?;
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .if_none_match("*")
            .checksum_sha256(STANDARD.encode(content.sha256.0))
            .metadata(SHA256, content.sha256.to_string())
            .body(ByteStream::from(bytes))
            .send()
            .await;
        match put.map_err(|error| AwsError::new("s3:PutObject", error)) {
            Ok(_) => Ok(Created::New),
            Err(error) if error.is(CONDITION_FAILED) => self.existing(key, content).await,
            Err(error) => Err(io(key, "write it", error)),
        }
    }

    /// An upload of this object that a killed run left, if it was for the same content.
    async fn unfinished(&self, key: &Key) -> Result<Option<String>, StoreError> {
        let name = self.name(key);
        let listed = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(&name).send().await;
        let listed = listed.map_err(|error| {
            io(key, "list unfinished uploads", AwsError::new("s3:ListBucketMultipartUploads", error))
        })?;
        let mut uploads = listed.uploads().iter().filter(|upload| upload.key() == Some(&name));
        Ok(uploads.next_back().and_then(|upload| upload.upload_id()).map(str::to_owned))
    }

    /// Numbers and checksums of the parts that an upload has.
    async fn parts(&self, key: &Key, upload: &str) -> Result<Vec<(i32, String, String)>, StoreError> {
        let mut pages =
            self.client.list_parts().bucket(&self.bucket).key(self.name(key)).upload_id(upload).into_paginator().send();
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| io(key, "list its parts", AwsError::new("s3:ListMultipartUploadParts", error)))?;
            parts.extend(page.parts().iter().filter_map(|part| {
                Some((part.part_number()?, part.checksum_sha256()?.to_owned(), part.e_tag()?.to_owned()))
            }));
        }
        Ok(parts)
    }

    async fn put_parts(&self, key: &Key, content: &Content, path: &Path) -> Result<Created, StoreError> {
        if self.head(key).await?.is_some() {
            return self.existing(key, content).await;
        }
        let (upload, there) = match self.unfinished(key).await? {
            // Parts that can't be listed are sent again.
            Some(upload) => (upload.clone(), self.parts(key, &upload).await.unwrap_or_default()),
            None => {
                let created = self
                    .client
                    .create_multipart_upload()
                    .bucket(&self.bucket)
                    .key(self.name(key))
                    .checksum_algorithm(ChecksumAlgorithm::Sha256)
                    .metadata(SHA256, content.sha256.to_string())
                    .send()
                    .await
                    .map_err(|error| io(key, "begin its upload", AwsError::new("s3:PutObject", error)))?;
                let upload = created.upload_id().unwrap_or_default().to_owned();
                (upload, Vec::new())
            }
        };
        let mut file = tokio::fs::File::open(path).await.map_err(|error| source(key, path, &error))?;
        let (mut whole, mut length, mut completed) = (Sha256::new(), 0, Vec::new());
        for number in 1.. {
            let mut bytes = Vec::with_capacity(PART);
            (&mut file).take(PART as u64).read_to_end(&mut bytes).await.map_err(|error| source(key, path, &error))?;
            if bytes.is_empty() {
                break;
            }
            whole.update(&bytes);
            length += bytes.len() as u64;
            let checksum = STANDARD.encode(Sha256::digest(&bytes));
            let kept = there.iter().find(|(at, sum, _)| *at == number && *sum == checksum);
            let tag = match kept {
                Some((_, _, tag)) => tag.clone(),
                None => {
                    let part = self
                        .client
                        .upload_part()
                        .bucket(&self.bucket)
                        .key(self.name(key))
                        .upload_id(&upload)
                        .part_number(number)
                        .checksum_sha256(&checksum)
                        .body(ByteStream::from(bytes))
                        .send()
                        .await
                        .map_err(|error| io(key, "upload a part", AwsError::new("s3:PutObject", error)))?;
                    part.e_tag().unwrap_or_default().to_owned()
                }
            };
            completed.push(CompletedPart::builder().part_number(number).checksum_sha256(checksum).e_tag(tag).build());
        }
        // Nothing becomes visible of a source that is not what was announced.
        if let Err(refused) = check_source(key, content, length, Digest(whole.finalize().into())) {
            let abort =
                self.client.abort_multipart_upload().bucket(&self.bucket).key(self.name(key)).upload_id(&upload);
            // Left behind, it costs storage until the bucket's lifecycle rule ends it, and nothing else.
            let _ = abort.send().await;
            return Err(refused);
        }
        let done = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(self.name(key))
            .upload_id(&upload)
            .if_none_match("*")
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(completed)).build())
            .send()
            .await;
        match done.map_err(|error| AwsError::new("s3:PutObject", error)) {
            Ok(_) => Ok(Created::New),
            // Another publisher completed it, ours or its own.
            Err(error) if error.is(CONDITION_FAILED) || error.is(&["NoSuchUpload"]) => {
                self.existing(key, content).await
            }
            Err(error) => Err(io(key, "complete its upload", error)),
        }
    }
}

impl ArtifactStore for S3Store {
    async fn create(&self, key: &Key, content: &Content) -> Result<Created, StoreError> {
        match &content.source {
            Source::File(path) if content.length > MULTIPART_ABOVE => self.put_parts(key, content, path).await,
            Source::File(path) => {
                let bytes = tokio::fs::read(path).await.map_err(|error| source(key, path, &error))?;
                self.put(key, content, bytes.into()).await
            }
            Source::Bytes(bytes) => self.put(key, content, bytes.clone()).await,
        }
    }

    async fn replace(&self, key: &Key, bytes: &[u8], expected: Option<&Tag>) -> Result<Tag, StoreError> {
        let digest = Digest(Sha256::digest(bytes).into());
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .checksum_sha256(STANDARD.encode(digest.0))
            .metadata(SHA256, digest.to_string())
            // Devices ask for the latest: no cache may keep it.
            .cache_control("no-cache")
            .body(ByteStream::from(bytes.to_vec()));
        let put = match expected {
            Some(Tag(tag)) => put.if_match(tag),
            None => put.if_none_match("*"),
        };
        match put.send().await.map_err(|error| AwsError::new("s3:PutObject", error)) {
            Ok(written) => Ok(Tag(written.e_tag().unwrap_or_default().to_owned())),
            // If-Match on an object that is gone is answered with NoSuchKey.
            Err(error) if error.is(CONDITION_FAILED) || error.is(NOT_FOUND) => {
                let found = self.head(key).await?.and_then(|head| head.e_tag().map(|tag| Tag(tag.to_owned())));
                Err(StoreError::Raced { key: key.clone(), found })
            }
            Err(error) => Err(io(key, "replace it", error)),
        }
    }

    async fn small(&self, key: &Key, most: u64) -> Result<Option<(Bytes, Tag)>, StoreError> {
        let found = self.client.get_object().bucket(&self.bucket).key(self.name(key)).send().await;
        let found = match found.map_err(|error| AwsError::new("s3:GetObject", error)) {
            Ok(found) => found,
            Err(error) if error.is(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(io(key, "read it", error)),
        };
        let length = u64::try_from(found.content_length().unwrap_or_default()).unwrap_or_default();
        if length > most {
            return Err(StoreError::TooLarge { key: key.clone(), length, most });
        }
        let tag = Tag(found.e_tag().unwrap_or_default().to_owned());
        let bytes = found.body.collect().await.map_err(|error| io(key, "read it", error))?.into_bytes();
        Ok(Some((bytes, tag)))
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        let length = self.length(key).await?.ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let range = match range {
            None => 0..length,
            Some(range) if range.start < length => range.start..range.end.min(length),
            Some(range) => return Err(StoreError::Range { key: key.clone(), start: range.start, length }),
        };
        let get = self.client.get_object().bucket(&self.bucket).key(self.name(key));
        // An empty object has no range to ask for.
        let get = if length == 0 { get } else { get.range(format!("bytes={}-{}", range.start, range.end - 1)) };
        let found = get.send().await.map_err(|error| io(key, "read it", AwsError::new("s3:GetObject", error)))?;
        let key = key.clone();
        let body =
            futures_util::stream::unfold(found.body, |mut body| async { body.next().await.map(|piece| (piece, body)) });
        let body = body.map(move |piece| piece.map_err(|error| io(&key, "read it", error)));
        Ok(Object { length, range, body: body.boxed() })
    }

    async fn length(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        Ok(self.head(key).await?.as_ref().map(length_of))
    }

    async fn list(&self, folder: &str) -> Result<Vec<Key>, StoreError> {
        let prefix = format!("{}{folder}/", self.prefix);
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::Io {
                key: folder.to_owned(),
                act: "list it",
                source: AwsError::new("s3:ListBucket", error).into(),
            })?;
            let names = page.contents().iter().filter_map(|object| object.key()?.strip_prefix(&self.prefix));
            // What is not a key of ours was put there by somebody else.
            keys.extend(names.filter_map(|name| name.parse::<Key>().ok()));
        }
        keys.sort();
        Ok(keys)
    }
}

fn length_of(head: &HeadObjectOutput) -> u64 {
    u64::try_from(head.content_length().unwrap_or_default()).unwrap_or_default()
}

fn check_source(key: &Key, content: &Content, length: u64, sha256: Digest) -> Result<(), StoreError> {
    let problem = if length != content.length {
        format!("{length} bytes instead of {}", content.length)
    } else if sha256 != content.sha256 {
        format!("SHA-256 {sha256} instead of {}", content.sha256)
    } else {
        return Ok(());
    };
    Err(StoreError::Source { key: key.clone(), problem })
}

fn io(key: &Key, act: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Io { key: key.to_string(), act, source: Box::new(source) }
}

fn source(key: &Key, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Source { key: key.clone(), problem: format!("can't read {}: {error}", path.display()) }
}
