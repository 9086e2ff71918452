//! URLs in job documents, filled in when a device asks, as AWS fills its presign placeholders.
//!
//! `${aws:iot:s3-presigned-url:https://s3.REGION.amazonaws.com/BUCKET/KEY}` becomes a URL of this server that is good for
//! a quarter of an hour without a certificate, signed with a key that lives as long as the state directory. The bucket
//! names nothing here: a key that ends in `payloads/<sha256>` or `metadata/<name>` is what this server publishes.

use std::path::Path;

use ring::hmac;

use crate::pki::{PkiError, create, read_secret};
use crate::rollout::ORIGIN_PLACEHOLDER;

/// Seconds a signed URL is good; a slower device asks for the document again.
const GOOD_FOR: u64 = 900;
/// What begins AWS's placeholders.
const PRESIGN: [&str; 2] = ["${aws:iot:s3-presigned-url:", "${aws:iot:s3-presigned-url-v2:"];
/// Query parameter: until when, in seconds since the Unix epoch.
pub(super) const EXPIRES: &str = "X-Sealift-Expires";
/// Query parameter: HMAC-SHA-256 over path and time, hex.
pub(super) const SIGNATURE: &str = "X-Sealift-Signature";

/// Fills in and checks URLs.
pub struct Links {
    key: hmac::Key,
    /// The origin that is told to everybody, when one is set.
    public: Option<String>,
    /// The origin for those who are told something without having asked.
    default: String,
}

impl Links {
    /// Links signed with the key in `folder`, which is made on first use.
    ///
    /// # Errors
    /// [`PkiError`] when the key can't be read or made.
    pub fn open(folder: &Path, public: Option<String>, default: String) -> Result<Self, PkiError> {
        let path = folder.join("links.key");
        if !path.exists() {
            let mut secret = zeroize::Zeroizing::new([0; 32]);
            getrandom::fill(secret.as_mut()).map_err(|e| PkiError::Make { what: "a key", problem: e.to_string() })?;
            create(&path, zeroize::Zeroizing::new(hex::encode(secret.as_ref())).as_bytes(), 0o600)?;
        }
        let text = read_secret(&path)?;
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), secret.as_mut()).map_err(|_| PkiError::Bad {
            path: path.display().to_string(),
            problem: "not a key of 64 hex characters; remove it, and a new one is made".into(),
        })?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), public, default })
    }

    /// The origin that a client on `socket` reaches HTTPS by: the name it asked for in TLS, or the address.
    pub(crate) fn origin(&self, name: Option<&str>, socket: &tokio::net::TcpStream) -> String {
        let host = name.map(str::to_owned).or_else(|| {
            let address = socket.local_addr().ok()?.ip();
            Some(if address.is_ipv6() { format!("[{address}]") } else { address.to_string() })
        });
        match (host, self.default.rsplit_once(':')) {
            (Some(host), Some((_, port))) => format!("https://{host}:{port}"),
            _ => self.default.clone(),
        }
    }

    /// The origin of URLs that nobody asked for.
    pub(crate) fn default_origin(&self) -> String {
        self.public.clone().unwrap_or_else(|| self.default.clone())
    }

    /// Fills every placeholder of `document`. `asked` is the origin that the device itself used: the one that works for
    /// it, and it gets no more than its own answer changed by lying about it.
    pub(crate) fn fill(&self, document: &str, asked: Option<&str>, now: u64) -> String {
        let origin = self.public.as_deref().or(asked).unwrap_or(&self.default);
        let mut filled = document.replace(ORIGIN_PLACEHOLDER, origin);
        for placeholder in PRESIGN {
            let mut from = 0;
            while let Some(at) = filled[from..].find(placeholder).map(|at| at + from) {
                let Some(length) = filled[at..].find('}') else { break };
                let url = &filled[at + placeholder.len()..at + length];
                match published(url) {
                    Some(path) => {
                        let signed = format!("{origin}{}", self.sign(path, now + GOOD_FOR));
                        filled.replace_range(at..=at + length, &signed);
                        from = at + signed.len();
                    }
                    None => {
                        tracing::warn!(url, "a presign placeholder names nothing that this server publishes");
                        from = at + length;
                    }
                }
            }
        }
        filled
    }

    /// The path with its signature.
    fn sign(&self, path: &str, expires: u64) -> String {
        let tag = hmac::sign(&self.key, signed_text(path, expires).as_bytes());
        format!("{path}?{EXPIRES}={expires}&{SIGNATURE}={}", hex::encode(tag.as_ref()))
    }

    /// True when `query` is this server's signature for `path`, and it is still good at `now`.
    pub(super) fn admits(&self, path: &str, query: &str, now: u64) -> bool {
        let value = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        let Some(expires) = value(EXPIRES).and_then(|text| text.parse::<u64>().ok()) else { return false };
        let Some(tag) = value(SIGNATURE).and_then(|text| hex::decode(text).ok()) else { return false };
        now < expires && hmac::verify(&self.key, signed_text(path, expires).as_bytes(), &tag).is_ok()
    }
}

fn signed_text(path: &str, expires: u64) -> String {
    format!("sealift link v1\0{path}\0{expires}")
}

/// The path here of an object that a placeholder names by its S3 URL.
fn published(url: &str) -> Option<&str> {
    let at = ["/payloads/", "/metadata/"].iter().find_map(|folder| url.rfind(folder))?;
    let path = &url[at..];
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_');
    path.bytes().all(plain).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_links_that_are_good_for_one_path_and_a_while() {
        let home = tempfile::tempdir().unwrap();
        let links = Links::open(home.path(), None, "https://localhost:8443".into()).unwrap();
        let document = r#"{"a":"${aws:iot:s3-presigned-url:https://s3.eu-1.amazonaws.com/b/x/payloads/00ff}",
            "b":"${aws:iot:s3-presigned-url-v2:https://b.s3.amazonaws.com/metadata/timestamp}","o":"${sealift:origin}/m",
            "c":"${aws:iot:s3-presigned-url:https://s3.eu-1.amazonaws.com/b/other}","d":"${aws:iot:s3-presigned-url:x"}"#;
        let filled = links.fill(document, Some("https://me:1"), 1_000);
        let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(json["o"], "https://me:1/m");
        assert!(json["c"].as_str().unwrap().starts_with("${aws"), "what isn't published stays as it is");
        for (name, path) in [("a", "/payloads/00ff"), ("b", "/metadata/timestamp")] {
            let url = json[name].as_str().unwrap().strip_prefix("https://me:1").unwrap().to_owned();
            let (found, query) = url.split_once('?').unwrap();
            assert_eq!(found, path);
            assert!(links.admits(path, query, 1_000 + GOOD_FOR - 1));
            assert!(!links.admits(path, query, 1_000 + GOOD_FOR), "expired");
            assert!(!links.admits("/payloads/00fe", query, 1_000), "another path");
            assert!(!links.admits(path, &query.replace("1900", "9900"), 1_000), "a later end");
            let again = Links::open(home.path(), None, String::new()).unwrap();
            assert!(again.admits(path, query, 1_000), "the key outlives the process");
        }
        let stranger = tempfile::tempdir().unwrap();
        let other = Links::open(stranger.path(), None, String::new()).unwrap();
        let url = json["a"].as_str().unwrap();
        assert!(!other.admits("/payloads/00ff", url.split_once('?').unwrap().1, 1_000));
    }
}
