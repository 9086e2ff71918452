//! `sealift-server aws enrol`: a thing of an AWS account, put on record for rollouts.

use clap::Args;
use sealift_jobs::{GroupName, ThingName};

use super::cloud::CloudArgs;
use super::{Failure, USAGE};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server aws enrol t-1 --product thermostat --group field \\
      --report-key \"$(sealift-device status --state device --json | jq -r .reportKey)\" \\
      --certificate arn:aws:iot:eu-west-1:123456789012:cert/1f2e... --environment prod --bucket acme-fw-prod
  sealift-server aws enrol t-1 --product thermostat --print-groups

The thing is made if it isn't there. The groups must be: `aws stack --product` makes those of a product's buckets. The same
again changes nothing; another product or report key on record is refused unless --replace says so.")]
pub(super) struct Enrol {
    /// The thing.
    thing: ThingName,
    /// Its product.
    #[arg(long, value_name = "PRODUCT")]
    product: String,
    /// The Ed25519 public key of its reports: 64 hex digits.
    #[arg(long, value_name = "HEX", required_unless_present = "print_groups")]
    report_key: Option<String>,
    /// Bytes that its decoder has, for `rollout explain`.
    #[arg(long, value_name = "BYTES")]
    decoder_ram: Option<u64>,
    /// A group of yours to join beside the bucket group; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<GroupName>,
    /// ARN of its certificate, which gets the devices' policy and is attached to the thing.
    #[arg(long, value_name = "ARN")]
    certificate: Option<String>,
    /// The environment, whose devices' policy is `sealift-ENVIRONMENT-device`.
    #[arg(long, value_name = "NAME", default_value = "prod")]
    environment: String,
    /// Put this product and report key in the place of others on record.
    #[arg(long)]
    replace: bool,
    /// Print the names of the thing's groups and touch nothing: for provisioning templates of your own.
    #[arg(long)]
    print_groups: bool,
    /// The environment's bucket.
    #[arg(long, env = "SEALIFT_BUCKET", value_name = "NAME", required_unless_present = "print_groups")]
    bucket: Option<String>,
    #[command(flatten)]
    cloud: CloudArgs,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Enrol {
    /// The groups that the thing is to be in, its bucket group last.
    fn groups(&self) -> Result<Vec<GroupName>, Failure> {
        use sealift_rollout::buckets::{bucket_of, group_name};
        let usage = |problem: String| Failure::new(USAGE, problem);
        if !sealift_manifests::is_name(&self.product) {
            return Err(usage(format!("--product {}: can't be a product id", self.product)));
        }
        let bucket = group_name(&self.product, bucket_of(&self.product, self.thing.as_str()));
        let mut groups = self.groups.clone();
        groups.push(bucket.parse().map_err(|error| usage(format!("--product {}: {error}", self.product)))?);
        // AWS's quota, told before anything is written.
        match groups.len() {
            ..=10 => Ok(groups),
            all => Err(usage(format!("{all} groups with the bucket's: a thing may be in 10"))),
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let groups = self.groups()?;
        if self.print_groups {
            match self.json {
                true => super::output::json(&serde_json::json!({ "thing": self.thing, "groups": groups })),
                false => groups.iter().for_each(|group| super::output::line(group.as_str())),
            }
            return Ok(());
        }
        self.enrol(groups).await
    }

    #[cfg(feature = "aws")]
    async fn enrol(self, groups: Vec<GroupName>) -> Result<(), Failure> {
        let report_key = self.report_key.unwrap_or_default().to_ascii_lowercase();
        if hex::decode_to_slice(&report_key, &mut [0; 32]).is_err() {
            return Err(Failure::new(USAGE, "--report-key: 64 hex digits of an Ed25519 public key are expected"));
        }
        let policy = format!("sealift-{}-device", self.environment);
        let enrolment = crate::aws::enrol::Enrolment {
            thing: self.thing,
            product: self.product,
            report_key,
            decoder_ram: self.decoder_ram,
            groups,
            certificate: self.certificate.map(|certificate| (certificate, policy)),
            replace: self.replace,
        };
        let cloud = self.cloud.open(self.bucket.unwrap_or_default()).await?;
        let done = enrolment.carry_out(&cloud.session.iot()).await.map_err(crate::rollout::RolloutError::from)?;
        if self.json {
            super::output::json(&done);
            return Ok(());
        }
        let groups: Vec<&str> = done.groups.iter().map(GroupName::as_str).collect();
        let made = if done.created { "made" } else { "was there" };
        super::output::line(&format!("{} {made}; groups: {}", done.thing, groups.join(", ")));
        if done.certificate.is_none() {
            super::output::line("no --certificate: its certificate's policy and thing are left as they are");
        }
        Ok(())
    }

    #[cfg(not(feature = "aws"))]
    async fn enrol(self, _groups: Vec<GroupName>) -> Result<(), Failure> {
        match self.cloud.open(self.bucket.unwrap_or_default()).await? {}
    }
}
