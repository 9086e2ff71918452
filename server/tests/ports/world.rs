//! An account with a bucket and a fleet, and the real binary at work in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_iot::types::AttributePayload;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use base64::Engine as _;
use ed25519_dalek::{Signer as _, SigningKey};
use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::{Digest, PublicKey};
use sealift_server::aws::{PRODUCT_ATTRIBUTE, REPORT_KEY_ATTRIBUTE, Session};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::moto::Moto;
use crate::proxy::Proxy;
use crate::release::Maker;

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/sealift-presign";
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// An account, reached through a proxy.
pub(crate) struct World {
    pub(crate) moto: Moto,
    pub(crate) proxy: Proxy,
    pub(crate) home: tempfile::TempDir,
    pub(crate) bucket: String,
    pub(crate) maker: Maker,
    runtime: tokio::runtime::Runtime,
    session: Session,
}

impl World {
    pub(crate) fn new() -> Self {
        let moto = Moto::start_fleet();
        let proxy = Proxy::start(&moto.endpoint);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let session = runtime.block_on(moto.session());
        let home = tempfile::tempdir().unwrap();
        let mut world = World { moto, proxy, home, bucket: String::new(), maker: Maker::default(), runtime, session };
        world.new_bucket();
        world
    }

    /// Goes on with a fresh bucket.
    pub(crate) fn new_bucket(&mut self) {
        self.bucket = format!("acme-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuWest1).build();
        let create = self.session.s3().create_bucket().bucket(&self.bucket).create_bucket_configuration(place);
        self.runtime.block_on(create.send()).unwrap();
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        self.session.s3()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The binary with these arguments, the account's place and credentials, and JSON answers.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealift-server"));
        command
            .args(arguments)
            .args(["--bucket", &self.bucket, "--prefix", "prod/", "--endpoint-url", &self.proxy.endpoint, "--json"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("AWS_ACCESS_KEY_ID", "emulator")
            .env("AWS_SECRET_ACCESS_KEY", "emulator")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("SEALIFT_PRESIGN_ROLE", ROLE)
            .env("SEALIFT_ACTOR", "erin");
        command
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, i32) {
        answer(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        let (said, exit) = self.json(arguments);
        assert_eq!(exit, 0, "{arguments:?}: {said}");
        said
    }

    /// A process that may be killed.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// A folder with the maker's present release.
    pub(crate) fn release(&self) -> PathBuf {
        let folder = self.home.path().join(format!("release-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        self.maker.write(&folder);
        folder
    }

    pub(crate) fn publish(&self) -> Value {
        self.ok(&["publish", "--release", path(&self.release())])
    }

    /// Things of the product, each in `group` and in the bucket group of its name.
    pub(crate) fn things(&self, group: &str, names: &[&str]) {
        let iot = self.session.iot();
        self.runtime.block_on(async {
            for name in names {
                let key = hex::encode(report_key(name).verifying_key().to_bytes());
                let attributes = AttributePayload::builder()
                    .attributes(PRODUCT_ATTRIBUTE, "thermostat")
                    .attributes(REPORT_KEY_ATTRIBUTE, key)
                    .build();
                iot.create_thing().thing_name(*name).attribute_payload(attributes).send().await.unwrap();
                let bucket = sealift_rollout::buckets::bucket_of("thermostat", name);
                for group in [group.to_owned(), sealift_rollout::buckets::group_name("thermostat", bucket)] {
                    // One that exists is fine: moto says so too.
                    let _ = iot.create_thing_group().thing_group_name(&group).send().await;
                    let add = iot.add_thing_to_thing_group().thing_group_name(&group).thing_name(*name);
                    add.send().await.unwrap();
                }
            }
        });
    }

    /// A device ends its execution, with a report when it succeeds.
    pub(crate) fn end(&self, thing: &str, job: &str, status: &str) {
        let details = match status {
            "SUCCEEDED" => json!({ "report": self.report(thing, job, 1) }),
            _ => json!({ "code": "SL-602", "reason": "the payload is cut off" }),
        };
        assert!(self.end_with(thing, job, status, &details), "{thing} has no open execution of {job}");
    }

    pub(crate) fn end_with(&self, thing: &str, job: &str, status: &str, details: &Value) -> bool {
        let body = json!({ "region": "eu-west-1", "thing": thing, "job": job, "status": status, "details": details });
        let answer = post(&self.moto.endpoint, "/-/end", &body.to_string());
        serde_json::from_str::<Value>(&answer).unwrap()["done"] == true
    }

    pub(crate) fn report(&self, thing: &str, job: &str, execution: u64) -> String {
        let image = Digest(Sha256::digest(&self.maker.fleet.targets[0].image).into());
        let repository = self.maker.fleet.repository;
        let payload = Report { repository, thing, job, execution, boot_count: 7, image, security_counter: 3 }.encode();
        let key = report_key(thing);
        let signature = key.sign(&SignedReport::sig_structure(&payload)).to_bytes();
        let key_id = PublicKey(key.verifying_key().to_bytes()).id();
        let report = SignedReport { payload: &payload, key_id, signature: &signature }.encode();
        base64::engine::general_purpose::STANDARD.encode(report)
    }

    pub(crate) fn plan(&self, waves: &str) -> PathBuf {
        let path = self.home.path().join(format!("plan-{}.toml", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, format!("product = \"thermostat\"\nversion = \"1.0.0\"\n{waves}")).unwrap();
        path
    }

    pub(crate) fn start(&self, name: &str, waves: &str) -> Value {
        self.ok(&["rollout", "start", path(&self.plan(waves)), "--name", name])
    }

    pub(crate) fn reconcile(&self) -> Value {
        self.ok(&["rollout", "reconcile"])
    }

    pub(crate) fn status(&self, name: &str) -> Value {
        self.ok(&["rollout", "status", name])
    }

    /// Every object below the prefix.
    pub(crate) fn objects(&self) -> Vec<String> {
        let s3 = self.s3();
        self.block_on(async {
            let mut pages = s3.list_objects_v2().bucket(&self.bucket).into_paginator().send();
            let mut names = vec![];
            while let Some(page) = pages.next().await {
                names.extend(page.unwrap().contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            }
            names
        })
    }

    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let get = self.s3().get_object().bucket(&self.bucket).key(key);
        self.block_on(async { Some(get.send().await.ok()?.body.collect().await.ok()?.to_vec()) })
    }
}

pub(crate) fn report_key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn answer(output: &Output) -> (Value, i32) {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let said = serde_json::from_str(last)
        .unwrap_or_else(|_| panic!("no JSON: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (said, output.status.code().unwrap_or(-1))
}

fn post(endpoint: &str, path: &str, body: &str) -> String {
    use std::io::{Read as _, Write as _};
    let address = endpoint.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
