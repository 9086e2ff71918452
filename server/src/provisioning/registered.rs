//! What operators write: CAs, templates, claims.

use crate::ledger::{
    CaCertificate, CaMode, Certificate, CertificateStatus, Ledger, ProvisioningTemplate, StoredPolicy, TemplateKind,
};
use crate::pki::{inspect_pem, signed_by};
use serde_json::json;

use super::{Failure, Response, Template};

/// A wish to register a CA (AWS IoT's `RegisterCACertificate`).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registration {
    /// The CA certificate, PEM.
    pub certificate: String,
    /// How its ownership is shown.
    #[serde(default = "default_mode")]
    pub mode: CaMode,
    /// A certificate that the CA signed over the registration code, PEM; needed with DEFAULT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_certificate: Option<String>,
    /// Whether its certificates are registered on first sight.
    #[serde(default)]
    pub allow_auto_registration: bool,
    /// The template that makes things of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Whether it is switched on.
    #[serde(default = "yes")]
    pub set_as_active: bool,
}

fn default_mode() -> CaMode {
    CaMode::Default
}

fn yes() -> bool {
    true
}

/// Looks at a CA and its proof. `own` is this server's CA (DER), `code` the registration code.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_registration(wish: &Registration, own: &[u8], code: &str, now: u64) -> Result<CaCertificate, String> {
    let (ca, der) = inspect_pem(&wish.certificate).map_err(|e| format!("the CA certificate: {e}"))?;
    if !ca.is_ca {
        return Err("the certificate is no CA's: its basic constraints don't say so".into());
    }
    if ca.not_after < now {
        return Err("the CA certificate has expired".into());
    }
    let ours = crate::pki::inspect(own).map_err(|e| format!("this server's CA: {e}"))?;
    if ca.subject_der == ours.subject_der {
        return Err("the CA has the name of this server's own CA; register one of another name".into());
    }
    match (wish.mode, &wish.verification_certificate) {
        (CaMode::SniOnly, None) => {}
        (CaMode::SniOnly, Some(_)) => return Err("SNI_ONLY takes no verification certificate".into()),
        (CaMode::Default, None) => {
            return Err(format!(
                "a verification certificate is needed: one that this CA signed, with the common name {code}; or register it SNI_ONLY"
            ));
        }
        (CaMode::Default, Some(pem)) => {
            let (proof, proof_der) = inspect_pem(pem).map_err(|e| format!("the verification certificate: {e}"))?;
            if proof.common_name.as_deref() != Some(code) {
                return Err(format!("the verification certificate's common name isn't the registration code {code}"));
            }
            if !(proof.not_before..=proof.not_after).contains(&now) {
                return Err("the verification certificate isn't valid now".into());
            }
            if !signed_by(&proof_der, &der) {
                return Err("the verification certificate isn't signed by this CA".into());
            }
        }
    }
    if wish.template.is_some() && !wish.allow_auto_registration {
        return Err("a template works with automatic registration alone: allow it too".into());
    }
    Ok(CaCertificate {
        id: ca.id,
        certificate: ca.pem,
        subject: ca.subject,
        mode: wish.mode,
        active: wish.set_as_active,
        auto_registration: wish.allow_auto_registration,
        template: wish.template.clone(),
        registered_at: now,
        not_after: ca.not_after,
    })
}

pub(super) fn register_ca(ledger: &mut Ledger<'_>, ca: &CaCertificate) -> Result<Response, Failure> {
    if let Some(name) = &ca.template {
        let template = ledger.template(name)?.ok_or_else(|| Failure::NoTemplate(name.clone()))?;
        if template.kind != TemplateKind::Jitp {
            let (expected, found) = ("JITP", "FLEET_PROVISIONING");
            return Err(Failure::Kind { name: template.name, expected, found });
        }
    }
    let mut ca = ca.clone();
    if let Some(before) = ledger.ca(&ca.id)? {
        ca.registered_at = before.registered_at;
    }
    ledger.put_ca(&ca)?;
    Ok(Response::Cas(vec![ca]))
}

pub(super) fn set_ca(ledger: &mut Ledger<'_>, id: &str, active: bool) -> Result<Response, Failure> {
    let mut ca = ledger.ca(id)?.ok_or_else(|| Failure::NoCa(id.to_owned()))?;
    if ca.active != active {
        ca.active = active;
        ledger.put_ca(&ca)?;
    }
    Ok(Response::Cas(vec![ca]))
}

fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let fine = (1..=36).contains(&name.len()) && name.chars().all(plain);
    if fine { Ok(()) } else { Err(Failure::TemplateName(name.to_owned())) }
}

