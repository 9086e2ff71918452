//! Nothing published is taken back.
//!
//! A device would refuse a rolled-back repository by its own floors; a publisher that refuses it first saves the fleet
//! the trouble. A version may fall only where the keys that vouched for it can no longer sign the role: that is how a
//! repository recovers from a stolen key that signed absurdly high versions (TUF 1.0.34, section 5.3.11).

use sealift_manifests::Role;
use sealift_verifier::Error;

use super::chain::{Chain, ChainFile};

/// Compares the chain `offered` with the one that is `current`.
///
/// # Errors
/// [`Error::Rollback`], [`Error::VersionReused`] or [`Error::NotInSnapshot`], as a device would say.
pub fn check_rollback(current: &Chain, offered: &Chain) -> Result<(), Error> {
    if offered.root_version < current.root_version {
        return Err(Error::Rollback(Role::Root));
    }
    check_file(&current.timestamp, &offered.timestamp, Role::Timestamp)?;
    check_file(&current.snapshot, &offered.snapshot, Role::Snapshot)?;
    check_file(&current.targets, &offered.targets, Role::Targets)?;
    for (name, before) in &current.delegated {
        match offered.delegated.get(name) {
            Some(after) => check_file(before, after, Role::Targets)?,
            // A delegation may end; the top-level targets say so under a higher version.
            None if offered.targets.version > current.targets.version => {}
            None => return Err(Error::NotInSnapshot),
        }
    }
    Ok(())
}

fn check_file(before: &ChainFile, after: &ChainFile, role: Role) -> Result<(), Error> {
    let still_sign = before.keys.iter().filter(|key| after.keys.contains(key)).count() as u64 >= after.threshold;
    if !still_sign {
        return Ok(());
    }
    if after.version < before.version {
        return Err(Error::Rollback(role));
    }
    if after.version == before.version && after.digest != before.digest {
        return Err(Error::VersionReused(role));
    }
    Ok(())
}
