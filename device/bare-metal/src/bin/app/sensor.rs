//! The simulated sensors: a day in two minutes, with noise that is the same in every run.

const SINE: [i16; 256] = {
    // Bhaskara's approximation: exact enough for a simulated day.
    let mut table = [0i16; 256];
    let mut i = 0;
    while i < 256 {
        let half = (i % 128) as f64 / 128.0 * 180.0;
        let product = half * (180.0 - half);
        let value = 4.0 * product / (40_500.0 - product) * 32_767.0;
        table[i] = if i < 128 { value as i16 } else { -(value as i16) };
        i += 1;
    }
    table
};

/// Source of the readings.
pub struct Sensors {
    noise: u32,
}

impl Sensors {
    /// The same seed in every run: two boots print the same report.
    pub fn new() -> Self {
        Sensors { noise: 0x2545_f491 }
    }

    fn noise(&mut self) -> i32 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        (self.noise >> 26) as i32 - 32
    }

    /// Thermistor reading, 12 bits.
    pub fn thermistor(&mut self, second: u32) -> u16 {
        let phase = usize::from((second * 256 / 120) as u8);
        let day = i32::from(SINE[phase]) / 48;
        let spike = if second % 41 == 40 { 900 } else { 0 };
        (2100 - day + self.noise() / 4 + spike).clamp(0, 4095) as u16
    }

    /// Relative humidity in tenths of a percent.
    pub fn humidity(&mut self, second: u32) -> u16 {
        let phase = usize::from((second * 256 / 120 + 128) as u8);
        (550 + i32::from(SINE[phase]) / 120 + self.noise() / 8).clamp(0, 1000) as u16
    }
}
