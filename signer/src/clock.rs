//! The time that signatures state, and how long is left in words.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::error::{Error, Result};

/// Variable of the reproducible-builds convention: the time, in seconds since 1970, that output is to state.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The time to state in what is signed: `SOURCE_DATE_EPOCH` where it is set, else the system's clock.
pub fn signing_time() -> Result<u64> {
    match std::env::var(SOURCE_DATE_EPOCH) {
        Err(std::env::VarError::NotPresent) => system_time(),
        value => value.ok().and_then(|value| value.parse().ok()).ok_or_else(|| {
            Error::usage(
                format!("{SOURCE_DATE_EPOCH} is no number of seconds since 1970"),
                "set it with `date +%s`, or unset it",
            )
        }),
    }
}

/// The system's clock: seconds since 1970.
pub fn system_time() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map(|since| since.as_secs()).map_err(|_| Error::failed("the system's clock is before 1970", "set the clock"))
}

/// `2027-01-04T10:00:00Z`.
pub fn date(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| format!("{seconds} s after 1970"), |timestamp| timestamp.to_string())
}

/// "expires in 6 weeks", "expired 3 days ago".
pub fn expiry(expires: u64, now: u64) -> String {
    if expires > now {
        format!("expires in {}", roughly(expires - now))
    } else {
        format!("expired {} ago", roughly(now - expires))
    }
}

/// A length of time in one unit: people plan in weeks, not in seconds.
fn roughly(seconds: u64) -> String {
    const UNITS: [(u64, &str); 6] =
        [(365 * 86_400, "year"), (7 * 86_400, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    // A unit is used from two of it on: "13 days" says more than "1 week".
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit).unwrap_or((1, "second"));
    let count = (seconds + unit / 2) / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::expiry;

    #[test]
    fn expiries_read_as_people_say_them() {
        let week = 7 * 86_400;
        assert_eq!(expiry(6 * week, 0), "expires in 6 weeks");
        assert_eq!(expiry(52 * week - 1, 0), "expires in 52 weeks");
        assert_eq!(expiry(13 * 86_400, 0), "expires in 13 days");
        assert_eq!(expiry(1, 0), "expires in 1 second");
        assert_eq!(expiry(0, 3 * 86_400), "expired 3 days ago");
        assert_eq!(expiry(5, 5), "expired 0 seconds ago");
        assert_eq!(expiry(800 * 86_400, 0), "expires in 2 years");
    }
}
