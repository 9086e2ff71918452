//! What the job service says of a rollout, and what its devices proved.

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use sealift_jobs::{ExecutionStatus, JobId, JobStatus, details};
use sealift_rollout::observed::{Counts, JobObserved, Observed, Standing, WaveObserved};

use super::proof::{Proven, prove};
use super::record::{Record, WaveRecord};
use super::{DeviceStatus, RolloutError, Rollouts};
use crate::service::{JobProgress, JobService};
use crate::store::ArtifactStore;

/// Seconds in which a job that was just made may not be found yet: its service answers from several places.
const SETTLING: u64 = 60;

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// Every device of a job, one page in memory at a time: what the job says of it, and what it proved. Only executions
    /// in `status`, if that is given.
    pub(super) fn devices<'s>(
        &'s self,
        record: &'s Record,
        job: JobId,
        status: Option<ExecutionStatus>,
    ) -> impl Stream<Item = Result<DeviceStatus, RolloutError>> + 's {
        let pages = stream::try_unfold(Some(None::<String>), move |token| {
            let job = job.clone();
            async move {
                let Some(token) = token else { return Ok::<_, RolloutError>(None) };
                let page = self.jobs.executions(&job, status, token.as_deref()).await?;
                Ok(Some((page.executions, page.next.map(Some))))
            }
        });
        let executions = pages.map_ok(|page| stream::iter(page).map(Ok::<_, RolloutError>)).try_flatten();
        executions.and_then(move |execution| async move {
            let needs_key = execution.details.value(details::REPORT).is_some();
            let key = if needs_key { self.jobs.report_key(&execution.thing).await? } else { None };
            let proven = prove(record, &execution, key.as_ref());
            Ok(DeviceStatus::new(execution, proven))
        })
    }

    pub(super) async fn observe(&self, record: &Record, now: u64) -> Result<Observed, RolloutError> {
        let mut waves = Vec::new();
        for wave in 0..record.plan.waves.len() {
            let kept = record.wave(wave);
            let mut seen = WaveObserved {
                attempt: kept.attempt,
                gate_held_since: kept.gate_held_since,
                approved: kept.approved,
                ..WaveObserved::default()
            };
            for attempt in attempts(&kept) {
                let job = self.jobs.job(&record.job(wave, attempt)?).await?;
                let mut counts = job.as_ref().map(counts).unwrap_or_default();
                if attempt == kept.attempt {
                    seen.job = standing_of(job.as_ref(), &kept, &record.standing, now);
                } else {
                    counts.cancelled = 0;
                }
                seen.counts = seen.counts.plus(counts);
            }
            if kept.empty && kept.created {
                seen.job = JobObserved::Completed;
            }
            // Proofs decide at the gate alone: a report is read for each device, so not oftener than needed.
            let next_began = record.wave(wave + 1).created;
            let gated = wave + 1 < record.plan.waves.len() && !next_began;
            if gated && seen.counts.unproven > 0 {
                self.count_proofs(record, wave, &mut seen.counts).await?;
            }
            waves.push(seen);
        }
        Ok(Observed { standing: record.standing.clone(), waves })
    }

    /// Moves the successes that their devices proved from `unproven` to `proven`.
    async fn count_proofs(&self, record: &Record, wave: usize, counts: &mut Counts) -> Result<(), RolloutError> {
        for attempt in attempts(&record.wave(wave)) {
            let job = record.job(wave, attempt)?;
            let succeeded = self.devices(record, job, Some(ExecutionStatus::Succeeded));
            let count = |proven, device: DeviceStatus| async move {
                Ok(proven + u64::from(matches!(device.proven, Proven::Running { .. })))
            };
            let proven = succeeded.try_fold(0, count).await?;
            counts.unproven = counts.unproven.saturating_sub(proven);
            counts.proven += proven;
        }
        Ok(())
    }
}

/// The attempts of a wave that have a job.
pub(super) fn attempts(kept: &WaveRecord) -> std::ops::Range<u32> {
    if (kept.claimed || kept.created) && !kept.empty { 0..kept.attempt + 1 } else { 0..0 }
}

fn standing_of(job: Option<&JobProgress>, kept: &WaveRecord, standing: &Standing, now: u64) -> JobObserved {
    match job.map(|job| job.status) {
        Some(JobStatus::InProgress) => JobObserved::InProgress,
        Some(JobStatus::Completed) => JobObserved::Completed,
        // Ours, or ours that was not put on record before the reconciler died.
        Some(JobStatus::Canceled) if kept.cancelling || kept.cancelled || *standing != Standing::Running => {
            JobObserved::Cancelled
        }
        // Claimed by who died before making it, or is about to make it.
        None if !kept.created => JobObserved::Absent,
        None if now < kept.began_at + SETTLING => JobObserved::InProgress,
        Some(JobStatus::Canceled) | None => JobObserved::CancelledElsewhere,
    }
}

fn counts(job: &JobProgress) -> Counts {
    Counts {
        queued: job.count(ExecutionStatus::Queued),
        in_progress: job.count(ExecutionStatus::InProgress),
        proven: 0,
        unproven: job.count(ExecutionStatus::Succeeded),
        failed: job.count(ExecutionStatus::Failed),
        rejected: job.count(ExecutionStatus::Rejected),
        timed_out: job.count(ExecutionStatus::TimedOut),
        cancelled: job.count(ExecutionStatus::Canceled),
    }
}
