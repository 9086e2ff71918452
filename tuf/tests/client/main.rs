//! The client against repositories over real HTTP: each rule of TUF's client workflow, and each attack on it.

mod bench;
mod clock;
mod command_line;
mod delegations;
mod downloads;
mod keys;
mod limits;
mod power;
// The one that the wire format's tests make.
#[path = "../../../manifests/tests/wire/python.rs"]
mod python;
mod python_tuf;
mod refresh;
mod repo;
mod roots;
mod server;
mod whole;
