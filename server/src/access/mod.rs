//! Least privilege as code: what each role may do in a cloud account, and nothing else.
//!
//! The policies are plain JSON, made from where things are. That they allow what the code calls, and no more, is held by a
//! test over the calls that the real binary makes (`tests/ports`).

mod stack;

use serde_json::{Value, json};

pub use stack::{Stack, StackError};

/// Where an environment's things are. Environments are kept apart by account, by bucket or by prefix, and share no role.
#[derive(Clone, Debug)]
pub struct Places {
    /// `aws`, or `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The account's number.
    pub account: String,
    /// The region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// What comes before every key; empty, or with a closing slash.
    pub prefix: String,
    /// ARN of the role in whose name AWS IoT presigns payloads.
    pub presign_role: String,
}

/// Who has a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Publishes releases: CI.
    Publisher,
    /// Starts, carries on and stops rollouts: CI, cron, an operator.
    Reconciler,
    /// Checks the bucket's settings: `aws check`.
    Checker,
    /// Puts things on record: `aws enrol`.
    Registrar,
    /// Presigns payloads, for AWS IoT alone.
    Presign,
    /// A device: the policy of AWS IoT on its certificate.
    Device,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 6] =
        [Role::Publisher, Role::Reconciler, Role::Checker, Role::Registrar, Role::Presign, Role::Device];

    /// Its name in commands and resource names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Publisher => "publisher",
            Role::Reconciler => "reconciler",
            Role::Checker => "checker",
            Role::Registrar => "registrar",
            Role::Presign => "presign",
            Role::Device => "device",
        }
    }
}

impl Places {
    fn bucket_arn(&self) -> String {
        format!("arn:{}:s3:::{}", self.partition, self.bucket)
    }

    fn objects(&self, folders: &[&str]) -> Vec<String> {
        folders.iter().map(|folder| format!("{}/{}{folder}/*", self.bucket_arn(), self.prefix)).collect()
    }

    fn iot(&self, what: &str) -> String {
        format!("arn:{}:iot:{}:{}:{what}", self.partition, self.region, self.account)
    }

