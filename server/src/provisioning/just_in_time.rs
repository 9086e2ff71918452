//! Just-in-time registration and provisioning: what becomes of a certificate that a registered CA signed when it is first seen.

use sealift_jobs::ThingName;

use super::template::{CERTIFICATE_ID, Plan, SUBJECT};
use super::{Failure, Parameters, Response, Template, thing};
use crate::ledger::{CaCertificate, CaMode, Certificate, CertificateStatus, Ledger, TemplateKind};
use crate::pki::Inspected;

/// A certificate of a registered CA, as TLS verified it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The certificate.
    pub certificate: Inspected,
    /// The CA that signed it.
    pub ca: String,
    /// Whether the client named the server in TLS (SNI).
    pub named_server: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It is a thing's, or somebody activated it: go on.
    Known,
    /// It was registered just now: the connection ends, and the next one of a thing is served.
    Registered {
        /// The thing that a template made of it.
        thing: Option<ThingName>,
        /// Why a template made none.
        problem: Option<String>,
    },
    /// It was registered before, and a template has made a thing of it only now.
    Provisioned(ThingName),
    /// It waits for its activation.
    Pending,
    /// It isn't let in.
    Refused(&'static str),
}

pub(super) fn arrive(ledger: &mut Ledger<'_>, arrival: &Arrival, now: u64) -> Result<Response, Failure> {
    let arrived = decide(ledger, arrival, now)?;
    Ok(Response::Arrived(arrived))
}

fn decide(ledger: &mut Ledger<'_>, arrival: &Arrival, now: u64) -> Result<Arrived, Failure> {
    let Some(ca) = ledger.ca(&arrival.ca)? else { return Ok(Arrived::Refused("its CA isn't registered")) };
    if ca.mode == CaMode::SniOnly && !arrival.named_server {
        return Ok(Arrived::Refused("its CA was registered SNI_ONLY, and the client named no server"));
    }
    let id = arrival.certificate.id.as_str();
    // Whether a thing's certificate is still good is asked again with every request.
    if ledger.thing_of(id)?.is_some() {
        return Ok(Arrived::Known);
    }
    let known = ledger.certificate(id)?;
    match known.as_ref().map(|known| known.status) {
        Some(CertificateStatus::Active) => return Ok(Arrived::Known),
        Some(CertificateStatus::Revoked) => return Ok(Arrived::Refused("the certificate was revoked")),
        Some(CertificateStatus::PendingActivation) | None => {}
    }
    if !ca.active {
        return Ok(Arrived::Refused("its CA is INACTIVE: nothing new is registered under it"));
    }
    if ca.not_after < now {
        return Ok(Arrived::Refused("its CA has expired: nothing new is registered under it"));
    }
    if known.is_none() && !ca.auto_registration {
        return Ok(Arrived::Refused("it isn't registered, and its CA has no automatic registration"));
    }
    let new = known.is_none();
    let mut certificate = known.unwrap_or_else(|| Certificate {
        id: id.to_owned(),
        certificate: arrival.certificate.pem.clone(),
        key_fingerprint: arrival.certificate.key_fingerprint.clone(),
        status: CertificateStatus::PendingActivation,
        ca: Some(ca.id.clone()),
        claim: None,
        policies: Default::default(),
        registered_at: now,
        not_after: arrival.certificate.not_after,
        ownership: None,
        problem: None,
    });
    let made = match &ca.template {
        Some(template) => provision(ledger, &ca, template, &arrival.certificate, &certificate, now),
        None => Ok(None),
    };
    match made {
        Ok(Some(thing)) => {
            ledger.remove_certificate(id)?;
            Ok(if new {
                Arrived::Registered { thing: Some(thing), problem: None }
            } else {
                Arrived::Provisioned(thing)
            })
        }
        Ok(None) if !new => Ok(Arrived::Pending),
        Ok(None) => {
            ledger.put_certificate(&certificate)?;
            Ok(Arrived::Registered { thing: None, problem: None })
        }
        Err(Failure::Ledger(error)) => Err(error.into()),
        Err(failure) => {
            let problem = failure.to_string();
            if certificate.problem.as_ref() != Some(&problem) {
                certificate.problem = Some(problem.clone());
                ledger.put_certificate(&certificate)?;
            }
            Ok(if new { Arrived::Registered { thing: None, problem: Some(problem) } } else { Arrived::Pending })
        }
    }
}

fn provision(
    ledger: &mut Ledger<'_>,
    ca: &CaCertificate,
    name: &str,
    inspected: &Inspected,
    certificate: &Certificate,
    now: u64,
) -> Result<Option<ThingName>, Failure> {
    let stored = ledger.template(name)?.ok_or_else(|| Failure::NoTemplate(name.to_owned()))?;
    if stored.kind != TemplateKind::Jitp {
        let (expected, found) = ("JITP", "FLEET_PROVISIONING");
        return Err(Failure::Kind { name: stored.name, expected, found });
    }
    let plan = Template::from_json(&stored.document, stored.kind)?.plan(&parameters(inspected), &certificate.id)?;
    let thing = thing::make(ledger, &plan, certificate, String::new(), now)?;
    tracing::debug!(thing = %thing.name, ca = ca.id, template = name, "just-in-time provisioning");
    Ok(Some(thing.name))
}

/// What AWS IoT fills in from the subject. A part that stands there twice is left out: it would be a matter of luck which one
/// counts.
fn parameters(inspected: &Inspected) -> Parameters {
    let mut parameters = Parameters::from([(CERTIFICATE_ID.to_owned(), inspected.id.clone())]);
    for (name, identifier) in SUBJECT {
        let mut found = inspected.parts.iter().filter(|(of, _)| of == identifier);
        if let (Some((_, value)), None) = (found.next(), found.next()) {
            parameters.insert(format!("AWS::IoT::Certificate::{name}"), value.clone());
        }
    }
    parameters
}

/// Makes a thing of a certificate that waits, by an operator's word.
pub(super) fn activate(ledger: &mut Ledger<'_>, id: &str, plan: &Plan, now: u64) -> Result<Response, Failure> {
    // Asked again: it is that thing's already.
    if let Some(thing) = ledger.thing_of(id)?
        && thing.name == plan.thing
    {
        return Ok(Response::Thing(Box::new(thing)));
    }
    let certificate = ledger.certificate(id)?.ok_or_else(|| Failure::NoCertificate(id.to_owned()))?;
    let state = match (certificate.status, &certificate.ownership) {
        (CertificateStatus::PendingActivation, None) => None,
        (CertificateStatus::PendingActivation, Some(_)) => Some("waiting for its ownership token"),
        (CertificateStatus::Active, _) => Some("ACTIVE"),
        (CertificateStatus::Revoked, _) => Some("REVOKED"),
    };
    if let Some(state) = state {
        return Err(Failure::NotPending { id: id.to_owned(), state });
    }
    let thing = thing::make(ledger, plan, &certificate, String::new(), now)?;
    ledger.remove_certificate(id)?;
    Ok(Response::Thing(Box::new(thing)))
}
