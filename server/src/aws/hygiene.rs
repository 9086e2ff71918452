//! Is the bucket as it should be? Its settings, read and judged one by one.

use aws_sdk_s3::Client;
use serde::Serialize;
use serde_json::Value;

use super::AwsError;

/// How a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and could be better.
    Weak,
    /// It must be changed.
    Bad,
    /// It couldn't be read.
    Unknown,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name.
    pub setting: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, and what to do about it.
    pub what: String,
}

/// A bucket and the part of it that is Sealift's.
pub struct Bucket<'a> {
    /// S3.
    pub client: &'a Client,
    /// The bucket.
    pub bucket: &'a str,
    /// What comes before every key.
    pub prefix: &'a str,
}

fn finding(setting: &'static str, verdict: Verdict, what: impl Into<String>) -> Finding {
    Finding { setting, verdict, what: what.into() }
}

impl Bucket<'_> {
    /// Reads and judges all settings; one that can't be read is a finding too.
    pub async fn findings(&self) -> Vec<Finding> {
        let mut all = vec![self.access_lists().await];
        all.extend(self.policy().await);
        all.extend([self.encryption().await, self.versioning().await]);
        all.extend(self.lifecycle().await);
        all
    }

    async fn access_lists(&self) -> Finding {
        const SETTING: &str = "access lists open nothing";
        let block = self.client.get_public_access_block().bucket(self.bucket).send().await;
        match block.map_err(|error| AwsError::new("s3:GetBucketPublicAccessBlock", error)) {
            Ok(block) => match block.public_access_block_configuration() {
                Some(config)
                    if config.block_public_acls() == Some(true) && config.ignore_public_acls() == Some(true) =>
                {
                    finding(SETTING, Verdict::Good, "public access lists are blocked and ignored")
                }
                _ => finding(
                    SETTING,
                    Verdict::Bad,
                    "set BlockPublicAcls and IgnorePublicAcls in the public access block",
                ),
            },
            Err(error) if error.is(&["NoSuchPublicAccessBlockConfiguration"]) => {
                finding(SETTING, Verdict::Bad, "no public access block: set BlockPublicAcls and IgnorePublicAcls")
            }
            Err(error) => finding(SETTING, Verdict::Unknown, error.to_string()),
        }
    }

    async fn policy(&self) -> Vec<Finding> {
        let found = self.client.get_bucket_policy().bucket(self.bucket).send().await;
        let policy = match found.map_err(|error| AwsError::new("s3:GetBucketPolicy", error)) {
            Ok(found) => found.policy().unwrap_or("{}").to_owned(),
            Err(error) if error.is(&["NoSuchBucketPolicy"]) => "{}".to_owned(),
            Err(error) => return vec![finding("policy", Verdict::Unknown, error.to_string())],
        };
        match serde_json::from_str::<Value>(&policy) {
            Ok(policy) => judge_policy(&policy, self.bucket, self.prefix),
            Err(error) => vec![finding("policy", Verdict::Unknown, format!("it can't be read: {error}"))],
        }
    }

    async fn encryption(&self) -> Finding {
        const SETTING: &str = "encryption at rest";
        let found = self.client.get_bucket_encryption().bucket(self.bucket).send().await;
        match found.map_err(|error| AwsError::new("s3:GetEncryptionConfiguration", error)) {
            Ok(_) => finding(SETTING, Verdict::Good, "objects are encrypted by default"),
            Err(error) if error.is(&["ServerSideEncryptionConfigurationNotFoundError"]) => {
                finding(SETTING, Verdict::Bad, "no default encryption: set SSE-S3 or SSE-KMS")
            }
            Err(error) => finding(SETTING, Verdict::Unknown, error.to_string()),
        }
    }

    async fn versioning(&self) -> Finding {
        const SETTING: &str = "versioning";
        let found = self.client.get_bucket_versioning().bucket(self.bucket).send().await;
        match found.map_err(|error| AwsError::new("s3:GetBucketVersioning", error)) {
            Ok(found) if found.status().is_some_and(|status| status.as_str() == "Enabled") => {
                finding(SETTING, Verdict::Good, "what is overwritten or deleted can be brought back")
            }
            Ok(_) => finding(SETTING, Verdict::Bad, "switch versioning on: what somebody deletes is gone otherwise"),
            Err(error) => finding(SETTING, Verdict::Unknown, error.to_string()),
        }
    }

    async fn lifecycle(&self) -> Vec<Finding> {
        const SPARED: &str = "lifecycle rules spare roots and audit log";
        const UPLOADS: &str = "unfinished uploads end";
        let found = self.client.get_bucket_lifecycle_configuration().bucket(self.bucket).send().await;
        let rules = match found.map_err(|error| AwsError::new("s3:GetLifecycleConfiguration", error)) {
            Ok(found) => found.rules().to_vec(),
            Err(error) if error.is(&["NoSuchLifecycleConfiguration"]) => Vec::new(),
            Err(error) => return vec![finding(SPARED, Verdict::Unknown, error.to_string())],
        };
        let mut spared = finding(SPARED, Verdict::Good, "no rule expires anything below metadata/ or audit/");
        let mut uploads =
            finding(UPLOADS, Verdict::Weak, "add a rule that ends incomplete multipart uploads after some days");
        for rule in rules.iter().filter(|rule| rule.status().as_str() == "Enabled") {
            let filter = rule.filter();
            let within = filter.and_then(|filter| filter.and().and_then(|and| and.prefix()).or(filter.prefix()));
            #[allow(deprecated, reason = "rules made by older tools have their prefix here")]
            let within = within.or(rule.prefix()).unwrap_or_default();
            let touches = |folder: &str| {
                let folder = format!("{}{folder}/", self.prefix);
                folder.starts_with(within) || within.starts_with(&folder)
            };
            let expires =
                rule.expiration().is_some_and(|expiration| expiration.days().is_some() || expiration.date().is_some());
            if expires && (touches("metadata") || touches("audit")) {
                let name = rule.id().unwrap_or("without a name");
                let what = format!(
                    "rule {name} expires objects below {within:?}: roots must stay for ever; narrow its prefix"
                );
                spared = finding(SPARED, Verdict::Bad, what);
            }
            if rule.abort_incomplete_multipart_upload().is_some() && touches("payloads") {
                uploads = finding(UPLOADS, Verdict::Good, "a rule ends incomplete multipart uploads");
            }
        }
        vec![spared, uploads]
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Whether `pattern`, with IAM's wildcards, covers `name`.
pub(crate) fn covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => {
            pattern.len() == name.len()
                && pattern.bytes().zip(name.bytes()).all(|(expected, found)| expected == b'?' || expected == found)
        }
        Some((head, tail)) => {
            let begins =
                name.is_char_boundary(head.len()) && name.len() >= head.len() && covers(head, &name[..head.len()]);
            begins && (head.len()..=name.len()).any(|at| name.is_char_boundary(at) && covers(tail, &name[at..]))
        }
    }
}

