//! Maintenance windows: when a device may be disturbed, by its own calendar.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, ZonedDateTime};
use serde::Deserialize;

/// Weekdays as they are written, in the order of ISO 8601.
const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];
/// How far ahead an opening is looked for: each window opens at least once a week, and a change of the clocks may skip one.
const DAYS_AHEAD: i64 = 15;

/// One window: `Mon-Fri 02:00-05:00`, `Sat,Sun 22:00-06:00` (into the next morning), `03:00-04:00` (every day), or
/// `Sun 00:00-24:00`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Window {
    text: String,
    /// By [`DAYS`].
    days: [bool; 7],
    opens: Time,
    /// Minutes it stays open, 1 to 1440.
    minutes: i64,
}

/// Why a window can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no window: {problem}; write it like \"Mon-Fri 02:00-05:00\", \"Sat,Sun 22:00-06:00\" or \"03:00-04:00\""
)]
pub struct WindowError {
    text: String,
    problem: String,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Window {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let problem = |problem: String| WindowError { text: text.to_owned(), problem };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, span) = match words.as_slice() {
            [span] => ([true; 7], *span),
            [days, span] => (days_of(days).map_err(problem)?, *span),
            _ => return Err(problem("one or two words are expected".into())),
        };
        let (from, to) = span.split_once('-').ok_or_else(|| problem("the times need a '-' between them".into()))?;
        let (from, to) = (minute_of(from).map_err(problem)?, minute_of(to).map_err(problem)?);
        if from == 24 * 60 {
            return Err(problem("no window opens at 24:00; write 00:00 of the next day".into()));
        }
        if from == to {
            return Err(problem("it opens and closes at the same time".into()));
        }
        // One that closes before it opens goes on into the next morning.
        let minutes = if to > from { to - from } else { to + 24 * 60 - from };
        let opens = Time::midnight() + from.minutes();
        Ok(Window { text: text.to_owned(), days, opens, minutes })
    }
}

fn days_of(text: &str) -> Result<[bool; 7], String> {
    let index = |name: &str| {
        let found = DAYS.iter().position(|(day, _)| day.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("{name:?} is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun"))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (index(first)?, index(last)?),
            None => (index(part)?, index(part)?),
        };
        // Fri-Mon goes over the weekend.
        let length = (last + 7 - first) % 7;
        for step in 0..=length {
            if let Some(day) = days.get_mut((first + step) % 7) {
                *day = true;
            }
        }
    }
    Ok(days)
}

fn minute_of(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no time of day, 00:00 to 24:00");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    if [hours, minutes].iter().any(|digits| digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(wrong());
    }
    let (hours, minutes): (i64, i64) = (hours.parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
    let minute = hours * 60 + minutes;
    if (0..60).contains(&minutes) && (0..=24 * 60).contains(&minute) { Ok(minute) } else { Err(wrong()) }
}

/// Whether the device may be disturbed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It may.
    Open,
    /// It may not before then.
    Closed(Timestamp),
}

/// Looks whether one of `windows` is open at `now` on the calendar of `zone`. No window at all is always open.
pub fn opening(windows: &[Window], zone: &TimeZone, now: Timestamp) -> Opening {
    if windows.is_empty() {
        return Opening::Open;
    }
    let today = now.to_zoned_datetime(zone.clone()).date();
    let mut next: Option<Timestamp> = None;
    for window in windows {
        // Yesterday's may still be open.
        for ahead in -1..DAYS_AHEAD {
            let Ok(day) = today.checked_add(ahead.days()) else { continue };
            let listed = DAYS.iter().position(|(_, weekday)| *weekday == day.weekday());
            if !listed.and_then(|at| window.days.get(at)).is_some_and(|listed| *listed) {
                continue;
            }
            let Ok(opens) = day.to_datetime(window.opens).to_zoned_datetime(zone.clone()) else { continue };
            let Ok(closes) = closes(&opens, window.minutes) else { continue };
            if opens.timestamp() <= now && now < closes {
                return Opening::Open;
            }
            if opens.timestamp() > now {
                next = Some(next.map_or(opens.timestamp(), |known| known.min(opens.timestamp())));
                break;
            }
        }
    }
    // Every window names a day, so that there is an opening within the days looked at; an hour is a safe question again.
    Opening::Closed(next.unwrap_or(now + SignedDuration::from_hours(1)))
}