    /// The policy of a role: IAM's language, or for devices that of AWS IoT.
    #[must_use]
    pub fn policy(&self, role: Role) -> Value {
        let statements = match role {
            Role::Publisher => vec![
                // Without the right to list, S3 says "forbidden" of what is only missing.
                allow("Bucket", &["s3:ListBucket", "s3:ListBucketMultipartUploads"], &[self.bucket_arn()]),
                allow("Objects", &["s3:GetObject", "s3:PutObject"], &self.objects(&["metadata", "payloads", "audit"])),
                allow(
                    "Parts",
                    &["s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"],
                    &self.objects(&["payloads"]),
                ),
            ],
            Role::Reconciler => self.reconciler(),
            Role::Checker => vec![allow(
                "Settings",
                &[
                    "s3:GetBucketPolicy",
                    "s3:GetBucketPublicAccessBlock",
                    "s3:GetBucketVersioning",
                    "s3:GetEncryptionConfiguration",
                    "s3:GetLifecycleConfiguration",
                ],
                &[self.bucket_arn()],
            )],
            Role::Registrar => self.registrar(),
            Role::Presign => vec![allow("Payloads", &["s3:GetObject"], &self.objects(&["payloads"]))],
            Role::Device => self.device(),
        };
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn reconciler(&self) -> Vec<Value> {
        let jobs = self.iot("job/sl-*");
        let (things, groups) = (self.iot("thing/*"), self.iot("thinggroup/*"));
        vec![
            allow("Bucket", &["s3:ListBucket"], &[self.bucket_arn()]),
            allow("Read", &["s3:GetObject"], &self.objects(&["metadata", "rollouts", "audit"])),
            allow("Write", &["s3:PutObject"], &self.objects(&["rollouts", "audit"])),
            allow(
                "Jobs",
                &["iot:DescribeJob", "iot:CancelJob", "iot:ListJobExecutionsForJob"],
                std::slice::from_ref(&jobs),
            ),
            // The targets of a job are part of what it takes to make one.
            allow("Begin", &["iot:CreateJob"], &[jobs.clone(), things.clone(), groups.clone()]),
            allow("Executions", &["iot:DescribeJobExecution"], &[jobs, things.clone()]),
            allow(
                "Things",
                &["iot:DescribeThing", "iot:ListThingGroupsForThing", "iot:ListJobExecutionsForThing"],
                &[things],
            ),
            allow("Groups", &["iot:DescribeThingGroup", "iot:ListThingsInThingGroup"], &[groups]),
            json!({
                "Sid": "Presign",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": self.presign_role,
                "Condition": { "StringEquals": { "iam:PassedToService": "iot.amazonaws.com" } },
            }),
        ]
    }

    fn registrar(&self) -> Vec<Value> {
        let (things, groups) = (self.iot("thing/*"), self.iot("thinggroup/*"));
        let certificates = self.iot("cert/*");
        vec![
            allow(
                "Things",
                &["iot:DescribeThing", "iot:CreateThing", "iot:UpdateThing"],
                std::slice::from_ref(&things),
            ),
            allow("Groups", &["iot:DescribeThingGroup"], std::slice::from_ref(&groups)),
            allow("Join", &["iot:AddThingToThingGroup"], &[things.clone(), groups]),
            // AWS can't bound which policy is attached: who has this role can give a certificate any policy of the account.
            allow("Certificates", &["iot:AttachPolicy", "iot:AttachThingPrincipal"], &[certificates, things]),
        ]
    }

    /// A device reaches the topics of its own thing and no others: the thing is the one that its certificate is attached
    /// to, not the one that it says it is.
    fn device(&self) -> Vec<Value> {
        const THING: &str = "${iot:Connection.Thing.ThingName}";
        let topic = |rest: &str| self.iot(&format!("topic/$aws/things/{THING}/jobs/{rest}"));
        let filter = |rest: &str| self.iot(&format!("topicfilter/$aws/things/{THING}/jobs/{rest}"));
        let (requests, answers) = (["get", "start-next", "+/get", "+/update"], ["accepted", "rejected"]);
        let published: Vec<String> = requests.iter().map(|request| topic(&request.replace('+', "*"))).collect();
        let mut heard: Vec<String> = vec!["notify".into(), "notify-next".into()];
        heard.extend(requests.iter().flat_map(|request| answers.map(|answer| format!("{request}/{answer}"))));
        vec![
            json!({
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": self.iot(&format!("client/{THING}")),
                "Condition": { "Bool": { "iot:Connection.Thing.IsAttached": "true" } },
            }),
            json!({ "Effect": "Allow", "Action": "iot:Publish", "Resource": published }),
            json!({
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": heard.iter().map(|rest| filter(rest)).collect::<Vec<_>>(),
            }),
            json!({
                "Effect": "Allow",
                "Action": "iot:Receive",
                "Resource": heard.iter().map(|rest| topic(&rest.replace('+', "*"))).collect::<Vec<_>>(),
            }),
            json!({
                "Effect": "Allow",
                "Action": [
                    "iotjobsdata:DescribeJobExecution",
                    "iotjobsdata:GetPendingJobExecutions",
                    "iotjobsdata:StartNextPendingJobExecution",
                    "iotjobsdata:UpdateJobExecution",
                ],
                "Resource": self.iot(&format!("thing/{THING}")),
            }),
        ]
    }

    /// The policy of the bucket itself: who may read metadata, and what nobody may do.
    #[must_use]
    pub fn bucket_policy(&self) -> Value {
        let everything = [self.bucket_arn(), format!("{}/*", self.bucket_arn())];
        let roots = format!("{}/{}metadata/*.root", self.bucket_arn(), self.prefix);
        json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "DevicesReadMetadata",
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "s3:GetObject",
                    "Resource": self.objects(&["metadata"]),
                },
                {
                    "Sid": "NothingInTheClear",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": everything,
                    "Condition": { "Bool": { "aws:SecureTransport": "false" } },
                },
                {
                    // Parts of an upload carry no condition; completing it does.
                    "Sid": "NothingIsOverwrittenUnseen",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:PutObject",
                    "Resource": format!("{}/{}*", self.bucket_arn(), self.prefix),
                    "Condition": {
                        "Null": { "s3:if-none-match": "true", "s3:if-match": "true" },
                        "Bool": { "s3:ObjectCreationOperation": "true" },
                    },
                },
                {
                    "Sid": "RootsAndAuditStay",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
                    "Resource": [roots, self.objects(&["audit"])[0]],
                },
            ],
        })
    }
}

fn allow(sid: &str, actions: &[&str], resources: &[String]) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}
