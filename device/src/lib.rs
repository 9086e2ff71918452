//! The reference agent: hears of a job, verifies, applies, trial-boots, confirms, reports.
