//! The time that signatures state, and how long is left in words.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::error::{Error, Result};

/// Variable of the reproducible-builds convention: the time, in seconds since 1970, that output is to state.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// 2026-01-01: nothing was signed with Sealift before, so a clock that says less is wrong.
const FIRST: u64 = 1_767_225_600;
/// How far two right clocks are apart at most, in seconds.
const APART: u64 = 300;
/// A timestamp is renewed every week or two. After three years of silence the clock is the likelier fault.
const SILENCE: u64 = 3 * 365 * 86_400;

static TRUSTED: AtomicBool = AtomicBool::new(false);

/// Takes the system's clock as it is (`--trust-clock`).
pub fn trust() {
    TRUSTED.store(true, Ordering::Relaxed);
}

fn stated() -> Result<Option<u64>> {
    match std::env::var(SOURCE_DATE_EPOCH) {
        Err(std::env::VarError::NotPresent) => Ok(None),
        value => value.ok().and_then(|value| value.parse().ok()).map(Some).ok_or_else(|| {
            Error::usage(
                format!("{SOURCE_DATE_EPOCH} is no number of seconds since 1970"),
                "set it with `date +%s`, or unset it",
            )
        }),
    }
}

/// The time to judge by: `SOURCE_DATE_EPOCH` where it is set, else the system's clock.
pub fn judging_time() -> Result<u64> {
    stated()?.map_or_else(system_time, Ok)
}

/// The time to state in what is signed: [`judging_time`], unless it can't be right. Devices remember the highest time that
/// was signed, and take everything as expired that ends before it.
pub fn signing_time() -> Result<u64> {
    let (now, place) = match stated()? {
        Some(stated) => (stated, SOURCE_DATE_EPOCH),
        None => (system_time()?, "this machine's clock"),
    };
    if TRUSTED.load(Ordering::Relaxed) {
        return Ok(now);
    }
    if now < FIRST {
        return Err(Error::refused(
            format!("{place} says {}, before Sealift was written", date(now)),
            "set the clock (or SOURCE_DATE_EPOCH, to the time of the commit)",
        ));
    }
    if place == SOURCE_DATE_EPOCH && now > system_time()? + 86_400 {
        return Err(Error::refused(
            format!("{place} says {}, which is in the future", date(now)),
            "devices would remember that time, and refuse what expires before it; set it to the time of the commit",
        ));
    }
    Ok(now)
}

/// Holds the system's clock to the time that the repository states already.
pub fn check_against(issued: u64, now: u64) -> Result<()> {
    // A stated time is a build's, and may well lie before the last renewal.
    if TRUSTED.load(Ordering::Relaxed) || stated()?.is_some() {
        return Ok(());
    }
    const REMEDY: &str = "set the clock; if it is right, say so with --trust-clock";
    if now + APART < issued {
        return Err(Error::refused(
            format!(
                "this machine's clock says {}, and the repository was last signed at {}, {} later",
                date(now),
                date(issued),
                roughly(issued - now)
            ),
            REMEDY,
        ));
    }
    if now > issued.saturating_add(SILENCE) {
        return Err(Error::refused(
            format!(
                "this machine's clock says {}, {} after the repository was last signed: devices would remember that \
                 time, and refuse what expires before it",
                date(now),
                roughly(now - issued)
            ),
            REMEDY,
        ));
    }
    Ok(())
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
pub fn roughly(seconds: u64) -> String {
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
