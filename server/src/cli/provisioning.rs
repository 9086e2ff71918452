//! `sealift-server ca`, `templates`, `claims` and `certificates`: enrolment as AWS IoT does it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use sealift_jobs::{GroupName, ThingName};
use serde_json::{Value, json};

use super::{BAD_FILE, Common, FAILED, Failure, output};
use crate::control::{Client, NewClaim, NewTemplate};
use crate::ledger::{CaCertificate, CaMode, Certificate, CertificateStatus, ProvisioningTemplate, TemplateKind, Thing};
use crate::pki::{create, read_secret};
use crate::provisioning::{Registration, Template};

/// Register the CAs whose certificates your devices were made with.
#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Register a CA, or change the terms of one.
    Register(Register),
    /// Print the registration code: the common name of a verification certificate.
    Code(Bare),
    /// List registered CAs.
    List(Bare),
    /// Switch a CA on again.
    Activate(ById),
    /// Switch a CA off: nothing new is registered under it. Devices that are there go on.
    Deactivate(ById),
}

/// Write, list and remove provisioning templates.
#[derive(Debug, Subcommand)]
pub(super) enum Templates {
    /// Write a template from AWS IoT's JSON document.
    Put(PutTemplate),
    /// List templates.
    List(Bare),
    /// Remove a template that no CA needs.
    Delete(DeleteTemplate),
}

/// Make, list and revoke claims: certificates with which a production line's devices enrol themselves.
#[derive(Debug, Subcommand)]
pub(super) enum Claims {
    /// Make a claim: key and certificate, in a directory of yours. The key is made here and not sent.
    Create(CreateClaim),
    /// List claims.
    List(Bare),
    /// Revoke a claim, at once. Devices that enrolled with it go on.
    Revoke(ById),
}

