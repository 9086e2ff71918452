//! `sealift-server alerts` and `check`.

use clap::{Args, Subcommand};

use super::{Common, Failure, REFUSED, output};
use crate::watching::Alert;
use crate::watching::fleet::{Finding, Severity};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server alerts --state ./state
  sealift-server alerts --state ./state --all --json

What is normal stands in security profiles, in the shape of AWS IoT's CreateSecurityProfile:
`serve --security-profiles FILE`. Metrics: aws:num-messages-received, aws:num-authorization-failures,
sealift_failed_verifications, sealift_refused_jobs.")]
pub(super) struct Alerts {
    #[command(flatten)]
    pub(super) common: Common,
    /// Those that are over, too.
    #[arg(long)]
    all: bool,
}

/// Look for what is wrong with the fleet as a whole.
#[derive(Debug, Subcommand)]
pub(super) enum Check {
    /// Shared keys, policies that allow too much, certificates that expire, devices that fell silent.
    Fleet(Fleet),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server check fleet --state ./state
  sealift-server check fleet --state ./state --silent-days 3 --expiring-days 60 --json

Exit code 3 when something critical is found: shared keys, expired certificates, a policy for everything.")]
pub(super) struct Fleet {
    #[command(flatten)]
    common: Common,
    /// Days of silence that are too many.
    #[arg(long, default_value_t = 14, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36500))]
    silent_days: u64,
    /// Days before its expiry from which a certificate is told.
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36500))]
    expiring_days: u64,
}

impl Alerts {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let all: Vec<Alert> = self.common.client()?.get(&format!("/v1/alerts?all={}", self.all)).await?;
        if self.common.json {
            output::json(&all);
            return Ok(());
        }
        let rows: Vec<[String; 5]> = all
            .iter()
            .map(|alert| {
                let measured = format!("{} (bound {}) {}", alert.value, alert.threshold, alert.metric.name());
                let over = alert.cleared_at.map_or_else(|| "open".into(), output::time);
                [alert.thing.to_string(), alert.behavior.clone(), measured, output::time(alert.raised_at), over]
            })
            .collect();
        output::table(["DEVICE", "BEHAVIOR", "MEASURED", "RAISED", "OVER"], &rows);
        Ok(())
    }
}

impl Check {
    pub(super) fn common(&self) -> &Common {
        let Self::Fleet(fleet) = self;
        &fleet.common
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self::Fleet(Fleet { common, silent_days, expiring_days }) = self;
        let path = format!("/v1/check/fleet?silent_days={silent_days}&expiring_days={expiring_days}");
        let findings: Vec<Finding> = common.client()?.get(&path).await?;
        if common.json {
            output::json(&findings);
        } else if findings.is_empty() {
            output::line("nothing is wrong with the fleet");
        } else {
            for finding in &findings {
                let names: Vec<&str> = finding.things.iter().take(5).map(AsRef::as_ref).collect();
                let more = if finding.count > 5 { format!(" and {} more", finding.count - 5) } else { String::new() };
                let severity = format!("{:?}", finding.severity).to_uppercase();
                output::line(&format!("{severity}  {}: {}", finding.check, finding.what));
                if !names.is_empty() {
                    output::line(&format!("    {}{more}", names.join(", ")));
                }
            }
        }
        match findings.iter().filter(|finding| finding.severity == Severity::Critical).count() {
            0 => Ok(()),
            critical => Err(Failure::new(REFUSED, format!("{critical} critical finding(s)"))),
        }
    }
}
