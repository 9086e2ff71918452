//! `release reissue`: back to a former image by going forward. It gets a release version of its own, so that devices which
//! run the bad one take it; its security counter is kept, so that nothing is undone that was meant to last.

use sealift_manifests::Version;

use super::create::{Created, Draft, add};
use super::history::{Former, formers, stored};
use crate::error::{Error, Result};
use crate::project::Project;
use crate::repository::Layout;

/// What to bring back.
#[derive(Debug)]
pub struct Reissue {
    /// The product; the project's only one where none is named.
    pub product: Option<String>,
    /// The former release.
    pub version: Version,
    /// Its component, where the product has several that had this version.
    pub component: Option<String>,
    /// The version it gets; else the one after the highest there ever was.
    pub new_version: Option<Version>,
    /// Former images for deltas; see [`super::Request::from`].
    pub from: Option<Vec<String>>,
    /// Sign with the delegated keys alone; see [`super::Request::stage`].
    pub stage: bool,
    /// Example keys are accepted.
    pub development: bool,
}

/// Makes the release. Also returns its product and version.
pub fn reissue(project: &Project, wanted: &Reissue, now: u64) -> Result<(String, Version, u64, Created)> {
    let product = match (&wanted.product, project.products.len()) {
        (Some(product), _) => product,
        (None, 1) => project.products.keys().next().map_or_else(|| which_product(project), Ok)?,
        (None, _) => return which_product(project),
    };
    let (product, _) = project.product(product)?;
    let layout = Layout::new(&project.directory);
    let known = formers(&layout, product)?;
    let of_version = |former: &&Former| {
        former.version == wanted.version && wanted.component.as_ref().is_none_or(|it| *it == former.component)
    };
    let Some(former) = known.iter().rev().find(of_version) else {
        let mut versions: Vec<_> = known.iter().map(|former| former.version).collect();
        versions.sort();
        versions.dedup();
        let versions = versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::refused(
            format!("{product} {} was never released here", wanted.version),
            format!("known releases: {}", if versions.is_empty() { "none" } else { &versions }),
        ));
    };
    if let Some(other) = known.iter().filter(of_version).find(|other| other.component != former.component) {
        return Err(Error::usage(
            format!("{product} {} is a release of {} and of {}", wanted.version, former.component, other.component),
            "name one with --component",
        ));
    }
    let line = || known.iter().filter(|it| it.component == former.component);
    // Withdrawn releases count: devices that run them have their counters.
    if let Some(higher) =
        line().filter(|it| it.security_counter > former.security_counter).max_by_key(|it| it.security_counter)
    {
        return Err(Error::Refused {
            code: Some(sealift_verifier::Error::CounterTooLow.code()),
            fault: format!(
                "{product} {} carries security counter {}, and {} raised it to {}: the counter would have to fall, and \
                 devices that ran {} refuse that",
                former.version, former.security_counter, higher.version, higher.security_counter, higher.version
            ),
            remedy: format!(
                "reissue a release with counter {}, or build the old source anew and release it with that counter",
                higher.security_counter
            ),
        });
    }
    let highest = line().map(|it| it.version).max().unwrap_or(former.version);
    let version = match wanted.new_version {
        Some(version) => version,
        None => next(highest)?,
    };
    if version <= highest {
        return Err(Error::usage(
            format!("the new version {version} is not above {highest}, the highest there was"),
            "a reissue goes forward: leave out --new-version, or name a higher one",
        ));
    }
    let attached = |digest: Option<_>| digest.map(|digest| Ok(stored(&layout, &digest)?.bytes)).transpose();
    let draft = Draft {
        product,
        component: &former.component,
        hardware: former.hardware.iter().map(String::as_str).collect(),
        version,
        security_counter: former.security_counter,
        minimum_version: former.minimum_version,
        image: stored(&layout, &former.image)?,
        from: wanted.from.as_deref(),
        sbom: attached(former.sbom)?,
        provenance: attached(former.provenance)?,
        stage: wanted.stage,
        development: wanted.development,
    };
    let created = add(project, draft, now)?;
    Ok((product.to_owned(), version, former.security_counter, created))
}

fn next(Version([major, minor, patch]): Version) -> Result<Version> {
    let patch = patch.checked_add(1);
    patch
        .map(|patch| Version([major, minor, patch]))
        .ok_or_else(|| Error::usage("the highest version has no successor", "name the new version with --new-version"))
}

fn which_product<T>(project: &Project) -> Result<T> {
    let known: Vec<_> = project.products.keys().map(String::as_str).collect();
    Err(Error::usage("the project has several products", format!("name one with --product: {}", known.join(", "))))
}
