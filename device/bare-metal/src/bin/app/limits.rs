//! The state machine that watches the temperature.

/// What the station is doing about the temperature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Until the filter has settled.
    Settling {
        /// Samples still to come.
        left: u8,
    },
    /// Within limits.
    Normal,
    /// Out of limits, for fewer samples than it takes to believe it.
    Suspect {
        /// Samples in a row out of limits.
        samples: u8,
    },
    /// Out of limits.
    Alarm {
        /// Second at which it was raised.
        since: u32,
    },
    /// Someone has said that they know.
    Acknowledged {
        /// Second at which it was raised.
        since: u32,
    },
}

/// Samples out of limits before an alarm is raised.
const BELIEVE: u8 = if cfg!(feature = "release-1-1") { 4 } else { 3 };
/// How far back within limits the temperature must come, in hundredths of a degree. 1.0.0 had none and its alarm flapped.
const HYSTERESIS: i32 = if cfg!(feature = "release-1-1") { 75 } else { 0 };

/// Limits in hundredths of a degree, and the state.
pub struct Limits {
    /// Lowest good temperature.
    pub low: i32,
    /// Highest good temperature.
    pub high: i32,
    /// Where the machine stands.
    pub watch: Watch,
    /// Alarms raised since boot.
    pub alarms: u16,
}

impl Limits {
    /// 5 to 31 degrees.
    pub fn new() -> Self {
        Limits { low: 500, high: 3100, watch: Watch::Settling { left: 8 }, alarms: 0 }
    }

    /// One sample on; true when an alarm was raised by it.
    pub fn step(&mut self, second: u32, centi_celsius: i32) -> bool {
        let outside = centi_celsius < self.low || centi_celsius > self.high;
        let clear = centi_celsius >= self.low + HYSTERESIS && centi_celsius <= self.high - HYSTERESIS;
        let next = match self.watch {
            Watch::Settling { left: 0 } => Watch::Normal,
            Watch::Settling { left } => Watch::Settling { left: left - 1 },
            Watch::Normal if outside => Watch::Suspect { samples: 1 },
            Watch::Normal => Watch::Normal,
            Watch::Suspect { samples } if outside && samples + 1 >= BELIEVE => Watch::Alarm { since: second },
            Watch::Suspect { samples } if outside => Watch::Suspect { samples: samples + 1 },
            Watch::Suspect { .. } => Watch::Normal,
            Watch::Alarm { .. } | Watch::Acknowledged { .. } if clear => Watch::Normal,
            same => same,
        };
        let raised = matches!(next, Watch::Alarm { .. }) && !matches!(self.watch, Watch::Alarm { .. });
        self.alarms += u16::from(raised);
        self.watch = next;
        raised
    }

    /// Someone knows; true if there was an alarm to know of.
    pub fn acknowledge(&mut self) -> bool {
        if let Watch::Alarm { since } = self.watch {
            self.watch = Watch::Acknowledged { since };
            return true;
        }
        false
    }
}
