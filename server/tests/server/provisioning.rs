//! Enrolment as AWS IoT does it: registered CAs, just in time, and by claim.

mod claims;
mod factory;
mod just_in_time;
