//! The application: sensors in, filtered values, alarms and events out.

use crate::{
    filter::Filter,
    journal::Journal,
    limits::{Limits, Watch},
    sensor::Sensors,
    text::{Event, Language},
    thermistor,
};

/// Lowest, highest and mean of a day.
#[derive(Clone, Copy)]
pub struct Extremes {
    /// Lowest value.
    pub low: i32,
    /// Highest value.
    pub high: i32,
    /// Sum of all values.
    pub sum: i64,
    /// Number of values.
    pub count: u32,
}

impl Extremes {
    const EMPTY: Extremes = Extremes { low: i32::MAX, high: i32::MIN, sum: 0, count: 0 };

    fn add(&mut self, value: i32) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.sum += i64::from(value);
        self.count += 1;
    }

    /// Mean of the values, 0 without any.
    pub fn mean(&self) -> i32 {
        if self.count == 0 { 0 } else { (self.sum / i64::from(self.count)) as i32 }
    }
}

/// The whole station.
pub struct Station {
    sensors: Sensors,
    temperature_filter: Filter,
    humidity_filter: Filter,
    /// The temperature's watch.
    pub limits: Limits,
    /// Events.
    pub journal: Journal,
    /// Language of messages.
    pub language: Language,
    /// Seconds since boot.
    pub second: u32,
    /// Filtered temperature, hundredths of a degree.
    pub temperature: i32,
    /// Filtered humidity, tenths of a percent.
    pub humidity: u16,
    /// Extremes of the temperature.
    pub extremes: Extremes,
}

impl Station {
    /// A station that has just been switched on.
    pub fn new() -> Self {
        let mut journal = Journal::new();
        journal.add(0, Event::Started, 0);
        Station {
            sensors: Sensors::new(),
            temperature_filter: Filter::new(),
            humidity_filter: Filter::new(),
            limits: Limits::new(),
            journal,
            language: Language::English,
            second: 0,
            temperature: 0,
            humidity: 0,
            extremes: Extremes::EMPTY,
        }
    }

    /// One second on.
    pub fn step(&mut self, second: u32) {
        self.second = second;
        let raw = thermistor::centi_celsius(self.sensors.thermistor(second));
        self.temperature = self.temperature_filter.push(raw);
        self.humidity = self.humidity_filter.push(i32::from(self.sensors.humidity(second))).clamp(0, 1000) as u16;
        let before = self.limits.watch;
        if self.limits.step(second, self.temperature) {
            let event = if self.temperature > self.limits.high { Event::TooHot } else { Event::TooCold };
            self.journal.add(second, event, self.temperature);
        }
        match (before, self.limits.watch) {
            (Watch::Settling { .. }, Watch::Normal) => self.journal.add(second, Event::Settled, self.temperature),
            (Watch::Alarm { .. } | Watch::Acknowledged { .. }, Watch::Normal) => {
                self.journal.add(second, Event::BackToNormal, self.temperature);
            }
            _ => {}
        }
        if !matches!(self.limits.watch, Watch::Settling { .. }) {
            self.extremes.add(self.temperature);
        }
        if (raw - self.temperature).abs() > 1500 {
            self.journal.add(second, Event::Spike, raw);
        }
    }
}
