//! A rollout before it happens: the very decisions the server will take, on virtual time, against a modelled fleet.
//!
//! Time goes in steps of a minute, which is the step of AWS's rollout rates. A device costs a few bytes and a handful of
//! operations whatever the number of steps, so a million of them take seconds.

mod chart;
mod cost;
mod history;
mod model;
mod run;

pub use chart::chart;
pub use cost::{Cost, Prices};
pub use history::{Learned, Seen, learn};
pub use model::{Fleet, ModelError};
pub use run::{Event, Point, Simulation, WaveSummary, simulate};
