//! Readings as lines for other machines.

use core::fmt::Write;

use crate::{calendar::Moment, console::Console, crc::crc32, humidity, info, station::Station};

/// Boot of the demonstration: 2026-03-01T06:00:00Z.
pub const EPOCH: u32 = 68_277_600;

/// A short line held in RAM, so that its check sum can follow it.
struct Buffer {
    bytes: [u8; 320],
    len: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(core::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

fn emit(console: &mut Console, line: &Buffer) {
    let bytes = &line.bytes[..line.len];
    let text = core::str::from_utf8(bytes).unwrap_or("");
    let _ = writeln!(console, "{text}*{:08x}", crc32(bytes.iter().copied()));
}

/// One line of JSON, then `*` and its CRC-32.
pub fn json(station: &Station, console: &mut Console) {
    let mut line = Buffer { bytes: [0; 320], len: 0 };
    let celsius = station.temperature as f32 / 100.0;
    let done = (|| {
        write!(line, "{{\"time\":\"{}\",\"version\":\"{}\",", Moment(EPOCH + station.second), info::VERSION)?;
        write!(line, "\"celsius\":{celsius:.2},\"humidity\":{:.1},", f32::from(station.humidity) / 10.0)?;
        #[cfg(feature = "release-1-1")]
        write!(line, "\"dew_point\":{:.2},", humidity::dew_point(station.temperature, station.humidity))?;
        write!(line, "\"water_g_m3\":{:.3},", humidity::absolute(station.temperature, station.humidity))?;
        let e = &station.extremes;
        write!(line, "\"low\":{},\"high\":{},\"mean\":{},", e.low, e.high, e.mean())?;
        write!(line, "\"alarms\":{},\"events\":{}}}", station.limits.alarms, station.journal.written())
    })();
    if done.is_ok() {
        emit(console, &line);
    }
}

/// One line of CSV, then `*` and its CRC-32.
#[cfg(feature = "release-1-1")]
pub fn csv(station: &Station, console: &mut Console) {
    let mut line = Buffer { bytes: [0; 320], len: 0 };
    let dew = humidity::dew_point(station.temperature, station.humidity);
    let done = write!(
        line,
        "{};{};{:.2};{:.1};{dew:.2};{}",
        Moment(EPOCH + station.second),
        info::VERSION,
        station.temperature as f32 / 100.0,
        f32::from(station.humidity) / 10.0,
        station.limits.alarms
    );
    if done.is_ok() {
        emit(console, &line);
    }
}
