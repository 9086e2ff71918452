//! A check of the whole fleet, after AWS IoT Device Defender's audit: shared certificates, policies that allow too much,
//! certificates that expire, devices that fell silent.

use std::collections::{BTreeMap, HashMap};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sealift_jobs::ThingName;
use serde::{Deserialize, Serialize};

use crate::ledger::{StoredPolicy, Thing};

const DAY: u64 = 24 * 3_600;
/// Names in one finding; the rest is a number.
const NAMES_MAX: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// To be known.
    Low,
    /// To be mended soon.
    Medium,
    /// To be mended now.
    Critical,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check, by AWS's name where AWS has it.
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, and what to do.
    pub what: String,
    /// The devices it is about, at most a hundred of them.
    pub things: Vec<ThingName>,
    /// How many there are.
    pub count: u64,
}

/// What is looked at.
pub struct Fleet<'a> {
    /// Every device.
    pub things: &'a [Thing],
    /// Every policy.
    pub policies: &'a [StoredPolicy],
    /// When devices were last heard.
    pub seen: &'a HashMap<ThingName, u64>,
    /// The CA, DER.
    pub authority: &'a [u8],
    /// Now.
    pub now: u64,
}

/// What counts as near and as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Bounds {
    /// Days before an expiry.
    #[serde(default = "thirty")]
    pub expiring_days: u64,
    /// Days of silence.
    #[serde(default = "fourteen")]
    pub silent_days: u64,
}

fn thirty() -> u64 {
    30
}

fn fourteen() -> u64 {
    14
}

/// Runs every check; the worst findings come first.
#[must_use]
pub fn check(fleet: &Fleet<'_>, bounds: Bounds) -> Vec<Finding> {
    let mut findings = Vec::new();
    let active: Vec<&Thing> = fleet.things.iter().filter(|thing| thing.active).collect();
    shared(&active, &mut findings);
    findings.extend(fleet.policies.iter().filter_map(|policy| overly_permissive(policy, &active)));
    expiring(&active, fleet, bounds, &mut findings);
    let end =
        |thing: &&Thing| fleet.seen.get(&thing.name).copied().unwrap_or(thing.enrolled_at) + bounds.silent_days * DAY;
    let silent = active.iter().copied().filter(|thing| end(thing) <= fleet.now).collect();
    push(&mut findings, "SEALIFT_DEVICE_SILENT_CHECK", Severity::Low, silent, || {
        format!("not heard for {} days; look after them, or revoke those that are gone", bounds.silent_days)
    });
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.check.cmp(&b.check)));
    findings
}

fn push(out: &mut Vec<Finding>, check: &str, severity: Severity, things: Vec<&Thing>, what: impl FnOnce() -> String) {
    if !things.is_empty() {
        let count = things.len() as u64;
        let things = things.into_iter().take(NAMES_MAX).map(|thing| thing.name.clone()).collect();
        out.push(Finding { check: check.into(), severity, what: what(), things, count });
    }
}

/// One key in two devices: whoever opens one has both.
fn shared(things: &[&Thing], findings: &mut Vec<Finding>) {
    type KeyOf = fn(&Thing) -> &str;
    let keys: [(&str, &str, KeyOf); 3] = [
        ("DEVICE_CERTIFICATE_SHARED_CHECK", "certificate", |thing| &thing.fingerprint),
        ("DEVICE_CERTIFICATE_SHARED_CHECK", "TLS key", |thing| &thing.key_fingerprint),
        ("SEALIFT_REPORT_KEY_SHARED_CHECK", "report key", |thing| &thing.report_key),
    ];
    for (check, what, key) in keys {
        let mut holders: BTreeMap<&str, Vec<&Thing>> = BTreeMap::new();
        for thing in things {
            holders.entry(key(thing)).or_default().push(thing);
        }
        for (shared, things) in holders.into_iter().filter(|(key, things)| !key.is_empty() && things.len() > 1) {
            let short = shared.get(..16).unwrap_or(shared).to_owned();
            push(findings, check, Severity::Critical, things, || {
                format!("these devices share the {what} {short}…: revoke them, and enrol each with a key of its own")
            });
        }
    }
}

