//! Provisioning templates: AWS IoT's JSON document that says what becomes of a device's certificate.
//!
//! What this server can't do is refused when a template is written, and not when the first device comes.

use std::collections::{BTreeMap, BTreeSet};

use sealift_jobs::{GroupName, ThingName};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::value::{Mappings, Parameters, Value};
use crate::ledger::TemplateKind;
use crate::mqtt::policy::Policy;

/// Most bytes of a document (AWS: 10,240).
pub(super) const DOCUMENT_MAX: usize = 10_240;
/// What AWS IoT fills in from a certificate.
pub(super) const CERTIFICATE_ID: &str = "AWS::IoT::Certificate::Id";
/// The beginning of every name that AWS IoT fills in.
const RESERVED: &str = "AWS::";

/// Why a template was refused, or made nothing of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not the document of a template.
    #[error("the template's {place}: {problem}")]
    Document {
        /// Where.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A parameter has neither value nor default.
    #[error("the template needs the parameter {parameter}, which wasn't given and has no default")]
    Missing {
        /// Its name.
        parameter: String,
    },
    /// A value that comes out as nothing that can be used.
    #[error("{0}")]
    Value(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    mappings: Mappings,
    resources: BTreeMap<String, Resource>,
    #[serde(default)]
    device_configuration: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Parameter {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    default: Option<String>,
    #[serde(default, rename = "Description")]
    _description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Resource {
    #[serde(rename = "Type")]
    kind: String,
    properties: Json,
    #[serde(default)]
    override_settings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ThingProperties {
    thing_name: Json,
    #[serde(default)]
    thing_type_name: Option<Json>,
    #[serde(default)]
    attribute_payload: BTreeMap<String, Json>,
    #[serde(default)]
    thing_groups: Vec<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CertificateProperties {
    certificate_id: Json,
    #[serde(default)]
    status: Option<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PolicyProperties {
    #[serde(default)]
    policy_name: Option<Json>,
    #[serde(default)]
    policy_document: Option<Json>,
}

/// A policy that a thing gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PolicyOf<T> {
    /// One that exists.
    Named(T),
    /// One of its own.
    Document(T),
}

/// A template, ready to be used.
#[derive(Debug)]
pub struct Template {
    parameters: BTreeMap<String, Option<String>>,
    mappings: Mappings,
    thing: Value,
    product: Option<Value>,
    attributes: BTreeMap<String, Value>,
    groups: Vec<Value>,
    certificate: Value,
    policies: Vec<PolicyOf<Value>>,
    configuration: Map<String, Json>,
}

/// What a template makes of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The thing's name.
    pub thing: ThingName,
    /// Its product: AWS's thing type.
    pub product: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its groups.
    pub groups: BTreeSet<GroupName>,
    pub(super) policies: Vec<PolicyOf<String>>,
    /// What the device is told besides.
    pub configuration: Map<String, Json>,
}

fn bad(place: impl Into<String>, problem: impl Into<String>) -> TemplateError {
    TemplateError::Document { place: place.into(), problem: problem.into() }
}

fn typed<T: serde::de::DeserializeOwned>(json: &Json, place: &str) -> Result<T, TemplateError> {
    T::deserialize(json).map_err(|e| bad(place, e.to_string()))
}

/// What AWS lets a template say of a thing that exists already.
const OVERRIDES: [&str; 4] = ["DO_NOTHING", "REPLACE", "MERGE", "FAIL"];

impl Template {
    /// Reads a document for one kind of use.
    ///
    /// # Errors
    /// [`TemplateError`], which names the place.
    pub fn from_json(text: &str, kind: TemplateKind) -> Result<Self, TemplateError> {
        if text.len() > DOCUMENT_MAX {
            return Err(bad("document", format!("{} bytes; AWS IoT takes {DOCUMENT_MAX}", text.len())));
        }
        let document: Document = serde_json::from_str(text).map_err(|e| bad("document", e.to_string()))?;
        let mut parameters = BTreeMap::new();
        for (name, parameter) in document.parameters {
            if parameter.kind != "String" {
                return Err(bad(
                    format!("parameter {name}"),
                    format!("Type is {:?}; AWS has String alone", parameter.kind),
                ));
            }
            parameters.insert(name, parameter.default);
        }
        let mut things = Vec::new();
        let mut certificates = Vec::new();
        let mut policies = Vec::new();
        for (name, resource) in &document.resources {
            let place = format!("resource {name}");
            if let Some((what, how)) =
                resource.override_settings.iter().find(|(_, how)| !OVERRIDES.contains(&how.as_str()))
            {
                return Err(bad(place, format!("OverrideSettings: {what} is {how:?}; known are {OVERRIDES:?}")));
            }
            match resource.kind.as_str() {
                "AWS::IoT::Thing" => things.push((typed::<ThingProperties>(&resource.properties, &place)?, place)),
                "AWS::IoT::Certificate" => certificates.push(certificate(&resource.properties, &place)?),
                "AWS::IoT::Policy" => policies.push(policy(&resource.properties, &place)?),
                other => {
                    let known = "AWS::IoT::Thing, AWS::IoT::Certificate, AWS::IoT::Policy";
                    return Err(bad(place, format!("Type {other:?} isn't one of {known}")));
                }
            }
        }
        let one = |what: &str, count: usize| {
            bad("Resources", format!("{count} of type {what}; a device is one thing with one certificate"))
        };
        let [(thing, place)] = <[_; 1]>::try_from(things).map_err(|all: Vec<_>| one("AWS::IoT::Thing", all.len()))?;
        let [certificate] =
            <[_; 1]>::try_from(certificates).map_err(|all: Vec<_>| one("AWS::IoT::Certificate", all.len()))?;
        let read = |json: &Json| Value::read(json, &place);
        let template = Self {
            parameters,
            mappings: document.mappings,
            thing: read(&thing.thing_name)?,
            product: thing.thing_type_name.as_ref().map(read).transpose()?,
            attributes: thing
                .attribute_payload
                .iter()
                .map(|(name, value)| Ok((name.clone(), read(value)?)))
                .collect::<Result<_, TemplateError>>()?,
            groups: thing.thing_groups.iter().map(read).collect::<Result<_, _>>()?,
            certificate,
            policies,
            configuration: document.device_configuration,
        };
        template.check(kind)?;
        Ok(template)
    }

    fn check(&self, kind: TemplateKind) -> Result<(), TemplateError> {
        let mut named = Vec::new();
        let own = [&self.thing, &self.certificate].into_iter().chain(&self.product).chain(self.attributes.values());
        own.chain(&self.groups).for_each(|value| value.parameters(&mut named));
        for policy in &self.policies {
            let (PolicyOf::Named(value) | PolicyOf::Document(value)) = policy;
            value.parameters(&mut named);
        }
        if let Some(name) = named.iter().find(|name| !self.parameters.contains_key(**name)) {
            return Err(bad("Resources", format!("{name} isn't declared in Parameters")));
        }
        for (name, default) in &self.parameters {
            let place = format!("parameter {name}");
            let known = subject_parameter(name) || name == CERTIFICATE_ID;
            if name.starts_with(RESERVED) && !known {
                return Err(bad(place, "AWS IoT knows no such parameter"));
            }
            match kind {
                TemplateKind::Jitp if !known && default.is_none() => {
                    return Err(bad(place, "just-in-time provisioning has the certificate alone: give it a Default"));
                }
                TemplateKind::FleetProvisioning if subject_parameter(name) && default.is_none() => {
                    return Err(bad(place, "fleet provisioning doesn't fill it in from a certificate"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What becomes of a device with these parameters. `id` is its certificate's.
    ///
    /// # Errors
    /// [`TemplateError::Missing`] and [`TemplateError::Value`].
    pub fn plan(&self, given: &Parameters, id: &str) -> Result<Plan, TemplateError> {
        let mut parameters = Parameters::new();
        for (name, default) in &self.parameters {
            let value = if name == CERTIFICATE_ID {
                Some(id)
            } else {
                given.get(name).or(default.as_ref()).map(String::as_str)
            };
            let value = value.ok_or_else(|| TemplateError::Missing { parameter: name.clone() })?;
            parameters.insert(name.clone(), value.to_owned());
        }
        let resolve = |value: &Value| value.resolve(&parameters, &self.mappings);
        let named =
            |what: &str, text: &str, e: &dyn std::fmt::Display| TemplateError::Value(format!("{what} {text:?}: {e}"));
        if resolve(&self.certificate)? != id {
            return Err(TemplateError::Value("CertificateId isn't the certificate's own id".into()));
        }
        let name = resolve(&self.thing)?;
        let thing = name.parse().map_err(|e: sealift_jobs::NameError| named("ThingName", &name, &e))?;
        let product = self.product.as_ref().map(resolve).transpose()?;
        if let Some(product) = product.as_ref().filter(|product| !sealift_manifests::is_name(product)) {
            return Err(named("ThingTypeName", product, &"it is the product's id here: 1 to 64 of [a-z0-9._-]"));
        }
        let mut groups = BTreeSet::new();
        for group in &self.groups {
            let group = resolve(group)?;
            groups.insert(group.parse().map_err(|e: sealift_jobs::NameError| named("ThingGroups", &group, &e))?);
        }
        let mut attributes = BTreeMap::new();
        for (name, value) in &self.attributes {
            let value = resolve(value)?;
            if value.len() > 800 || name.len() > 128 {
                return Err(named("AttributePayload", name, &"AWS takes names of 128 and values of 800 bytes"));
            }
            attributes.insert(name.clone(), value);
        }
        let mut policies = Vec::new();
        for policy in &self.policies {
            policies.push(match policy {
                PolicyOf::Named(value) => PolicyOf::Named(resolve(value)?),
                PolicyOf::Document(value) => {
                    let document = resolve(value)?;
                    Policy::from_json(&document).map_err(|e| TemplateError::Value(format!("PolicyDocument: {e}")))?;
                    PolicyOf::Document(document)
                }
            });
        }
        Ok(Plan { thing, product, attributes, groups, policies, configuration: self.configuration.clone() })
    }
}

fn certificate(properties: &Json, place: &str) -> Result<Value, TemplateError> {
    let certificate: CertificateProperties = typed(properties, place)?;
    match &certificate.status {
        None => {}
        Some(Json::String(status)) if status.eq_ignore_ascii_case("ACTIVE") => {}
        Some(other) => {
            return Err(bad(place, format!("Status is {other}; this server makes ACTIVE certificates alone")));
        }
    }
    Value::read(&certificate.certificate_id, place)
}

fn policy(properties: &Json, place: &str) -> Result<PolicyOf<Value>, TemplateError> {
    let policy: PolicyProperties = typed(properties, place)?;
    match (&policy.policy_name, &policy.policy_document) {
        (Some(name), None) => Ok(PolicyOf::Named(Value::read(name, place)?)),
        (None, Some(document)) => {
            // AWS takes the document as text; one that is written out as JSON means the same.
            let value = match document {
                Json::Object(_) if !Value::is_function(document) => Value::Text(document.to_string()),
                other => Value::read(other, place)?,
            };
            if let Value::Text(text) = &value {
                Policy::from_json(text).map_err(|e| bad(place, format!("PolicyDocument: {e}")))?;
            }
            Ok(PolicyOf::Document(value))
        }
        _ => Err(bad(place, "either PolicyName or PolicyDocument")),
    }
}

/// True for a parameter that just-in-time provisioning fills in from the certificate's subject.
fn subject_parameter(name: &str) -> bool {
    SUBJECT.iter().any(|(known, _)| name.strip_prefix("AWS::IoT::Certificate::") == Some(known))
}

/// AWS's names for the parts of a subject, and their object identifiers (X.520).
pub(super) const SUBJECT: [(&str, &str); 7] = [
    ("Country", "2.5.4.6"),
    ("Organization", "2.5.4.10"),
    ("OrganizationalUnit", "2.5.4.11"),
    ("DistinguishedNameQualifier", "2.5.4.46"),
    ("StateName", "2.5.4.8"),
    ("CommonName", "2.5.4.3"),
    ("SerialNumber", "2.5.4.5"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The shape of AWS's own example for just-in-time provisioning.
    fn document() -> Json {
        json!({
            "Parameters": {
                "AWS::IoT::Certificate::CommonName": {"Type": "String"},
                "AWS::IoT::Certificate::Country": {"Type": "String", "Default": "DE"},
                "AWS::IoT::Certificate::Id": {"Type": "String"},
            },
            "Resources": {
                "thing": {"Type": "AWS::IoT::Thing", "Properties": {
                    "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"},
                    "AttributePayload": {"version": "v1", "country": {"Ref": "AWS::IoT::Certificate::Country"}},
                    "ThingTypeName": "thermostat",
                    "ThingGroups": ["canary", {"Fn::Join": ["-", ["eu", {"Ref": "AWS::IoT::Certificate::Country"}]]}],
                }, "OverrideSettings": {"AttributePayload": "MERGE", "ThingGroups": "DO_NOTHING"}},
                "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                    "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}},
                "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument":
                    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"iot:Publish\"],\"Resource\":[\"*\"]}]}"}},
            },
        })
    }

    #[test]
    fn a_template_of_aws_makes_a_thing_with_groups_attributes_and_a_policy() {
        let template = Template::from_json(&document().to_string(), TemplateKind::Jitp).unwrap();
        let given: Parameters = [("AWS::IoT::Certificate::CommonName".into(), "dev-1".into())].into();
        let plan = template.plan(&given, "abc").unwrap();
        assert_eq!(plan.thing.as_str(), "dev-1");
        assert_eq!(plan.product.as_deref(), Some("thermostat"));
        let groups: Vec<&str> = plan.groups.iter().map(AsRef::as_ref).collect();
        assert_eq!(groups, ["canary", "eu-DE"]);
        assert_eq!(plan.attributes["country"], "DE");
        assert!(matches!(&plan.policies[..], [PolicyOf::Document(_)]));
        let missing = template.plan(&Parameters::new(), "abc").unwrap_err();
        assert_eq!(missing, TemplateError::Missing { parameter: "AWS::IoT::Certificate::CommonName".into() });
        let bad_name: Parameters = [("AWS::IoT::Certificate::CommonName".into(), "no name".into())].into();
        assert!(template.plan(&bad_name, "abc").unwrap_err().to_string().contains("ThingName"));
    }

    #[test]
    fn a_device_cannot_give_itself_another_certificates_id() {
        let template = Template::from_json(&document().to_string(), TemplateKind::Jitp).unwrap();
        let given: Parameters = [("AWS::IoT::Certificate::CommonName", "dev-1"), (CERTIFICATE_ID, "other")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        // What the device says of it is overruled.
        assert!(template.plan(&given, "abc").is_ok());
    }

    #[test]
    fn what_a_template_gets_wrong_is_told_with_its_place() {
        type Change = fn(&mut Json);
        let changes: [(Change, &str); 13] = [
            (|d| d["Outputs"] = json!({}), "Outputs"),
            (|d| d["Resources"]["thing"]["Properties"]["BillingGroup"] = json!("x"), "BillingGroup"),
            (|d| d["Resources"]["thing"]["Type"] = json!("AWS::S3::Bucket"), "AWS::S3::Bucket"),
            (|d| d["Resources"]["thing"]["OverrideSettings"]["ThingGroups"] = json!("PERHAPS"), "PERHAPS"),
            (|d| d["Resources"]["thing"]["Properties"]["ThingName"] = json!({"Ref": "Undeclared"}), "Undeclared"),
            (|d| d["Parameters"]["X"] = json!({"Type": "Number"}), "Number"),
            (|d| d["Parameters"]["X"] = json!({"Type": "String"}), "Default"),
            (|d| d["Parameters"]["AWS::IoT::Bogus"] = json!({"Type": "String"}), "no such parameter"),
            (|d| d["Resources"]["certificate"]["Properties"]["Status"] = json!("INACTIVE"), "ACTIVE"),
            (|d| d["Resources"]["again"] = d["Resources"]["certificate"].clone(), "2 of type"),
            (
                |d| {
                    d["Resources"].as_object_mut().unwrap().remove("thing");
                },
                "0 of type",
            ),
            (|d| d["Resources"]["policy"]["Properties"] = json!({}), "PolicyName or PolicyDocument"),
            (|d| d["Resources"]["policy"]["Properties"]["PolicyDocument"] = json!("{}"), "PolicyDocument"),
        ];
        for (change, word) in changes {
            let mut document = document();
            change(&mut document);
            let error = Template::from_json(&document.to_string(), TemplateKind::Jitp).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
        assert!(Template::from_json(&" ".repeat(DOCUMENT_MAX + 1), TemplateKind::Jitp).is_err());
        let fleet = Template::from_json(&document().to_string(), TemplateKind::FleetProvisioning).unwrap_err();
        assert!(fleet.to_string().contains("CommonName"), "{fleet}");
    }
}
