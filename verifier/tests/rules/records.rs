//! What a record's reader and a payload's errors say.

use sealift_verifier::Error;
use sealift_verifier::record::{RecordReader, RecordWriter};

/// A whole record, by its checksum, that has a field more or less than its reader knows.
#[test]
fn a_record_with_a_byte_too_few_or_too_many_is_refused() {
    let read = |bytes: &[u8]| {
        let mut record = [0; 32];
        let mut writer = RecordWriter::new(&mut record, 1);
        writer.bytes(bytes);
        let length = writer.finish()?;
        let mut reader = RecordReader::new(&record[..length], 1)?;
        let value = reader.u32();
        reader.done(value)
    };
    assert_eq!(read(&[1, 2, 3, 4]), Ok(0x0102_0304));
    assert_eq!(read(&[1, 2, 3]), Err(Error::StateCorrupt));
    assert_eq!(read(&[1, 2, 3, 4, 5]), Err(Error::StateCorrupt));
    assert_eq!(read(&[]), Err(Error::StateCorrupt));
}
