//! Rules that larger tests pass by, each alone: of boot states, of installations, of records, of repositories. Mutation testing
//! (`cargo xtask mutants`) showed that no test asked for them.

#[path = "../flash/mod.rs"]
mod flash;
#[path = "../fleet/mod.rs"]
mod fleet;

mod boot;
mod deltas;
mod install;
mod prediction;
mod records;
mod repository;
