//! The AWS adapters against moto.

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use sealift_jobs::{ExecutionStatus, JobStatus};
use sealift_server::aws::{IotJobs, PRODUCT_ATTRIBUTE, REPORT_KEY_ATTRIBUTE, S3Store};
use sealift_server::service::{JobService, NewJob, ServiceError};
use sealift_server::store::{ArtifactStore, Content, Key, StoreError};

use crate::moto::Moto;
use crate::store_suite;

async fn bucket(moto: &Moto, name: &str, prefix: &str) -> S3Store {
    let client = moto.session().await.s3();
    let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuWest1).build();
    client.create_bucket().bucket(name).create_bucket_configuration(place).send().await.unwrap();
    S3Store::new(client, name, prefix)
}

#[tokio::test]
async fn s3_is_an_artifact_store_with_and_without_a_prefix() {
    let moto = Moto::start();
    for (name, prefix) in [("whole", ""), ("below", "prod/")] {
        let store = bucket(&moto, name, prefix).await;
        store_suite::all(|| store.clone(), 1, 2).await;
    }
}

#[tokio::test]
async fn an_upload_in_parts_that_was_killed_is_finished_and_not_left_behind() {
    let moto = Moto::start();
    let store = bucket(&moto, "parts", "").await;
    let client = moto.session().await.s3();
    let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    let content = Content::from_bytes(bytes);
    let key = Key::payload(&content.sha256);
    // What a killed run leaves: an upload with its first part.
    let upload = client
        .create_multipart_upload()
        .bucket("parts")
        .key(key.as_str())
        .checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256)
        .metadata("sealift-sha256", content.sha256.to_string())
        .send()
        .await
        .unwrap();
    let sealift_server::store::Source::Bytes(all) = &content.source else { unreachable!() };
    client
        .upload_part()
        .bucket("parts")
        .key(key.as_str())
        .upload_id(upload.upload_id().unwrap())
        .part_number(1)
        .checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256)
        .body(all.slice(..8 * 1_024 * 1_024).into())
        .send()
        .await
        .unwrap();
    assert_eq!(store.length(&key).await.unwrap(), None, "nothing of it is visible");
    let from_file = Content { source: sealift_server::store::Source::File(file.path().into()), ..content.clone() };
    store.create(&key, &from_file).await.unwrap();
    assert_eq!(store.length(&key).await.unwrap(), Some(20_000_000));
    let left = client.list_multipart_uploads().bucket("parts").send().await.unwrap();
    assert!(left.uploads().is_empty(), "the upload that was there was finished, not left");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named_with_what_to_do() {
    let moto = Moto::start();
    let store = S3Store::new(moto.session().await.s3(), "nowhere", "");
    let error = store.create(&Key::timestamp(), &Content::from_bytes(b"x".to_vec())).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }));
    let text = error.to_string();
    assert!(text.contains("s3:PutObject") && text.contains("create the bucket first"), "{text}");
}

#[tokio::test]
async fn iot_carries_jobs_and_makes_none_twice() {
    let moto = Moto::start();
    let client = moto.session().await.iot();
    client.create_thing_group().thing_group_name("canary").send().await.unwrap();
    let attributes = aws_sdk_iot::types::AttributePayload::builder()
        .attributes(PRODUCT_ATTRIBUTE, "thermostat")
        .attributes(REPORT_KEY_ATTRIBUTE, "ab".repeat(32))
        .build();
    client.create_thing().thing_name("t-1").attribute_payload(attributes).send().await.unwrap();
    client.add_thing_to_thing_group().thing_group_name("canary").thing_name("t-1").send().await.unwrap();

    let jobs = IotJobs::new(client);
    let facts = jobs.thing(&"t-1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((facts.product.as_str(), facts.report_key), ("thermostat", Some([0xab; 32])));
    assert!(jobs.thing(&"t-2".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(jobs.group_size(&"canary".parse().unwrap(), 10).await.unwrap(), Some(1));
    assert_eq!(jobs.group_size(&"nobody".parse().unwrap(), 10).await.unwrap(), None);

    let job = NewJob {
        id: "sl-test-w1".parse().unwrap(),
        document: r#"{"sealift":1}"#.to_owned(),
        description: "a test".to_owned(),
        groups: ["canary".parse().unwrap()].into(),
        things: ["t-1".parse().unwrap()].into(),
        timeout_minutes: Some(60),
        retries: 2,
        rate: sealift_rollout::plan::Rate::Constant(100),
        presign_role: Some("arn:aws:iam::123456789012:role/presign".to_owned()),
    };
    assert!(jobs.job(&job.id).await.unwrap().is_none());
    assert!(jobs.create(&job).await.unwrap());
    assert!(!jobs.create(&NewJob { document: r#"{"sealift":2}"#.to_owned(), ..job.clone() }).await.unwrap());
    let progress = jobs.job(&job.id).await.unwrap().unwrap();
    assert_eq!(progress.status, JobStatus::InProgress);
    let executions = jobs.executions(&job.id, None, None).await.unwrap().executions;
    assert!(executions.iter().any(|view| view.thing.as_str() == "t-1" && view.status == ExecutionStatus::Queued));
    let succeeded = jobs.executions(&job.id, Some(ExecutionStatus::Succeeded), None).await.unwrap();
    assert!(succeeded.executions.is_empty());
    assert_eq!(jobs.newest_success(&"t-1".parse().unwrap()).await.unwrap(), None);
    jobs.cancel(&job.id, false, "enough").await.unwrap();
    assert_eq!(jobs.job(&job.id).await.unwrap().unwrap().status, JobStatus::Canceled);
    jobs.cancel(&job.id, false, "again").await.unwrap();

    let lost = NewJob { id: "sl-test-w2".parse().unwrap(), groups: ["nobody".parse().unwrap()].into(), ..job };
    let error = jobs.create(&lost).await.unwrap_err();
    assert!(matches!(&error, ServiceError::NotFound(what) if what.contains("nobody")), "{error}");
}
