//! `sealift-server aws`: the account's side of it.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, USAGE, output};
use crate::access::{Places, Role, Stack};

/// Policies, a CloudFormation stack, a check of a bucket's settings, and things put on record.
#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Print the exact policy of each role.
    Policy(Policy),
    /// Print a CloudFormation template for one environment.
    Stack(Template),
    /// Check the settings of a bucket: public access, encryption, versioning, lifecycle.
    Check(Check),
    /// Put a thing on record: attributes, groups, the policy of its certificate.
    Enrol(super::registrar::Enrol),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server aws policy --bucket acme-fw --prefix prod/ --region eu-west-1 --account 123456789012
  sealift-server aws policy --role device --bucket acme-fw --region eu-west-1 --account 123456789012 > device.json

The reconciler may pass the presign role to AWS IoT and no other role to nobody else. Devices reach the topics of the
thing that their certificate is attached to.")]
pub(super) struct Policy {
    /// One role's alone.
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// The bucket.
    #[arg(long, value_name = "NAME")]
    bucket: String,
    /// What comes before every key.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// The region.
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    region: String,
    /// The account's number.
    #[arg(long, value_name = "NUMBER")]
    account: String,
    /// `aws-cn` or `aws-us-gov` elsewhere.
    #[arg(long, value_name = "NAME", default_value = "aws")]
    partition: String,
    /// The role that presigns; without it, the one of the stack `prod`.
    #[arg(long, value_name = "ARN")]
    presign_role: Option<String>,
    /// Answer in JSON, which this always does.
    #[arg(long, hide = true)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server aws stack --environment prod --bucket acme-fw-prod --product thermostat > stack.json
  aws cloudformation deploy --stack-name sealift-prod --template-file stack.json \\
      --capabilities CAPABILITY_NAMED_IAM --parameter-overrides Operators=arn:aws:iam::123456789012:role/ci

One stack an environment, each with a bucket (or at least a prefix) and roles of its own. No signing key is in any of them.")]
pub(super) struct Template {
    /// The environment: dev, test, prod.
    #[arg(long, value_name = "NAME")]
    environment: String,
    /// The bucket.
    #[arg(long, value_name = "NAME")]
    bucket: String,
    /// What comes before every key.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// A product, which gets its hundred bucket groups; may be repeated.
    #[arg(long = "product", value_name = "PRODUCT")]
    products: Vec<String>,
    /// Set up AWS IoT's logging too; an account and region has one.
    #[arg(long)]
    logging: bool,
    /// Answer in JSON, which this always does.
    #[arg(long, hide = true)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sealift-server aws check --bucket acme-fw --prefix prod/ --json

Exit 3 when a setting must be changed or couldn't be read.")]
pub(super) struct Check {
    /// The bucket.
    #[arg(long, env = "SEALIFT_BUCKET", value_name = "NAME")]
    bucket: String,
    #[command(flatten)]
    cloud: super::cloud::CloudArgs,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl Account {
    /// Whether answers are wanted in JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Policy(policy) => policy.json,
            Self::Stack(stack) => stack.json,
            Self::Check(check) => check.json,
            Self::Enrol(enrol) => enrol.json,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Policy(policy) => policy.run(),
            Self::Stack(stack) => stack.run(),
            Self::Check(check) => check.run().await,
            Self::Enrol(enrol) => enrol.run().await,
        }
    }
}

fn check_prefix(prefix: &str) -> Result<(), Failure> {
    match prefix.is_empty() || (prefix.ends_with('/') && !prefix.starts_with('/') && !prefix.contains('*')) {
        true => Ok(()),
        false => Err(Failure::new(USAGE, format!("--prefix {prefix}: must end with a slash, and not begin with one"))),
    }
}

fn print(value: &Value) {
    output::line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

impl Policy {
    fn run(self) -> Result<(), Failure> {
        check_prefix(&self.prefix)?;
        if self.account.len() != 12 || !self.account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Failure::new(USAGE, format!("--account {}: an account has 12 digits", self.account)));
        }
        let Policy { bucket, prefix, region, account, partition, .. } = self;
        let presign_role =
            self.presign_role.unwrap_or_else(|| format!("arn:{partition}:iam::{account}:role/sealift-prod-presign"));
        let places = Places { partition, account, region, bucket, prefix, presign_role };
        match self.role {
            Some(role) => print(&places.policy(role)),
            None => {
                let mut all: Map<String, Value> =
                    Role::ALL.iter().map(|role| (role.name().to_owned(), places.policy(*role))).collect();
                all.insert("bucket".into(), places.bucket_policy());
                print(&Value::Object(all));
            }
        }
        Ok(())
    }
}

impl Template {
    fn run(self) -> Result<(), Failure> {
        check_prefix(&self.prefix)?;
        let Template { environment, bucket, prefix, products, logging, .. } = self;
        let stack = Stack { environment, bucket, prefix, products, logging };
        print(&stack.template().map_err(|error| Failure::new(USAGE, error))?);
        Ok(())
    }
}

impl Check {
    #[cfg(feature = "aws")]
    async fn run(self) -> Result<(), Failure> {
        use crate::aws::hygiene::{Bucket, Verdict};
        let cloud = self.cloud.open(self.bucket).await?;
        let client = cloud.session.s3();
        let bucket = Bucket { client: &client, bucket: &cloud.bucket, prefix: &cloud.prefix };
        let findings = bucket.findings().await;
        if self.json {
            output::json(&findings);
        } else {
            let rows: Vec<[String; 3]> = findings
                .iter()
                .map(|found| [format!("{:?}", found.verdict), found.setting.to_owned(), found.what.clone()])
                .collect();
            output::table(["", "SETTING", "FOUND"], &rows);
        }
        let wrong = findings.iter().filter(|found| matches!(found.verdict, Verdict::Bad | Verdict::Unknown)).count();
        match wrong {
            0 => Ok(()),
            wrong => {
                Err(Failure::new(super::REFUSED, format!("{wrong} setting(s) of the bucket must be looked after")))
            }
        }
    }

    #[cfg(not(feature = "aws"))]
    async fn run(self) -> Result<(), Failure> {
        match self.cloud.open(self.bucket).await? {}
    }
}
