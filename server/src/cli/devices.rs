//! `sealift-server devices` and `groups`.

use clap::{Args, Subcommand};
use sealift_jobs::{GroupName, ThingName};

use super::{Common, FAILED, Failure, output};
use crate::control::{Client, IssuedToken, NewToken};
use crate::ledger::{Execution, Thing};
use crate::registry::GroupOverview;

/// Enrol, list, show and revoke devices.
#[derive(Debug, Subcommand)]
pub(super) enum Devices {
    /// Issue a one-time token with which one device can enrol.
    Token(Token),
    /// List devices.
    List(List),
    /// Show one device with its jobs.
    Show(One),
    /// What is counted of a device, in the shape of AWS IoT Device Defender's report.
    Metrics(One),
    /// Revoke a device's certificate, at once.
    Revoke(One),
    /// Have devices make a new TLS key, get a certificate for it and drop the old one: a job.
    Rotate(Rotate),
}

/// List and make groups.
#[derive(Debug, Subcommand)]
pub(super) enum Groups {
    /// List groups.
    List(ListGroups),
    /// Make a group.
    Create(CreateGroup),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server devices token --state ./state --group canary --product thermostat
  sealift-server devices token --state ./state --group canary --product thermostat --thing dev-7 --hours 1

Prints the secret alone (with --json: with its terms). It is shown this once, and good for one device.")]
pub(super) struct Token {
    #[command(flatten)]
    common: Common,
    /// A group the device joins; may be repeated. A group that doesn't exist is made.
    #[arg(long = "group", value_name = "GROUP", required = true)]
    groups: Vec<GroupName>,
    /// The product the device is.
    #[arg(long, value_name = "PRODUCT")]
    product: String,
    /// The only name the device may take.
    #[arg(long, value_name = "THING")]
    thing: Option<ThingName>,
    /// Hours the token is good.
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=8760))]
    hours: u64,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
    /// Only devices of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<GroupName>,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[command(flatten)]
    common: Common,
    /// The device.
    thing: ThingName,
}

#[derive(Debug, Args)]
pub(super) struct ListGroups {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct CreateGroup {
    #[command(flatten)]
    common: Common,
    /// The group.
    name: GroupName,
}

impl Devices {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Token(token) => &token.common,
            Self::List(list) => &list.common,
            Self::Show(one) | Self::Metrics(one) | Self::Revoke(one) => &one.common,
            Self::Rotate(rotate) => &rotate.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Token(token) => token.run(&client).await,
            Self::List(list) => list.run(&client).await,
            Self::Rotate(rotate) => rotate.run(&client).await,
            Self::Show(one) => show(&client, &one).await,
            Self::Metrics(one) => {
                let report: serde_json::Value = client.get(&format!("/v1/devices/{}/metrics", one.thing)).await?;
                output::json(&report);
                Ok(())
            }
            Self::Revoke(one) => {
                let thing: Thing =
                    client.post(&format!("/v1/devices/{}/revoke", one.thing), &serde_json::json!({})).await?;
                if one.common.json {
                    output::json(&thing);
                } else {
                    output::line(&format!("revoked the certificate of {}", thing.name));
                }
                Ok(())
            }
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server devices rotate --state ./state --id keys-2027 --group eu
  sealift-server devices rotate --state ./state --id keys-dev-7 --thing dev-7

Private keys never leave a device: it makes the new one itself, and its report key vouches for it. The old certificate
is dropped when the new one is first used. `jobs list` shows how far the job is.")]
pub(super) struct Rotate {
    #[command(flatten)]
    common: Common,
    /// The job's id; the same id again is the same job.
    #[arg(long, value_name = "ID")]
    id: sealift_jobs::JobId,
    /// A group whose devices rotate now; may be repeated.
    #[arg(long = "group", value_name = "GROUP", required_unless_present = "things")]
    groups: Vec<GroupName>,
    /// A device; may be repeated.
    #[arg(long = "thing", value_name = "THING")]
    things: Vec<ThingName>,
}

impl Rotate {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let job = serde_json::json!({
            "id": self.id, "document": sealift_jobs::ROTATE_IDENTITY, "description": "New TLS keys",
            "groups": self.groups, "things": self.things, "retries": { "failed": 3, "timedOut": 3 },
        });
        let made: serde_json::Value = client.post("/v1/jobs", &job).await?;
        if self.common.json {
            output::json(&made);
        } else {
            output::line(&format!("job {}: devices make new keys when they ask for it", self.id));
        }
        Ok(())
    }
}

impl Token {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let ask = NewToken {
            product: self.product,
            groups: self.groups.into_iter().collect(),
            thing: self.thing,
            seconds: self.hours * 3_600,
        };
        let issued: IssuedToken = client.post("/v1/tokens", &ask).await?;
        if self.common.json {
            output::json(&issued);
        } else {
            output::line(&issued.token);
        }
        Ok(())
    }
}

