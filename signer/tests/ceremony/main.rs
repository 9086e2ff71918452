//! Root ceremonies as people hold them: a release engineer and officers, each with a folder of their own for a machine, who
//! hand each other files and nothing else.

mod interrupted;
mod refusals;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod team;
