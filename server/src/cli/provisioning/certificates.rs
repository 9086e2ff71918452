//! `sealift-server certificates`.

use clap::{Args, Subcommand};
use sealift_jobs::{GroupName, ThingName};
use serde_json::{Value, json};

use super::{Bare, ById, id};
use crate::cli::{Common, Failure, output};
use crate::control::Client;
use crate::ledger::{Certificate, CertificateStatus, Thing};

/// List, activate and revoke certificates that no device has yet.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Certificates {
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
  sealift-server certificates list --state ./state
  sealift-server certificates activate --state ./state ID --thing dev-7 --product thermostat --group canary")]
pub(in crate::cli) struct Activate {
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

impl Certificates {
    pub(in crate::cli) fn common(&self) -> &Common {
        match self {
            Self::List(bare) => &bare.common,
            Self::Activate(activate) => &activate.common,
            Self::Revoke(one) => &one.common,
        }
    }

    pub(in crate::cli) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::List(bare) => list(&client, &bare.common, |_| true).await,
            Self::Activate(activate) => activate.run(&client).await,
            Self::Revoke(one) => revoke(&client, &one).await,
        }
    }
}

pub(super) async fn list(
    client: &Client,
    common: &Common,
    wanted: impl Fn(&Certificate) -> bool,
) -> Result<(), Failure> {
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

pub(super) async fn revoke(client: &Client, one: &ById) -> Result<(), Failure> {
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
