//! Whose a certificate is, and which policies it has.

use sealift_jobs::ThingName;

use super::{Failure, Identity};
use crate::ledger::{Certificate, CertificateStatus, Ledger, PAGE_MAX};

/// Whose a certificate is. By its fingerprint; a thing that an older server wrote is found by the common name.
pub(super) fn identify(ledger: &Ledger<'_>, fingerprint: &str, named: Option<&ThingName>) -> Result<Identity, Failure> {
    if let Some(thing) = ledger.thing_of(fingerprint)? {
        return Ok(Identity::Thing(Box::new(thing)));
    }
    if let Some(certificate) = ledger.certificate(fingerprint)? {
        let claim = certificate.status == CertificateStatus::Active && certificate.claim.is_some();
        return Ok(if claim { Identity::Certificate(Box::new(certificate)) } else { Identity::Unknown });
    }
    let thing = named.map(|name| ledger.thing(name)).transpose()?.flatten();
    let own = thing.filter(|thing| thing.fingerprints().any(|one| one == fingerprint));
    Ok(own.map_or(Identity::Unknown, |thing| Identity::Thing(Box::new(thing))))
}

pub(super) fn check_policy_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let fine = (1..=128).contains(&name.len()) && name.chars().all(plain);
    if fine { Ok(()) } else { Err(Failure::PolicyName(name.to_owned())) }
}

/// Something that has a policy attached, in words. Rarely asked, so everything is gone through.
pub(super) fn attached_to(ledger: &Ledger<'_>, name: &str) -> Result<Option<String>, Failure> {
    let mut after: Option<String> = None;
    loop {
        let page = ledger.things(after.as_deref(), PAGE_MAX)?;
        if let Some(thing) = page.iter().find(|thing| thing.policies.contains(name)) {
            return Ok(Some(format!("the device {}", thing.name)));
        }
        match page.last() {
            Some(last) => after = Some(last.name.to_string()),
            None => break,
        }
    }
    let mut after: Option<String> = None;
    loop {
        let page = ledger.certificates(after.as_deref(), PAGE_MAX)?;
        let has = |one: &&Certificate| one.status != CertificateStatus::Revoked && one.policies.contains(name);
        if let Some(certificate) = page.iter().find(has) {
            return Ok(Some(format!("the certificate {}", certificate.id)));
        }
        match page.last() {
            Some(last) => after = Some(last.id.clone()),
            None => return Ok(None),
        }
    }
}