/// List, activate and revoke certificates that no device has yet.
#[derive(Debug, Subcommand)]
pub(super) enum Certificates {
    /// List certificates that were registered just in time and wait, those made for claims, and claims.
    List(Bare),
    /// Make a device of a certificate that waits (PENDING_ACTIVATION).
    Activate(Activate),
    /// Revoke a certificate, at once.
    Revoke(ById),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server ca code --state ./state
  openssl req -new -subj \"/CN=$(sealift-server ca code --state ./state)\" -key proof.key -out proof.csr
  openssl x509 -req -in proof.csr -CA factory-ca.pem -CAkey factory-ca.key -CAcreateserial -days 1 -out proof.pem
  sealift-server ca register --state ./state --certificate factory-ca.pem --verification-certificate proof.pem \\
      --auto-registration --template factory

With --auto-registration a device's certificate is registered when it first connects (just-in-time registration): it is
PENDING_ACTIVATION, the connection ends, and $aws/events/certificates/registered/CA tells. With --template it becomes a
device by that template at once (just-in-time provisioning), and its second connection is served.")]
pub(super) struct Register {
    #[command(flatten)]
    common: Common,
    /// The CA certificate, PEM.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// A certificate that the CA signed for the registration code, PEM: it shows that you hold the CA's key.
    #[arg(long, value_name = "FILE", required_unless_present = "sni_only")]
    verification_certificate: Option<PathBuf>,
    /// Register it without that proof (AWS's mode SNI_ONLY). Its devices must name the server in TLS.
    #[arg(long, conflicts_with = "verification_certificate")]
    sni_only: bool,
    /// Register its certificates when they first connect.
    #[arg(long)]
    auto_registration: bool,
    /// Make devices of them by this template.
    #[arg(long, value_name = "TEMPLATE", requires = "auto_registration")]
    template: Option<String>,
    /// Leave it switched off for now.
    #[arg(long)]
    inactive: bool,
}

#[derive(Debug, Args)]
pub(super) struct Bare {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ById {
    #[command(flatten)]
    common: Common,
    /// Its id: 64 hex digits, the SHA-256 of its DER.
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server templates put --state ./state --name factory --kind JITP --document factory.json
  sealift-server templates put --state ./state --name line-1 --kind FLEET_PROVISIONING --document line-1.json

The document is AWS IoT's: Parameters, Mappings, Resources (one AWS::IoT::Thing, one AWS::IoT::Certificate, policies),
DeviceConfiguration; Ref, Fn::Join, Fn::Select, Fn::Split, Fn::Sub, Fn::FindInMap. ThingTypeName is the product,
ThingGroups have to exist. What this server can't do is refused now, with its place.")]
pub(super) struct PutTemplate {
    #[command(flatten)]
    common: Common,
    /// Its name, 1 to 36 of [0-9A-Za-z_-]; one that exists is replaced.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it is for.
    #[arg(long, value_name = "KIND")]
    kind: TemplateKind,
    /// A file with the JSON document.
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct DeleteTemplate {
    #[command(flatten)]
    common: Common,
    /// The template.
    #[arg(long, value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server claims create --state ./state --template line-1 --days 90 --out ./line-1
  sealift-device enrol --state ./device --server https://updates.example.com:8443 --ca ca.pem \\
      --claim line-1/claim.pem line-1/claim.key --template line-1 --parameter SerialNumber=0042

Writes claim.pem and claim.key (mode 0600) into the directory. Many devices may use one claim: it can ask for certificates
and use its template, and nothing else. A repeated command with the same directory gives the same claim.")]
pub(super) struct CreateClaim {
    #[command(flatten)]
    common: Common,
    /// The template its holders may use.
    #[arg(long, value_name = "NAME")]
    template: String,
    /// Days it is good.
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3640))]
    days: u64,
    /// Where claim.pem and claim.key go; made if it isn't there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server certificates list --state ./state
  sealift-server certificates activate --state ./state ID --thing dev-7 --product thermostat --group canary")]
pub(super) struct Activate {
    #[command(flatten)]
    common: Common,
    /// Its id: 64 hex digits, the SHA-256 of its DER.
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
    /// The device it becomes.
    #[arg(long, value_name = "THING")]
    thing: ThingName,
    /// The device's product.
    #[arg(long, value_name = "PRODUCT")]
    product: String,
    /// A group it joins; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<GroupName>,
}

fn id(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let fine = lower.len() == 64 && lower.bytes().all(|b| b.is_ascii_hexdigit());
    if fine { Ok(lower) } else { Err("expected 64 hex digits".into()) }
}

fn text(path: &Path, what: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::new(BAD_FILE, format!("{}: can't read the {what}: {e}", path.display())))
}

impl Ca {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Register(register) => &register.common,
            Self::Code(bare) | Self::List(bare) => &bare.common,
            Self::Activate(one) | Self::Deactivate(one) => &one.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Register(register) => register.run(&client).await,
            Self::Code(bare) => {
                let code: Value = client.get("/v1/cas/registration-code").await?;
                if bare.common.json {
                    output::json(&code);
                } else {
                    output::line(code["registrationCode"].as_str().unwrap_or_default());
                }
                Ok(())
            }
            Self::List(bare) => {
                let cas: Vec<CaCertificate> = client.get("/v1/cas").await?;
                if bare.common.json {
                    output::json(&cas);
                    return Ok(());
                }
                let rows: Vec<[String; 5]> = cas
                    .into_iter()
                    .map(|ca| {
                        let state = if ca.active { "ACTIVE" } else { "INACTIVE" };
                        let new = match (ca.auto_registration, ca.template) {
                            (true, Some(template)) => format!("by template {template}"),
                            (true, None) => "wait for activation".into(),
                            (false, _) => "refused".into(),
                        };
                        [ca.id, ca.subject, state.into(), new, output::time(ca.not_after)]
                    })
                    .collect();
                output::table(["ID", "SUBJECT", "STATE", "NEW CERTIFICATES", "EXPIRES"], &rows);
                Ok(())
            }
            Self::Activate(one) => switch(&client, &one, "activate").await,
            Self::Deactivate(one) => switch(&client, &one, "deactivate").await,
        }
    }
}

