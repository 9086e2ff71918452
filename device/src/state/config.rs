//! What a device is, and whom it talks to: two JSON files.

use std::path::{Path, PathBuf};

use sealift_jobs::ThingName;
use sealift_manifests::RepositoryId;
use sealift_verifier::session::Identity;
use sealift_verifier::trust::Policy;
use serde::{Deserialize, Serialize};

use super::files::{self, Access};
use crate::error::{Error, Result};

/// Most bytes of either file.
const CONFIG_MAX: usize = 64 * 1024;
/// The layout of the state directory that this agent reads and writes.
const FORMAT: u32 = 1;

/// `device.json`: written at the factory, never changed by an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Layout of the state directory.
    pub format: u32,
    /// Repository id, 32 hex characters.
    pub repository: String,
    /// Product id.
    pub product: String,
    /// The component that is updated.
    pub component: String,
    /// Hardware id.
    pub hardware: String,
    /// Bytes of each slot.
    pub slot_size: u64,
    /// Slot A: a path inside the state directory, or an absolute one.
    pub slot_a: PathBuf,
    /// Slot B.
    pub slot_b: PathBuf,
    /// Refuse to install while the time is not known.
    #[serde(default)]
    pub require_clock: bool,
    /// Accept the published example keys: a workbench, never a product.
    #[serde(default)]
    pub allow_example_keys: bool,
}

impl DeviceConfig {
    /// The format that this agent writes.
    pub const FORMAT: u32 = FORMAT;

    /// Reads `device.json`.
    pub fn load(path: &Path) -> Result<Self> {
        let config: DeviceConfig = load(path, "provision the device again (sealift-device provision)")?;
        let refuse = |problem: String| Err(Error::Input { path: path.into(), problem });
        if config.format != FORMAT {
            return refuse(format!(
                "the state has format {}; this agent knows format {FORMAT}: update it",
                config.format
            ));
        }
        for (field, name) in
            [("product", &config.product), ("component", &config.component), ("hardware", &config.hardware)]
        {
            if !sealift_manifests::is_name(name) {
                return refuse(format!("{field} {name:?} is no name: 1 to 64 of [a-z0-9._-]"));
            }
        }
        config.repository_id(path)?;
        Ok(config)
    }

    /// Writes it.
    pub fn store(&self, path: &Path) -> Result<()> {
        store(path, self)
    }

    fn repository_id(&self, path: &Path) -> Result<RepositoryId> {
        let mut id = [0; 16];
        hex::decode_to_slice(&self.repository, &mut id).map_err(|_| Error::Input {
            path: path.into(),
            problem: "the repository id isn't 32 hex characters".into(),
        })?;
        Ok(RepositoryId(id))
    }

    /// What the verifier is told. The file was checked when it was read.
    pub fn identity(&self) -> Identity<'_> {
        Identity {
            repository: self.repository_id(Path::new("device.json")).unwrap_or(RepositoryId([0; 16])),
            product: &self.product,
            component: &self.component,
            hardware: &self.hardware,
        }
    }

    /// The policy that the device was provisioned with.
    pub fn policy(&self) -> Policy {
        let policy = if self.allow_example_keys { Policy::development() } else { Policy::production() };
        if self.require_clock { policy.with_clock_required() } else { policy }
    }
}

/// `connection.json`: written when the device enrols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Origin of the jobs data plane, without a closing slash.
    pub server: String,
    /// The thing that the certificate names.
    pub thing: ThingName,
}

impl Connection {
    /// Reads it; `None` before the device enrolled.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        if path.exists() { load(path, "enrol again (sealift-device enrol)").map(Some) } else { Ok(None) }
    }

    /// Writes it.
    pub fn store(&self, path: &Path) -> Result<()> {
        store(path, self)
    }
}

fn load<T: for<'de> Deserialize<'de>>(path: &Path, remedy: &str) -> Result<T> {
    let bytes = files::read(path, CONFIG_MAX)?;
    serde_json::from_slice(&bytes)
        .map_err(|problem| Error::Input { path: path.into(), problem: format!("{problem}; {remedy}") })
}

fn store<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|problem| Error::Input { path: path.into(), problem: problem.to_string() })?;
    json.push(b'\n');
    files::replace(path, &json, Access::Plain)
}
