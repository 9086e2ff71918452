//! Custody: who can use a key, and what that lets it sign.

use sealift_manifests::Role;
use serde::Deserialize;

use super::Project;
use crate::error::{Error, Result};

/// Who can use a key. It is what the project's people say of it; the rules below follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Custody {
    /// Officers' keys and tokens, out of reach of every machine that is online.
    Offline,
    /// The build's own signing identity.
    Ci,
    /// Anything that the account which runs bucket and jobs can use.
    Cloud,
}

impl std::fmt::Display for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Custody::Offline => "offline",
            Custody::Ci => "ci",
            Custody::Cloud => "cloud",
        })
    }
}

impl Project {
    /// Holds the roles to the custody of their keys.
    pub(super) fn check_custody(&self) -> Result<()> {
        let refuse = |place: String, fault: String, remedy: &str| {
            Err(Error::refused(format!("{}: {place}: {fault}", self.file.display()), remedy))
        };
        for (place, names, threshold) in self.signers() {
            let top = [Role::Root, Role::Targets].iter().any(|role| place == format!("roles.{role}"));
            let online = [Role::Timestamp, Role::Snapshot].iter().any(|role| place == format!("roles.{role}"));
            if let Some((name, _)) = self.keys_of(names).find(|(_, key)| key.custody == Custody::Cloud && !online) {
                return refuse(
                    place,
                    format!("key `{name}` has custody `cloud`, which signs timestamp and snapshot alone"),
                    "whoever owns the cloud account must not be able to sign what devices run; use another key",
                );
            }
            let exposed = self.keys_of(names).filter(|(_, key)| key.custody != Custody::Offline).count() as u64;
            if top && exposed >= threshold {
                return refuse(
                    place,
                    format!(
                        "its {exposed} keys that are not `offline` reach the threshold of {threshold} by themselves"
                    ),
                    "list offline keys, or raise the threshold above the number of the others",
                );
            }
        }
        Ok(())
    }
}
