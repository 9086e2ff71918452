//! `sealift-server policies`: what certificates may do over MQTT.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealift_jobs::ThingName;
use serde_json::json;

use super::provisioning::{escaped, removed};
use super::{BAD_FILE, Common, Failure, output};
use crate::control::Client;
use crate::ledger::{StoredPolicy, Thing};
use crate::mqtt::policy::{DEFAULT, Policy};

/// Write, list, attach, detach and delete AWS IoT policies.
#[derive(Debug, Subcommand)]
pub(super) enum Policies {
    /// Write a policy from an AWS IoT policy document.
    Put(Put),
    /// List policies with their documents.
    List(List),
    /// Print the policy of devices that have none attached.
    Default(List),
    /// Attach a policy to a device's certificate. The default policy then no longer applies to it.
    Attach(Attach),
    /// Detach a policy from a device's certificate.
    Detach(Attach),
    /// Delete a policy; refused while something has it attached, as AWS does.
    Delete(Delete),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server policies default --state ./state
  sealift-server policies put --state ./state --name sensors --document sensors.json
  sealift-server policies attach --state ./state --name sensors --thing dev-7

Evaluated on connect, publish, subscribe and receive, as AWS IoT does. Region and account in an ARN aren't
compared. Conditions, NotAction and NotResource are refused: this server can't evaluate them. A change acts on
open connections at once.")]
pub(super) struct Put {
    #[command(flatten)]
    common: Common,
    /// The policy's name; one that exists is replaced.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// A file with the JSON document.
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    common: Common,
    /// The policy.
    #[arg(long, value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    #[command(flatten)]
    common: Common,
    /// The policy.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The device.
    #[arg(long, value_name = "THING")]
    thing: ThingName,
}

impl Policies {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Put(put) => &put.common,
            Self::List(list) | Self::Default(list) => &list.common,
            Self::Attach(attach) | Self::Detach(attach) => &attach.common,
            Self::Delete(delete) => &delete.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Put(put) => put.run(&client).await,
            Self::List(list) => {
                let all: Vec<StoredPolicy> = client.get("/v1/policies").await?;
                if list.common.json {
                    output::json(&all);
                } else {
                    for policy in &all {
                        output::line(&format!("{}\n{}", policy.name, policy.document.trim_end()));
                    }
                }
                Ok(())
            }
            Self::Default(_) => {
                output::line(DEFAULT.trim_end());
                Ok(())
            }
            Self::Attach(attach) => attach.run(&client, "attach").await,
            Self::Detach(attach) => attach.run(&client, "detach").await,
            Self::Delete(delete) => {
                let gone: serde_json::Value = client.delete(&format!("/v1/policies/{}", escaped(&delete.name))).await?;
                removed(&delete.common, &gone, "policy", &delete.name);
                Ok(())
            }
        }
    }
}

impl Put {
    async fn run(&self, client: &Client) -> Result<(), Failure> {
        let place = self.document.display();
        let document = std::fs::read_to_string(&self.document)
            .map_err(|e| Failure::new(BAD_FILE, format!("{place}: can't read the policy document: {e}")))?;
        Policy::from_json(&document).map_err(|e| Failure::new(BAD_FILE, format!("{place}: {e}")))?;
        let written: Vec<StoredPolicy> =
            client.post("/v1/policies", &json!({ "name": self.name, "document": document })).await?;
        if self.common.json {
            output::json(&written);
        } else {
            output::line(&format!("wrote the policy {}", self.name));
        }
        Ok(())
    }
}

impl Attach {
    async fn run(&self, client: &Client, act: &str) -> Result<(), Failure> {
        // The name is a path segment here; what AWS allows in it is safe there once `+` and the like are escaped.
        let name = escaped(&self.name);
        let thing: Thing = client.post(&format!("/v1/policies/{name}/{act}/{}", self.thing), &json!({})).await?;
        if self.common.json {
            output::json(&thing);
        } else {
            output::line(&format!("{act}ed {}; {} has {} of its own", self.name, thing.name, thing.policies.len()));
        }
        Ok(())
    }
}
