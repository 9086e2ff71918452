//! The Jobs machine on virtual time, rule by rule.

use proptest::prelude::*;
use redb::Database;
use redb::backends::InMemoryBackend;
use sealift_jobs::*;
use sealift_server::jobs::{self, CancelJob, CreateJob, DeviceAsk, Effect, Failure, Request, Response};
use sealift_server::ledger::{Ledger, RetryBudget, Thing};
use sealift_server::registry;

const MINUTE: u64 = 60;

/// The machine with a database in memory and a clock that tests turn.
struct Machine {
    database: Database,
    now: u64,
    effects: Vec<Effect>,
}

impl Machine {
    fn new(things: &[&str]) -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let mut machine = Self { database, now: 1_000, effects: vec![] };
        machine.with(|ledger, now, _| {
            registry::handle(ledger, &registry::Request::CreateGroup("all".parse().unwrap()), now).unwrap();
            registry::handle(ledger, &registry::Request::CreateGroup("empty".parse().unwrap()), now).unwrap();
            for name in things {
                ledger.put_thing(&thing(name)).unwrap();
            }
        });
        machine
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Ledger<'_>, u64, &mut Vec<Effect>) -> T) -> T {
        let transaction = self.database.begin_write().unwrap();
        let mut effects = vec![];
        let result = {
            let mut ledger = Ledger::open(&transaction).unwrap();
            jobs::fire_timers(&mut ledger, self.now, usize::MAX, &mut effects).unwrap();
            act(&mut ledger, self.now, &mut effects)
        };
        transaction.commit().unwrap();
        self.effects.extend(effects);
        result
    }

    fn ask(&mut self, request: Request) -> Result<Response, Failure> {
        self.with(|ledger, now, effects| jobs::handle(ledger, &request, now, effects))
    }

    fn create(&mut self, id: &str) {
        self.create_with(job(id)).unwrap();
    }

    fn create_with(&mut self, create: CreateJob) -> Result<bool, Failure> {
        match self.ask(Request::Create(create))? {
            Response::Created(_, new) => Ok(new),
            other => panic!("{other:?}"),
        }
    }

    fn device(&mut self, thing: &str, ask: DeviceAsk) -> Result<Response, ErrorResponse> {
        let thing = thing.parse().unwrap();
        self.ask(Request::Device { thing, ask }).map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            other => panic!("{other}"),
        })
    }

    fn start_next(&mut self, thing: &str) -> Option<JobExecution> {
        match self.device(thing, DeviceAsk::StartNext(StartNextPendingJobExecutionRequest::default())).unwrap() {
            Response::Execution(execution) => execution.map(|e| *e),
            other => panic!("{other:?}"),
        }
    }

    fn describe(&mut self, thing: &str, job: &str) -> Result<JobExecution, ErrorResponse> {
        let ask = DeviceAsk::Describe(job.parse().unwrap(), DescribeJobExecutionRequest::default());
        match self.device(thing, ask)? {
            Response::Execution(execution) => Ok(*execution.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn update(&mut self, thing: &str, job: &str, status: ExecutionStatus) -> Result<JobExecutionState, ErrorResponse> {
        self.update_with(thing, job, UpdateJobExecutionRequest::new(status))
    }

    fn update_with(
        &mut self,
        thing: &str,
        job: &str,
        mut request: UpdateJobExecutionRequest,
    ) -> Result<JobExecutionState, ErrorResponse> {
        request.include_job_execution_state = Some(true);
        match self.device(thing, DeviceAsk::Update(job.parse().unwrap(), request))? {
            Response::Updated(updated) => Ok(updated.execution_state.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn pending(&mut self, thing: &str) -> (Vec<String>, Vec<String>) {
        match self.device(thing, DeviceAsk::Pending).unwrap() {
            Response::Pending(answer) => {
                let names = |list: Vec<JobExecutionSummary>| list.into_iter().map(|s| s.job_id.to_string()).collect();
                (names(answer.in_progress_jobs), names(answer.queued_jobs))
            }
            other => panic!("{other:?}"),
        }
    }

    fn overview(&mut self, job: &str) -> (JobStatus, Vec<(ExecutionStatus, u64)>) {
        match self.ask(Request::Job(job.parse().unwrap())).unwrap() {
            Response::Job(overview) => (overview.job.status, overview.counts.into_iter().collect()),
            other => panic!("{other:?}"),
        }
    }

    fn cancel(&mut self, job: &str, force: bool) -> Result<Response, Failure> {
        self.ask(Request::Cancel(CancelJob { id: job.parse().unwrap(), force, comment: None }))
    }

    fn taken_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

fn thing(name: &str) -> Thing {
    Thing {
        name: name.parse().unwrap(),
        product: "thermostat".into(),
        groups: ["all".parse().unwrap()].into(),
        report_key: String::new(),
        certificate: String::new(),
        fingerprint: String::new(),
        key_fingerprint: String::new(),
        enrolled_at: 0,
        active: true,
        next: None,
        policies: Default::default(),
        attributes: Default::default(),
    }
}

fn job(id: &str) -> CreateJob {
    CreateJob {
        id: id.parse().unwrap(),
        document: format!("{{\"job\":\"{id}\"}}"),
        description: String::new(),
        things: [].into(),
        groups: ["all".parse().unwrap()].into(),
        timeout_minutes: None,
        retries: RetryBudget::default(),
    }
}

use ExecutionStatus::*;

#[test]
fn a_job_goes_from_queued_through_in_progress_to_succeeded() {
    let mut m = Machine::new(&["a"]);
    m.create("j");
    assert_eq!(m.pending("a"), (vec![], vec!["j".into()]));
    let described = m.describe("a", "$next").unwrap();
    assert_eq!((described.status, described.version_number, described.execution_number), (Queued, 1, 1));
    m.now += 5;
    let started = m.start_next("a").unwrap();
    assert_eq!((started.status, started.version_number, started.started_at), (InProgress, 2, Some(1_005)));
    assert_eq!(started.job_document.as_deref(), Some("{\"job\":\"j\"}"));
    assert_eq!(m.pending("a"), (vec!["j".into()], vec![]));
    assert_eq!(m.update("a", "j", InProgress).unwrap().version_number, 3);
    assert_eq!(m.update("a", "j", Succeeded).unwrap().version_number, 4);
    assert_eq!(m.pending("a"), (vec![], vec![]));
    assert_eq!(m.start_next("a"), None);
    assert_eq!(m.overview("j"), (JobStatus::Completed, vec![(Succeeded, 1)]));
}

#[test]
fn start_next_gives_the_one_in_progress_first_and_then_the_oldest_job() {
    let mut m = Machine::new(&["a"]);
    for id in ["z-first", "m-second", "a-third"] {
        m.create(id);
    }
    assert_eq!(m.pending("a").1, ["z-first", "m-second", "a-third"]);
    m.update("a", "m-second", InProgress).unwrap();
    assert_eq!(m.start_next("a").unwrap().job_id.as_str(), "m-second");
    m.update("a", "m-second", Succeeded).unwrap();
    assert_eq!(m.start_next("a").unwrap().job_id.as_str(), "z-first");
    // Asked again it is the same, unchanged: a device that restarted finds its job.
    let again = m.start_next("a").unwrap();
    assert_eq!((again.job_id.as_str(), again.version_number), ("z-first", 2));
}

#[test]
fn an_update_on_an_old_version_is_refused_with_the_current_state() {
    let mut m = Machine::new(&["a"]);
    m.create("j");
    m.start_next("a");
    let stale = UpdateJobExecutionRequest { expected_version: Some(1), ..UpdateJobExecutionRequest::new(Succeeded) };
    let refusal = m.update_with("a", "j", stale.clone()).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::VersionMismatch);
    assert_eq!(refusal.execution_state.unwrap().version_number, 2);
    assert_eq!(m.describe("a", "j").unwrap().status, InProgress);
    let current = UpdateJobExecutionRequest { expected_version: Some(2), ..stale };
    assert_eq!(m.update_with("a", "j", current).unwrap().status, Succeeded);
}

#[test]
fn what_is_over_stays_over() {
    for end in [Succeeded, Failed, Rejected] {
        let mut m = Machine::new(&["a"]);
        m.create("j");
        m.update("a", "j", end).unwrap();
        for status in [InProgress, Succeeded, Failed, Rejected] {
            let refusal = m.update("a", "j", status).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidStateTransition);
            assert_eq!(refusal.execution_state.unwrap().status, end);
        }
        assert_eq!(m.describe("a", "j").unwrap_err().code, ErrorCode::TerminalStateReached);
    }
}

#[test]
fn a_device_sets_no_state_that_belongs_to_the_service() {
    let mut m = Machine::new(&["a"]);
    m.create("j");
    for status in [Queued, TimedOut, Removed, Canceled] {
        assert_eq!(m.update("a", "j", status).unwrap_err().code, ErrorCode::InvalidRequest, "{status}");
    }
    assert_eq!(m.describe("a", "j").unwrap().version_number, 1);
}

#[test]
fn jobs_of_others_and_jobs_that_are_none_are_not_found() {
    let mut m = Machine::new(&["a", "b"]);
    m.create_with(CreateJob { groups: [].into(), things: ["a".parse().unwrap()].into(), ..job("j") }).unwrap();
    assert_eq!(m.describe("b", "j").unwrap_err().code, ErrorCode::ResourceNotFound);
    assert_eq!(m.update("b", "j", InProgress).unwrap_err().code, ErrorCode::ResourceNotFound);
    assert_eq!(m.describe("a", "other").unwrap_err().code, ErrorCode::ResourceNotFound);
    let wrong = UpdateJobExecutionRequest { execution_number: Some(7), ..UpdateJobExecutionRequest::new(InProgress) };
    assert_eq!(m.update_with("a", "j", wrong).unwrap_err().code, ErrorCode::ResourceNotFound);
    assert_eq!(m.start_next("b"), None);
}

#[test]
fn details_are_replaced_by_an_update_that_has_some_and_kept_by_one_that_has_none() {
    let mut m = Machine::new(&["a"]);
    m.create("j");
    let mut details = StatusDetails::new();
    details.insert("step", "payload").unwrap();
    let with = UpdateJobExecutionRequest {
        status_details: Some(details.clone()),
        ..UpdateJobExecutionRequest::new(InProgress)
    };
    assert_eq!(m.update_with("a", "j", with).unwrap().status_details, details);
    assert_eq!(m.update("a", "j", InProgress).unwrap().status_details, details);
    // start-next of an execution in progress keeps its details, too.
    let mut other = StatusDetails::new();
    other.insert("step", "again").unwrap();
    let request = StartNextPendingJobExecutionRequest { status_details: Some(other), step_timeout_in_minutes: None };
    m.device("a", DeviceAsk::StartNext(request)).unwrap();
    assert_eq!(m.describe("a", "j").unwrap().status_details, details);
}

#[test]
fn a_step_timer_ends_the_execution_unless_it_is_reset_or_cancelled() {
    let step = |minutes| UpdateJobExecutionRequest {
        step_timeout_in_minutes: Some(minutes),
        ..UpdateJobExecutionRequest::new(InProgress)
    };
    let mut m = Machine::new(&["a"]);
    m.create("j");
    m.update_with("a", "j", step(1)).unwrap();
    assert_eq!(m.describe("a", "j").unwrap().approximate_seconds_before_timed_out, Some(60));
    m.now += 59;
    m.update_with("a", "j", step(1)).unwrap();
    m.now += 59;
    assert_eq!(m.describe("a", "j").unwrap().approximate_seconds_before_timed_out, Some(1));
    m.update_with("a", "j", step(-1)).unwrap();
    assert_eq!(m.describe("a", "j").unwrap().approximate_seconds_before_timed_out, None);
    m.now += 1_000 * MINUTE;
    m.update_with("a", "j", step(1)).unwrap();
    m.now += 60;
    assert_eq!(m.update("a", "j", Succeeded).unwrap_err().code, ErrorCode::InvalidStateTransition);
    assert_eq!(m.overview("j"), (JobStatus::Completed, vec![(TimedOut, 1)]));
    for bad in [0, -2, 10_081] {
        m.create_with(CreateJob { document: "{}".into(), ..job(&format!("k{}", bad + 10)) }).unwrap();
        let refusal = m.update_with("a", &format!("k{}", bad + 10), step(bad)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRequest, "{bad}");
    }
}

#[test]
fn the_jobs_own_timer_runs_from_the_start_and_no_update_moves_it() {
    let mut m = Machine::new(&["a", "late"]);
    m.create_with(CreateJob { timeout_minutes: Some(10), ..job("j") }).unwrap();
    m.now += 60 * MINUTE; // waiting costs nothing
    m.start_next("a").unwrap();
    m.now += 9 * MINUTE;
    let step =
        UpdateJobExecutionRequest { step_timeout_in_minutes: Some(100), ..UpdateJobExecutionRequest::new(InProgress) };
    m.update_with("a", "j", step).unwrap();
    assert_eq!(m.describe("a", "j").unwrap().approximate_seconds_before_timed_out, Some(60));
    m.now += MINUTE;
    assert_eq!(m.overview("j"), (JobStatus::InProgress, vec![(Queued, 1), (TimedOut, 1)]));
}

#[test]
fn only_failed_and_timed_out_are_retried_as_new_executions_and_only_as_often_as_allowed() {
    let mut m = Machine::new(&["a"]);
    m.create_with(CreateJob { retries: RetryBudget { failed: 2, timed_out: 1 }, ..job("j") }).unwrap();
    let numbered = |number, status| UpdateJobExecutionRequest {
        execution_number: Some(number),
        ..UpdateJobExecutionRequest::new(status)
    };
    for number in 1..=3 {
        let started = m.start_next("a").unwrap();
        assert_eq!((started.execution_number, started.version_number), (number, 2));
        assert!(started.status_details.is_empty());
        m.update_with("a", "j", numbered(number, Failed)).unwrap();
        // The same again, its answer lost: it had arrived, and doesn't hit the retry.
        let repeated = m.update_with("a", "j", numbered(number, Failed)).unwrap_err();
        assert_eq!(repeated.code, ErrorCode::InvalidStateTransition);
        assert_eq!(repeated.execution_state.unwrap().status, Failed);
    }
    assert_eq!(m.start_next("a"), None);
    assert_eq!(m.overview("j"), (JobStatus::Completed, vec![(Failed, 1)]));

    m.create_with(CreateJob { retries: RetryBudget { failed: 10, timed_out: 10 }, ..job("k") }).unwrap();
    m.update("a", "k", Rejected).unwrap();
    assert_eq!(m.overview("k"), (JobStatus::Completed, vec![(Rejected, 1)]));
}

#[test]
fn a_timeout_is_retried_from_its_own_budget() {
    let mut m = Machine::new(&["a"]);
    let retries = RetryBudget { failed: 0, timed_out: 1 };
    m.create_with(CreateJob { timeout_minutes: Some(1), retries, ..job("j") }).unwrap();
    m.start_next("a").unwrap();
    m.now += MINUTE;
    assert_eq!(m.start_next("a").unwrap().execution_number, 2);
    m.now += MINUTE;
    assert_eq!(m.start_next("a"), None);
    assert_eq!(m.overview("j"), (JobStatus::Completed, vec![(TimedOut, 1)]));
}

#[test]
fn cancel_ends_what_waits_and_with_force_what_is_in_progress() {
    let mut m = Machine::new(&["a", "b", "c"]);
    m.create_with(CreateJob { retries: RetryBudget { failed: 5, timed_out: 5 }, ..job("j") }).unwrap();
    m.start_next("a").unwrap();
    m.start_next("b").unwrap();
    m.cancel("j", false).unwrap();
    assert_eq!(m.overview("j"), (JobStatus::Canceled, vec![(InProgress, 2), (Canceled, 1)]));
    assert_eq!(m.pending("c"), (vec![], vec![]));
    // What was in progress may still end, but isn't tried again.
    m.update("a", "j", Failed).unwrap();
    assert_eq!(m.start_next("a"), None);
    m.cancel("j", true).unwrap();
    assert_eq!(m.update("b", "j", Succeeded).unwrap_err().execution_state.unwrap().status, Canceled);
    assert_eq!(m.overview("j"), (JobStatus::Canceled, vec![(Failed, 1), (Canceled, 2)]));
    m.create("k");
    for thing in ["a", "b", "c"] {
        m.update(thing, "k", Succeeded).unwrap();
    }
    assert!(m.cancel("k", true).is_err(), "a completed job has nothing to cancel");
}

#[test]
fn the_same_job_twice_is_one_job_and_another_under_its_id_is_refused() {
    let mut m = Machine::new(&["a"]);
    assert!(m.create_with(job("j")).unwrap());
    m.start_next("a").unwrap();
    assert!(!m.create_with(job("j")).unwrap());
    assert_eq!(m.describe("a", "j").unwrap().version_number, 2);
    assert!(m.create_with(CreateJob { document: "{\"other\":1}".into(), ..job("j") }).is_err());
}

#[test]
fn jobs_outside_awss_limits_or_for_nobody_are_refused_before_anything_is_written() {
    let mut m = Machine::new(&["a"]);
    let many = (0..101).map(|n| format!("g{n}").parse().unwrap()).collect();
    for bad in [
        CreateJob { document: String::new(), ..job("j") },
        CreateJob { document: "x".repeat(32_769), ..job("j") },
        CreateJob { groups: [].into(), ..job("j") },
        CreateJob { groups: many, ..job("j") },
        CreateJob { groups: ["nobody".parse().unwrap()].into(), ..job("j") },
        CreateJob { things: ["nobody".parse().unwrap()].into(), ..job("j") },
        CreateJob { timeout_minutes: Some(0), ..job("j") },
        CreateJob { timeout_minutes: Some(10_081), ..job("j") },
        CreateJob { retries: RetryBudget { failed: 11, timed_out: 0 }, ..job("j") },
    ] {
        assert!(m.create_with(bad.clone()).is_err(), "{bad:?}");
    }
    assert!(m.ask(Request::Job("j".parse().unwrap())).is_err());
    m.create_with(CreateJob { groups: ["empty".parse().unwrap()].into(), ..job("none") }).unwrap();
    assert_eq!(m.overview("none"), (JobStatus::Completed, vec![]));
}

#[test]
fn effects_tell_who_has_to_be_notified_and_nobody_else() {
    let mut m = Machine::new(&["a"]);
    let a: ThingName = "a".parse().unwrap();
    m.create("j");
    assert_eq!(m.taken_effects(), [Effect::PendingChanged(a.clone()), Effect::NextChanged(a.clone())]);
    m.create("k");
    assert_eq!(m.taken_effects(), [Effect::PendingChanged(a.clone())], "the next one is still j");
    m.start_next("a").unwrap();
    assert_eq!(m.taken_effects(), [], "it is still pending, and still the next");
    m.update("a", "j", Succeeded).unwrap();
    let ended = |job: &str, status| Effect::ExecutionEnded { job: job.parse().unwrap(), thing: a.clone(), status };
    assert_eq!(
        m.taken_effects(),
        [
            ended("j", Succeeded),
            Effect::JobEnded("j".parse().unwrap()),
            Effect::PendingChanged(a.clone()),
            Effect::NextChanged(a.clone())
        ]
    );
}

/// What a random client may do.
#[derive(Clone, Debug)]
enum Act {
    Create(u8),
    StartNext(u8),
    Update(u8, u8, ExecutionStatus, Option<u64>),
    Cancel(u8, bool),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let status = prop::sample::select(vec![InProgress, Succeeded, Failed, Rejected]);
    let act = prop_oneof![
        2 => (0..6u8).prop_map(Act::Create),
        4 => (0..3u8).prop_map(Act::StartNext),
        6 => (0..3u8, 0..6u8, status, prop::option::of(1..5u64)).prop_map(|(t, j, s, v)| Act::Update(t, j, s, v)),
        1 => (0..6u8, any::<bool>()).prop_map(|(j, f)| Act::Cancel(j, f)),
        2 => (1..200u64).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever clients do: versions only rise, terminal states stay, counts and pending lists agree with the
    /// executions, and no execution outlives its timer.
    #[test]
    fn invariants_hold_under_any_sequence_of_requests(acts in acts()) {
        let things = ["a", "b", "c"];
        let mut m = Machine::new(&things);
        let mut seen: std::collections::BTreeMap<(String, String, u64), (ExecutionStatus, u64)> = Default::default();
        for act in acts {
            match act {
                Act::Create(j) => {
                    let retries = RetryBudget { failed: u32::from(j % 3), timed_out: 1 };
                    let _ = m.create_with(CreateJob { timeout_minutes: Some(2), retries, ..job(&format!("j{j}")) });
                }
                Act::StartNext(t) => { m.start_next(things[t as usize]); }
                Act::Update(t, j, status, expected) => {
                    let request = UpdateJobExecutionRequest {
                        expected_version: expected,
                        ..UpdateJobExecutionRequest::new(status)
                    };
                    let _ = m.update_with(things[t as usize], &format!("j{j}"), request);
                }
                Act::Cancel(j, force) => { let _ = m.cancel(&format!("j{j}"), force); }
                Act::Wait(seconds) => m.now += seconds,
            }
            for j in 0..6u8 {
                let id = format!("j{j}");
                let Ok(Response::Executions(executions)) =
                    m.ask(Request::Executions { job: id.parse().unwrap(), after: None, limit: 100 }) else { continue };
                let (status, counts) = m.overview(&id);
                prop_assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), executions.len() as u64);
                for (state, count) in counts {
                    let found = executions.iter().filter(|e| e.status == state).count() as u64;
                    prop_assert_eq!(found, count);
                }
                let open = executions.iter().any(|e| !e.status.is_terminal());
                prop_assert!(status != JobStatus::Completed || !open);
                prop_assert!(status != JobStatus::InProgress || open);
                for e in executions {
                    let key = (e.job.to_string(), e.thing.to_string(), e.number);
                    if let Some((before, version)) = seen.insert(key, (e.status, e.version)) {
                        prop_assert!(e.version >= version);
                        prop_assert!(e.version > version || e.status == before);
                        prop_assert!(!before.is_terminal() || e.status == before);
                    }
                    prop_assert!(e.deadline().is_none_or(|at| at > m.now));
                    let (running, queued) = m.pending(e.thing.as_str());
                    prop_assert_eq!(running.contains(&id), e.status == InProgress);
                    prop_assert_eq!(queued.contains(&id), e.status == Queued);
                }
            }
        }
    }
}
