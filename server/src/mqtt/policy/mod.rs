//! AWS IoT policies: JSON documents that say what a certificate may do.
//!
//! Evaluated as AWS does: nothing is allowed that no statement allows, and a Deny wins over every Allow. Elements that
//! this server can't evaluate (conditions, `NotAction`, `NotResource`, unknown variables) are refused when a policy is
//! made: a policy that means less than it says would be worse than none.

mod pattern;

use std::sync::{Arc, LazyLock};

use sealift_jobs::ThingName;
use serde::Deserialize;

use pattern::Pattern;

/// Most characters of a document (AWS: 2,048, white space not counted).
pub const DOCUMENT_MAX: usize = 2_048;
/// Most policies attached to one thing.
pub const ATTACHED_MAX: usize = 10;
/// The policy of every thing that has none of its own: its own jobs topics.
pub const DEFAULT: &str = include_str!("default.json");

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too long.
    #[error("the policy document has {0} characters without white space; AWS IoT allows {DOCUMENT_MAX}")]
    Length(usize),
    /// Not the JSON of a policy.
    #[error("not a policy document: {0}")]
    Json(String),
    /// A version that isn't known.
    #[error("Version is {0:?}; \"2012-10-17\" is the only one")]
    Version(String),
    /// An action that isn't AWS IoT's.
    #[error(
        "Action {0:?} isn't one of AWS IoT (`iot:Connect`, `iot:Publish`, `iot:Subscribe`, `iot:Receive`, `iot:*`)"
    )]
    Action(String),
    /// A resource that can't be matched.
    #[error("Resource {resource:?}: {problem}")]
    Resource {
        /// The resource.
        resource: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What a client wants to do, with the resource as the part of its ARN after the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect: `client/ID`.
    Connect,
    /// Publish: `topic/NAME`.
    Publish,
    /// Publish with the retain flag: `topic/NAME`.
    RetainPublish,
    /// Subscribe: `topicfilter/FILTER`.
    Subscribe,
    /// Receive: `topic/NAME`.
    Receive,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "iot:Connect",
            Self::Publish => "iot:Publish",
            Self::RetainPublish => "iot:RetainPublish",
            Self::Subscribe => "iot:Subscribe",
            Self::Receive => "iot:Receive",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Connect => "client/",
            Self::Publish | Self::RetainPublish | Self::Receive => "topic/",
            Self::Subscribe => "topicfilter/",
        }
    }
}

/// Who asks; what variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// The thing of the certificate; a claim has none.
    pub thing: Option<&'a ThingName>,
    /// The common name of the certificate.
    pub common_name: Option<&'a str>,
    /// The client id of the connection.
    pub client_id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    version: String,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    statement: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    action: OneOrMany<String>,
    resource: OneOrMany<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// A policy, ready to be asked.
#[derive(Debug)]
pub struct Policy(Vec<Statement>);

