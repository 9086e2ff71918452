//! `statusDetails`: what a device says about its progress, within AWS's bounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{DETAILS_KEY_MAX_CHARS, DETAILS_MAX_PAIRS, DETAILS_VALUE_MAX_CHARS};

/// Key: Sealift's error code (`SL-nnn`) with FAILED and REJECTED, or `FRESHNESS_UNKNOWN` and the like.
pub const CODE: &str = "code";
/// Key: one sentence for people: what happened, where, and what to do.
pub const REASON: &str = "reason";
/// Key: the step the device is in (`metadata`, `verify`, `payload`, `boot`, `confirm`, ...).
pub const STEP: &str = "step";
/// Key: the device's signed report (COSE_Sign1, standard base64 with padding), with SUCCEEDED.
pub const REPORT: &str = "report";

/// Why details were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    /// Too many pairs.
    #[error("statusDetails has {0} pairs; the most is {DETAILS_MAX_PAIRS}")]
    Pairs(usize),
    /// A key outside `[a-zA-Z0-9:_-]{1,128}`.
    #[error("statusDetails key {0:?} isn't 1 to {DETAILS_KEY_MAX_CHARS} of [a-zA-Z0-9:_-]")]
    Key(String),
    /// A value that is empty, too long, or holds control characters.
    #[error("statusDetails value of {key:?} isn't 1 to {DETAILS_VALUE_MAX_CHARS} characters without controls")]
    Value {
        /// Its key.
        key: String,
    },
}

/// Name and value pairs a device attaches to an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct StatusDetails(BTreeMap<String, String>);

impl StatusDetails {
    /// No details.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one pair.
    ///
    /// # Errors
    /// [`DetailsError`] when key, value or the number of pairs is out of AWS's bounds.
    pub fn insert(&mut self, key: &str, value: impl Into<String>) -> Result<(), DetailsError> {
        let value = value.into();
        check_pair(key, &value)?;
        if !self.0.contains_key(key) && self.0.len() >= DETAILS_MAX_PAIRS {
            return Err(DetailsError::Pairs(self.0.len() + 1));
        }
        self.0.insert(key.into(), value);
        Ok(())
    }

    /// Adds one pair of free text: controls become spaces and what is too long is cut, so that a long reason never
    /// keeps a device from saying that it failed.
    ///
    /// # Errors
    /// [`DetailsError`] when the key or the number of pairs is out of bounds.
    pub fn insert_text(&mut self, key: &str, text: &str) -> Result<(), DetailsError> {
        let clean: String = text.chars().map(|c| if is_other(c) { ' ' } else { c }).collect();
        let cut: String = clean.trim().chars().take(DETAILS_VALUE_MAX_CHARS).collect();
        self.insert(key, if cut.is_empty() { "-".to_owned() } else { cut })
    }

    /// One value.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// True when there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn check_pair(key: &str, value: &str) -> Result<(), DetailsError> {
    let key_ok = (1..=DETAILS_KEY_MAX_CHARS).contains(&key.chars().count())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-'));
    if !key_ok {
        return Err(DetailsError::Key(key.chars().take(DETAILS_KEY_MAX_CHARS).collect()));
    }
    let value_ok = (1..=DETAILS_VALUE_MAX_CHARS).contains(&value.chars().count()) && !value.chars().any(is_other);
    if value_ok { Ok(()) } else { Err(DetailsError::Value { key: key.into() }) }
}

/// Unicode category C without "unassigned", which no table-free code can know: controls, format characters that
/// hide or reorder text, private use.
fn is_other(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{10ffff}')
}

impl TryFrom<BTreeMap<String, String>> for StatusDetails {
    type Error = DetailsError;
    fn try_from(pairs: BTreeMap<String, String>) -> Result<Self, DetailsError> {
        if pairs.len() > DETAILS_MAX_PAIRS {
            return Err(DetailsError::Pairs(pairs.len()));
        }
        for (key, value) in &pairs {
            check_pair(key, value)?;
        }
        Ok(Self(pairs))
    }
}

impl From<StatusDetails> for BTreeMap<String, String> {
    fn from(details: StatusDetails) -> Self {
        details.0
    }
}
