//! Watching the fleet as a cloud would: metrics of each device, security profiles that raise alerts, totals for Prometheus, and
//! a check of the whole fleet.
//!
//! What is counted here is counted once for both protocols: every request of a device passes the [`Engine`](crate::engine::Engine),
//! which tells this module. Counts live in memory; who was heard when, and the alerts, are kept in `watching.json`.

pub mod fleet;
pub mod metrics;
pub mod profile;
pub mod prometheus;
pub mod task;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sealift_jobs::{ErrorCode, ExecutionStatus, JobDocument, JobId, StatusDetails, ThingName, details};
use serde::{Deserialize, Serialize};

use crate::jobs::{DeviceAsk, Failure, Response};
use metrics::{DeviceMetrics, Metric};
use profile::SecurityProfile;

/// Devices that are watched; more than a server of this kind has.
const DEVICES_MAX: usize = 200_000;
/// Alerts that are kept, open ones and past ones.
const ALERTS_MAX: usize = 1_000;
/// Jobs whose trace is known.
const TRACES_MAX: usize = 10_000;

/// Something that isn't as the profile says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// The device.
    pub thing: ThingName,
    /// The profile.
    pub profile: String,
    /// Its behaviour.
    pub behavior: String,
    /// What was measured.
    pub metric: Metric,
    /// The value that raised it.
    pub value: u64,
    /// The bound.
    pub threshold: u64,
    /// When it was raised, in seconds since the Unix epoch.
    pub raised_at: u64,
    /// When the device was within the bound again.
    pub cleared_at: Option<u64>,
}

/// How far a behaviour of one device is from an alert, or from its end.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    beyond: u32,
    within: u32,
    open: bool,
}

#[derive(Default)]
struct Inner {
    devices: HashMap<ThingName, DeviceMetrics>,
    streaks: HashMap<(usize, usize, ThingName), Streak>,
    alerts: VecDeque<Alert>,
    traces: HashMap<JobId, String>,
    totals: Totals,
    profiles: Vec<SecurityProfile>,
    file: Option<PathBuf>,
    changed: bool,
}

/// Sums over all devices: as many numbers as there are kinds, however many devices there are.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Of each metric.
    pub metrics: BTreeMap<&'static str, u64>,
    /// Job updates that were taken, by status.
    pub updates: BTreeMap<&'static str, u64>,
    /// Requests of devices that were refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Alerts that were raised.
    pub alerts_raised: u64,
    /// Alerts that are open.
    pub alerts_open: u64,
    /// Devices that were heard since the server started, or before by what was kept.
    pub devices_seen: u64,
}

/// What is kept over a restart.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    format: u32,
    seen: BTreeMap<ThingName, u64>,
    alerts: VecDeque<Alert>,
}

