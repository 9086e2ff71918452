//! 10 kOhm NTC (B = 3950 K) in a divider with 10 kOhm, read by a 12-bit converter: one table entry for each four steps.

/// Entries of the table.
pub const ENTRIES: usize = 1024;

/// Natural logarithm for the table's own use: const evaluation has no `ln`.
const fn ln(x: f64) -> f64 {
    // x = m * 2^e with m in [0.75, 1.5), then the series of 2 artanh((m-1)/(m+1)).
    let mut m = x;
    let mut e = 0.0;
    while m >= 1.5 {
        m /= 2.0;
        e += 1.0;
    }
    while m < 0.75 {
        m *= 2.0;
        e -= 1.0;
    }
    let y = (m - 1.0) / (m + 1.0);
    let mut term = y;
    let mut sum = 0.0;
    let mut k = 1;
    while k < 30 {
        sum += term / k as f64;
        term *= y * y;
        k += 2;
    }
    2.0 * sum + e * core::f64::consts::LN_2
}

/// Hundredths of a degree Celsius by converter reading / 4.
pub static TABLE: [i16; ENTRIES] = {
    let mut table = [0i16; ENTRIES];
    let mut i = 0;
    while i < ENTRIES {
        let reading = (i as f64 * 4.0 + 2.0) / 4096.0;
        let ohms = 10_000.0 * reading / (1.0 - reading);
        let kelvin = 1.0 / (1.0 / 298.15 + ln(ohms / 10_000.0) / 3950.0);
        let centi = (kelvin - 273.15) * 100.0;
        table[i] = if centi > 32_000.0 { 32_000 } else { centi as i16 };
        i += 1;
    }
    table
};

/// Hundredths of a degree for a 12-bit reading, interpolated between entries.
pub fn centi_celsius(reading: u16) -> i32 {
    let position = usize::from(reading.min(4095));
    let (index, part) = (position / 4, (position % 4) as i32);
    let here = i32::from(TABLE[index]);
    let next = i32::from(TABLE[(index + 1).min(ENTRIES - 1)]);
    here + (next - here) * part / 4
}