/// Judges a bucket policy.
pub(crate) fn judge_policy(policy: &Value, bucket: &str, prefix: &str) -> Vec<Finding> {
    let one = policy.get("Statement").cloned().unwrap_or_default();
    let statements = match one {
        Value::Array(all) => all,
        Value::Null => Vec::new(),
        one => vec![one],
    };
    let is = |statement: &Value, effect: &str| statement.get("Effect").and_then(Value::as_str) == Some(effect);
    let public = |statement: &&Value| {
        let principal = statement.get("Principal");
        let everybody = principal.and_then(Value::as_str) == Some("*")
            || texts(principal.and_then(|of| of.get("AWS"))).iter().any(|arn| arn == "*");
        // A condition may narrow it, or not: what can't be told is taken for open. NotPrincipal opens to nearly all.
        is(statement, "Allow") && (everybody || statement.get("NotPrincipal").is_some())
    };
    let acts = |statement: &Value, call: &str| {
        let exempt =
            statement.get("NotAction").is_some_and(|not| !texts(Some(not)).iter().any(|one| covers(one, call)));
        exempt
            || texts(statement.get("Action")).iter().any(|action| covers(&action.to_lowercase(), &call.to_lowercase()))
    };
    let reaches = |statement: &Value, key: &str| {
        let suffix = format!(":s3:::{bucket}/{prefix}{key}");
        let name = format!("arn:aws{suffix}");
        let covered = |one: &String| covers(one, &name) || covers(one, &name.replace("arn:aws:", "arn:aws-cn:"));
        let exempt = statement.get("NotResource").is_some_and(|not| !texts(Some(not)).iter().any(covered));
        exempt || texts(statement.get("Resource")).iter().any(covered)
    };
    let open: Vec<&Value> = statements.iter().filter(public).collect();
    let writes = ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutBucketPolicy", "s3:PutObjectAcl"];
    let mut findings = Vec::new();
    let written = open.iter().find_map(|statement| writes.iter().find(|call| acts(statement, call)));
    findings.push(match written {
        Some(call) => {
            finding("no public writes", Verdict::Bad, format!("the policy lets everybody {call}: take that out"))
        }
        None => finding("no public writes", Verdict::Good, "the policy lets nobody unnamed write"),
    });
    let reads = |key: &str| open.iter().any(|statement| acts(statement, "s3:GetObject") && reaches(statement, key));
    let kept = [
        ("payloads private", "payloads/0", "payloads go by presigned URLs"),
        ("audit log and rollouts private", "audit/0", "they are nobody's business"),
    ];
    for (setting, key, why) in kept {
        let folder = if key.starts_with("audit") && reads("rollouts/0") { "rollouts/0" } else { key };
        findings.push(match reads(folder) {
            true => finding(setting, Verdict::Bad, format!("the policy lets everybody read {prefix}{folder}: {why}")),
            false => finding(setting, Verdict::Good, "not opened by the policy"),
        });
    }
    findings.push(match reads("metadata/1.root") && reads("metadata/timestamp") {
        true => finding(
            "metadata readable by devices",
            Verdict::Good,
            format!("https://{bucket}.s3.REGION.amazonaws.com/{prefix}metadata/"),
        ),
        false => finding(
            "metadata readable by devices",
            Verdict::Weak,
            "not at the bucket's own address: devices need another way (CloudFront), named by --metadata-url",
        ),
    });
    let conditional = statements.iter().any(|statement| {
        let condition = statement.pointer("/Condition/Null/s3:if-none-match").and_then(Value::as_str);
        is(statement, "Deny") && acts(statement, "s3:PutObject") && condition == Some("true")
    });
    findings.push(match conditional {
        true => finding("nothing is overwritten unseen", Verdict::Good, "writes without a condition are denied"),
        false => finding(
            "nothing is overwritten unseen",
            Verdict::Weak,
            "deny s3:PutObject without If-None-Match or If-Match (`aws stack` shows how): then even a stolen role replaces no payload",
        ),
    });
    findings
}
