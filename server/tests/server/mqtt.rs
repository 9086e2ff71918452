//! MQTT as devices and attackers meet it: the real server, TLS, and packets made by hand.

pub mod client;
mod hostile;
pub mod jobs;
mod lossy;
pub mod policies;
mod sessions;
mod timers;
