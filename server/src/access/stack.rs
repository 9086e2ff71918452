//! One environment as a CloudFormation template: bucket, roles, policies, thing groups, logging.

use sealift_rollout::buckets::{BUCKETS, group_name};
use serde_json::{Map, Value, json};

use super::{Places, Role};

/// Most resources of a template (CloudFormation's quota).
const RESOURCES_MAX: usize = 500;

/// What an environment is to have.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its name: `dev`, `test`, `prod`; part of the names of its roles.
    pub environment: String,
    /// The bucket.
    pub bucket: String,
    /// What comes before every key.
    pub prefix: String,
    /// Products, each with its hundred bucket groups.
    pub products: Vec<String>,
    /// Whether AWS IoT's logging, of which an account and region has one, is set up too.
    pub logging: bool,
}

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Too many resources.
    #[error(
        "{0} products need {1} resources; a CloudFormation template has at most {RESOURCES_MAX}: make a stack for every four products"
    )]
    TooMany(usize, usize),
    /// A name that can't be one.
    #[error("{0}")]
    Name(String),
}

impl Stack {
    /// The template. Account, region and partition are left to CloudFormation, so that one template serves every account.
    ///
    /// # Errors
    /// [`StackError`].
    pub fn template(&self) -> Result<Value, StackError> {
        let environment = &self.environment;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if environment.is_empty() || environment.len() > 20 || !environment.chars().all(plain) {
            return Err(StackError::Name(format!("{environment:?}: 1 to 20 of a-z, 0-9 and -")));
        }
        if let Some(product) = self.products.iter().find(|product| !sealift_manifests::is_name(product)) {
            return Err(StackError::Name(format!("{product:?} can't be a product id")));
        }
        let places = Places {
            partition: "${AWS::Partition}".into(),
            account: "${AWS::AccountId}".into(),
            region: "${AWS::Region}".into(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            presign_role: format!(
                "arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/sealift-{environment}-presign"
            ),
        };
        let mut resources = Map::new();
        resources.insert("Bucket".into(), self.bucket());
        let policy = json!({ "Bucket": { "Ref": "Bucket" }, "PolicyDocument": substituted(&places.bucket_policy()) });
        resources.insert("BucketPolicy".into(), json!({ "Type": "AWS::S3::BucketPolicy", "Properties": policy }));
        for (role, logical) in [
            (Role::Publisher, "Publisher"),
            (Role::Reconciler, "Reconciler"),
            (Role::Checker, "Checker"),
            (Role::Registrar, "Registrar"),
        ] {
            let trust = json!({ "Effect": "Allow", "Principal": { "AWS": { "Ref": "Operators" } }, "Action": "sts:AssumeRole" });
            resources.insert(logical.into(), self.role(&places, role, trust));
        }
        let trust = json!({
            "Effect": "Allow",
            "Principal": { "Service": "iot.amazonaws.com" },
            "Action": "sts:AssumeRole",
            // Nobody else's jobs presign in this account's name.
            "Condition": { "StringEquals": { "aws:SourceAccount": { "Ref": "AWS::AccountId" } } },
        });
        resources.insert("Presign".into(), self.role(&places, Role::Presign, trust));
        let device = json!({
            "PolicyName": format!("sealift-{environment}-device"),
            "PolicyDocument": substituted(&places.policy(Role::Device)),
        });
        resources.insert("Device".into(), json!({ "Type": "AWS::IoT::Policy", "Properties": device }));
        for (index, product) in self.products.iter().enumerate() {
            for bucket in 0..BUCKETS {
                let name = json!({ "ThingGroupName": group_name(product, bucket) });
                let group = json!({ "Type": "AWS::IoT::ThingGroup", "Properties": name });
                resources.insert(format!("Product{index}Bucket{bucket:02}"), group);
            }
        }
        if self.logging {
            self.logging(&mut resources);
        }
        if resources.len() > RESOURCES_MAX {
            return Err(StackError::TooMany(self.products.len(), resources.len()));
        }
        let output = |value: Value| json!({ "Value": value });
        let arn = |logical: &str| output(json!({ "Fn::GetAtt": [logical, "Arn"] }));
        Ok(json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": format!("Sealift, environment {environment}"),
            "Parameters": {
                "Operators": {
                    "Type": "String",
                    "Description": "ARN of the user, role or account that may assume the roles of publisher, reconciler, checker and registrar",
                },
            },
            "Resources": resources,
            "Outputs": {
                "PublisherRole": arn("Publisher"),
                "ReconcilerRole": arn("Reconciler"),
                "CheckerRole": arn("Checker"),
                "RegistrarRole": arn("Registrar"),
                "PresignRole": arn("Presign"),
                "MetadataUrl": output(json!({
                    "Fn::Sub": format!("https://{}.s3.${{AWS::Region}}.${{AWS::URLSuffix}}/{}metadata/", self.bucket, self.prefix),
                })),
            },
        }))
    }

    fn bucket(&self) -> Value {
        let prefix = &self.prefix;
        json!({
            "Type": "AWS::S3::Bucket",
            // A stack that is deleted takes no release with it.
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "BucketName": self.bucket,
                "VersioningConfiguration": { "Status": "Enabled" },
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        { "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } },
                    ],
                },
                "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] },
                // The bucket's policy opens metadata to everybody; access lists open nothing.
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": true,
                    "IgnorePublicAcls": true,
                    "BlockPublicPolicy": false,
                    "RestrictPublicBuckets": false,
                },
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "unfinished-uploads",
                            "Status": "Enabled",
                            "Prefix": format!("{prefix}payloads/"),
                            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 7 },
                        },
                        {
                            "Id": "old-rollout-states",
                            "Status": "Enabled",
                            "Prefix": format!("{prefix}rollouts/"),
                            "NoncurrentVersionExpiration": { "NoncurrentDays": 90 },
                        },
                    ],
                },
            },
        })
    }

    fn role(&self, places: &Places, role: Role, trust: Value) -> Value {
        let name = format!("sealift-{}-{}", self.environment, role.name());
        let policy = json!({ "PolicyName": name, "PolicyDocument": substituted(&places.policy(role)) });
        json!({
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": name,
                "AssumeRolePolicyDocument": { "Version": "2012-10-17", "Statement": [trust] },
                "Policies": [policy],
            },
        })
    }

    fn logging(&self, resources: &mut Map<String, Value>) {
        let name = format!("sealift-{}-iot-logging", self.environment);
        let logs = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:AWSIotLogsV2:*";
        let role = json!({
            "RoleName": name,
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{ "Effect": "Allow", "Principal": { "Service": "iot.amazonaws.com" }, "Action": "sts:AssumeRole" }],
            },
            "Policies": [{
                "PolicyName": name,
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Effect": "Allow",
                        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                        "Resource": { "Fn::Sub": logs },
                    }],
                },
            }],
        });
        resources.insert("LoggingRole".into(), json!({ "Type": "AWS::IAM::Role", "Properties": role }));
        let logging = json!({
            "AccountId": { "Ref": "AWS::AccountId" },
            "DefaultLogLevel": "WARN",
            "RoleArn": { "Fn::GetAtt": ["LoggingRole", "Arn"] },
        });
        resources.insert("Logging".into(), json!({ "Type": "AWS::IoT::Logging", "Properties": logging }));
    }
}

/// A policy with account, region and partition filled in by CloudFormation. Policy variables of AWS IoT
/// (`${iot:...}`) are kept from it.
fn substituted(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("${AWS::") => {
            json!({ "Fn::Sub": text.replace("${iot:", "${!iot:") })
        }
        Value::Array(all) => Value::Array(all.iter().map(substituted).collect()),
        Value::Object(all) => Value::Object(all.iter().map(|(key, value)| (key.clone(), substituted(value))).collect()),
        other => other.clone(),
    }
}
