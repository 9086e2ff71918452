//! What is counted of each device, minute by minute.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Minutes that are remembered: the longest time a behaviour is measured over.
pub const MINUTES: u64 = 60;

/// What is counted. The names are those of AWS IoT Device Defender where it has the metric, and a custom metric's elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// Requests and messages of the device, by either protocol.
    #[serde(rename = "aws:num-messages-received")]
    Messages,
    /// Attempts to speak for the device with a certificate that isn't its own, or by it for another.
    #[serde(rename = "aws:num-authorization-failures")]
    WrongIdentities,
    /// Updates that the device's verifier refused.
    #[serde(rename = "sealift_failed_verifications")]
    FailedVerifications,
    /// Jobs that it refused, for whatever reason.
    #[serde(rename = "sealift_refused_jobs")]
    RefusedJobs,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 4] = [Self::Messages, Self::WrongIdentities, Self::FailedVerifications, Self::RefusedJobs];

    /// Its name in profiles and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "aws:num-messages-received",
            Self::WrongIdentities => "aws:num-authorization-failures",
            Self::FailedVerifications => "sealift_failed_verifications",
            Self::RefusedJobs => "sealift_refused_jobs",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Messages => 0,
            Self::WrongIdentities => 1,
            Self::FailedVerifications => 2,
            Self::RefusedJobs => 3,
        }
    }
}

/// One count: in all, and by minute for the last hour. A quiet minute costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    total: u64,
    minutes: VecDeque<(u64, u32)>,
}

impl Count {
    fn add(&mut self, now: u64) {
        let minute = now / 60;
        self.total += 1;
        match self.minutes.back_mut() {
            Some((last, count)) if *last >= minute => *count = count.saturating_add(1),
            _ => self.minutes.push_back((minute, 1)),
        }
        while self.minutes.front().is_some_and(|(first, _)| first + MINUTES <= minute) {
            self.minutes.pop_front();
        }
    }

    /// In the last `seconds`, by whole minutes.
    fn over(&self, seconds: u64, now: u64) -> u64 {
        let from = (now / 60 + 1).saturating_sub(seconds.div_ceil(60));
        self.minutes.iter().filter(|(minute, _)| *minute >= from).map(|(_, count)| u64::from(*count)).sum()
    }
}

/// What is known of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMetrics {
    counts: [Count; 4],
    /// When it was last heard, in seconds since the Unix epoch.
    pub last_seen: u64,
}

impl DeviceMetrics {
    pub(super) fn add(&mut self, metric: Metric, now: u64) {
        if let Some(count) = self.counts.get_mut(metric.index()) {
            count.add(now);
        }
    }

    /// Since the server started.
    #[must_use]
    pub fn total(&self, metric: Metric) -> u64 {
        self.counts.get(metric.index()).map_or(0, |count| count.total)
    }

    /// In the last `seconds`, at most [`MINUTES`].
    #[must_use]
    pub fn over(&self, metric: Metric, seconds: u64, now: u64) -> u64 {
        self.counts.get(metric.index()).map_or(0, |count| count.over(seconds, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_knows_its_last_minutes_and_forgets_what_is_older_than_an_hour() {
        let mut device = DeviceMetrics::default();
        for second in [0, 30, 90] {
            device.add(Metric::RefusedJobs, second);
        }
        assert_eq!(device.over(Metric::RefusedJobs, 300, 95), 3);
        assert_eq!(device.over(Metric::RefusedJobs, 60, 95), 1);
        device.add(Metric::RefusedJobs, 3_000);
        assert_eq!(device.over(Metric::RefusedJobs, 3_600, 3_000), 4);
        assert_eq!(device.over(Metric::RefusedJobs, 300, 3_000), 1);
        for minute in 0..10_000 {
            device.add(Metric::Messages, minute * 60);
        }
        assert_eq!((device.total(Metric::Messages), device.counts[0].minutes.len()), (10_000, 60));
        // A clock that goes back counts on.
        device.add(Metric::Messages, 5);
        assert_eq!(device.total(Metric::Messages), 10_001);
    }
}
