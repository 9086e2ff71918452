//! One payload, from an offset on, at no less than a rate and within a deadline.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::{ANSWER, Net, https, network, timed_out, unexpected};
use crate::error::{Error, Result};

/// What a download may not fall below.
#[derive(Clone, Copy, Debug)]
pub struct Floors {
    /// Bytes per second, measured over `window`.
    pub rate: u64,
    /// Time over which the rate is measured.
    pub window: Duration,
    /// Time for the whole payload, all attempts together.
    pub deadline: Duration,
}

impl Default for Floors {
    fn default() -> Self {
        Floors { rate: 256, window: Duration::from_secs(30), deadline: Duration::from_secs(6 * 3600) }
    }
}

/// A payload on its way.
#[derive(Debug)]
pub struct Download {
    response: Response,
    what: String,
    /// Bytes to pass over: a server without ranges sends all from the start.
    skip: u64,
    floors: Floors,
    deadline: Instant,
    window_start: Instant,
    window_bytes: u64,
}

impl Download {
    /// Asks for a payload of `length` bytes from `offset` on. `deadline` is that of all attempts together.
    pub async fn start(
        net: &Net,
        url: &str,
        offset: u32,
        length: u32,
        floors: Floors,
        deadline: Instant,
    ) -> Result<Self> {
        let parsed = https(url)?;
        // A presigned URL is a secret while it lasts.
        let what = format!("fetch the payload from {}{}", parsed.host_str().unwrap_or_default(), parsed.path());
        let mut request = net.of(&parsed).get(parsed.clone());
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-{}", length.saturating_sub(1)));
        }
        let sent = timeout(ANSWER, request.send()).await.map_err(|_| timed_out(&what))?;
        let response = sent.map_err(|error| network(&what, &error))?;
        let skip = match response.status() {
            StatusCode::OK => u64::from(offset),
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                check_range(&response, offset, length)
                    .map_err(|problem| Error::Answer { what: what.clone(), problem })?;
                0
            }
            status => return Err(unexpected(&what, status)),
        };
        let now = Instant::now();
        Ok(Download { response, what, skip, floors, deadline, window_start: now, window_bytes: 0 })
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Deadline { seconds: self.floors.deadline.as_secs() });
            }
            let window_left = self.floors.window.saturating_sub(self.window_start.elapsed());
            match timeout(window_left.min(left), self.response.chunk()).await {
                Err(_) => self.judge_window()?,
                Ok(chunk) => {
                    let Some(chunk) = chunk.map_err(|error| network(&self.what, &error))? else { return Ok(None) };
                    self.window_bytes = self.window_bytes.saturating_add(chunk.len() as u64);
                    if self.window_start.elapsed() >= self.floors.window {
                        self.judge_window()?;
                    }
                    // Bounded by the chunk's own length.
                    let skip = self.skip.min(chunk.len() as u64);
                    self.skip = self.skip.saturating_sub(skip);
                    match chunk.get(skip as usize..) {
                        Some(rest) if !rest.is_empty() => return Ok(Some(rest.to_vec())),
                        _ => {}
                    }
                }
            }
        }
    }

    /// At the end of a window: enough came, or the download is given up.
    fn judge_window(&mut self) -> Result<()> {
        let elapsed = self.window_start.elapsed();
        if elapsed < self.floors.window {
            return Ok(());
        }
        let rate =
            self.window_bytes.saturating_mul(1000) / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        if rate < self.floors.rate {
            return Err(Error::TooSlow { rate, window: elapsed.as_secs(), floor: self.floors.rate });
        }
        self.window_start = Instant::now();
        self.window_bytes = 0;
        Ok(())
    }
}

/// The part must be the one that was asked for: `bytes 100-199/200` (RFC 9110, section 14.4).
fn check_range(response: &Response, offset: u32, length: u32) -> std::result::Result<(), String> {
    let header = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let expected = format!("bytes {offset}-");
    let total = header.rsplit('/').next().unwrap_or_default();
    if header.starts_with(&expected) && (total == "*" || total == length.to_string()) {
        Ok(())
    } else {
        Err(format!(
            "Content-Range {header:?} to a request for bytes {offset} to {} of {length}",
            length.saturating_sub(1)
        ))
    }
}
