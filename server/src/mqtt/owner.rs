//! Whose a session is: the thing of the certificate, or, for a claim, the certificate itself. Never the client id.

use std::fmt;
use std::sync::Arc;

use sealift_jobs::ThingName;

/// The owner of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A thing.
    Thing(ThingName),
    /// A claim, by the SHA-256 of its certificate's DER in hex: many devices share it, each with a session of its own.
    Claim(Arc<str>),
}

impl Owner {
    /// The thing, when it is one.
    pub(crate) fn thing(&self) -> Option<&ThingName> {
        match self {
            Self::Thing(thing) => Some(thing),
            Self::Claim(_) => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thing(thing) => thing.fmt(f),
            // As much as tells one from another in a log, and makes a client id.
            Self::Claim(id) => write!(f, "claim-{}", id.get(..16).unwrap_or(id)),
        }
    }
}
