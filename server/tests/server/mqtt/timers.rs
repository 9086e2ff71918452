//! Timers that fire by themselves, over MQTT: the endpoint in this process, on a clock that the test moves. (AWS's shortest timer is a
//! minute; the last two seconds of it are waited for.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::Database;
use redb::backends::InMemoryBackend;
use sealift_server::endpoint::{self, Limits, Links, Listening, Serves};
use sealift_server::engine::{Engine, system_clock};
use sealift_server::jobs::{self, CreateJob};
use sealift_server::ledger::{EnrolmentToken, RetryBudget};
use sealift_server::mqtt::{self, Broker};
use sealift_server::pki::{Authority, CertificateRequest};
use sealift_server::registry::{Enrolment, Request};
use serde_json::json;

use super::client::{Client, Options};
use super::jobs::topic;
use crate::device::{Device, report_key};

/// The endpoint, and what moves its clock.
struct House {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    ahead: Arc<AtomicU64>,
    authority: Arc<Authority>,
    port: u16,
    _home: tempfile::TempDir,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl House {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ahead = Arc::new(AtomicU64::new(0));
        let moved = ahead.clone();
        let clock: sealift_server::engine::Clock = Arc::new(move || system_clock()() + moved.load(Ordering::SeqCst));
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let (engine, _) = Engine::start(database, clock.clone()).unwrap();
        let authority = Arc::new(Authority::open(home.path()).unwrap());
        let links = Arc::new(Links::open(home.path(), None, "https://localhost:1".into()).unwrap());
        let broker = Broker::new(engine.clone(), mqtt::Limits::default(), links, authority.clone(), clock);
        let names = ["localhost".to_owned()];
        let tls = endpoint::server_config(&authority, authority.issue_server(&names).unwrap()).unwrap();
        let (stopper, stop) = tokio::sync::watch::channel(false);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening =
            Listening { listener, tls: tls.mqtt, trust: tls.trust, limits: Limits::default(), stop: stop.clone() };
        runtime.spawn(endpoint::serve(listening, Serves::Mqtt(broker.clone())));
        runtime.spawn(mqtt::attend(broker, stop));
        Self { runtime, engine, ahead, authority, port, _home: home, _stop: stopper }
    }

    fn registry(&self, request: Request) {
        self.runtime.block_on(self.engine.registry(request)).unwrap().unwrap();
    }

    fn enrol(&self, name: &str) -> Device {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let csr = CertificateRequest::from_pem(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap();
        let issued = self.authority.issue_device(&csr).unwrap();
        let token = EnrolmentToken {
            id: format!("token of {name}"),
            product: "thermostat".into(),
            groups: ["canary".parse().unwrap()].into(),
            thing: None,
            expires_at: u64::MAX,
            used_by: None,
        };
        let enrolment = Enrolment {
            token: token.id.clone(),
            thing: name.parse().unwrap(),
            report_key: String::new(),
            key_fingerprint: csr.key_fingerprint(),
        };
        self.registry(Request::IssueToken(token));
        self.registry(Request::Enrol(Box::new(enrolment), issued.clone()));
        let (ca, certificate) = (self.authority.certificate().to_owned(), issued.certificate);
        Device { name: name.into(), key, report_key: report_key(name), certificate, ca, port: self.port }
    }

    fn job(&self, id: &str, thing: &str, timeout_minutes: Option<u64>, timed_out: u32) {
        let create = CreateJob {
            id: id.parse().unwrap(),
            document: "{}".into(),
            description: "a job".into(),
            things: [thing.parse().unwrap()].into(),
            groups: Default::default(),
            timeout_minutes,
            retries: RetryBudget { failed: 0, timed_out },
        };
        self.runtime.block_on(self.engine.jobs(jobs::Request::Create(create))).unwrap();
    }

    /// Moves the clock, and lets the database's thread see it: from there on it waits by itself.
    fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
        self.registry(Request::Groups);
    }
}

#[test]
fn a_step_timer_and_a_jobs_timeout_fire_by_themselves_and_the_device_is_told_what_is_next() {
    let house = House::start();
    let (one, two) = (house.enrol("dev-1"), house.enrol("dev-2"));
    // dev-1: a step timer, and another job behind it. dev-2: the job's own timeout, and one retry.
    house.job("steps", "dev-1", None, 0);
    house.job("behind", "dev-1", None, 0);
    house.job("whole", "dev-2", Some(1), 1);
    let mut one = Client::connect(&one, &Options::new(5, "dev-1", house.port));
    let mut two = Client::connect(&two, &Options::new(4, "dev-2", house.port));
    for (client, thing) in [(&mut one, "dev-1"), (&mut two, "dev-2")] {
        assert_eq!(client.subscribe(&topic(thing, "notify-next")), 1);
    }
    let (_, started) = one.ask(&topic("dev-1", "start-next"), &json!({"stepTimeoutInMinutes": 1}));
    assert_eq!(started["execution"]["jobId"], "steps");
    let (_, started) = two.ask(&topic("dev-2", "start-next"), &json!({}));
    assert_eq!(started["execution"]["jobId"], "whole");
    house.advance(58);
    assert!(one.silent(std::time::Duration::from_millis(200)), "not before its time");
    let next = one.message().unwrap();
    assert_eq!(
        (next.topic.as_str(), &next.json()["execution"]["jobId"]),
        (&*topic("dev-1", "notify-next"), &json!("behind"))
    );
    let (verdict, late) = one.ask(&topic("dev-1", "steps/update"), &json!({"status": "SUCCEEDED"}));
    assert_eq!((verdict.as_str(), &late["executionState"]["status"]), ("rejected", &json!("TIMED_OUT")), "{late}");
    let again = two.message().unwrap().json();
    let execution = &again["execution"];
    assert_eq!(
        (&execution["jobId"], &execution["executionNumber"], &execution["status"]),
        (&json!("whole"), &json!(2), &json!("QUEUED"))
    );
    // The retry's timer runs from its own start, and there is no other retry.
    let (_, started) = two.ask(&topic("dev-2", "start-next"), &json!({}));
    assert_eq!(started["execution"]["executionNumber"], 2);
    house.advance(59);
    let over = two.message().unwrap().json();
    assert_eq!(over.get("execution"), None, "{over}");
}
