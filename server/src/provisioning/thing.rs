//! A certificate becomes a thing's: by a template, by a claim's token, or by an operator's word.

use std::collections::BTreeSet;

use sealift_jobs::GroupName;
use sealift_jobs::limits::GROUPS_PER_THING_MAX;
use sealift_rollout::buckets;
use sha2::{Digest as _, Sha256};

use super::template::{Plan, PolicyOf};
use super::{Failure, Parameters, Response, SWEEP, Template, WAITING_MAX};
use crate::ledger::{
    Certificate, CertificateStatus, Group, Ledger, NextCertificate, Provisioned, StoredPolicy, TemplateKind, Thing,
};
use crate::mqtt::policy::ATTACHED_MAX;

/// Parameter of `RegisterThing` with the Ed25519 public key of the device's reports, hex. AWS ignores it.
pub(super) const REPORT_KEY: &str = "SealiftReportKey";
/// Parameter with that key's signature over the certificate request, hex.
pub(super) const REPORT_KEY_PROOF: &str = "SealiftReportKeyProof";
/// What the report key signs before the SHA-256 of the certificate request's DER, as in enrolment by token.
const PROOF_CONTEXT: &[u8] = b"sealift enrol v1\0";

/// A `RegisterThing` request.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The certificate of the connection that asks.
    pub asked_by: String,
    /// SHA-256 of the token, hex.
    pub token: String,
    /// The certificate that the token is for, as the token itself says.
    pub id: String,
    /// The template.
    pub template: String,
    /// The parameters.
    pub parameters: Parameters,
}

/// Keeps a certificate until its token is used.
pub(super) fn create(ledger: &mut Ledger<'_>, certificate: &Certificate, now: u64) -> Result<Response, Failure> {
    for id in ledger.ended_ownerships(now, SWEEP)? {
        // A thing has what came of it; the rest is of no use to anybody.
        ledger.remove_certificate(&id)?;
    }
    if ledger.open_ownerships()? >= WAITING_MAX {
        return Err(Failure::Busy);
    }
    ledger.put_certificate(certificate)?;
    Ok(Response::Done)
}

/// Uses a token. The same request again, by the same claim, gets the same answer: MQTT may deliver it twice, and a device that
/// lost the answer asks again.
pub(super) fn claim(ledger: &mut Ledger<'_>, claimed: &Claimed, now: u64) -> Result<Response, Failure> {
    let mut certificate = ledger.certificate(&claimed.id)?.ok_or(Failure::Token)?;
    let mut ownership = certificate.ownership.take().ok_or(Failure::Token)?;
    if ownership.token != claimed.token || ownership.asked_by != claimed.asked_by || ownership.expires_at <= now {
        return Err(Failure::Token);
    }
    let claim_of = ledger.certificate(&claimed.asked_by)?.and_then(|claim| claim.claim);
    if let Some(of) = claim_of.filter(|of| *of != claimed.template) {
        return Err(Failure::ClaimOf(of));
    }
    let stored = ledger.template(&claimed.template)?.ok_or_else(|| Failure::NoTemplate(claimed.template.clone()))?;
    if stored.kind != TemplateKind::FleetProvisioning {
        let (expected, found) = ("FLEET_PROVISIONING", "JITP");
        return Err(Failure::Kind { name: stored.name, expected, found });
    }
    let template = Template::from_json(&stored.document, stored.kind)?;
    let digest = digest(&claimed.parameters);
    if let Some(used) = &ownership.provisioned {
        if used.template != claimed.template || used.parameters != digest {
            return Err(Failure::Token);
        }
        let configuration = template.plan(&claimed.parameters, &claimed.id)?.configuration;
        return Ok(Response::Claimed { thing: used.thing.clone(), configuration });
    }
    let report_key = report_key(&claimed.parameters, &ownership.request)?;
    let plan = template.plan(&claimed.parameters, &claimed.id)?;
    let thing = make(ledger, &plan, &certificate, report_key, now)?;
    ownership.provisioned =
        Some(Provisioned { template: claimed.template.clone(), parameters: digest, thing: thing.name.clone() });
    certificate.ownership = Some(ownership);
    certificate.status = CertificateStatus::Active;
    ledger.put_certificate(&certificate)?;
    Ok(Response::Claimed { thing: thing.name, configuration: plan.configuration })
}

