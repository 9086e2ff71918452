//! MQTT as devices and attackers meet it: the real server, TLS, and packets made by hand.

mod client;
mod hostile;
mod jobs;
mod lossy;
mod policies;
mod sessions;
