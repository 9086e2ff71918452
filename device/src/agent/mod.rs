//! What the agent does: from job to report.
//!
//! ```text
//! boot stage -> settle what a former process left -> start-next -> verify -> payload -> activate -> boot stage -> report
//! ```
//!
//! A restart of the process counts as a reboot: the boot stage comes first, and a trial that wasn't confirmed is reverted.
//! In this reference agent the "reboot" into a new image is that stage, run again inside the process: the boot command is
//! told which slot to start, and the health check says whether it is well. A device whose agent runs *inside* the slot names
//! a reboot command instead, runs `sealift-device boot` early in its boot, and reports after it.

pub mod boot;
pub mod events;
pub mod gate;
pub mod hooks;
pub mod install;
pub mod job;
pub mod loader;
pub mod metadata;
pub mod report;
pub mod run;
pub mod window;

use std::time::{SystemTime, UNIX_EPOCH};

use sealift_verifier::trust::Time;

/// 2026-01-01T00:00:00Z: no device was made before this program was. A clock that says so was never set.
const PLAUSIBLE: u64 = 1_767_225_600;

/// What the system's clock says, if it was set at all. It is never persisted.
pub fn clock() -> Time {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(now) if now.as_secs() >= PLAUSIBLE => Time::AtLeast(now.as_secs()),
        _ => Time::Unknown,
    }
}
