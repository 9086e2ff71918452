//! Tests of the server: pure machines on virtual time, adapters against one suite, and the real binary as its users and
//! attackers meet it (processes, sockets, TLS, files, kill -9).

#![allow(missing_docs, unreachable_pub, reason = "tests")]

#[path = "../../../verifier/tests/fleet/mod.rs"]
mod fleet;
#[allow(dead_code, reason = "its own tests use more of it")]
#[path = "../../../manifests/tests/wire/python.rs"]
mod python;

mod device;
mod process;
mod release;
mod store_suite;

mod aws_client;
mod crash;
mod endpoint;
mod hostile;
mod job_service;
mod local_store;
mod machine;
mod mqtt;
mod pki;
mod proofs;
mod provisioning;
mod publication;
mod registry;
mod remote;
mod rollouts;
mod watching;
mod waves;
