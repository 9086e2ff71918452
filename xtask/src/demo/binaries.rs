//! Building the three programs of the demo.

use std::path::PathBuf;

use super::stage::Stage;
use crate::{
    error::{Error, Result},
    process, project,
};

/// Builds the programs and returns the folder they are in. Cargo's own progress shows on a terminal.
pub(super) fn build(stage: &mut Stage) -> Result<PathBuf> {
    stage.step("the three programs are built", |stage| {
        let mut cargo = process::cargo();
        cargo.args(["build", "--locked"]);
        for package in ["sealift-signer", "sealift-server", "sealift-device"] {
            cargo.args(["-p", package]);
        }
        stage.command(&process::line(&cargo).replace(&*cargo.get_program().to_string_lossy(), "cargo"));
        // Standard output is the story's alone; cargo talks on standard error.
        cargo.stdout(std::process::Stdio::null());
        if process::shown(&mut cargo)? { Ok(()) } else { Err(Error::Story { what: "the programs don't build".into() }) }
    })?;
    Ok(project::target().join("debug"))
}