async fn switch(client: &Client, one: &ById, act: &str) -> Result<(), Failure> {
    let ca: CaCertificate = client.post(&format!("/v1/cas/{}/{act}", one.id), &json!({})).await?;
    if one.common.json {
        output::json(&ca);
    } else {
        output::line(&format!("{act}d the CA {}", ca.subject));
    }
    Ok(())
}

impl Register {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let proof = self.verification_certificate.as_deref().map(|path| text(path, "verification certificate"));
        let wish = Registration {
            certificate: text(&self.certificate, "CA certificate")?,
            mode: if self.sni_only { CaMode::SniOnly } else { CaMode::Default },
            verification_certificate: proof.transpose()?,
            allow_auto_registration: self.auto_registration,
            template: self.template,
            set_as_active: !self.inactive,
        };
        let ca: CaCertificate = client.post("/v1/cas", &wish).await?;
        if self.common.json {
            output::json(&ca);
        } else {
            output::line(&format!("registered the CA {} as {}", ca.subject, ca.id));
        }
        Ok(())
    }
}

impl Templates {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Put(put) => &put.common,
            Self::List(bare) => &bare.common,
            Self::Delete(delete) => &delete.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Put(put) => put.run(&client).await,
            Self::List(bare) => {
                let all: Vec<ProvisioningTemplate> = client.get("/v1/templates").await?;
                if bare.common.json {
                    output::json(&all);
                } else {
                    for template in &all {
                        output::line(&format!(
                            "{} ({})\n{}",
                            template.name,
                            word(template.kind),
                            template.document.trim_end()
                        ));
                    }
                }
                Ok(())
            }
            Self::Delete(delete) => {
                let gone: Value = client.delete(&format!("/v1/templates/{}", escaped(&delete.name))).await?;
                removed(&delete.common, &gone, "template", &delete.name);
                Ok(())
            }
        }
    }
}

fn word(kind: TemplateKind) -> &'static str {
    match kind {
        TemplateKind::FleetProvisioning => "FLEET_PROVISIONING",
        TemplateKind::Jitp => "JITP",
    }
}

/// A name as a path segment.
pub(super) fn escaped(name: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    name.bytes().map(byte).collect()
}

/// Tells what became of a removal.
pub(super) fn removed(common: &Common, gone: &Value, what: &str, name: &str) {
    match (common.json, gone["removed"] == true) {
        (true, _) => output::json(gone),
        (false, true) => output::line(&format!("removed the {what} {name}")),
        (false, false) => output::line(&format!("there is no {what} {name}")),
    }
}

impl PutTemplate {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let document = text(&self.document, "template")?;
        let place = self.document.display();
        Template::from_json(&document, self.kind).map_err(|e| Failure::new(BAD_FILE, format!("{place}: {e}")))?;
        let wish = NewTemplate { name: self.name, kind: self.kind, document };
        let written: ProvisioningTemplate = client.post("/v1/templates", &wish).await?;
        if self.common.json {
            output::json(&written);
        } else {
            output::line(&format!("wrote the template {}", written.name));
        }
        Ok(())
    }
}

impl Claims {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Create(create) => &create.common,
            Self::List(bare) => &bare.common,
            Self::Revoke(one) => &one.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Create(create) => create.run(&client).await,
            Self::List(bare) => list(&client, &bare.common, |one| one.claim.is_some()).await,
            Self::Revoke(one) => revoke(&client, &one).await,
        }
    }
}

