//! Humidity: absolute, and (from 1.1.0 on) the dew point.

/// Saturation vapour pressure over water in pascal, every degree from -40 to +60 Celsius (Magnus formula).
pub static SATURATION: [u16; 101] = {
    let mut table = [0u16; 101];
    let mut i = 0;
    while i <= 100 {
        let t = i as f64 - 40.0;
        table[i] = (611.2 * exp(17.62 * t / (243.12 + t))) as u16;
        i += 1;
    }
    table
};

/// Exponential for the table's own use.
const fn exp(x: f64) -> f64 {
    // Halve until the series converges fast, then square back.
    let mut halvings = 0;
    let mut y = x;
    while y > 0.5 || y < -0.5 {
        y /= 2.0;
        halvings += 1;
    }
    let mut sum = 1.0;
    let mut term = 1.0;
    let mut k = 1;
    while k < 20 {
        term *= y / k as f64;
        sum += term;
        k += 1;
    }
    while halvings > 0 {
        sum *= sum;
        halvings -= 1;
    }
    sum
}

/// Vapour pressure in pascal, from hundredths of a degree and tenths of a percent.
pub fn vapour_pressure(centi_celsius: i32, per_mille: u16) -> f32 {
    let degree = (centi_celsius / 100 + 40).clamp(0, 99) as usize;
    let part = (centi_celsius - (degree as i32 - 40) * 100).clamp(0, 100) as f32 / 100.0;
    let (low, high) = (f32::from(SATURATION[degree]), f32::from(SATURATION[degree + 1]));
    (low + (high - low) * part) * f32::from(per_mille) / 1000.0
}

/// Grams of water in a cubic metre of air.
pub fn absolute(centi_celsius: i32, per_mille: u16) -> f32 {
    2.1667 * vapour_pressure(centi_celsius, per_mille) / (273.15 + centi_celsius as f32 / 100.0)
}

/// Degrees Celsius at which this air would be saturated: a search in the table, then a straight line.
#[cfg(feature = "release-1-1")]
pub fn dew_point(centi_celsius: i32, per_mille: u16) -> f32 {
    let pressure = vapour_pressure(centi_celsius, per_mille);
    let above = SATURATION.partition_point(|&p| f32::from(p) < pressure).clamp(1, 100);
    let (low, high) = (f32::from(SATURATION[above - 1]), f32::from(SATURATION[above]));
    (above as f32 - 41.0) + (pressure - low) / (high - low).max(1.0)
}
