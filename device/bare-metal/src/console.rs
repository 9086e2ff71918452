//! Text on the UART, without `core::fmt`: its number formatting brings panics along.

use sealift_verifier::Error;

use crate::board;

/// Prints text as it is.
pub fn text(text: &str) {
    text.bytes().for_each(board::uart_send);
}

/// Prints a number.
pub fn number(value: u64) {
    let mut place = 10_000_000_000_000_000_000u64;
    let mut begun = false;
    while place > 0 {
        let digit = value / place % 10;
        begun |= digit > 0 || place == 1;
        if begun {
            board::uart_send(b'0' + digit as u8);
        }
        place /= 10;
    }
}

/// Prints bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            board::uart_send(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
    }
}

/// Ends the line.
pub fn end() {
    text("\r\n");
}

/// A line.
pub fn line(line: &str) {
    text(line);
    end();
}

/// A line that says which error came of what.
pub fn error(what: &str, error: Error) {
    text(what);
    text(": SL-");
    number(error.code().into());
    end();
}

/// `1.2.3`.
pub fn version(version: sealift_manifests::Version) {
    let [major, minor, patch] = version.0;
    number(major.into());
    text(".");
    number(minor.into());
    text(".");
    number(patch.into());
}
