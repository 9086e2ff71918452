//! The health self-test: what a trial boot asks before it confirms.

use core::fmt::Write;

use crate::{
    console::Console,
    crc::crc32,
    filter::{Filter, WINDOW},
    humidity,
    limits::{Limits, Watch},
    thermistor,
};

/// CRC-32 of the calibration table as it was released.
const CALIBRATION: u32 = 0xc228_9d19;

fn crc_knows_its_check_value() -> bool {
    crc32(*b"123456789") == 0xcbf4_3926
}

fn calibration_is_intact() -> bool {
    crc32(thermistor::TABLE.iter().flat_map(|v| v.to_le_bytes())) == CALIBRATION
}

fn calibration_falls_steadily() -> bool {
    thermistor::TABLE.windows(2).all(|pair| pair[0] >= pair[1])
}

fn filter_settles_on_a_constant() -> bool {
    let mut filter = Filter::new();
    (0..WINDOW).map(|_| filter.push(2000)).last() == Some(2000)
}

fn alarm_is_raised_and_cleared() -> bool {
    let mut limits = Limits::new();
    for second in 0..20 {
        limits.step(second, 2000);
    }
    for second in 20..30 {
        limits.step(second, 4000);
    }
    let raised = matches!(limits.watch, Watch::Alarm { .. });
    for second in 30..40 {
        limits.step(second, 2000);
    }
    raised && limits.watch == Watch::Normal && limits.alarms == 1
}

fn air_holds_water() -> bool {
    let grams = humidity::absolute(2000, 500);
    (8.0..9.3).contains(&grams)
}

#[cfg(feature = "release-1-1")]
fn dew_point_is_below_the_air() -> bool {
    let dew = humidity::dew_point(2000, 500);
    (8.5..10.0).contains(&dew)
}

fn memory_holds_patterns() -> bool {
    let mut words = [0u32; 64];
    [0x5555_5555, 0xaaaa_aaaa, 0, u32::MAX].iter().all(|&pattern| {
        words.fill(pattern);
        core::hint::black_box(&mut words).iter().all(|&word| word == pattern)
    })
}

/// Runs every check and prints the verdict; true when all are well.
pub fn run(console: &mut Console) -> bool {
    let checks: &[(&str, fn() -> bool)] = &[
        ("crc check value", crc_knows_its_check_value),
        ("calibration intact", calibration_is_intact),
        ("calibration monotone", calibration_falls_steadily),
        ("filter settles", filter_settles_on_a_constant),
        ("alarm raised and cleared", alarm_is_raised_and_cleared),
        ("humidity", air_holds_water),
        #[cfg(feature = "release-1-1")]
        ("dew point", dew_point_is_below_the_air),
        ("memory", memory_holds_patterns),
        #[cfg(feature = "fault-selftest")]
        ("sensor bus", || false),
    ];
    let mut failed = 0;
    for (name, check) in checks {
        let ok = check();
        failed += usize::from(!ok);
        let _ = writeln!(console, "app: self-test {name}: {}", if ok { "ok" } else { "FAILED" });
    }
    let verdict = if failed == 0 { "HEALTHY" } else { "UNHEALTHY" };
    let _ = writeln!(console, "app: {verdict}: {} of {} checks passed", checks.len() - failed, checks.len());
    failed == 0
}
