//! The job service of AWS IoT.
//!
//! Things carry what a rollout needs to know of them as attributes: `sealift-product`, and `sealift-report-key` (hex).

use std::collections::BTreeMap;

use aws_sdk_iot::Client;
use aws_sdk_iot::types::{
    ExponentialRolloutRate, JobExecutionStatus, JobExecutionsRetryConfig, JobExecutionsRolloutConfig,
    JobProcessDetails, PresignedUrlConfig, RateIncreaseCriteria, RetryCriteria, RetryableFailureType, TargetSelection,
    TimeoutConfig,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sealift_jobs::{ExecutionStatus, GroupName, JobId, JobStatus, StatusDetails, ThingName};

use sealift_rollout::plan::Rate;

use super::AwsError;
use crate::service::{ExecutionPage, ExecutionView, JobProgress, JobService, NewJob, ServiceError, ThingFacts};

/// Attribute of a thing: its product.
pub const PRODUCT_ATTRIBUTE: &str = "sealift-product";
/// Attribute of a thing: the Ed25519 public key of its reports, in hex.
pub const REPORT_KEY_ATTRIBUTE: &str = "sealift-report-key";
/// How long a presigned URL is good: AWS's longest. A slower device asks for the document again.
const PRESIGNED_SECONDS: i64 = 3_600;
pub(super) const NOT_FOUND: &[&str] = &["ResourceNotFoundException"];
/// Attribute of a thing: the RAM that its decoder has, in bytes.
pub const DECODER_RAM_ATTRIBUTE: &str = "sealift-decoder-ram";
/// Most executions or things of one answer: AWS's own bound.
const PAGE: i32 = 250;
/// Executions that are asked for at once.
const AT_ONCE: usize = 4;

/// Jobs of AWS IoT Device Management in one account and region.
#[derive(Clone, Debug)]
pub struct IotJobs {
    client: Client,
}

impl IotJobs {
    /// The account and region of `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// ARNs of a job's targets: AWS wants these and gives them for names.
    async fn targets(&self, job: &NewJob) -> Result<Vec<String>, ServiceError> {
        let mut targets = Vec::new();
        for group in &job.groups {
            let found = self.client.describe_thing_group().thing_group_name(group.as_str()).send().await;
            let found = found.map_err(|error| {
                refused(AwsError::new("iot:DescribeThingGroup", error), &format!("thing group {group}"))
            })?;
            targets.extend(found.thing_group_arn().map(str::to_owned));
        }
        for thing in &job.things {
            let found = self.client.describe_thing().thing_name(thing.as_str()).send().await;
            let found =
                found.map_err(|error| refused(AwsError::new("iot:DescribeThing", error), &format!("thing {thing}")))?;
            targets.extend(found.thing_arn().map(str::to_owned));
        }
        Ok(targets)
    }

    /// One execution, the newest one without a number.
    async fn execution(
        &self,
        job: &JobId,
        thing: &ThingName,
        number: Option<i64>,
    ) -> Result<Option<ExecutionView>, ServiceError> {
        let found = self.client.describe_job_execution().job_id(job.as_str()).thing_name(thing.as_str());
        let found = found.set_execution_number(number).send().await;
        let found = match found.map_err(|error| AwsError::new("iot:DescribeJobExecution", error)) {
            Ok(found) => found,
            // Deleted between the list and the look.
            Err(error) if error.is(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(refused(error, thing.as_str())),
        };
        let Some(execution) = found.execution() else { return Ok(None) };
        let mut details = StatusDetails::new();
        let said = execution.status_details().and_then(|details| details.details_map());
        for (key, value) in said.into_iter().flatten() {
            // What a device put there beyond our limits is not ours to read.
            let _ = details.insert(key, value.as_str());
        }
        let status = execution.status().and_then(|status| status.as_str().parse::<ExecutionStatus>().ok());
        let seconds = |at: Option<&aws_sdk_iot::primitives::DateTime>| at.and_then(|at| u64::try_from(at.secs()).ok());
        Ok(status.map(|status| ExecutionView {
            thing: thing.clone(),
            job: job.clone(),
            number: u64::try_from(execution.execution_number().unwrap_or(1)).unwrap_or(1),
            status,
            details,
            queued_at: seconds(execution.queued_at()).unwrap_or(0),
            started_at: seconds(execution.started_at()),
            updated_at: seconds(execution.last_updated_at()).unwrap_or(0),
        }))
    }
}

impl JobService for IotJobs {
    async fn create(&self, job: &NewJob) -> Result<bool, ServiceError> {
        // Asked first, since an emulator replaces a job of the same id in silence; AWS refuses.
        if self.job(&job.id).await?.is_some() {
            return Ok(false);
        }
        let timeout = job.timeout_minutes.map(|minutes| {
            TimeoutConfig::builder().in_progress_timeout_in_minutes(i64::try_from(minutes).unwrap_or(i64::MAX)).build()
        });
        let create = self
            .client
            .create_job()
            .job_id(job.id.as_str())
            .set_targets(Some(self.targets(job).await?))
            .document(&job.document)
            .description(&job.description)
            // Continuous jobs would give late joiners the update outside of every rate and gate.
            .target_selection(TargetSelection::Snapshot)
            .set_timeout_config(timeout)
            .set_presigned_url_config(
                job.presign_role
                    .as_ref()
                    .map(|role| PresignedUrlConfig::builder().role_arn(role).expires_in_sec(PRESIGNED_SECONDS).build()),
            )
            .job_executions_rollout_config(rollout_config(&job.rate)?)
            .set_job_executions_retry_config(retries(job.retries)?);
        match create.send().await.map_err(|error| AwsError::new("iot:CreateJob", error)) {
            Ok(_) => Ok(true),
            Err(error) if error.is(&["ResourceAlreadyExistsException"]) => Ok(false),
            Err(error) => Err(refused(error, &format!("job {}", job.id))),
        }
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobProgress>, ServiceError> {
        let found = self.client.describe_job().job_id(id.as_str()).send().await;
        let found = match found.map_err(|error| AwsError::new("iot:DescribeJob", error)) {
            Ok(found) => found,
            Err(error) if error.is(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(refused(error, &format!("job {id}"))),
        };
        let Some(job) = found.job() else { return Ok(None) };
        // A status that this version does not know (an emulator's QUEUED) is a job that is not over.
        let status = match job.status().map(aws_sdk_iot::types::JobStatus::as_str) {
            // One that is being deleted tells nobody anything any more.
            Some("CANCELED" | "DELETION_IN_PROGRESS") => JobStatus::Canceled,
            Some("COMPLETED") => JobStatus::Completed,
            _ => JobStatus::InProgress,
        };
        Ok(Some(JobProgress {
            id: id.clone(),
            status,
            counts: job.job_process_details().map(counts).unwrap_or_default(),
            created_at: job.created_at().map_or(0, |at| u64::try_from(at.secs()).unwrap_or(0)),
            comment: job.comment().map(str::to_owned),
        }))
    }

    async fn cancel(&self, id: &JobId, force: bool, comment: &str) -> Result<(), ServiceError> {
        let cancel = self.client.cancel_job().job_id(id.as_str()).force(force).comment(comment).send().await;
        match cancel.map_err(|error| AwsError::new("iot:CancelJob", error)) {
            Ok(_) => Ok(()),
            // It is over: there is nothing to cancel.
            Err(error) if error.is(&["InvalidRequestException", "InvalidStateTransitionException"]) => {
                match self.job(id).await? {
                    Some(job) if job.status != JobStatus::InProgress => Ok(()),
                    _ => Err(refused(error, &format!("job {id}"))),
                }
            }
            Err(error) => Err(refused(error, &format!("job {id}"))),
        }
    }

    async fn executions(
        &self,
        id: &JobId,
        status: Option<ExecutionStatus>,
        token: Option<&str>,
    ) -> Result<ExecutionPage, ServiceError> {
        let listed = self
            .client
            .list_job_executions_for_job()
            .job_id(id.as_str())
            .set_status(status.map(|status| JobExecutionStatus::from(status.as_str())))
            .set_next_token(token.map(str::to_owned))
            .max_results(PAGE)
            .send()
            .await
            .map_err(|error| refused(AwsError::new("iot:ListJobExecutionsForJob", error), &format!("job {id}")))?;
        let named = listed.execution_summaries().iter().filter_map(|summary| {
            let name: ThingName = summary.thing_arn()?.rsplit('/').next()?.parse().ok()?;
            let execution = summary.job_execution_summary()?;
            let said = execution.status().and_then(|said| said.as_str().parse::<ExecutionStatus>().ok());
            // An emulator may not know the filter.
            let wanted = status.is_none() || said == status;
            wanted.then_some((name, execution.execution_number()))
        });
        let named: Vec<_> = named.collect();
        let described = futures_util::stream::iter(named)
            .map(|(name, listed)| async move {
                // Without a number AWS describes the newest. A thing that tried again is listed once for each try.
                let newest = self.execution(id, &name, None).await?;
                Ok(newest.filter(|view| listed.is_none_or(|listed| u64::try_from(listed) == Ok(view.number))))
            })
            .buffered(AT_ONCE);
        let executions: Vec<Option<ExecutionView>> = described.try_collect().await?;
        let executions = executions.into_iter().flatten().collect();
        Ok(ExecutionPage { executions, next: listed.next_token().map(str::to_owned) })
    }

    async fn newest_success(&self, thing: &ThingName) -> Result<Option<ExecutionView>, ServiceError> {
        let call = "iot:ListJobExecutionsForThing";
        let mut pages = self
            .client
            .list_job_executions_for_thing()
            .thing_name(thing.as_str())
            .status(JobExecutionStatus::Succeeded)
            .into_paginator()
            .send();
        let mut newest: Option<(i64, JobId, Option<i64>)> = None;
        while let Some(page) = pages.next().await {
            let page = match page.map_err(|error| AwsError::new(call, error)) {
                Ok(page) => page,
                Err(error) if error.is(NOT_FOUND) => return Ok(None),
                Err(error) => return Err(refused(error, &format!("thing {thing}"))),
            };
            for summary in page.execution_summaries() {
                let Some(execution) = summary.job_execution_summary() else { continue };
                let succeeded = execution.status().is_some_and(|status| status.as_str() == "SUCCEEDED");
                let at = execution.last_updated_at().map_or(0, |at| at.secs());
                let Some(Ok(job)) = summary.job_id().map(str::parse) else { continue };
                if succeeded && newest.as_ref().is_none_or(|(before, ..)| at >= *before) {
                    newest = Some((at, job, execution.execution_number()));
                }
            }
        }
        match newest {
            Some((_, job, number)) => self.execution(&job, thing, number).await,
            None => Ok(None),
        }
    }

    async fn group_size(&self, group: &GroupName, at_most: u64) -> Result<Option<u64>, ServiceError> {
        let page = i32::try_from(at_most).unwrap_or(PAGE).clamp(1, PAGE);
        let things = self.client.list_things_in_thing_group().thing_group_name(group.as_str()).max_results(page);
        let mut pages = things.into_paginator().send();
        let mut size = 0;
        while let Some(page) = pages.next().await {
            match page.map_err(|error| AwsError::new("iot:ListThingsInThingGroup", error)) {
                Ok(page) => size += page.things().len() as u64,
                Err(error) if error.is(NOT_FOUND) => return Ok(None),
                Err(error) => return Err(refused(error, &format!("thing group {group}"))),
            }
            if size >= at_most {
                break;
            }
        }
        Ok(Some(size))
    }

    async fn report_key(&self, thing: &ThingName) -> Result<Option<[u8; 32]>, ServiceError> {
        let found = self.client.describe_thing().thing_name(thing.as_str()).send().await;
        match found.map_err(|error| AwsError::new("iot:DescribeThing", error)) {
            Ok(found) => {
                Ok(found.attributes().and_then(|all| all.get(REPORT_KEY_ATTRIBUTE)).and_then(|hex| key_of(hex)))
            }
            Err(error) if error.is(NOT_FOUND) => Ok(None),
            Err(error) => Err(refused(error, &format!("thing {thing}"))),
        }
    }

    async fn thing(&self, thing: &ThingName) -> Result<Option<ThingFacts>, ServiceError> {
        let found = self.client.describe_thing().thing_name(thing.as_str()).send().await;
        let found = match found.map_err(|error| AwsError::new("iot:DescribeThing", error)) {
            Ok(found) => found,
            Err(error) if error.is(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(refused(error, &format!("thing {thing}"))),
        };
        let attribute = |name: &str| found.attributes().and_then(|attributes| attributes.get(name)).map(String::as_str);
        let report_key = attribute(REPORT_KEY_ATTRIBUTE).and_then(key_of);
        let product = attribute(PRODUCT_ATTRIBUTE).unwrap_or_default().to_owned();
        let decoder_ram = attribute(DECODER_RAM_ATTRIBUTE).and_then(|ram| ram.parse().ok());
        let mut groups = Vec::new();
        let mut pages = self.client.list_thing_groups_for_thing().thing_name(thing.as_str()).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                refused(AwsError::new("iot:ListThingGroupsForThing", error), &format!("thing {thing}"))
            })?;
            groups.extend(page.thing_groups().iter().filter_map(|group| group.group_name()?.parse().ok()));
        }
        Ok(Some(ThingFacts { name: thing.clone(), product, report_key, groups, decoder_ram }))
    }
}

fn key_of(hex: &str) -> Option<[u8; 32]> {
    hex::decode(hex).ok()?.try_into().ok()
}

fn rollout_config(rate: &Rate) -> Result<JobExecutionsRolloutConfig, ServiceError> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let config = JobExecutionsRolloutConfig::builder();
    Ok(match rate {
        Rate::Constant(rate) => config.maximum_per_minute(number(*rate)).build(),
        Rate::Exponential(rate) => {
            let criteria = RateIncreaseCriteria::builder().number_of_succeeded_things(number(rate.succeeded)).build();
            let exponential = ExponentialRolloutRate::builder()
                .base_rate_per_minute(number(rate.base))
                .increment_factor(rate.factor)
                .rate_increase_criteria(criteria)
                .build()
                .map_err(|error| ServiceError::Refused(error.to_string()))?;
            config.maximum_per_minute(number(rate.max)).exponential_rate(exponential).build()
        }
    })
}

/// Failures that may pass are tried again, refusals never.
fn retries(number: u32) -> Result<Option<JobExecutionsRetryConfig>, ServiceError> {
    if number == 0 {
        return Ok(None);
    }
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    let mut config = JobExecutionsRetryConfig::builder();
    for kind in [RetryableFailureType::Failed, RetryableFailureType::TimedOut] {
        let criteria = RetryCriteria::builder().failure_type(kind).number_of_retries(number).build();
        config = config.criteria_list(criteria.map_err(|error| ServiceError::Refused(error.to_string()))?);
    }
    config.build().map(Some).map_err(|error| ServiceError::Refused(error.to_string()))
}

fn counts(details: &JobProcessDetails) -> BTreeMap<ExecutionStatus, u64> {
    let all = [
        (ExecutionStatus::Queued, details.number_of_queued_things()),
        (ExecutionStatus::InProgress, details.number_of_in_progress_things()),
        (ExecutionStatus::Succeeded, details.number_of_succeeded_things()),
        (ExecutionStatus::Failed, details.number_of_failed_things()),
        (ExecutionStatus::TimedOut, details.number_of_timed_out_things()),
        (ExecutionStatus::Rejected, details.number_of_rejected_things()),
        (ExecutionStatus::Removed, details.number_of_removed_things()),
        (ExecutionStatus::Canceled, details.number_of_canceled_things()),
    ];
    let some = all.into_iter().filter_map(|(status, count)| Some((status, u64::try_from(count?).ok()?)));
    some.filter(|(_, count)| *count > 0).collect()
}

pub(super) fn refused(error: AwsError, what: &str) -> ServiceError {
    match () {
        () if error.is(NOT_FOUND) => ServiceError::NotFound(format!("{what}: AWS IoT does not know it")),
        () if error.transient => ServiceError::Unavailable(error.to_string()),
        () => ServiceError::Refused(format!("{what}: {error}")),
    }
}