impl CreateClaim {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let (key_path, path) = (self.out.join("claim.key"), self.out.join("claim.pem"));
        std::fs::create_dir_all(&self.out)
            .map_err(|e| Failure::new(FAILED, format!("{}: can't make the directory: {e}", self.out.display())))?;
        // A command that was cut off goes on with the key it made.
        let key = if key_path.exists() {
            let pem = read_secret(&key_path)?;
            KeyPair::from_pem(&pem).map_err(|e| Failure::new(BAD_FILE, format!("{}: {e}", key_path.display())))?
        } else {
            let key = KeyPair::generate().map_err(|e| Failure::new(FAILED, e))?;
            create(&key_path, zeroize::Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
            key
        };
        let csr = request(&key).map_err(|e| Failure::new(FAILED, e))?;
        let wish = NewClaim { template: self.template, csr, days: self.days };
        let claim: Certificate = client.post("/v1/claims", &wish).await?;
        match create(&path, claim.certificate.as_bytes(), 0o644) {
            Err(crate::pki::PkiError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists
                    && std::fs::read_to_string(&path).is_ok_and(|was| was == claim.certificate) => {}
            Err(crate::pki::PkiError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                let message = format!("{}: another claim is here; name an empty directory", path.display());
                return Err(Failure::new(BAD_FILE, message));
            }
            other => other?,
        }
        if self.common.json {
            output::json(&claim);
        } else {
            let (path, key, until) = (path.display(), key_path.display(), output::time(claim.not_after));
            output::line(&format!("claim {}: {path} and {key}, good until {until}", claim.id));
        }
        Ok(())
    }
}

fn request(key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "sealift-claim");
    params.serialize_request(key)?.pem()
}

impl Certificates {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::List(bare) => &bare.common,
            Self::Activate(activate) => &activate.common,
            Self::Revoke(one) => &one.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::List(bare) => list(&client, &bare.common, |_| true).await,
            Self::Activate(activate) => activate.run(&client).await,
            Self::Revoke(one) => revoke(&client, &one).await,
        }
    }
}

async fn list(client: &Client, common: &Common, wanted: impl Fn(&Certificate) -> bool) -> Result<(), Failure> {
    let mut all: Vec<Certificate> = Vec::new();
    let mut after = String::new();
    loop {
        let page: Vec<Certificate> = client.get(&format!("/v1/certificates{after}")).await?;
        let Some(last) = page.last() else { break };
        after = format!("?after={}", last.id);
        all.extend(page.into_iter().filter(&wanted));
    }
    if common.json {
        output::json(&all);
        return Ok(());
    }
    let rows: Vec<[String; 4]> = all
        .into_iter()
        .map(|one| {
            let state = match one.status {
                CertificateStatus::Active => "ACTIVE",
                CertificateStatus::PendingActivation => "PENDING_ACTIVATION",
                CertificateStatus::Revoked => "REVOKED",
            };
            let what = match (one.claim, one.ca, one.problem) {
                (Some(template), _, _) => format!("claim for {template}"),
                (None, Some(ca), None) => format!("registered by the CA {}", ca.get(..12).unwrap_or(&ca)),
                (None, _, Some(problem)) => problem,
                (None, None, None) => "made for a claim".into(),
            };
            [one.id, state.into(), output::time(one.not_after), what]
        })
        .collect();
    output::table(["ID", "STATUS", "EXPIRES", "WHAT"], &rows);
    Ok(())
}

async fn revoke(client: &Client, one: &ById) -> Result<(), Failure> {
    let gone: Value = client.post(&format!("/v1/certificates/{}/revoke", one.id), &json!({})).await?;
    if one.common.json {
        output::json(&gone);
    } else {
        output::line(&format!("revoked the certificate {}", one.id));
    }
    Ok(())
}

impl Activate {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let body = json!({ "thing": self.thing, "product": self.product, "groups": self.groups });
        let thing: Thing = client.post(&format!("/v1/certificates/{}/activate", self.id), &body).await?;
        if self.common.json {
            output::json(&thing);
        } else {
            output::line(&format!("{} may connect now", thing.name));
        }
        Ok(())
    }
}
