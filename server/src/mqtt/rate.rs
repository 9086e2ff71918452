//! How fast one client may publish.

use std::time::Instant;

/// Times the allowed rate at which patience ends.
const FLOOD: u32 = 10;

/// A bucket that fills at the allowed rate and holds two seconds' worth.
pub(super) struct Rate {
    per_second: u32,
    tokens: f32,
    filled: Instant,
    /// Messages over the rate since the second began.
    over: u32,
    second: Instant,
}

/// What to do with one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    TooFast,
    Flood,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        let now = Instant::now();
        Self { per_second, tokens: 2.0 * per_second as f32, filled: now, over: 0, second: now }
    }

    pub(super) fn take(&mut self) -> Verdict {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> Verdict {
        let rate = self.per_second as f32;
        self.tokens = (self.tokens + rate * now.duration_since(self.filled).as_secs_f32()).min(2.0 * rate);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Verdict::Fine;
        }
        if now.duration_since(self.second).as_secs() >= 1 {
            (self.second, self.over) = (now, 0);
        }
        self.over += 1;
        if self.over > self.per_second.saturating_mul(FLOOD) { Verdict::Flood } else { Verdict::TooFast }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_allowed_rate_is_fine_for_ever_and_a_flood_is_seen_within_a_second() {
        let start = Instant::now();
        let mut rate = Rate::new(100);
        for n in 0..1_000 {
            assert_eq!(rate.take_at(start + Duration::from_millis(10 * n)), Verdict::Fine, "{n}");
        }
        let mut rate = Rate::new(100);
        let verdicts: Vec<Verdict> = (0..2_000).map(|n| rate.take_at(start + Duration::from_micros(100 * n))).collect();
        let of = |what| verdicts.iter().filter(|v| **v == what).count();
        assert!((200..=220).contains(&of(Verdict::Fine)), "{}", of(Verdict::Fine));
        assert_eq!(of(Verdict::TooFast), 1_000);
        assert!(of(Verdict::Flood) > 0);
    }
}
