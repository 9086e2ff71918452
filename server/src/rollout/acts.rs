//! What people ask of a rollout: cancel, pause, resume, approve. Each is a change of its record first; the rest follows
//! from that.

use sealift_rollout::observed::{Outcome, Standing};

use super::{Overview, RolloutError, Rollouts};
use crate::service::JobService;
use crate::store::ArtifactStore;

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// Cancels a rollout: devices that wait for it no longer get it; with `force` those in progress are told too.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn cancel(&self, name: &str, force: bool, comment: &str, now: u64) -> Result<Overview, RolloutError> {
        let record = self
            .change(name, |record| {
                if matches!(record.standing, Standing::Running | Standing::Paused) {
                    record.standing = Standing::Ended(Outcome::AbortedByHand);
                    record.comment = Some(comment.to_owned());
                    record.note(now, &self.actor, format!("cancelled: {comment}"), Vec::new());
                }
                record.force |= force;
                Ok(())
            })
            .await?;
        self.carry_on(name, now).await?;
        // What decide leaves alone: a wave cancelled before, whose devices in progress are to be told now.
        if force {
            for (wave, state) in record.waves.iter().enumerate().filter(|(_, state)| state.created) {
                let job = record.job(wave, state.attempt)?;
                if self.jobs.job(&job).await?.is_some() {
                    self.jobs.cancel(&job, true, comment).await?;
                }
            }
        }
        self.overview(name, now).await
    }

    /// Pauses a rollout: no further wave begins, and devices that have not started are taken out of the present one. (AWS
    /// IoT Jobs can't pause: their job is cancelled, and a resume makes the next attempt.)
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn pause(&self, name: &str, comment: &str, now: u64) -> Result<Overview, RolloutError> {
        self.change(name, |record| match record.standing {
            Standing::Paused => Ok(()),
            Standing::Running => {
                record.standing = Standing::Paused;
                record.comment = Some(comment.to_owned());
                record.note(now, &self.actor, format!("paused: {comment}"), Vec::new());
                Ok(())
            }
            Standing::Ended(_) => {
                Err(RolloutError::Standing(format!("rollout {name} is over; there is nothing to pause")))
            }
        })
        .await?;
        self.carry_on(name, now).await?;
        self.overview(name, now).await
    }

    /// Goes on with a paused rollout.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn resume(&self, name: &str, now: u64) -> Result<Overview, RolloutError> {
        // Whatever the pause still had to cancel is cancelled and on record before the rollout runs again: a job found
        // cancelled later is then somebody else's doing.
        self.carry_on(name, now).await?;
        self.change(name, |record| match record.standing {
            Standing::Running => Ok(()),
            Standing::Paused => {
                record.standing = Standing::Running;
                record.comment = None;
                record.note(now, &self.actor, "resumed", Vec::new());
                Ok(())
            }
            Standing::Ended(_) => Err(RolloutError::Standing(format!("rollout {name} is over; start another one"))),
        })
        .await?;
        self.carry_on(name, now).await?;
        self.overview(name, now).await
    }

    /// Approves the step from a wave, by its name, to the next.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn approve(&self, name: &str, wave: &str, now: u64) -> Result<Overview, RolloutError> {
        self.change(name, |record| {
            let index = record.plan.waves.iter().position(|planned| planned.name == wave).ok_or_else(|| {
                let names: Vec<&str> = record.plan.waves.iter().map(|wave| wave.name.as_str()).collect();
                RolloutError::Standing(format!("no wave is called {wave}; there are {}", names.join(", ")))
            })?;
            if !record.wave(index).approved {
                record.change(index, |state| state.approved = true);
                record.note(now, &self.actor, format!("the step on from wave {wave} is approved"), Vec::new());
            }
            Ok(())
        })
        .await?;
        self.carry_on(name, now).await?;
        self.overview(name, now).await
    }
}
