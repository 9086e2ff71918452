//! The install file: an update bundle and the payloads it needs in one file, for USB sticks and serial lines. `INSTALL-FILE.md`
//! in this crate's folder describes it. Nothing in it is trusted more than what comes over a network.

use crate::bounds::MAX_IMAGE;
use crate::bundle::MAX_FILES;
use crate::cbor::{DecodeError, Fault, Reader};
use crate::envelope::Envelope;

/// Major type 6 in the highest three bits: an envelope. A byte string, a payload, has 2.
const TAG: u8 = 6;

/// The payloads of an install file, in order. After an error nothing follows.
#[derive(Clone, Debug)]
pub struct Payloads<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        // A refusal ends the reader too.
        if self.reader.is_at_end() {
            return None;
        }
        // 4 GiB less one fits every host that holds the file in memory.
        let payload = self.reader.bytes(usize::try_from(MAX_IMAGE).unwrap_or(usize::MAX));
        Some(self.reader.checked(payload))
    }
}

/// Splits an install file into its bundle and the payloads that follow it. A file with no payload is a bundle.
pub fn split(file: &[u8]) -> Result<(&[u8], Payloads<'_>), DecodeError> {
    let mut reader = Reader::new(file);
    let mut count = 0;
    while count == 0 || file.get(reader.position()).is_some_and(|head| head >> 5 == TAG) {
        if count == MAX_FILES {
            reader.refuse(Fault::TooLarge);
        }
        Envelope::decode_next(&mut reader)?;
        count += 1;
    }
    Ok((reader.since(0), Payloads { reader }))
}

/// Writes one payload behind a bundle.
#[cfg(feature = "alloc")]
pub fn append(file: &mut alloc::vec::Vec<u8>, payload: &[u8]) {
    let mut writer = crate::cbor::Writer::new();
    writer.bytes(payload);
    file.extend(writer.into_bytes());
}
