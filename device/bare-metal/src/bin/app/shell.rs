//! Commands on the serial console.

use core::fmt::Write;

use crate::{
    calendar::Moment,
    console::Console,
    crc::crc32,
    info,
    report::{self, EPOCH},
    station::Station,
    text::{self, Event, HELP, Language},
    thermistor,
};

/// Why a command wasn't carried out.
#[derive(Debug)]
enum Refusal {
    Unknown,
    MissingNumber,
    NotANumber,
    OutOfRange,
    NothingToAcknowledge,
}

/// Runs one line and prints what it gives.
pub fn run(station: &mut Station, console: &mut Console, line: &str) {
    let mut words = line.split_ascii_whitespace();
    let Some(command) = words.next() else { return };
    let outcome = match command {
        "help" => {
            for (name, what) in HELP {
                let _ = writeln!(console, "  {name:<22}{what}");
            }
            Ok(())
        }
        "status" => {
            status(station, console);
            Ok(())
        }
        "report" => {
            report::json(station, console);
            Ok(())
        }
        "log" => {
            for entry in station.journal.iter() {
                let what = text::event(station.language, entry.event);
                let _ = writeln!(console, "  {}  {what} ({})", Moment(EPOCH + entry.second), entry.value);
            }
            Ok(())
        }
        "ack" => acknowledge(station),
        "low" => number(words.next()).map(|n| {
            station.limits.low = n;
            station.journal.add(station.second, Event::LimitChanged, n);
        }),
        "high" => number(words.next()).map(|n| {
            station.limits.high = n;
            station.journal.add(station.second, Event::LimitChanged, n);
        }),
        "language" => language(station, words.next()),
        "crc" => {
            let sum = crc32(thermistor::TABLE.iter().flat_map(|v| v.to_le_bytes()));
            let _ = writeln!(console, "calibration {sum:08x}");
            Ok(())
        }
        "table" => {
            for (i, value) in thermistor::TABLE.iter().enumerate().step_by(64) {
                let _ = writeln!(console, "  {:>5} {:>8.2}", i * 4, f32::from(*value) / 100.0);
            }
            Ok(())
        }
        #[cfg(feature = "release-1-1")]
        "dew" => {
            let dew = crate::humidity::dew_point(station.temperature, station.humidity);
            let water = crate::humidity::absolute(station.temperature, station.humidity);
            let _ = writeln!(console, "dew point {dew:.2} C, {water:.3} g/m3");
            Ok(())
        }
        #[cfg(feature = "release-1-1")]
        "csv" => {
            report::csv(station, console);
            Ok(())
        }
        "version" => {
            info::banner(console);
            Ok(())
        }
        _ => Err(Refusal::Unknown),
    };
    if let Err(why) = outcome {
        let _ = writeln!(console, "{command}: {why:?}; type help");
    }
}

fn status(station: &Station, console: &mut Console) {
    let (celsius, humid) = (station.temperature as f32 / 100.0, f32::from(station.humidity) / 10.0);
    let _ =
        writeln!(console, "{} {celsius:.2} C {humid:.1} % {:?}", Moment(EPOCH + station.second), station.limits.watch);
}

fn acknowledge(station: &mut Station) -> Result<(), Refusal> {
    if !station.limits.acknowledge() {
        return Err(Refusal::NothingToAcknowledge);
    }
    station.journal.add(station.second, Event::Acknowledged, station.temperature);
    Ok(())
}

fn number(word: Option<&str>) -> Result<i32, Refusal> {
    let degrees: f32 = word.ok_or(Refusal::MissingNumber)?.parse().map_err(|_| Refusal::NotANumber)?;
    if !(-40.0..=60.0).contains(&degrees) {
        return Err(Refusal::OutOfRange);
    }
    Ok((degrees * 100.0) as i32)
}

fn language(station: &mut Station, word: Option<&str>) -> Result<(), Refusal> {
    station.language = match word {
        Some("en") => Language::English,
        Some("de") => Language::German,
        Some("fr") => Language::French,
        _ => return Err(Refusal::Unknown),
    };
    Ok(())
}
