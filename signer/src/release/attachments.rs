//! What goes with an image and is not installed: its bill of materials and where it was built. Both are stored beside the
//! payloads, and bound by hash in what is signed.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_manifests::{Digest, Target, sha256};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::input;

/// Number of the ignorable extension of a target that binds its provenance: SHA-256 of the file and, as four bytes, the
/// highest first, its length.
pub const PROVENANCE: u64 = 2;

/// Most bytes of a bill of materials, or of a provenance.
const MAX_ATTACHMENT: u64 = 64 << 20;

/// A file that a target binds besides its payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What its name ends with in the host encoding.
    pub ending: &'static str,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its length, where the target says it.
    pub length: Option<u64>,
}

/// The files that a target binds.
pub fn attachments(target: &Target<'_>) -> Vec<Attachment> {
    let sbom = target.sbom.map(|digest| Attachment { ending: "sbom.json", digest, length: None });
    let value = target.extensions.iter().find(|(number, _)| *number == PROVENANCE).map(|(_, value)| value);
    let provenance = value.and_then(|value| {
        let (digest, length) = value.split_first_chunk::<32>()?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        Some(Attachment { ending: "provenance.json", digest: Digest(*digest), length: Some(length.into()) })
    });
    sbom.into_iter().chain(provenance).collect()
}

/// The extension's value that binds a provenance.
pub(super) fn bind(provenance: &[u8]) -> Vec<u8> {
    [&sha256(provenance).0[..], &(provenance.len() as u32).to_be_bytes()].concat()
}

/// A component or package, as far as every bill of materials names it.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "name")]
    _name: String,
}

/// CycloneDX (1.2 and later), as far as it is checked.
#[derive(Deserialize)]
struct CycloneDx {
    #[serde(rename = "specVersion")]
    _spec_version: String,
    #[serde(rename = "components", default)]
    _components: Vec<Named>,
}

/// SPDX 2, as far as it is checked.
#[derive(Deserialize)]
struct Spdx2 {
    #[serde(rename = "SPDXID")]
    _id: String,
    #[serde(rename = "packages", default)]
    _packages: Vec<Named>,
}

/// A bill of materials has to be one: CycloneDX or SPDX, as JSON.
pub(super) fn read_sbom(path: &Path) -> Result<Vec<u8>> {
    let remedy = "give a CycloneDX or SPDX file in JSON form";
    let bytes = input::read(path, "bill of materials", MAX_ATTACHMENT, remedy)?;
    let parsed: Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::input(path, format!("no JSON: {error}"), remedy))?;
    let has = |field: &str| parsed.get(field).and_then(Value::as_str).unwrap_or_default();
    let context = parsed.get("@context").map(Value::to_string).unwrap_or_default();
    let (form, checked) = if has("bomFormat") == "CycloneDX" {
        ("CycloneDX", serde_json::from_value::<CycloneDx>(parsed).map(drop))
    } else if has("spdxVersion").starts_with("SPDX-2.") {
        ("SPDX 2", serde_json::from_value::<Spdx2>(parsed).map(drop))
    } else if context.contains("spdx.org/rdf/3") && parsed.get("@graph").is_some_and(Value::is_array) {
        ("SPDX 3", Ok(()))
    } else {
        let fault = "neither `bomFormat: CycloneDX` nor a `spdxVersion` stands in it";
        return Err(Error::input(path, fault, remedy));
    };
    checked.map_err(|error| Error::input(path, format!("no valid {form} file: {error}"), remedy))?;
    Ok(bytes.to_vec())
}

/// An in-toto statement, as far as it is checked.
#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

/// A provenance has to be a SLSA statement about this very image: bare, in a DSSE envelope, or in a Sigstore bundle. Its own
/// signature, where it has one, is for whoever knows the builder's key: here it is bound, not believed.
pub(super) fn read_provenance(path: &Path, image: &Digest, file: &Digest) -> Result<Vec<u8>> {
    let remedy = "give the in-toto statement of SLSA provenance that your build made, as JSON";
    let input = |fault: String| Error::input(path, fault, remedy);
    let bytes = input::read(path, "provenance", MAX_ATTACHMENT, remedy)?;
    let parsed: Value = serde_json::from_slice(&bytes).map_err(|error| input(format!("no JSON: {error}")))?;
    let envelope = parsed.get("dsseEnvelope").unwrap_or(&parsed);
    let statement = match envelope.get("payload").and_then(Value::as_str) {
        Some(payload) => {
            let payload = STANDARD.decode(payload).map_err(|error| input(format!("its DSSE payload: {error}")))?;
            serde_json::from_slice(&payload).map_err(|error| input(format!("its DSSE payload is no JSON: {error}")))?
        }
        None => parsed,
    };
    let statement: Statement =
        serde_json::from_value(statement).map_err(|error| input(format!("no in-toto statement: {error}")))?;
    if !statement.kind.starts_with("https://in-toto.io/Statement/") {
        return Err(input(format!("`_type` is {}, not an in-toto statement", statement.kind)));
    }
    if !statement.predicate_type.starts_with("https://slsa.dev/provenance/") {
        return Err(input(format!("`predicateType` is {}, not SLSA provenance", statement.predicate_type)));
    }
    let speaks_of = |digest: &Digest| {
        let digest = digest.to_string();
        statement.subject.iter().any(|it| it.digest.get("sha256").is_some_and(|it| it.eq_ignore_ascii_case(&digest)))
    };
    if speaks_of(image) {
        return Ok(bytes.to_vec());
    }
    let (fault, remedy) = if speaks_of(file) {
        (
            "it speaks of the file that holds the image (ELF or HEX), and devices know the image alone".to_owned(),
            "have the build attest the flat image too (`objcopy -O binary`)",
        )
    } else {
        let names: Vec<_> = statement.subject.iter().map(|it| it.name.as_str()).collect();
        (format!("it speaks of {}, not of this image", names.join(", ")), "give the provenance of this very build")
    };
    Err(Error::refused(format!("{}: {fault}: no subject has sha256 {image}", path.display()), remedy))
}