/// By the wall clock: a window to 05:00 closes at 05:00, whether the clocks change in between or not.
fn closes(opens: &ZonedDateTime, minutes: i64) -> Result<Timestamp, jiff::Error> {
    Ok(opens.datetime().checked_add(minutes.minutes())?.to_zoned_datetime(opens.time_zone().clone())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// By its rule, so that the test needs no time zone database.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn look(window: &str, zone: &str, now: &str) -> Opening {
        opening(&[window.parse().unwrap()], &TimeZone::posix(zone).unwrap(), at(now))
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_before_its_last() {
        // 2026-11-23 is a Monday.
        assert_eq!(look("Mon 02:00-05:00", "UTC0", "2026-11-23T02:00:00Z"), Opening::Open);
        assert_eq!(look("Mon 02:00-05:00", "UTC0", "2026-11-23T04:59:59Z"), Opening::Open);
        let next = Opening::Closed(at("2026-11-30T02:00:00Z"));
        assert_eq!(look("Mon 02:00-05:00", "UTC0", "2026-11-23T05:00:00Z"), next);
        assert_eq!(look("02:00-05:00", "UTC0", "2026-11-23T05:00:00Z"), Opening::Closed(at("2026-11-24T02:00:00Z")));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        assert_eq!(look("Mon 22:00-06:00", "UTC0", "2026-11-24T05:59:00Z"), Opening::Open);
        let next = Opening::Closed(at("2026-11-30T22:00:00Z"));
        assert_eq!(look("Mon 22:00-06:00", "UTC0", "2026-11-25T05:59:00Z"), next);
        assert_eq!(look("Sun 00:00-24:00", "UTC0", "2026-11-22T23:59:59Z"), Opening::Open);
    }

    #[test]
    fn windows_follow_the_calendar_of_their_zone_and_its_change_of_clocks() {
        // Berlin is two hours ahead in summer, one in winter; the clocks went back on 2026-10-25 at 03:00.
        assert_eq!(look("02:00-05:00", BERLIN, "2026-07-01T01:00:00Z"), Opening::Open);
        assert_eq!(look("02:00-05:00", BERLIN, "2026-12-01T00:30:00Z"), Opening::Closed(at("2026-12-01T01:00:00Z")));
        assert_eq!(look("02:00-05:00", BERLIN, "2026-10-25T03:59:00Z"), Opening::Open);
        assert_eq!(look("02:00-05:00", BERLIN, "2026-10-25T04:00:00Z"), Opening::Closed(at("2026-10-26T01:00:00Z")));
        // A time that the change skips (2027-03-28, 02:00 to 03:00) opens when the clocks have gone on.
        assert_eq!(look("Sun 02:30-04:00", BERLIN, "2027-03-28T01:45:00Z"), Opening::Open);
    }

    #[test]
    fn days_may_be_ranges_lists_and_go_over_the_weekend() {
        let window: Window = "Fri-Mon,Wed 01:00-02:00".parse().unwrap();
        assert_eq!(window.days, [true, false, true, false, true, true, true]);
        assert_eq!(opening(&[], &TimeZone::UTC, at("2026-11-23T05:00:00Z")), Opening::Open);
    }

    #[test]
    fn what_is_no_window_is_refused_with_an_example() {
        let broken = [
            "",
            "Mon",
            "Foo 01:00-02:00",
            "01:00",
            "1:00-2:00",
            "01:60-02:00",
            "24:00-01:00",
            "25:00-26:00",
            "01:00-01:00",
            "Mon 01:00 02:00",
            "-01:00-02:00",
            "+1:00-02:00",
        ];
        for text in broken {
            let error = text.parse::<Window>().unwrap_err().to_string();
            assert!(error.contains("Mon-Fri 02:00-05:00"), "{error}");
        }
    }
}
