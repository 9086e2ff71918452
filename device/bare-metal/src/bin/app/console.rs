//! Formatted text out over the UART.

use core::fmt;

use sealift_bare_metal::board;

/// The serial console.
pub struct Console;

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