pub(super) fn put_template(
    ledger: &mut Ledger<'_>,
    template: &ProvisioningTemplate,
    now: u64,
) -> Result<Response, Failure> {
    let name = &template.name;
    check_name(name)?;
    if let Some(before) = ledger.template(name)?.filter(|before| before.kind != template.kind) {
        let word = |kind| if kind == TemplateKind::Jitp { "JITP" } else { "FLEET_PROVISIONING" };
        return Err(Failure::Kind { name: name.clone(), expected: word(template.kind), found: word(before.kind) });
    }
    Template::from_json(&template.document, template.kind)?;
    let template = ProvisioningTemplate { updated_at: now, ..template.clone() };
    ledger.put_template(&template)?;
    Ok(Response::Templates(vec![template]))
}

pub(super) fn remove_template(ledger: &mut Ledger<'_>, name: &str) -> Result<Response, Failure> {
    check_name(name)?;
    if ledger.template(name)?.is_none() {
        return Err(Failure::NoTemplate(name.to_owned()));
    }
    if let Some(ca) = ledger.cas()?.into_iter().find(|ca| ca.template.as_deref() == Some(name)) {
        return Err(Failure::TemplateInUse { name: name.to_owned(), by: format!("the CA {}", ca.id) });
    }
    ledger.remove_template(name)?;
    Ok(Response::Done)
}

/// The policy of claims for a template, and its name: connect under any client id, ask for a certificate, use the template.
#[must_use]
pub fn claim_policy(template: &str) -> (String, String) {
    // The one that has the server make keys is answered, with a refusal that says why.
    let topics = [
        "certificates/create/*".to_owned(),
        "certificates/create-from-csr/*".to_owned(),
        format!("provisioning-templates/{template}/provision/*"),
    ];
    let arn = |kind: &str| topics.each_ref().map(|topic| format!("arn:aws:iot:*:*:{kind}/$aws/{topic}"));
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": "iot:Connect", "Resource": "*" },
            { "Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": arn("topic") },
            { "Effect": "Allow", "Action": "iot:Subscribe", "Resource": arn("topicfilter") },
        ],
    });
    (format!("claim-{template}"), document.to_string())
}

pub(super) fn add_claim(ledger: &mut Ledger<'_>, claim: &Certificate, now: u64) -> Result<Response, Failure> {
    let name = claim.claim.clone().unwrap_or_default();
    let template = ledger.template(&name)?.ok_or_else(|| Failure::NoTemplate(name.clone()))?;
    if template.kind != TemplateKind::FleetProvisioning {
        return Err(Failure::Kind { name, expected: "FLEET_PROVISIONING", found: "JITP" });
    }
    // Asked again with the same key: the same claim.
    let mut after: Option<String> = None;
    loop {
        let page = ledger.certificates(after.as_deref(), crate::ledger::PAGE_MAX)?;
        let same = |one: &&Certificate| {
            one.claim == claim.claim && one.key_fingerprint == claim.key_fingerprint && one.not_after > now
        };
        if let Some(known) = page.iter().find(same).filter(|known| known.status == CertificateStatus::Active) {
            return Ok(Response::Certificates(vec![known.clone()]));
        }
        match page.last() {
            Some(last) => after = Some(last.id.clone()),
            None => break,
        }
    }
    let (policy, document) = claim_policy(&name);
    if ledger.policy(&policy)?.is_none() {
        ledger.put_policy(&StoredPolicy { name: policy.clone(), document, updated_at: now })?;
    }
    let claim = Certificate { policies: [policy].into(), ..claim.clone() };
    ledger.put_certificate(&claim)?;
    Ok(Response::Certificates(vec![claim]))
}

pub(super) fn revoke(ledger: &mut Ledger<'_>, id: &str) -> Result<Response, Failure> {
    let thing = ledger.thing_of(id)?;
    let certificate = ledger.certificate(id)?;
    if let Some(mut thing) = thing.filter(|thing| thing.fingerprint == id) {
        if thing.active {
            thing.active = false;
            thing.next = None;
            ledger.put_thing(&thing)?;
        }
    } else if certificate.is_none() {
        return Err(Failure::NoCertificate(id.to_owned()));
    }
    if let Some(mut certificate) = certificate {
        if certificate.status != CertificateStatus::Revoked {
            certificate.status = CertificateStatus::Revoked;
            // A token that could still be used would bring it back.
            certificate.ownership = None;
            ledger.put_certificate(&certificate)?;
        }
        return Ok(Response::Certificates(vec![certificate]));
    }
    Ok(Response::Certificates(Vec::new()))
}
