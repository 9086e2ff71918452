//! TUF's date-times.

use jiff::Timestamp;

/// Reads `YYYY-MM-DDTHH:MM:SSZ`, the one form that specification 1.0.34, section 4.2 allows: seconds since
/// 1970-01-01T00:00:00Z. Nothing before 1970 is a time that metadata can expire at.
pub(crate) fn parse(text: &str) -> Option<u64> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:ddZ";
    let in_form = text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form });
    let time: Timestamp = if in_form { text.parse().ok()? } else { return None };
    u64::try_from(time.as_second()).ok()
}

/// The same, written.
pub(crate) fn format(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{seconds} s after 1970"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_form_alone_is_read() {
        assert_eq!(parse("1985-10-21T01:21:00Z"), Some(498_705_660));
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        for wrong in [
            "1985-10-21T01:21:00.5Z",
            "1985-10-21T01:21:00+00:00",
            "1985-10-21 01:21:00Z",
            "1985-10-21t01:21:00z",
            "1985-13-21T01:21:00Z",
            "1985-02-30T01:21:00Z",
            "1969-12-31T23:59:59Z",
            "+985-10-21T01:21:00Z",
            "",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
