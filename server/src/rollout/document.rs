//! The job document of a rollout: a hint where to look.

use std::collections::BTreeMap;

use bytes::Bytes;
use sealift_jobs::{Digest, DocumentError, JobDocument, document::FORMAT};
use sealift_manifests::bounds::MAX_BUNDLE_ROOTS;
use serde::{Deserialize, Serialize};

use crate::intake::chain::{Catalog, Files, ListedTarget, root_name};
use crate::store::{METADATA, PAYLOADS};

/// Stands for the origin of the endpoint; filled in when a device asks for the document, as AWS fills its presign
/// placeholders.
pub const ORIGIN_PLACEHOLDER: &str = "${sealift:origin}";

/// Where devices find files. Part of a rollout's record, so that whoever carries it on writes the same documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Locations {
    /// Base of the metadata, with a closing slash: names that any device may read, never presigned.
    pub metadata: String,
    /// What comes before a payload's digest.
    pub payloads: String,
    /// What comes behind it.
    #[serde(default)]
    pub payloads_end: String,
    /// The role in whose name AWS IoT presigns payloads; without one URLs are as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presign_role: Option<String>,
}

impl Locations {
    /// The local endpoint's.
    #[must_use]
    pub fn local() -> Self {
        Self {
            metadata: format!("{ORIGIN_PLACEHOLDER}/{METADATA}/"),
            payloads: format!("{ORIGIN_PLACEHOLDER}/{PAYLOADS}/"),
            payloads_end: String::new(),
            presign_role: None,
        }
    }

    /// A bucket's: metadata at a URL that anybody may read, payloads by placeholders that AWS IoT replaces with presigned
    /// URLs when a device asks for the document.
    #[must_use]
    pub fn bucket(metadata: String, region: &str, bucket: &str, prefix: &str, presign_role: String) -> Self {
        let place = format!("https://s3.{region}.amazonaws.com/{bucket}/{prefix}{PAYLOADS}/");
        Self {
            metadata,
            payloads: format!("${{aws:iot:s3-presigned-url:{place}"),
            payloads_end: "}".into(),
            presign_role: Some(presign_role),
        }
    }

    fn payload(&self, digest: &Digest) -> String {
        format!("{}{digest}{}", self.payloads, self.payloads_end)
    }
}

/// Writes the document for `target`. The bundle rides along while everything fits AWS's bound: with the newer roots
/// first, then without; a device that needs more fetches it. `deltas_alone` leaves out where whole images are, and
/// says that on a metered link they are not to be fetched from anywhere.
///
/// # Errors
/// [`DocumentError`] when it doesn't fit even without a bundle.
pub fn write(
    catalog: &Catalog,
    files: &Files,
    target: &ListedTarget,
    locations: &Locations,
    deltas_alone: bool,
) -> Result<String, DocumentError> {
    let mut document = JobDocument {
        sealift: FORMAT,
        repository: catalog.repository.clone(),
        product: target.product.clone(),
        target: target.digest,
        bundle: None,
        metadata: locations.metadata.clone(),
        payloads: target
            .payloads
            .iter()
            .filter(|payload| !deltas_alone || payload.base.is_some())
            .map(|payload| (payload.digest, locations.payload(&payload.digest)))
            .collect::<BTreeMap<_, _>>(),
        delta_only: deltas_alone,
        critical: Vec::new(),
    };
    for roots in [true, false] {
        document.bundle = bundle(catalog, files, target, roots);
        match document.to_json() {
            Err(DocumentError::TooLong(_)) => {}
            written => return written,
        }
    }
    document.bundle = None;
    document.to_json()
}

/// The update bundle for `target`: roots after the first (when asked for, and as many as one session takes), then the
/// chain to the target.
fn bundle(catalog: &Catalog, files: &Files, target: &ListedTarget, roots: bool) -> Option<Vec<u8>> {
    let chain = &catalog.chain;
    let mut names = Vec::new();
    if roots && chain.root_version <= MAX_BUNDLE_ROOTS as u64 + 1 {
        names.extend((2..=chain.root_version).map(root_name));
    }
    names.extend([chain.timestamp.name.clone(), chain.snapshot.name.clone(), chain.targets.name.clone()]);
    if let Some(role) = &target.role {
        names.push(chain.delegated.get(role)?.name.clone());
    }
    let found: Option<Vec<&Bytes>> = names.iter().map(|name| files.get(name)).collect();
    Some(found?.into_iter().flatten().copied().collect())
}
