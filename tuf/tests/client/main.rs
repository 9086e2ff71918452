//! The client against repositories over real HTTP: each rule of TUF's client workflow, and each attack on it.

mod bench;
mod clock;
mod command_line;
mod delegations;
mod downloads;
mod keys;
mod limits;
mod power;
mod refresh;
mod repo;
mod roots;
mod server;
mod whole;
