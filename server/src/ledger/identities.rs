//! Registered CAs, provisioning templates, and certificates that no thing has: claims, and those that wait.

use std::collections::BTreeSet;

use redb::ReadableTable as _;
use sealift_jobs::ThingName;
use serde::{Deserialize, Serialize};

use super::{Ledger, PAGE_MAX, Result, read, write};

/// How it was shown that a CA is the registrant's, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaMode {
    /// By a verification certificate over the registration code.
    Default,
    /// Not at all; its devices have to name the server in TLS (SNI).
    SniOnly,
}

/// A CA whose certificates devices may come with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificate {
    /// SHA-256 of its DER, hex.
    pub id: String,
    /// PEM.
    pub certificate: String,
    /// Its subject, for people.
    pub subject: String,
    /// How it was registered.
    pub mode: CaMode,
    /// False: nothing is registered under it any more. What was registered before goes on.
    pub active: bool,
    /// Whether unknown certificates of it are registered on first sight (just-in-time registration).
    pub auto_registration: bool,
    /// The template that makes things of them (just-in-time provisioning).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// When it was registered.
    pub registered_at: u64,
    /// When it expires.
    pub not_after: u64,
}

/// What a template is for, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateKind {
    /// Fleet provisioning by claim.
    #[value(name = "FLEET_PROVISIONING", alias = "fleet")]
    FleetProvisioning,
    /// Just-in-time provisioning.
    #[value(name = "JITP", alias = "jitp")]
    Jitp,
}

/// A provisioning template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningTemplate {
    /// Its name: 1 to 36 of `[0-9A-Za-z_-]`, as in AWS.
    pub name: String,
    /// What it is for.
    pub kind: TemplateKind,
    /// The JSON document.
    pub document: String,
    /// When it was last written.
    pub updated_at: u64,
}

/// Where a certificate stands, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CertificateStatus {
    /// It may connect.
    Active,
    /// It waits for somebody, or for its template.
    PendingActivation,
    /// It is of no use any more.
    Revoked,
}

/// A certificate that belongs to no thing, or does not yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// SHA-256 of its DER, hex.
    pub id: String,
    /// PEM.
    pub certificate: String,
    /// SHA-256 of its public key, hex.
    pub key_fingerprint: String,
    /// Where it stands.
    pub status: CertificateStatus,
    /// The registered CA that signed it; none: this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The template it is a claim for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// What it may do. Without a thing there is no default.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// When it was registered.
    pub registered_at: u64,
    /// When it expires.
    pub not_after: u64,
    /// How it becomes a thing's, when it was made for a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,
    /// Why its template made no thing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The certificate ownership token of fleet provisioning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ownership {
    /// SHA-256 of the token, hex. The token itself is never stored.
    pub token: String,
    /// The certificate that asked: it alone may use the token.
    pub asked_by: String,
    /// SHA-256 of the certificate request's DER, hex: what a report key signs to join it.
    pub request: String,
    /// When the token, and a certificate that nothing came of, end.
    pub expires_at: u64,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<Provisioned>,
}

/// What a token was used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioned {
    /// The template.
    pub template: String,
    /// SHA-256 of the parameters, hex: the same request again gets the same answer, another one doesn't.
    pub parameters: String,
    /// The thing.
    pub thing: ThingName,
}

impl Ledger<'_> {
    /// One registered CA.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn ca(&self, id: &str) -> Result<Option<CaCertificate>> {
        self.cas.get(id)?.map(|v| read("cas", id, v.value())).transpose()
    }

    /// Writes a CA.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_ca(&mut self, ca: &CaCertificate) -> Result<()> {
        self.dirty = true;
        self.cas.insert(ca.id.as_str(), write(ca).as_slice())?;
        Ok(())
    }

    /// Every CA: they are few.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn cas(&self) -> Result<Vec<CaCertificate>> {
        let mut all = Vec::new();
        for entry in self.cas.iter()? {
            let (key, value) = entry?;
            all.push(read("cas", key.value(), value.value())?);
        }
        Ok(all)
    }

    /// One template.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn template(&self, name: &str) -> Result<Option<ProvisioningTemplate>> {
        self.templates.get(name)?.map(|v| read("templates", name, v.value())).transpose()
    }

    /// Writes a template.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_template(&mut self, template: &ProvisioningTemplate) -> Result<()> {
        self.dirty = true;
        self.templates.insert(template.name.as_str(), write(template).as_slice())?;
        Ok(())
    }

    /// Removes a template.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn remove_template(&mut self, name: &str) -> Result<()> {
        self.dirty = true;
        self.templates.remove(name)?;
        Ok(())
    }

    /// Every template: they are few.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn templates(&self) -> Result<Vec<ProvisioningTemplate>> {
        let mut all = Vec::new();
        for entry in self.templates.iter()? {
            let (key, value) = entry?;
            all.push(read("templates", key.value(), value.value())?);
        }
        Ok(all)
    }

    /// One certificate.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn certificate(&self, id: &str) -> Result<Option<Certificate>> {
        self.certificates.get(id)?.map(|v| read("certificates", id, v.value())).transpose()
    }

    /// Writes a certificate.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_certificate(&mut self, certificate: &Certificate) -> Result<()> {
        self.dirty = true;
        let id = certificate.id.as_str();
        if let Some(before) = self.certificate(id)?.and_then(|before| before.ownership) {
            self.ownerships.remove((before.expires_at, id))?;
        }
        if let Some(ownership) = &certificate.ownership {
            self.ownerships.insert((ownership.expires_at, id), ())?;
        }
        self.certificates.insert(id, write(certificate).as_slice())?;
        Ok(())
    }

    /// Removes a certificate.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn remove_certificate(&mut self, id: &str) -> Result<()> {
        self.dirty = true;
        if let Some(ownership) = self.certificate(id)?.and_then(|before| before.ownership) {
            self.ownerships.remove((ownership.expires_at, id))?;
        }
        self.certificates.remove(id)?;
        Ok(())
    }

    /// Certificates by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn certificates(&self, after: Option<&str>, limit: usize) -> Result<Vec<Certificate>> {
        let mut page = Vec::new();
        for entry in self.certificates.range(after.unwrap_or("")..)? {
            let (key, value) = entry?;
            if after == Some(key.value()) {
                continue;
            }
            if page.len() == limit.min(PAGE_MAX) {
                break;
            }
            page.push(read("certificates", key.value(), value.value())?);
        }
        Ok(page)
    }

    /// Certificates whose ownership token has ended at `now`, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn ended_ownerships(&self, now: u64, limit: usize) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for entry in self.ownerships.range((0, "")..(now.saturating_add(1), ""))?.take(limit) {
            let (key, ()) = entry.map(|(key, _)| (key, ()))?;
            ended.push(key.value().1.to_owned());
        }
        Ok(ended)
    }

    /// How many certificates wait for their ownership token to be used.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn open_ownerships(&self) -> Result<u64> {
        use redb::ReadableTableMetadata as _;
        Ok(self.ownerships.len()?)
    }
}
