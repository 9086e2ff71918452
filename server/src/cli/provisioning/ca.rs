//! `sealift-server ca`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Bare, ById, text};
use crate::cli::{Common, Failure, output};
use crate::control::Client;
use crate::ledger::{CaCertificate, CaMode};
use crate::provisioning::Registration;

/// Register the CAs whose certificates your devices were made with.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Ca {
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
pub(in crate::cli) struct Register {
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

impl Ca {
    pub(in crate::cli) fn common(&self) -> &Common {
        match self {
            Self::Register(register) => &register.common,
            Self::Code(bare) | Self::List(bare) => &bare.common,
            Self::Activate(one) | Self::Deactivate(one) => &one.common,
        }
    }

    pub(in crate::cli) async fn run(self) -> Result<(), Failure> {
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
