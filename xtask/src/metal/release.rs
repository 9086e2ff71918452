//! The release engineer's part, with the real `sealift` in a folder of its own.

use std::path::{Path, PathBuf};

use sealift_manifests::RepositoryId;
use serde_json::Value;

use super::firmware::Board;
use crate::{
    error::{Error, Result},
    process, project,
};

/// The product of the bare-metal device.
pub(crate) const PRODUCT: &str = "weather-station";

/// A project of `sealift`, with throw-away keys.
pub(crate) struct Project {
    folder: PathBuf,
    sealift: PathBuf,
    board: Board,
    /// The id of its repository.
    pub(crate) repository: RepositoryId,
}

/// A signed release, as a device gets to hear of it.
#[derive(Clone)]
pub(crate) struct Release {
    /// Digest of the target, in hexadecimal.
    pub(crate) target: String,
    /// The update bundle.
    pub(crate) bundle: Vec<u8>,
    /// Bytes of the image, and of its delta if there is one.
    pub(crate) sizes: (u64, Option<u64>),
    /// The delta's digest, in hexadecimal.
    pub(crate) delta: Option<String>,
}

impl Project {
    /// Starts a project, with `sealift` as `$SEALIFT_BINARY` names it, else built here.
    pub(crate) fn start(folder: &Path, board: Board) -> Result<Project> {
        let sealift = match std::env::var_os("SEALIFT_BINARY") {
            Some(path) => PathBuf::from(path),
            None => {
                process::succeed(process::cargo().args(["build", "--locked", "--quiet", "-p", "sealift-signer"]))?;
                project::target().join("debug/sealift")
            }
        };
        let mut project = Project { folder: folder.into(), sealift, board, repository: RepositoryId([0; 16]) };
        let facts =
            project.sealift(&["init", "--quick-start", "--product", PRODUCT, "--hardware", board.hardware()])?;
        let id = facts["repository_id"].as_str().and_then(|id| hex::decode(id).ok()?.try_into().ok());
        project.repository = RepositoryId(id.ok_or_else(|| project.unexpected("repository_id"))?);
        Ok(project)
    }

    fn unexpected(&self, what: &str) -> Error {
        Error::Content { path: self.sealift.clone(), what: format!("it did not say its {what}") }
    }

    fn sealift(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = process::command(&self.sealift);
        let said = process::succeed(command.current_dir(&self.folder).args(arguments).arg("--json"))?;
        serde_json::from_str(&said).map_err(|why| Error::Content { path: self.sealift.clone(), what: why.to_string() })
    }

    /// The root that the factory puts into devices.
    pub(crate) fn root(&self) -> Result<Vec<u8>> {
        self.sealift(&["root", "export", "--format", "cbor", "--out", "root.cbor"])?;
        project::read(&self.folder.join("root.cbor"))
    }

    /// Signs an image.
    pub(crate) fn release(&self, version: &str, counter: &str, image: &[u8]) -> Result<Release> {
        let file = format!("{version}.bin");
        project::write(&self.folder.join(&file), image)?;
        let hardware = self.board.hardware();
        let mut create = vec!["release", "create", "--product", PRODUCT, "--version", version];
        create.extend(["--security-counter", counter, "--image", &file, "--hardware", hardware]);
        let release = self.sealift(&create)?["release"].take();
        let target = release["target"].as_str().ok_or_else(|| self.unexpected("target"))?.to_owned();
        let out = format!("{version}.bundle");
        self.sealift(&["bundle", "export", "--product", PRODUCT, "--version", version, "--out", &out])?;
        let payloads = release["payloads"].as_array().into_iter().flatten();
        let deltas = payloads.filter(|payload| payload["codec"] == "delta");
        let delta = deltas.min_by_key(|payload| payload["length"].as_u64());
        let sizes = (image.len() as u64, delta.and_then(|delta| delta["length"].as_u64()));
        let delta = delta.and_then(|delta| delta["sha256"].as_str()).map(str::to_owned);
        Ok(Release { target, bundle: project::read(&self.folder.join(out))?, sizes, delta })
    }

    /// A published payload.
    pub(crate) fn payload(&self, digest: &str) -> Result<Vec<u8>> {
        project::read(&self.folder.join("repository/payloads").join(digest))
    }
}
