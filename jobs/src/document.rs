//! The job document: what Sealift writes into a job. A hint where to look, never trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::limits::{DOCUMENT_PAYLOADS_MAX, JOB_DOCUMENT_MAX_CHARS, URL_MAX_BYTES};

/// The document format this crate writes and reads.
pub const FORMAT: u64 = 1;
/// Most characters of a product or repository id here; the signed metadata has its own, tighter bounds.
const ID_MAX_CHARS: usize = 128;
/// Names this crate knows, for [`critical`](JobDocument::critical).
const KNOWN: [&str; 9] =
    ["sealift", "repository", "product", "target", "bundle", "metadata", "payloads", "deltaOnly", "critical"];

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than AWS allows.
    #[error("the job document has {0} characters; AWS IoT Jobs allows {JOB_DOCUMENT_MAX_CHARS}")]
    TooLong(usize),
    /// Not JSON, or a field is missing, of the wrong type or malformed.
    #[error("the job document isn't one of Sealift's: {0}")]
    Json(#[from] serde_json::Error),
    /// A format this crate doesn't know.
    #[error("the job document has format {0}; this build reads format {FORMAT}: update the agent")]
    Format(u64),
    /// A field the sender marked critical and this crate doesn't know.
    #[error("the job document needs the reader to know the field {0:?}; this build doesn't: update the agent")]
    Critical(String),
    /// A field out of bounds.
    #[error("the job document's {field} is out of bounds: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// A Sealift job document.
///
/// Fields this crate doesn't know are ignored, so that newer servers can add hints; a field that an old device must
/// not ignore is named in `critical` (as `crit` does in JOSE), and an unknown name there refuses the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    /// Format of the document: [`FORMAT`].
    pub sealift: u64,
    /// Repository id, lowercase hex.
    pub repository: String,
    /// Product id.
    pub product: String,
    /// SHA-256 of the target entry's CBOR: which release of the product is meant.
    pub target: Digest,
    /// The update bundle (a CBOR sequence of COSE_Sign envelopes), while it is small enough to ride along.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "base64_bytes")]
    pub bundle: Option<Vec<u8>>,
    /// Base URL of the repository's metadata, with a closing slash; never presigned.
    pub metadata: String,
    /// One URL for each payload, by the payload's SHA-256; may be presigned and short-lived.
    #[serde(default)]
    pub payloads: BTreeMap<Digest, String>,
    /// The link costs money: take a delta or nothing, wherever a whole image may be found. It can only hold a device back.
    #[serde(default, rename = "deltaOnly", skip_serializing_if = "core::ops::Not::not")]
    pub delta_only: bool,
    /// Names of fields that a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
}

/// What a job asks of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// An update.
    Update(Box<JobDocument>),
    /// A new TLS key and a certificate for it, in place of those it has.
    RotateIdentity,
}

/// The document that asks for a new identity. `operation` is critical: a device that doesn't know it refuses the job.
pub const ROTATE_IDENTITY: &str = r#"{"sealift":1,"operation":"rotate-identity","critical":["operation"]}"#;

impl Order {
    /// Reads and checks a document of any kind.
    ///
    /// # Errors
    /// [`DocumentError`], as [`JobDocument::from_json`].
    pub fn from_json(text: &str) -> Result<Self, DocumentError> {
        check_length(text)?;
        #[derive(Deserialize)]
        struct Operation {
            sealift: u64,
            #[serde(default)]
            operation: Option<String>,
            #[serde(default)]
            critical: Vec<String>,
        }
        let Operation { sealift, operation, critical } = serde_json::from_str(text)?;
        match operation.as_deref() {
            None => JobDocument::from_json(text).map(|document| Self::Update(Box::new(document))),
            Some(_) if sealift != FORMAT => Err(DocumentError::Format(sealift)),
            Some("rotate-identity") => {
                match critical.into_iter().find(|name| name != "operation" && name != "critical") {
                    None => Ok(Self::RotateIdentity),
                    Some(name) => Err(DocumentError::Critical(name)),
                }
            }
            Some(other) => Err(DocumentError::Critical(format!("operation {other}"))),
        }
    }
}