/// The watch over one server's devices.
#[derive(Default)]
pub struct Watch(Mutex<Inner>);

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch by these profiles, with what a former process kept in `state`. What can't be read is left behind with a
    /// warning: nothing rests on it.
    pub fn begin(&self, state: &Path, profiles: Vec<SecurityProfile>) {
        let file = state.join("watching.json");
        let kept = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice::<Kept>(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, file = %file.display(), "who was heard when can't be read; it is counted anew");
                Kept::default()
            }),
            Err(_) => Kept::default(),
        };
        let mut inner = self.lock();
        for (thing, seen) in kept.seen {
            inner.devices.entry(thing).or_default().last_seen = seen;
        }
        // Counts begin anew, and so do the alerts that rested on them.
        inner.alerts = kept.alerts;
        let now = now();
        inner
            .alerts
            .iter_mut()
            .filter(|alert| alert.cleared_at.is_none())
            .for_each(|alert| alert.cleared_at = Some(now));
        (inner.profiles, inner.file) = (profiles, Some(file));
    }

    /// A device asked for something, and was answered.
    pub fn asked(&self, thing: &ThingName, ask: &DeviceAsk, answer: &Result<Response, Failure>, now: u64) {
        let mut inner = self.lock();
        inner.count(thing, Metric::Messages, now);
        if let Some(device) = inner.devices.get_mut(thing) {
            device.last_seen = now;
            inner.changed = true;
        }
        match (ask, answer) {
            // A retry's race is daily business; what the rules forbid is worth a number.
            (_, Err(Failure::Refused(refusal))) if refusal.code != ErrorCode::ResourceNotFound => {
                *inner.totals.refused.entry(refusal.code.to_string()).or_default() += 1;
            }
            (DeviceAsk::Update(job, request), Ok(_)) => {
                inner.reported(thing, job, request.status, request.status_details.as_ref(), now);
            }
            (_, Ok(Response::Execution(Some(execution)))) => {
                let known = inner.traces.contains_key(&execution.job_id);
                if let Some(document) = execution.job_document.as_deref().filter(|_| !known) {
                    inner.learn(&execution.job_id, document);
                }
                let trace = inner.traces.get(&execution.job_id).cloned().unwrap_or_default();
                let (job, number) = (&execution.job_id, execution.execution_number);
                if matches!(ask, DeviceAsk::StartNext(_)) {
                    tracing::info!(trace, %job, %thing, execution = number, "a device took a job up");
                }
            }
            _ => {}
        }
    }

    /// A job was made: its document tells the release.
    pub fn made(&self, job: &JobId, document: &str) {
        let mut inner = self.lock();
        inner.learn(job, document);
        let trace = inner.traces.get(job).cloned().unwrap_or_default();
        tracing::info!(trace, %job, "a job is made");
    }

    /// Somebody spoke for `thing` who isn't it, or it spoke for another. Names that the server doesn't know are summed up, so
    /// that nobody fills memory by inventing them.
    pub fn wrong_identity(&self, thing: Option<&ThingName>, now: u64) {
        let mut inner = self.lock();
        match thing.filter(|thing| inner.devices.contains_key(*thing)) {
            Some(thing) => {
                let thing = thing.clone();
                inner.count(&thing, Metric::WrongIdentities, now);
            }
            None => *inner.totals.metrics.entry(Metric::WrongIdentities.name()).or_default() += 1,
        }
    }

    /// What is counted of one device, in the shape of Device Defender's device-side report (`custom_metrics`), with the counts of
    /// the last five minutes.
    #[must_use]
    pub fn report(&self, thing: &ThingName, now: u64) -> serde_json::Value {
        let inner = self.lock();
        let device = inner.devices.get(thing).cloned().unwrap_or_default();
        let number = |metric| serde_json::json!([{ "number": device.over(metric, 300, now) }]);
        let custom: serde_json::Map<_, _> =
            Metric::ALL.into_iter().map(|metric| (metric.name().replace(':', "_"), number(metric))).collect();
        let totals: BTreeMap<_, _> = Metric::ALL.into_iter().map(|m| (m.name(), device.total(m))).collect();
        serde_json::json!({
            "header": { "report_id": now, "version": "1.0" },
            "metrics": {},
            "custom_metrics": custom,
            "thing": thing, "lastSeen": (device.last_seen > 0).then_some(device.last_seen), "sinceStart": totals,
        })
    }

    /// The alerts, newest first.
    #[must_use]
    pub fn alerts(&self, open_only: bool) -> Vec<Alert> {
        let inner = self.lock();
        inner.alerts.iter().rev().filter(|alert| !open_only || alert.cleared_at.is_none()).cloned().collect()
    }

    /// When a device was last heard.
    #[must_use]
    pub fn last_seen(&self) -> HashMap<ThingName, u64> {
        let inner = self.lock();
        inner.devices.iter().filter(|(_, d)| d.last_seen > 0).map(|(thing, d)| (thing.clone(), d.last_seen)).collect()
    }

    /// Sums over all devices.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        let mut totals = inner.totals.clone();
        totals.alerts_open = inner.alerts.iter().filter(|alert| alert.cleared_at.is_none()).count() as u64;
        totals.devices_seen = inner.devices.values().filter(|device| device.last_seen > 0).count() as u64;
        totals
    }

    /// Holds every device to the profiles; raises and ends alerts.
    pub fn judge(&self, now: u64) {
        self.lock().judge(now);
    }

    /// What has to be kept, if anything changed since it was last asked for.
    fn to_keep(&self) -> Option<(PathBuf, Vec<u8>)> {
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.changed) {
            return None;
        }
        let seen = inner.devices.iter().map(|(thing, device)| (thing.clone(), device.last_seen)).collect();
        let kept = Kept { format: 1, seen, alerts: inner.alerts.clone() };
        Some((inner.file.clone()?, serde_json::to_vec(&kept).ok()?))
    }
}

impl Inner {
    fn count(&mut self, thing: &ThingName, metric: Metric, now: u64) {
        *self.totals.metrics.entry(metric.name()).or_default() += 1;
        if let Some(device) = self.devices.get_mut(thing) {
            device.add(metric, now);
        } else if self.devices.len() < DEVICES_MAX {
            self.devices.entry(thing.clone()).or_default().add(metric, now);
        }
    }

    fn learn(&mut self, job: &JobId, document: &str) {
        if self.traces.len() >= TRACES_MAX {
            self.traces.clear();
        }
        let trace = JobDocument::from_json(document).map(|document| document.trace()).unwrap_or_default();
        self.traces.insert(job.clone(), trace);
    }

