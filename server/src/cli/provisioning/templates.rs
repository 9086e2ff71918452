//! `sealift-server templates`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Bare, escaped, removed, text};
use crate::cli::{BAD_FILE, Common, Failure, output};
use crate::control::{Client, NewTemplate};
use crate::ledger::{ProvisioningTemplate, TemplateKind};
use crate::provisioning::Template;

/// Write, list and remove provisioning templates.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Templates {
    /// Write a template from AWS IoT's JSON document.
    Put(PutTemplate),
    /// List templates.
    List(Bare),
    /// Remove a template that no CA needs.
    Delete(DeleteTemplate),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server templates put --state ./state --name factory --kind JITP --document factory.json
  sealift-server templates put --state ./state --name line-1 --kind FLEET_PROVISIONING --document line-1.json

The document is AWS IoT's: Parameters, Mappings, Resources (one AWS::IoT::Thing, one AWS::IoT::Certificate, policies),
DeviceConfiguration; Ref, Fn::Join, Fn::Select, Fn::Split, Fn::Sub, Fn::FindInMap. ThingTypeName is the product,
ThingGroups have to exist. What this server can't do is refused now, with its place.")]
pub(in crate::cli) struct PutTemplate {
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
pub(in crate::cli) struct DeleteTemplate {
    #[command(flatten)]
    common: Common,
    /// The template.
    #[arg(long, value_name = "NAME")]
    name: String,
}

impl Templates {
    pub(in crate::cli) fn common(&self) -> &Common {
        match self {
            Self::Put(put) => &put.common,
            Self::List(bare) => &bare.common,
            Self::Delete(delete) => &delete.common,
        }
    }

    pub(in crate::cli) async fn run(self) -> Result<(), Failure> {
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
