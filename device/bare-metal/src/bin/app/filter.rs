//! Smoothing of the readings.

/// Samples that the average looks back on.
pub const WINDOW: usize = 8;

/// A moving average.
pub struct Filter {
    samples: [i32; WINDOW],
    next: usize,
    #[cfg(feature = "release-1-1")]
    filled: usize,
}

impl Filter {
    /// An empty filter.
    pub fn new() -> Self {
        Filter {
            samples: [0; WINDOW],
            next: 0,
            #[cfg(feature = "release-1-1")]
            filled: 0,
        }
    }

    /// Takes a sample, returns the smoothed value.
    ///
    /// 1.0.0 divides by the whole window from the first sample on, so a station reads far too low in its first seconds.
    #[cfg(not(feature = "release-1-1"))]
    pub fn push(&mut self, sample: i32) -> i32 {
        self.samples[self.next] = sample;
        self.next = (self.next + 1) % WINDOW;
        self.samples.iter().sum::<i32>() / WINDOW as i32
    }

    /// Takes a sample, returns the smoothed value: the median of the last three goes into the average, so that one spike
    /// moves nothing; and only samples that were really taken count (fixed in 1.1.0).
    #[cfg(feature = "release-1-1")]
    pub fn push(&mut self, sample: i32) -> i32 {
        self.samples[self.next] = sample;
        self.next = (self.next + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        let mut sum = 0;
        for back in 0..self.filled {
            sum += self.median_at(back);
        }
        sum / self.filled as i32
    }

    #[cfg(feature = "release-1-1")]
    fn median_at(&self, back: usize) -> i32 {
        let at = |n: usize| self.samples[(self.next + 2 * WINDOW - 1 - n.min(self.filled - 1)) % WINDOW];
        let (a, b, c) = (at(back), at(back + 1), at(back + 2));
        a.max(b).min(a.min(b).max(c))
    }
}
