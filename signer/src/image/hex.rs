//! Intel HEX.

use ihex::Record;

use super::Part;

/// A colon and 10 hexadecimal digits, the least a record has: no machine code starts so.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b':') && bytes.get(1..11).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// The stretches of data between gaps.
pub(super) fn parts(bytes: &[u8]) -> Result<Vec<Part>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no Intel HEX: {error}"))?;
    let mut parts: Vec<Part> = Vec::new();
    let (mut base, mut ended) = (0u64, false);
    for (index, record) in ihex::Reader::new(text).enumerate() {
        let record = record.map_err(|error| format!("Intel HEX, record {}: {error}", index + 1))?;
        match record {
            Record::Data { offset, value } => {
                let address = base + u64::from(offset);
                match parts.last_mut() {
                    Some(last) if last.load + last.bytes.len() as u64 == address => last.bytes.extend(value),
                    _ => parts.push(Part { load: address, address, code: true, bytes: value }),
                }
            }
            Record::ExtendedLinearAddress(upper) => base = u64::from(upper) << 16,
            Record::ExtendedSegmentAddress(segment) => base = u64::from(segment) << 4,
            Record::EndOfFile => ended = true,
            Record::StartSegmentAddress { .. } | Record::StartLinearAddress(_) => {}
        }
    }
    if ended { Ok(parts) } else { Err("Intel HEX without its end-of-file record: the file is cut off".into()) }
}
