//! Puts a thing on record for rollouts: attributes, groups, and the certificate's policy.
//!
//! Whatever made thing and certificate (fleet provisioning, a factory, an operator), a rollout needs the same of it: product
//! and report key as attributes, since success is what a report under that key proves, and membership in the bucket group of
//! its name, since percentages are made of those.

use std::collections::BTreeMap;

use aws_sdk_iot::Client;
use aws_sdk_iot::types::AttributePayload;
use sealift_jobs::{GroupName, ThingName};

use super::iot::{NOT_FOUND, refused};
use super::{AwsError, DECODER_RAM_ATTRIBUTE, PRODUCT_ATTRIBUTE, REPORT_KEY_ATTRIBUTE};
use crate::service::ServiceError;

/// What a thing is to be.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Its name.
    pub thing: ThingName,
    /// Its product.
    pub product: String,
    /// The Ed25519 public key of its reports, in hex.
    pub report_key: String,
    /// The RAM that its decoder has, in bytes.
    pub decoder_ram: Option<u64>,
    /// Its groups, the bucket group among them.
    pub groups: Vec<GroupName>,
    /// ARN of its certificate, and the policy that it gets.
    pub certificate: Option<(String, String)>,
    /// Whether another product or report key on record gives way.
    pub replace: bool,
}

/// What was done.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// The thing.
    pub thing: ThingName,
    /// Whether it was made now.
    pub created: bool,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// ARN of its certificate, where one was given.
    pub certificate: Option<String>,
}

impl Enrolment {
    /// Does it; the same again changes nothing. All groups are looked up before anything is written.
    ///
    /// # Errors
    /// [`ServiceError`]: a group that isn't there, another product or key on record, AWS's own refusals.
    pub async fn carry_out(&self, client: &Client) -> Result<Enrolled, ServiceError> {
        for group in &self.groups {
            let found = client.describe_thing_group().thing_group_name(group.as_str()).send().await;
            found.map_err(|error| {
                refused(AwsError::new("iot:DescribeThingGroup", error), &format!("thing group {group}"))
            })?;
        }
        let created = self.thing(client).await?;
        for group in &self.groups {
            let add = client.add_thing_to_thing_group().thing_group_name(group.as_str());
            let added = add.thing_name(self.thing.as_str()).send().await;
            added.map_err(|error| refused(AwsError::new("iot:AddThingToThingGroup", error), group.as_str()))?;
        }
        if let Some((certificate, policy)) = &self.certificate {
            let attached = client.attach_policy().policy_name(policy).target(certificate).send().await;
            attached.map_err(|error| {
                refused(AwsError::new("iot:AttachPolicy", error), &format!("policy {policy} or {certificate}"))
            })?;
            let attach = client.attach_thing_principal().thing_name(self.thing.as_str());
            let attached = attach.principal(certificate).send().await;
            attached.map_err(|error| refused(AwsError::new("iot:AttachThingPrincipal", error), certificate))?;
        }
        let certificate = self.certificate.as_ref().map(|(certificate, _)| certificate.clone());
        Ok(Enrolled { thing: self.thing.clone(), created, groups: self.groups.clone(), certificate })
    }

    fn attributes(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::from([
            (PRODUCT_ATTRIBUTE, self.product.clone()),
            (REPORT_KEY_ATTRIBUTE, self.report_key.clone()),
        ]);
        all.extend(self.decoder_ram.map(|ram| (DECODER_RAM_ATTRIBUTE, ram.to_string())));
        all
    }

    /// Makes the thing, or adds what its record lacks; true when it was made.
    async fn thing(&self, client: &Client) -> Result<bool, ServiceError> {
        let name = self.thing.as_str();
        let wanted = self.attributes();
        let payload = |merge| {
            let wanted = wanted.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            AttributePayload::builder().set_attributes(Some(wanted)).merge(merge).build()
        };
        let found = client.describe_thing().thing_name(name).send().await;
        let found = match found.map_err(|error| AwsError::new("iot:DescribeThing", error)) {
            Ok(found) => found,
            Err(error) if error.is(NOT_FOUND) => {
                let made = client.create_thing().thing_name(name).attribute_payload(payload(false)).send().await;
                made.map_err(|error| refused(AwsError::new("iot:CreateThing", error), name))?;
                return Ok(true);
            }
            Err(error) => return Err(refused(error, name)),
        };
        let on_record = |key: &str| found.attributes().and_then(|all| all.get(key)).cloned();
        // Whoever replaces a report key says from then on what the device runs: not by mistake.
        for key in [PRODUCT_ATTRIBUTE, REPORT_KEY_ATTRIBUTE] {
            if let Some(other) = on_record(key).filter(|other| !self.replace && wanted.get(key) != Some(other)) {
                let problem =
                    format!("thing {name} has another {key} on record, {other}: --replace puts this one there");
                return Err(ServiceError::Refused(problem));
            }
        }
        if wanted.iter().any(|(key, value)| on_record(key).as_ref() != Some(value)) {
            let updated = client.update_thing().thing_name(name).attribute_payload(payload(true)).send().await;
            updated.map_err(|error| refused(AwsError::new("iot:UpdateThing", error), name))?;
        }
        Ok(false)
    }
}
