//! The modelled fleet: how many devices, how they are connected, how they fail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A fleet. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Fleet {
    /// Devices of the product.
    pub devices: u32,
    /// Sizes of thing groups that waves name.
    pub groups: BTreeMap<String, u32>,
    /// Share of the devices that are in a group on a metered link.
    pub metered_share: f64,
    /// Share of the devices whose installed image is the base of a delta.
    pub delta_share: f64,
    /// Share of the devices that never come online.
    pub dead_share: f64,
    /// Share of the time that a living device is online.
    pub online_share: f64,
    /// Mean length of the time that it is offline, in minutes.
    pub offline_minutes: f64,
    /// Link speed of the median device, in bytes per second; half and double of it are as common.
    pub bytes_per_second: f64,
    /// Bytes of update metadata and of the full payload.
    pub full_bytes: u64,
    /// The same with the delta payload.
    pub delta_bytes: u64,
    /// Minutes from the end of the download to the report: install, reboot, health check.
    pub install_minutes: f64,
    /// Share of the attempts that fail in a way that may pass.
    pub failure_share: f64,
    /// Share of the devices that refuse.
    pub rejection_share: f64,
    /// Share of the devices that the new release takes offline for good.
    pub lost_share: f64,
    /// Share of the successes without a report that proves them.
    pub unproven_share: f64,
    /// Seed of the model's randomness: one seed, one story.
    pub seed: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Fleet {
            devices: 10_000,
            groups: BTreeMap::new(),
            metered_share: 0.0,
            delta_share: 0.9,
            dead_share: 0.02,
            online_share: 0.8,
            offline_minutes: 180.0,
            bytes_per_second: 20_000.0,
            full_bytes: 400_000,
            delta_bytes: 25_000,
            install_minutes: 3.0,
            failure_share: 0.01,
            rejection_share: 0.0,
            lost_share: 0.0,
            unproven_share: 0.0,
            seed: 1,
        }
    }
}

/// A fleet that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("`{field}` of the fleet is {value}: {problem}")]
pub struct ModelError {
    /// The field.
    pub field: &'static str,
    /// What it says.
    pub value: f64,
    /// What would be right.
    pub problem: &'static str,
}

/// Most devices of a model: what a machine with 1 GiB to spare can simulate.
const MAX_DEVICES: u32 = 20_000_000;

impl Fleet {
    /// Whether the numbers can be those of a fleet.
    pub fn check(&self) -> Result<(), ModelError> {
        let shares = [
            ("metered-share", self.metered_share),
            ("delta-share", self.delta_share),
            ("dead-share", self.dead_share),
            ("online-share", self.online_share),
            ("failure-share", self.failure_share),
            ("rejection-share", self.rejection_share),
            ("lost-share", self.lost_share),
            ("unproven-share", self.unproven_share),
        ];
        for (field, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(ModelError { field, value, problem: "a share is from 0 to 1" });
            }
        }
        let positive = [
            ("devices", f64::from(self.devices)),
            ("bytes-per-second", self.bytes_per_second),
            ("online-share", self.online_share),
        ];
        for (field, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ModelError { field, value, problem: "must be above 0" });
            }
        }
        for (field, value) in [("offline-minutes", self.offline_minutes), ("install-minutes", self.install_minutes)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(ModelError { field, value, problem: "must not be negative" });
            }
        }
        if self.devices > MAX_DEVICES {
            let value = f64::from(self.devices);
            return Err(ModelError { field: "devices", value, problem: "at most 20,000,000" });
        }
        Ok(())
    }

    /// Minutes until a device that was just told is online: it is now, or after the rest of an offline time.
    pub(super) fn minutes_offline(&self, random: &mut fastrand::Rng) -> f64 {
        if random.f64() < self.online_share { 0.0 } else { -self.offline_minutes * (1.0 - random.f64()).ln() }
    }

    /// Minutes that a download of `bytes` takes on a device's link.
    pub(super) fn minutes_download(&self, bytes: u64, random: &mut fastrand::Rng) -> f64 {
        let speed = self.bytes_per_second * [0.5, 1.0, 2.0][random.usize(0..3)];
        bytes as f64 / speed / 60.0
    }
}
