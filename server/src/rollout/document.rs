//! The job document of a rollout: a hint where to look.

use std::collections::BTreeMap;

use bytes::Bytes;
use sealift_jobs::{DocumentError, JobDocument, document::FORMAT};
use sealift_manifests::bounds::MAX_BUNDLE_ROOTS;

use crate::intake::chain::{Catalog, Files, ListedTarget, root_name};
use crate::store::{METADATA, PAYLOADS};

/// Stands for the origin of the endpoint; filled in when a device asks for the document, as AWS fills its presign
/// placeholders.
pub const ORIGIN_PLACEHOLDER: &str = "${sealift:origin}";

/// The URLs of a document.
#[derive(Clone, Debug)]
pub struct Locations {
    /// Base of the metadata, with a closing slash.
    pub metadata: String,
    /// Base of the payloads, with a closing slash.
    pub payloads: String,
}

impl Locations {
    /// The local endpoint's.
    #[must_use]
    pub fn local() -> Self {
        Self {
            metadata: format!("{ORIGIN_PLACEHOLDER}/{METADATA}/"),
            payloads: format!("{ORIGIN_PLACEHOLDER}/{PAYLOADS}/"),
        }
    }
}

/// Writes the document for `target`. The bundle rides along while everything fits AWS's bound: with the newer roots
/// first, then without; a device that needs more fetches it.
///
/// # Errors
/// [`DocumentError`] when it doesn't fit even without a bundle.
pub fn write(
    catalog: &Catalog,
    files: &Files,
    target: &ListedTarget,
    locations: &Locations,
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
            .map(|payload| (payload.digest, format!("{}{}", locations.payloads, payload.digest)))
            .collect::<BTreeMap<_, _>>(),
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
