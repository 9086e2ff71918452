//! How long a file is valid, written as people do: "52w", "26 weeks", "2 years", "36h".

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Deserializer};

/// A positive span of calendar time.
#[derive(Clone, Debug)]
pub struct Lifetime {
    span: Span,
    text: String,
}

impl Lifetime {
    /// The second at which something signed at `start` expires. `None` beyond the calendar.
    pub fn after(&self, start: u64) -> Option<u64> {
        let start = Timestamp::from_second(i64::try_from(start).ok()?).ok()?;
        let end = start.to_zoned_datetime(TimeZone::UTC).checked_add(self.span).ok()?;
        u64::try_from(end.timestamp().as_second()).ok()
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span =
            text.parse().map_err(|_| format!("`{text}` is no duration; write it like \"52w\" or \"90 days\""))?;
        let lifetime = Lifetime { span, text: text.to_owned() };
        // One second at the least, and within the calendar for the centuries to come.
        match lifetime.after(0) {
            Some(1..=6_000_000_000) => Ok(lifetime),
            _ => Err(format!("`{text}` is no sensible time for a file to be valid")),
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