#[derive(Debug)]
struct Statement {
    effect: Effect,
    actions: Vec<Pattern>,
    resources: Vec<Pattern>,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`], which names what can't be used.
    pub fn from_json(document: &str) -> Result<Self, PolicyError> {
        let length = document.chars().filter(|c| !c.is_whitespace()).count();
        if length > DOCUMENT_MAX {
            return Err(PolicyError::Length(length));
        }
        let document: Document = serde_json::from_str(document).map_err(|e| PolicyError::Json(e.to_string()))?;
        if document.version != "2012-10-17" {
            return Err(PolicyError::Version(document.version));
        }
        let mut statements = Vec::new();
        // Told apart by hand: a derived choice would lose what is wrong with the one that was meant.
        let entries = match document.statement {
            serde_json::Value::Array(entries) => entries,
            one => vec![one],
        };
        for entry in entries {
            let entry: Entry = serde_json::from_value(entry).map_err(|e| PolicyError::Json(e.to_string()))?;
            let mut statement = Statement { effect: entry.effect, actions: Vec::new(), resources: Vec::new() };
            for action in entry.action.into_vec() {
                let known = action == "*" || action.starts_with("iot:") || action.starts_with("iotjobsdata:");
                let pattern = Pattern::read(&action).ok().filter(|_| known);
                statement.actions.push(pattern.ok_or(PolicyError::Action(action))?);
            }
            for resource in entry.resource.into_vec() {
                let read = after_account(&resource).and_then(Pattern::read);
                statement.resources.push(read.map_err(|problem| PolicyError::Resource { resource, problem })?);
            }
            statements.push(statement);
        }
        Ok(Self(statements))
    }

    /// The default policy.
    #[must_use]
    pub fn built_in() -> Arc<Self> {
        static BUILT_IN: LazyLock<Arc<Policy>> = LazyLock::new(|| {
            Arc::new(Policy::from_json(DEFAULT).unwrap_or_else(|e| unreachable!("default.json is tested: {e}")))
        });
        BUILT_IN.clone()
    }

    fn says(&self, action: Action, resource: &str, who: Principal<'_>) -> Option<Effect> {
        let mut said = None;
        for statement in &self.0 {
            if statement.actions.iter().any(|a| a.matches(action.name(), who))
                && statement.resources.iter().any(|r| r.matches(resource, who))
            {
                match statement.effect {
                    Effect::Deny => return Some(Effect::Deny),
                    Effect::Allow => said = Some(Effect::Allow),
                }
            }
        }
        said
    }
}

/// True when some policy allows it and none denies it.
#[must_use]
pub fn allows(policies: &[Arc<Policy>], action: Action, name: &str, who: Principal<'_>) -> bool {
    let resource = format!("{}{name}", action.kind());
    let mut allowed = false;
    for policy in policies {
        match policy.says(action, &resource, who) {
            Some(Effect::Deny) => return false,
            Some(Effect::Allow) => allowed = true,
            None => {}
        }
    }
    allowed
}

/// The part of an ARN that a local server can tell apart: what comes after region and account, which it has none of.
fn after_account(resource: &str) -> Result<&str, String> {
    if resource == "*" {
        return Ok(resource);
    }
    let mut parts = resource.splitn(6, ':');
    let (arn, _partition, service) = (parts.next(), parts.next(), parts.next());
    let rest = parts.nth(2);
    match (arn, service, rest) {
        (Some("arn"), Some("iot"), Some(rest)) if !rest.is_empty() => Ok(rest),
        _ => Err("expected \"*\" or arn:aws:iot:REGION:ACCOUNT:client/..., topic/... or topicfilter/...".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statements: &str) -> Arc<Policy> {
        Arc::new(Policy::from_json(&format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)).unwrap())
    }

    fn may(policies: &[Arc<Policy>], action: Action, name: &str) -> bool {
        let thing = "dev-1".parse().unwrap();
        allows(policies, action, name, Principal { thing: Some(&thing), common_name: Some("cn"), client_id: "dev-1" })
    }

    #[test]
    fn the_default_policy_lets_a_thing_touch_its_own_jobs_topics_and_nothing_else() {
        let policies = [Policy::built_in()];
        for (action, name) in [
            (Action::Connect, "dev-1"),
            (Action::Connect, "dev-1-shell"),
            (Action::Publish, "$aws/things/dev-1/jobs/start-next"),
            (Action::Subscribe, "$aws/things/dev-1/jobs/#"),
            (Action::Subscribe, "$aws/things/dev-1/jobs/+/get/accepted"),
            (Action::Receive, "$aws/things/dev-1/jobs/notify"),
        ] {
            assert!(may(&policies, action, name), "{action:?} {name}");
        }
        for (action, name) in [
            (Action::Connect, "dev-2"),
            (Action::Connect, "dev-10"),
            (Action::Connect, ""),
            (Action::Publish, "$aws/things/dev-2/jobs/get"),
            (Action::Publish, "$aws/things/dev-1/shadow/update"),
            (Action::Publish, "sensors/1"),
            (Action::RetainPublish, "$aws/things/dev-1/jobs/get"),
            (Action::Subscribe, "#"),
            (Action::Subscribe, "$aws/things/+/jobs/notify"),
            (Action::Subscribe, "$aws/things/#"),
            (Action::Receive, "$aws/things/dev-2/jobs/notify"),
        ] {
            assert!(!may(&policies, action, name), "{action:?} {name}");
        }
    }

    #[test]
    fn a_deny_wins_wherever_it_stands() {
        let allow = policy(r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"}"#);
        let deny =
            policy(r#"{"Effect":"Deny","Action":["iot:Publish"],"Resource":"arn:aws:iot:eu-1:1:topic/secret/*"}"#);
        for policies in [[allow.clone(), deny.clone()], [deny, allow]] {
            assert!(may(&policies, Action::Publish, "open/1"));
            assert!(!may(&policies, Action::Publish, "secret/1"));
            assert!(may(&policies, Action::Subscribe, "secret/1"));
        }
    }

    #[test]
    fn what_a_client_calls_itself_is_text_and_never_a_wildcard() {
        let own = policy(
            r#"{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:r:1:topic/c/${iot:ClientId}/x"}"#,
        );
        let thing = "dev-1".parse().unwrap();
        let may = |client_id, topic| {
            let who = Principal { thing: Some(&thing), common_name: None, client_id };
            allows(std::slice::from_ref(&own), Action::Publish, topic, who)
        };
        assert!(may("a", "c/a/x"));
        assert!(!may("*", "c/a/x") && may("*", "c/*/x"));
        assert!(!may("?", "c/a/x"));
        assert!(!may("${iot:ClientId}", "c/a/x"));
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused_by_name() {
        let read = |entry: &str| {
            Policy::from_json(&format!(r#"{{"Version":"2012-10-17","Statement":[{entry}]}}"#)).unwrap_err().to_string()
        };
        let base = r#""Effect":"Allow","Action":"iot:Publish""#;
        assert!(read(&format!(r#"{{{base},"Resource":"*","Condition":{{}}}}"#)).contains("Condition"));
        assert!(read(&format!(r#"{{{base},"NotResource":"*"}}"#)).contains("NotResource"));
        assert!(
            read(&format!(r#"{{{base},"Resource":"arn:aws:iot:r:1:topic/${{iot:Bogus}}"}}"#)).contains("iot:Bogus")
        );
        assert!(read(&format!(r#"{{{base},"Resource":"topic/x"}}"#)).contains("arn:aws:iot"));
        assert!(read(r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#).contains("s3:GetObject"));
        assert!(read(r#"{"Effect":"Maybe","Action":"iot:*","Resource":"*"}"#).contains("Maybe"));
        assert!(Policy::from_json(r#"{"Version":"2008-10-17","Statement":[]}"#).is_err());
        assert!(matches!(Policy::from_json(&"x".repeat(2_049)), Err(PolicyError::Length(2_049))));
    }
}