/// An Allow for every action, or for resources that no variable binds to the device itself.
fn overly_permissive(policy: &StoredPolicy, things: &[&Thing]) -> Option<Finding> {
    let document: serde_json::Value = serde_json::from_str(&policy.document).ok()?;
    let words = |value: &serde_json::Value| -> Vec<String> {
        match value {
            serde_json::Value::String(word) => vec![word.clone()],
            serde_json::Value::Array(words) => {
                words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        }
    };
    let statements = match document.get("Statement")? {
        serde_json::Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    let mut found = Vec::new();
    for statement in statements.iter().filter(|statement| statement["Effect"] == "Allow") {
        found.extend(words(&statement["Action"]).into_iter().filter(|action| action.contains('*')));
        let wild = |resource: &String| resource.contains('*') && !resource.contains("${iot:");
        found.extend(words(&statement["Resource"]).into_iter().filter(wild));
    }
    if found.is_empty() {
        return None;
    }
    found.dedup();
    let holders: Vec<&&Thing> = things.iter().filter(|thing| thing.policies.contains(&policy.name)).collect();
    Some(Finding {
        check: "IOT_POLICY_OVERLY_PERMISSIVE_CHECK".into(),
        severity: Severity::Critical,
        what: format!(
            "policy {} allows {}: name the actions, and bind resources with ${{iot:Connection.Thing.ThingName}}",
            policy.name,
            found.join(", ")
        ),
        count: holders.len() as u64,
        things: holders.into_iter().take(NAMES_MAX).map(|thing| thing.name.clone()).collect(),
    })
}

/// When a certificate ends, in seconds since the Unix epoch.
fn end_of(der: &[u8]) -> Option<u64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

fn expiring(things: &[&Thing], fleet: &Fleet<'_>, bounds: Bounds, findings: &mut Vec<Finding>) {
    let soon = fleet.now + bounds.expiring_days * DAY;
    let (mut expired, mut expiring) = (Vec::new(), Vec::new());
    for thing in things {
        let der = CertificateDer::from_pem_slice(thing.certificate.as_bytes());
        match der.ok().and_then(|der| end_of(&der)) {
            Some(end) if end <= fleet.now => expired.push(*thing),
            Some(end) if end <= soon => expiring.push(*thing),
            _ => {}
        }
    }
    push(findings, "DEVICE_CERTIFICATE_EXPIRING_CHECK", Severity::Critical, expired, || {
        "certificates that have expired: the devices can't connect, and have to enrol again".into()
    });
    push(findings, "DEVICE_CERTIFICATE_EXPIRING_CHECK", Severity::Medium, expiring, || {
        format!(
            "certificates that expire within {} days: renew them with `sealift-server devices rotate`",
            bounds.expiring_days
        )
    });
    if let Some(end) = end_of(fleet.authority).filter(|end| *end <= soon) {
        let severity = if end <= fleet.now { Severity::Critical } else { Severity::Medium };
        let what =
            format!("the CA's certificate ends within {} days, and with it every device's", bounds.expiring_days);
        findings.push(Finding {
            check: "CA_CERTIFICATE_EXPIRING_CHECK".into(),
            severity,
            what,
            things: vec![],
            count: 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn thing(name: &str, key: &str) -> Thing {
        Thing {
            name: name.parse().unwrap(),
            product: "p".into(),
            groups: BTreeSet::new(),
            report_key: format!("report-{name}"),
            certificate: String::new(),
            fingerprint: format!("certificate-{name}"),
            key_fingerprint: key.into(),
            enrolled_at: 0,
            active: true,
            next: None,
            policies: BTreeSet::from(["wide".to_owned()]),
            attributes: Default::default(),
        }
    }

    fn certificate(days: u64, now: u64) -> String {
        let mut params = rcgen::CertificateParams::default();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = epoch + std::time::Duration::from_secs(now + days * DAY);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn shared_keys_wide_policies_ends_and_silence_are_found_and_a_good_fleet_is_quiet() {
        let now = 2_000_000_000;
        let mut things = [thing("a", "one"), thing("b", "one"), thing("c", "two"), thing("gone", "two")];
        things[3].active = false;
        for (thing, days) in things.iter_mut().zip([10, 365, 365, 365]) {
            thing.certificate = certificate(days, now);
        }
        let policy =
            |name: &str, document: &str| StoredPolicy { name: name.into(), document: document.into(), updated_at: 0 };
        let policies = [
            policy(
                "wide",
                r#"{"Statement":[{"Effect":"Allow","Action":["iot:*"],"Resource":"arn:aws:iot:::topic/*"}]}"#,
            ),
            policy(
                "own",
                r#"{"Statement":{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:::topic/$aws/things/${iot:Connection.Thing.ThingName}/jobs/*"}}"#,
            ),
            policy("deny", r#"{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#),
        ];
        let seen = HashMap::from([("a".parse().unwrap(), now), ("b".parse().unwrap(), now - 13 * DAY)]);
        let fleet = Fleet { things: &things, policies: &policies, seen: &seen, authority: &[], now };
        let findings = check(&fleet, Bounds { expiring_days: 30, silent_days: 14 });
        let told: Vec<(&str, usize)> = findings.iter().map(|f| (f.check.as_str(), f.things.len())).collect();
        assert_eq!(
            told,
            [
                ("DEVICE_CERTIFICATE_SHARED_CHECK", 2),
                ("IOT_POLICY_OVERLY_PERMISSIVE_CHECK", 3),
                ("DEVICE_CERTIFICATE_EXPIRING_CHECK", 1),
                ("SEALIFT_DEVICE_SILENT_CHECK", 1)
            ],
            "{findings:?}"
        );
        assert!(findings[1].what.contains("iot:*") && findings[1].what.contains("policy wide"), "{}", findings[1].what);
        let good = Fleet { things: &things[..1], policies: &policies[1..], seen: &seen, authority: &[], now };
        assert!(check(&good, Bounds { expiring_days: 5, silent_days: 14 }).is_empty());
    }
}
