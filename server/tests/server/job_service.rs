//! What every job service must do, whatever is behind it; and that the local one does.

use sealift_jobs::{ExecutionStatus, JobStatus, UpdateJobExecutionRequest};
use sealift_server::engine::Engine;
use sealift_server::jobs::{DeviceAsk, Request};
use sealift_server::ledger::EnrolmentToken;
use sealift_server::registry::{self, Enrolment, Issued};
use sealift_server::service::{JobService, LocalJobs, NewJob, ServiceError};

/// Runs every behaviour. The service has the things `dev-a` and `dev-b` in the group `canary`, and the empty group
/// `empty`; `end` lets a device end its execution.
pub async fn all<J: JobService, F: Future<Output = ()>>(jobs: &J, end: impl Fn(&'static str, &'static str) -> F) {
    let new = |id: &str| NewJob {
        id: id.parse().unwrap(),
        document: "{\"sealift\":1}".into(),
        description: "a test".into(),
        groups: ["canary".parse().unwrap()].into(),
        things: [].into(),
        timeout_minutes: Some(60),
        retries: 0,
        rate: sealift_rollout::plan::Rate::Constant(500),
        presign_role: None,
    };
    let id = |id: &str| id.parse().unwrap();
    // Made once, however often it is asked for.
    assert_eq!(jobs.job(&id("one")).await.unwrap(), None);
    assert!(jobs.create(&new("one")).await.unwrap());
    assert!(!jobs.create(&new("one")).await.unwrap());
    let seen = jobs.job(&id("one")).await.unwrap().unwrap();
    assert_eq!((seen.status, seen.total(), seen.count(ExecutionStatus::Queued)), (JobStatus::InProgress, 2, 2));
    // Executions in the order of names.
    end("dev-b", "one").await;
    let page = jobs.executions(&id("one"), None, None).await.unwrap();
    let listed = &page.executions;
    let found: Vec<_> = listed.iter().map(|e| (e.thing.as_str(), e.status, e.number)).collect();
    assert_eq!(found, [("dev-a", ExecutionStatus::Queued, 1), ("dev-b", ExecutionStatus::Succeeded, 1)]);
    let succeeded = jobs.executions(&id("one"), Some(ExecutionStatus::Succeeded), None).await.unwrap();
    assert_eq!(succeeded.executions, listed[1..]);
    if let Some(next) = page.next {
        assert_eq!(jobs.executions(&id("one"), None, Some(&next)).await.unwrap().executions, []);
    }
    let newest = jobs.newest_success(&"dev-b".parse().unwrap()).await.unwrap();
    assert_eq!(newest.as_ref(), Some(&listed[1]));
    assert_eq!(jobs.newest_success(&"dev-a".parse().unwrap()).await.unwrap(), None);
    // Cancelled once or twice, it is cancelled.
    jobs.cancel(&id("one"), false, "enough").await.unwrap();
    jobs.cancel(&id("one"), true, "enough").await.unwrap();
    let seen = jobs.job(&id("one")).await.unwrap().unwrap();
    assert_eq!((seen.status, seen.count(ExecutionStatus::Canceled)), (JobStatus::Canceled, 1));
    // Over by itself: cancelling changes nothing.
    jobs.create(&new("two")).await.unwrap();
    end("dev-a", "two").await;
    end("dev-b", "two").await;
    jobs.cancel(&id("two"), true, "late").await.unwrap();
    assert_eq!(jobs.job(&id("two")).await.unwrap().unwrap().status, JobStatus::Completed);
    // What isn't there.
    let nowhere = NewJob { groups: ["nobody".parse().unwrap()].into(), ..new("three") };
    assert!(matches!(jobs.create(&nowhere).await, Err(ServiceError::NotFound(_))));
    assert!(matches!(jobs.cancel(&id("none"), false, "").await, Err(ServiceError::NotFound(_))));
    assert_eq!(jobs.group_size(&"canary".parse().unwrap(), 10).await.unwrap(), Some(2));
    assert_eq!(jobs.group_size(&"empty".parse().unwrap(), 10).await.unwrap(), Some(0));
    assert_eq!(jobs.group_size(&"nobody".parse().unwrap(), 10).await.unwrap(), None);
    let thing = jobs.thing(&"dev-a".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((thing.product.as_str(), thing.report_key), ("thermostat", Some([7; 32])));
    assert_eq!(jobs.thing(&"dev-z".parse().unwrap()).await.unwrap(), None);
    assert_eq!(jobs.report_key(&"dev-a".parse().unwrap()).await.unwrap(), Some([7; 32]));
    assert_eq!(jobs.report_key(&"dev-z".parse().unwrap()).await.unwrap(), None);
}

async fn enrol(engine: &Engine, name: &str) {
    let token = EnrolmentToken {
        id: name.into(),
        product: "thermostat".into(),
        groups: ["canary".parse().unwrap()].into(),
        thing: None,
        expires_at: u64::MAX,
        used_by: None,
    };
    engine.registry(registry::Request::IssueToken(token)).await.unwrap().unwrap();
    let enrolment = Enrolment {
        token: name.into(),
        thing: name.parse().unwrap(),
        report_key: "07".repeat(32),
        key_fingerprint: String::new(),
    };
    let issued = Issued { certificate: String::new(), fingerprint: String::new() };
    engine.registry(registry::Request::Enrol(Box::new(enrolment), issued)).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_local_jobs_machine_is_a_job_service() {
    let home = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(&home.path().join("ledger.redb"), sealift_server::engine::system_clock()).unwrap();
    engine.registry(registry::Request::CreateGroup("empty".parse().unwrap())).await.unwrap().unwrap();
    for name in ["dev-b", "dev-a"] {
        enrol(&engine, name).await;
    }
    all(&LocalJobs(engine.clone()), |thing, job| {
        let engine = engine.clone();
        async move {
            let update = UpdateJobExecutionRequest::new(ExecutionStatus::Succeeded);
            let ask = DeviceAsk::Update(job.parse().unwrap(), update);
            engine.jobs(Request::Device { thing: thing.parse().unwrap(), ask }).await.unwrap();
        }
    })
    .await;
}
