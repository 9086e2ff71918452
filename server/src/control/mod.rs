//! The control API: what `sealift-server rollout`, `devices` and `groups` ask of the running server.
//!
//! It listens on a Unix socket in the state directory. Who may open that socket (mode 0600, in a directory of mode 0700)
//! could as well read the database and the CA's key beside it, so the file's permissions are the whole access control.
//! With `serve --control-listen` the same routes answer on the network too, over HTTPS, to operators with a token or a
//! certificate and within their role ([`Role`]); `CONTROL.md` beside this crate is the manual.

mod client;
mod guard;
mod operators;
mod remote;
mod routes;
mod socket;

pub use client::{Client, ClientError, Credentials};
pub use operators::{OperatorView, Operators, Role};
pub use remote::{Remote, start};
pub use routes::{IssuedToken, NewClaim, NewTemplate, NewToken, router};
pub use socket::{SocketError, listen};