impl List {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let group = self.group.as_ref().map_or_else(String::new, |group| format!("&group={group}"));
        let mut all: Vec<Thing> = Vec::new();
        loop {
            // A thing's name needs no escaping in a query.
            let after = all.last().map_or_else(String::new, |thing| format!("&after={}", thing.name));
            let page: Vec<Thing> = client.get(&format!("/v1/devices?{}{group}", after.trim_start_matches('&'))).await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        if self.common.json {
            output::json(&all);
            return Ok(());
        }
        let rows: Vec<[String; 5]> = all
            .iter()
            .map(|thing| {
                let groups: Vec<&str> = thing.groups.iter().map(AsRef::as_ref).collect();
                let state = if thing.active { "active" } else { "revoked" };
                let (name, product) = (thing.name.to_string(), thing.product.clone());
                [name, product, groups.join(","), state.into(), output::time(thing.enrolled_at)]
            })
            .collect();
        output::table(["DEVICE", "PRODUCT", "GROUPS", "STATE", "ENROLLED"], &rows);
        Ok(())
    }
}

async fn show(client: &Client, one: &One) -> Result<(), Failure> {
    let answer: serde_json::Value = client.get(&format!("/v1/devices/{}", one.thing)).await?;
    if one.common.json {
        output::json(&answer);
        return Ok(());
    }
    let thing: Thing = serde_json::from_value(answer.clone()).map_err(|e| Failure::new(FAILED, e))?;
    let executions = answer.get("executions").cloned().unwrap_or_default();
    let executions: Vec<Execution> = serde_json::from_value(executions).map_err(|e| Failure::new(FAILED, e))?;
    let groups: Vec<&str> = thing.groups.iter().map(AsRef::as_ref).collect();
    let state = if thing.active { "active" } else { "revoked" };
    output::line(&format!("{}: {} in {}, {state}", thing.name, thing.product, groups.join(", ")));
    output::line(&format!("enrolled {}", output::time(thing.enrolled_at)));
    output::line(&format!("certificate SHA-256 {}", thing.fingerprint));
    output::line(&format!("report key {}", thing.report_key));
    let rows: Vec<[String; 5]> = executions
        .iter()
        .map(|execution| {
            let details: Vec<String> = execution
                .details
                .iter()
                .filter(|(key, _)| *key != sealift_jobs::details::REPORT)
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            [
                execution.job.to_string(),
                execution.number.to_string(),
                execution.status.to_string(),
                output::time(execution.updated_at),
                details.join(" "),
            ]
        })
        .collect();
    output::table(["JOB", "EXECUTION", "STATUS", "UPDATED", "DETAILS"], &rows);
    Ok(())
}

impl Groups {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::List(list) => &list.common,
            Self::Create(create) => &create.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::List(list) => {
                let groups: Vec<GroupOverview> = client.get("/v1/groups").await?;
                if list.common.json {
                    output::json(&groups);
                } else {
                    let rows: Vec<[String; 2]> =
                        groups.iter().map(|group| [group.name.to_string(), group.things.to_string()]).collect();
                    output::table(["GROUP", "DEVICES"], &rows);
                }
            }
            Self::Create(create) => {
                let body = serde_json::json!({ "name": create.name });
                let made: serde_json::Value = client.post("/v1/groups", &body).await?;
                if create.common.json {
                    output::json(&made);
                } else {
                    output::line(&format!("group {}", create.name));
                }
            }
        }
        Ok(())
    }
}
