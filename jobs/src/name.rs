//! Names that AWS IoT gives to things, groups and jobs, checked against AWS's patterns when they are made.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{GROUP_NAME_MAX_CHARS, JOB_ID_MAX_CHARS, THING_NAME_MAX_CHARS};

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than AWS allows.
    #[error("{what} has {length} characters; AWS IoT allows 1 to {max}")]
    Length {
        /// What the name names.
        what: &'static str,
        /// Characters found.
        length: usize,
        /// Most characters allowed.
        max: usize,
    },
    /// A character outside AWS's pattern.
    #[error("{what} holds {character:?} at position {at}; AWS IoT allows {pattern}")]
    Character {
        /// What the name names.
        what: &'static str,
        /// The character.
        character: char,
        /// Its place, from 0.
        at: usize,
        /// The allowed set, as AWS writes it.
        pattern: &'static str,
    },
}

fn check(
    what: &'static str,
    name: &str,
    max: usize,
    pattern: &'static str,
    allowed: fn(char) -> bool,
) -> Result<(), NameError> {
    let length = name.chars().count();
    if length == 0 || length > max {
        return Err(NameError::Length { what, length, max });
    }
    match name.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        Some((at, character)) => Err(NameError::Character { what, character, at, pattern }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $pattern:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                check($what, &name, $max, $pattern, $allowed)?;
                Ok(Self(name))
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::try_from(name.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Name of a thing: `[a-zA-Z0-9:_-]{1,128}`. For the server it is the common name of the client certificate.
    ThingName,
    "the thing name",
    THING_NAME_MAX_CHARS,
    "[a-zA-Z0-9:_-]",
    |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
);
name!(
    /// Name of a thing group: `[a-zA-Z0-9:_-]{1,128}`.
    GroupName,
    "the group name",
    GROUP_NAME_MAX_CHARS,
    "[a-zA-Z0-9:_-]",
    |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
);
name!(
    /// Id of a job: `[a-zA-Z0-9_-]{1,64}`.
    JobId,
    "the job id",
    JOB_ID_MAX_CHARS,
    "[a-zA-Z0-9_-]",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);

/// Which execution a device asks about: a job by id, or `$next`, the one that start-next would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSelector {
    /// `$next`.
    Next,
    /// A job by its id.
    Id(JobId),
}

impl FromStr for JobSelector {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        if s == "$next" { Ok(Self::Next) } else { s.parse().map(Self::Id) }
    }
}

impl fmt::Display for JobSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("$next"),
            Self::Id(id) => id.fmt(f),
        }
    }
}
