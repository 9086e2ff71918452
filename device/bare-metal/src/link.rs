//! The link to a host that has the files: the device asks, the host answers with exactly the bytes.
//!
//! `?bundle 0 256` and `?payload <SHA-256> 1024 256`, each on a line, ask for bytes from an offset on. The host answers with
//! a byte that says how many follow (0 to 255 for 1 to 256), and these. Nothing of it is trusted.

use sealift_manifests::Digest;
use sealift_verifier::Error;

use crate::{board, console, update::CHUNK};

/// Looks at an idle receiver before the link counts as broken: half a minute or so.
const PATIENCE: u32 = 400_000_000;

/// A byte, waiting for it.
fn byte() -> Result<u8, Error> {
    for _ in 0..PATIENCE {
        if let Some(byte) = board::uart_receive() {
            return Ok(byte);
        }
    }
    Err(Error::PayloadTruncated)
}

fn ask(from: usize, room: &mut [u8]) -> Result<usize, Error> {
    let room = match room.get_mut(..CHUNK) {
        Some(_) => room.get_mut(..CHUNK).unwrap_or_default(),
        None => room,
    };
    console::text(" ");
    console::number(from as u64);
    console::text(" ");
    console::number(room.len() as u64);
    console::end();
    let count = usize::from(byte()?) + 1;
    for place in room.get_mut(..count).ok_or(Error::PayloadTooLong)? {
        *place = byte()?;
    }
    Ok(count)
}

/// Asks for a part of the bundle.
pub fn bundle(from: usize, room: &mut [u8]) -> Result<usize, Error> {
    console::text("?bundle");
    ask(from, room)
}

/// Asks for a part of a payload.
pub fn payload(digest: &Digest, from: usize, room: &mut [u8]) -> Result<usize, Error> {
    console::text("?payload ");
    console::hex(&digest.0);
    ask(from, room)
}

/// A line from the host, if it has sent one; waits for its end.
pub fn line(room: &mut [u8]) -> Option<&[u8]> {
    let mut length = 0;
    let mut next = board::uart_receive()?;
    while next != b'\n' {
        if let Some(place) = room.get_mut(length) {
            *place = next;
            length += 1;
        }
        next = byte().ok()?;
    }
    room.get(..length)
}

/// A number in decimal digits.
pub fn number(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0usize, |sum, digit| {
        let digit = usize::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// A digest in hexadecimal digits.
pub fn digest(digits: &[u8]) -> Option<Digest> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(Digest(bytes))
}
