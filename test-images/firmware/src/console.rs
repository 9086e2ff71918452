//! Lines in and formatted text out over the UART.

use core::fmt;

use crate::board;

/// Longest command line; the rest of a longer one is dropped.
pub const LINE: usize = 64;

/// One received line.
pub struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Line {
    /// The line as text; what isn't UTF-8 reads as empty, and so as an unknown command.
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("")
    }
}

/// The serial console.
pub struct Console {
    bytes: [u8; LINE],
    len: usize,
}

impl Console {
    /// Starts the UART.
    pub fn new() -> Self {
        board::uart_start();
        Console { bytes: [0; LINE], len: 0 }
    }

    /// The next whole line that has arrived; never waits.
    pub fn line(&mut self) -> Option<Line> {
        while let Some(byte) = board::uart_receive() {
            match byte {
                b'\r' | b'\n' => {
                    let line = Line { bytes: self.bytes, len: self.len };
                    self.len = 0;
                    if line.len > 0 {
                        return Some(line);
                    }
                }
                8 | 127 => self.len = self.len.saturating_sub(1),
                _ => {
                    if let Some(place) = self.bytes.get_mut(self.len) {
                        *place = byte;
                        self.len += 1;
                    }
                }
            }
        }
        None
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                board::uart_send(b'\r');
            }
            board::uart_send(byte);
        }
        Ok(())
    }
}
