//! The development certificate authority: made on first start, signs the server's own certificate and the devices'.
//!
//! It proves who speaks, and nothing about firmware: what a device installs is decided by keys this server never sees.
//! A fleet in AWS has AWS's certificate authorities instead.

mod authority;
mod files;
mod inspect;
mod request;

pub use authority::{Authority, ServerCertificate};
pub use files::{create, read_secret};
pub use inspect::{Inspected, inspect, inspect_pem, pem, signed_by};
pub use request::{CertificateRequest, RequestError, SignedRequest};

/// Why the certificate authority or a key file couldn't be used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file couldn't be read or written.
    #[error("{path}: can't {act}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was tried.
        act: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A key file that others may read.
    #[error(
        "{path}: mode {mode:03o} lets others read this private key; run `chmod 600 {path}`, and replace the key if others could have read it"
    )]
    Permissions {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that holds something else.
    #[error("{path}: {problem}")]
    Bad {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The TLS or certificate library refused.
    #[error("can't make {what}: {problem}")]
    Make {
        /// What was to be made.
        what: &'static str,
        /// What the library said.
        problem: String,
    },
}

impl PkiError {
    pub(crate) fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |e| Self::Make { what, problem: e.to_string() }
    }
}