impl JobDocument {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// [`DocumentError`] when it is too long, isn't JSON of this shape, or asks for something this build can't do.
    pub fn from_json(text: &str) -> Result<Self, DocumentError> {
        check_length(text)?;
        #[derive(Deserialize)]
        struct Head {
            sealift: u64,
            #[serde(default)]
            critical: Vec<String>,
        }
        // Format and critical fields first: a newer format may have changed everything else.
        let head: Head = serde_json::from_str(text)?;
        if head.sealift != FORMAT {
            return Err(DocumentError::Format(head.sealift));
        }
        if let Some(name) = head.critical.into_iter().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(DocumentError::Critical(name));
        }
        let document: Self = serde_json::from_str(text)?;
        document.check()?;
        Ok(document)
    }

    /// Writes the document as compact JSON.
    ///
    /// # Errors
    /// [`DocumentError`] when a field or the whole is out of bounds; [`DocumentError::TooLong`] is the sign to leave
    /// the bundle out.
    pub fn to_json(&self) -> Result<String, DocumentError> {
        self.check()?;
        let text = serde_json::to_string(self)?;
        check_length(&text)?;
        Ok(text)
    }

    /// The id that follows this release through everybody's logs, from publishing to the device: the first 16 bytes of the
    /// target's digest in hex, the size of a W3C trace id. Whoever knows the target knows it, so that nobody has to pass it on.
    #[must_use]
    pub fn trace(&self) -> String {
        trace_of(&self.target)
    }

    fn check(&self) -> Result<(), DocumentError> {
        let id = |field, id: &str| {
            if (1..=ID_MAX_CHARS).contains(&id.chars().count()) && !id.chars().any(char::is_control) {
                Ok(())
            } else {
                Err(DocumentError::Field { field, problem: format!("1 to {ID_MAX_CHARS} characters, no controls") })
            }
        };
        id("repository", &self.repository)?;
        id("product", &self.product)?;
        if hex::decode(&self.repository).is_err() || self.repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DocumentError::Field { field: "repository", problem: "lowercase hex is expected".into() });
        }
        check_url("metadata", &self.metadata)?;
        if !self.metadata.ends_with('/') {
            return Err(DocumentError::Field { field: "metadata", problem: "the URL must end with '/'".into() });
        }
        if self.payloads.len() > DOCUMENT_PAYLOADS_MAX {
            let problem = format!("{} payloads; the most is {DOCUMENT_PAYLOADS_MAX}", self.payloads.len());
            return Err(DocumentError::Field { field: "payloads", problem });
        }
        self.payloads.values().try_for_each(|url| check_url("payloads", url))
    }
}

/// The trace id of a release, by the digest of its target.
#[must_use]
pub fn trace_of(target: &Digest) -> String {
    hex::encode(target.0.get(..16).unwrap_or_default())
}

/// Length and characters only: what a URL means is the HTTP client's to say. `${...}` placeholders, which the service
/// fills before a device sees them, pass too.
fn check_url(field: &'static str, url: &str) -> Result<(), DocumentError> {
    let problem = if url.is_empty() || url.len() > URL_MAX_BYTES {
        format!("a URL has 1 to {URL_MAX_BYTES} bytes; found {}", url.len())
    } else if url.bytes().any(|b| !(0x21..=0x7e).contains(&b)) {
        "a URL has printable ASCII only".into()
    } else {
        return Ok(());
    };
    Err(DocumentError::Field { field, problem })
}

fn check_length(text: &str) -> Result<(), DocumentError> {
    match text.chars().count() {
        length if length > JOB_DOCUMENT_MAX_CHARS => Err(DocumentError::TooLong(length)),
        _ => Ok(()),
    }
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde's `with` passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        STANDARD.decode(text).map(Some).map_err(|e| D::Error::custom(format!("bundle isn't base64: {e}")))
    }
}
