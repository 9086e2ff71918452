//! `sealift-server jobs`: jobs as they are, without a rollout around them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealift_jobs::limits::JOB_DOCUMENT_MAX_CHARS;
use sealift_jobs::{GroupName, JobId, ThingName};

use super::{BAD_FILE, Common, Failure, output};
use crate::control::Client;
use crate::jobs::{CreateJob, JobOverview};
use crate::ledger::RetryBudget;

/// Create and look at single jobs, with any document.
#[derive(Debug, Subcommand)]
pub(super) enum Jobs {
    /// Create a job from a document.
    Create(Create),
    /// List jobs.
    List(List),
    /// Cancel a job.
    Cancel(Cancel),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server jobs create --state ./state --id reboot-1 --document reboot.json --group canary
  sealift-server jobs create --state ./state --id probe-7 --document probe.json --thing dev-7

The document is any JSON of up to 32,768 characters; ${sealift:origin} in it becomes the server's origin.
A device trusts none of it: whatever stands there, it installs only what the signing keys signed.")]
pub(super) struct Create {
    #[command(flatten)]
    common: Common,
    /// The job's id.
    #[arg(long, value_name = "ID")]
    id: JobId,
    /// A file with the document.
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    /// A group whose devices get it; may be repeated.
    #[arg(long = "group", value_name = "GROUP", required_unless_present = "things")]
    groups: Vec<GroupName>,
    /// A device that gets it; may be repeated.
    #[arg(long = "thing", value_name = "THING")]
    things: Vec<ThingName>,
    /// Minutes a device may work on it.
    #[arg(long, value_name = "MINUTES")]
    timeout: Option<u64>,
    /// Further tries for a device that failed or ran out of time.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    retries: u32,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    common: Common,
    /// The job's id.
    id: JobId,
    /// Also tell devices that are at it already.
    #[arg(long)]
    force: bool,
    /// Why.
    #[arg(long, default_value = "cancelled by an operator", value_name = "TEXT")]
    comment: String,
}

impl Jobs {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Create(create) => &create.common,
            Self::List(list) => &list.common,
            Self::Cancel(cancel) => &cancel.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Create(create) => create.run(&client).await,
            Self::List(list) => {
                let mut all: Vec<JobOverview> = Vec::new();
                loop {
                    let after = all.last().map_or_else(String::new, |last| format!("?after={}", last.job.id));
                    let page: Vec<JobOverview> = client.get(&format!("/v1/jobs{after}")).await?;
                    if page.is_empty() {
                        break;
                    }
                    all.extend(page);
                }
                all.sort_by_key(|overview| overview.job.sequence);
                print(&list.common, &all);
                Ok(())
            }
            Self::Cancel(cancel) => {
                let body = serde_json::json!({ "force": cancel.force, "comment": cancel.comment });
                let job: JobOverview = client.post(&format!("/v1/jobs/{}/cancel", cancel.id), &body).await?;
                print(&cancel.common, &[job]);
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let path = self.document.display();
        let bad = |e: &dyn std::fmt::Display| Failure::new(BAD_FILE, format!("{path}: {e}"));
        let document = std::fs::read_to_string(&self.document).map_err(|e| bad(&e))?;
        serde_json::from_str::<serde_json::Value>(&document).map_err(|e| bad(&format!("not JSON: {e}")))?;
        let length = document.chars().count();
        if length > JOB_DOCUMENT_MAX_CHARS {
            let most = JOB_DOCUMENT_MAX_CHARS;
            return Err(bad(&format!("{length} characters; a job document has at most {most}")));
        }
        let create = CreateJob {
            id: self.id,
            document,
            description: String::new(),
            things: self.things.into_iter().collect(),
            groups: self.groups.into_iter().collect(),
            timeout_minutes: self.timeout,
            retries: RetryBudget { failed: self.retries, timed_out: self.retries },
        };
        let job: JobOverview = client.post("/v1/jobs", &create).await?;
        print(&self.common, &[job]);
        Ok(())
    }
}

fn print(common: &Common, jobs: &[JobOverview]) {
    if common.json {
        output::json(&jobs);
        return;
    }
    let rows: Vec<[String; 4]> = jobs
        .iter()
        .map(|overview| {
            let counts: Vec<String> = overview.counts.iter().map(|(status, n)| format!("{n} {status}")).collect();
            let job = &overview.job;
            [job.id.to_string(), job.status.to_string(), output::time(job.created_at), counts.join(", ")]
        })
        .collect();
    output::table(["JOB", "STATUS", "CREATED", "DEVICES"], &rows);
}