    fn reported(
        &mut self,
        thing: &ThingName,
        job: &JobId,
        status: ExecutionStatus,
        said: Option<&StatusDetails>,
        now: u64,
    ) {
        *self.totals.updates.entry(status.as_str()).or_default() += 1;
        let code = said.and_then(|said| said.value(details::CODE)).unwrap_or_default();
        if status == ExecutionStatus::Rejected {
            self.count(thing, Metric::RefusedJobs, now);
            // SL-1nn to SL-7nn are the verifier's own words.
            let number = code.strip_prefix("SL-").and_then(|number| number.parse::<u16>().ok());
            if number.is_some_and(|number| (100..800).contains(&number)) {
                self.count(thing, Metric::FailedVerifications, now);
            }
        }
        let trace = self.traces.get(job).cloned().unwrap_or_default();
        if status.is_terminal() {
            tracing::info!(trace, %job, %thing, %status, code, "a device reported");
        } else {
            let step = said.and_then(|said| said.value(details::STEP)).unwrap_or_default();
            tracing::debug!(trace, %job, %thing, %status, step, "a device reported");
        }
    }

    fn judge(&mut self, now: u64) {
        let mut found = Vec::new();
        for (p, profile) in self.profiles.iter().enumerate() {
            for (b, behavior) in profile.behaviors.iter().enumerate() {
                for (thing, device) in &self.devices {
                    let (value, within) = behavior.measure(device, now);
                    let key = (p, b, thing.clone());
                    // Nothing is kept of a device that is as it should be.
                    if within && !self.streaks.contains_key(&key) {
                        continue;
                    }
                    let streak = self.streaks.entry(key.clone()).or_default();
                    (streak.beyond, streak.within) =
                        if within { (0, streak.within + 1) } else { (streak.beyond + 1, 0) };
                    if !streak.open && streak.beyond >= behavior.criteria.consecutive_datapoints_to_alarm {
                        streak.open = true;
                        found.push((key, Some(value)));
                    } else if streak.within >= behavior.criteria.consecutive_datapoints_to_clear {
                        if streak.open {
                            found.push((key.clone(), None));
                        }
                        self.streaks.remove(&key);
                    }
                }
            }
        }
        for ((p, b, thing), raised) in found {
            let Some(profile) = self.profiles.get(p) else { continue };
            let Some(behavior) = profile.behaviors.get(b) else { continue };
            let (profile, name) = (profile.security_profile_name.clone(), behavior.name.clone());
            let (metric, threshold) = (behavior.metric, behavior.criteria.value.count);
            self.changed = true;
            match raised {
                Some(value) => {
                    tracing::warn!(alert = name, profile, %thing, metric = metric.name(), value, threshold, "an alert is raised");
                    self.totals.alerts_raised += 1;
                    if self.alerts.len() >= ALERTS_MAX {
                        self.alerts.pop_front();
                    }
                    let (raised_at, cleared_at) = (now, None);
                    self.alerts.push_back(Alert {
                        thing,
                        profile,
                        behavior: name,
                        metric,
                        value,
                        threshold,
                        raised_at,
                        cleared_at,
                    });
                }
                None => {
                    tracing::info!(alert = name, profile, %thing, "an alert is over");
                    let open = self.alerts.iter_mut().rev().find(|alert| {
                        alert.cleared_at.is_none()
                            && alert.thing == thing
                            && alert.behavior == name
                            && alert.profile == profile
                    });
                    if let Some(alert) = open {
                        alert.cleared_at = Some(now);
                    }
                }
            }
        }
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(name: &str) -> ThingName {
        name.parse().unwrap()
    }

    #[test]
    fn an_alert_is_raised_once_and_ends_when_the_device_is_as_it_should_be() {
        let watch = Watch::default();
        watch.lock().profiles = profile::default();
        watch.lock().count(&thing("a"), Metric::Messages, 0);
        for _ in 0..6 {
            watch.wrong_identity(Some(&thing("a")), 100);
        }
        watch.judge(110);
        watch.judge(120);
        let alerts = watch.alerts(true);
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!((alerts[0].behavior.as_str(), alerts[0].value, alerts[0].threshold), ("few-wrong-identities", 6, 5));
        watch.judge(1_000);
        assert!(watch.alerts(true).is_empty());
        assert_eq!(watch.alerts(false)[0].cleared_at, Some(1_000));
        assert!(watch.lock().streaks.is_empty());
    }

    #[test]
    fn invented_names_fill_no_memory() {
        let watch = Watch::default();
        for number in 0..1_000 {
            watch.wrong_identity(Some(&thing(&format!("made-up-{number}"))), 0);
        }
        watch.wrong_identity(None, 0);
        assert!(watch.lock().devices.is_empty());
        assert_eq!(watch.totals().metrics[Metric::WrongIdentities.name()], 1_001);
    }
}
