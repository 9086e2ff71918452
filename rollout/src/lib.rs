//! The decision core of a rollout: no IO, no clock, no network.
//!
//! A release engineer writes a [`plan::Plan`]: waves of devices, gates between them, thresholds that stop everything. The
//! server observes what the job service says of each wave ([`observed::Observed`]) and asks [`decide::decide`] what to do
//! next. The same function, on virtual time and against a modelled fleet, is [`simulate`]: what it shows before the first
//! device is touched is what the server will do.
//!
//! * [`plan`]: the TOML file, its types and every way in which it can be wrong.
//! * [`buckets`]: percentages, made of a hundred thing groups per product, because AWS IoT Jobs knows no percentages.
//! * [`decide`]: `decide(plan, observed, now) -> actions`, pure and idempotent.
//! * [`explain`]: in which wave a device is, or what keeps it out.
//! * [`simulate`]: a fleet of any size against the same core.

pub mod buckets;
pub mod decide;
pub mod explain;
pub mod observed;
pub mod plan;
pub mod simulate;