/// One number for a set of parameters.
fn digest(parameters: &Parameters) -> String {
    let mut hash = Sha256::new();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex::encode(hash.finalize())
}

/// The report key among the parameters, once its proof holds; empty when there is none.
fn report_key(parameters: &Parameters, request: &str) -> Result<String, Failure> {
    let Some(text) = parameters.get(REPORT_KEY) else { return Ok(String::new()) };
    let (mut key, mut proof, mut request_digest) = ([0; 32], [0; 64], [0; 32]);
    let given = parameters.get(REPORT_KEY_PROOF).map(String::as_str).unwrap_or_default();
    let read = hex::decode_to_slice(text, &mut key)
        .and_then(|()| hex::decode_to_slice(given, &mut proof))
        .and_then(|()| hex::decode_to_slice(request, &mut request_digest));
    if read.is_ok() && sealift_verifier::ed25519::verify(&key, &[PROOF_CONTEXT, &request_digest], &proof) {
        Ok(hex::encode(key))
    } else {
        Err(Failure::ReportKey)
    }
}

/// Makes the thing of a plan, or gives one that is there a new certificate for the key it has. Everything is looked at before the
/// first write.
pub(super) fn make(
    ledger: &mut Ledger<'_>,
    plan: &Plan,
    certificate: &Certificate,
    report_key: String,
    now: u64,
) -> Result<Thing, Failure> {
    if let Some(mut thing) = ledger.thing(&plan.thing)? {
        // Nobody takes over a name: only who holds the very key (and report key) of the thing is it.
        let same =
            thing.active && thing.key_fingerprint == certificate.key_fingerprint && thing.report_key == report_key;
        if !same {
            return Err(Failure::Taken(plan.thing.clone()));
        }
        // As in a rotation: the certificate that it has is good until this one is first used, so that a device which is killed
        // before it has put this one in place is still itself.
        if thing.fingerprint != certificate.id {
            thing.next = Some(NextCertificate {
                certificate: certificate.certificate.clone(),
                fingerprint: certificate.id.clone(),
                key_fingerprint: certificate.key_fingerprint.clone(),
                issued_at: now,
            });
            ledger.put_thing(&thing)?;
        }
        return Ok(thing);
    }
    let product = plan.product.clone().unwrap_or_default();
    let mut groups: BTreeSet<GroupName> = plan.groups.clone();
    for group in &groups {
        if ledger.group(group)?.is_none() {
            return Err(Failure::NoGroup(group.clone()));
        }
    }
    if !product.is_empty() {
        if !sealift_manifests::is_name(&product) {
            return Err(Failure::Product(product));
        }
        // Percentages of a rollout are made of these.
        let bucket = buckets::group_name(&product, buckets::bucket_of(&product, plan.thing.as_str()));
        groups.extend(bucket.parse::<GroupName>().ok());
    }
    if groups.len() > GROUPS_PER_THING_MAX {
        return Err(Failure::Groups(groups.len()));
    }
    let mut policies = BTreeSet::new();
    let mut own = Vec::new();
    for policy in &plan.policies {
        policies.insert(match policy {
            PolicyOf::Named(name) => {
                ledger.policy(name)?.ok_or_else(|| Failure::NoPolicy(name.clone()))?;
                name.clone()
            }
            PolicyOf::Document(document) => {
                // As AWS names it: by a hash of the document.
                let name = hex::encode(Sha256::digest(document));
                own.push(StoredPolicy { name: name.clone(), document: document.clone(), updated_at: now });
                name
            }
        });
    }
    if policies.len() > ATTACHED_MAX {
        return Err(Failure::TooManyPolicies(policies.len()));
    }
    for policy in own {
        ledger.put_policy(&policy)?;
    }
    // The bucket group comes into being with its first thing.
    for name in groups.difference(&plan.groups) {
        if ledger.group(name)?.is_none() {
            ledger.put_group(&Group { name: name.clone(), created_at: now })?;
        }
    }
    let thing = Thing {
        name: plan.thing.clone(),
        product,
        groups,
        report_key,
        certificate: certificate.certificate.clone(),
        fingerprint: certificate.id.clone(),
        key_fingerprint: certificate.key_fingerprint.clone(),
        enrolled_at: now,
        active: true,
        next: None,
        policies,
        attributes: plan.attributes.clone(),
    };
    ledger.put_thing(&thing)?;
    Ok(thing)
}
