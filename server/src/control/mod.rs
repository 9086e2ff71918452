//! The control API: what `sealift-server rollout`, `devices` and `groups` ask of the running server.
//!
//! It listens on a Unix socket in the state directory and nowhere else. Who may open that socket (mode 0600, in a
//! directory of mode 0700) could as well read the database and the CA's key beside it, so the file's permissions are the
//! whole access control: no port to reach from the network, no password or operator key to leak. The same routes can be
//! put behind operators' certificates when remote control is wanted.

mod client;
mod routes;
mod socket;

pub use client::{Client, ClientError};
pub use routes::{IssuedToken, NewToken, router};
pub use socket::{SocketError, listen};
