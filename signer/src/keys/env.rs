//! `env:NAME`: a private key in an environment variable, the way CI systems hand out secrets.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use zeroize::Zeroizing;

use super::KeySource;
use super::software::SoftwareKey;
use crate::error::Result;

/// Opens the key in the variable `name`. `None` when it is not set, or empty, as CI systems leave secrets that a job may
/// not see.
pub(super) fn open(name: &str) -> Result<Option<Box<dyn KeySource>>> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = Zeroizing::new(OsString::into_vec(value));
    Ok(Some(Box::new(SoftwareKey::from_pkcs8(&value, &format!("env:{name}"))?)))
}
