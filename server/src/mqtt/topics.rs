//! Topic names and filters: MQTT's rules, AWS's bounds, and the reserved topics of AWS IoT Jobs.

use sealift_jobs::{JobId, JobSelector, ThingName};

use super::limits::{TOPIC_MAX, TOPIC_SLASHES_MAX};

/// First level of AWS's own topics.
const RESERVED: &str = "$aws/";

fn fits(text: &str) -> bool {
    let reserved = if text.starts_with(RESERVED) { 3 } else { 0 };
    let slashes = text.bytes().filter(|b| *b == b'/').count();
    !text.is_empty() && text.len() <= TOPIC_MAX && slashes <= TOPIC_SLASHES_MAX + reserved && !text.contains('\0')
}

/// True for a name that may be published to.
pub(super) fn is_name(topic: &str) -> bool {
    fits(topic) && !topic.contains(['+', '#'])
}

/// True for a filter that may be subscribed to: wildcards stand for whole levels, `#` is the last one.
pub(super) fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut fine = fits(filter);
    while let Some(level) = levels.next() {
        fine &= match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            other => !other.contains(['+', '#']),
        };
    }
    fine
}

/// True for a shared subscription.
pub(super) fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// What a client wants of AWS's own topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// A jobs request of a thing.
    Jobs(ThingName, Operation),
    /// Under a thing's jobs topics, but no request.
    NoJobsRequest,
    /// A request of fleet provisioning.
    Provisioning(Provisioning),
    /// Another topic that only AWS publishes to.
    Other,
}

/// The requests of AWS IoT's device provisioning MQTT API, in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Provisioning {
    /// `$aws/certificates/create-from-csr/json`
    CreateCertificateFromCsr,
    /// `$aws/certificates/create/json`
    CreateKeysAndCertificate,
    /// `$aws/provisioning-templates/{template}/provision/json`
    RegisterThing(String),
}

/// The four requests of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `get`
    Pending,
    /// `start-next`
    StartNext,
    /// `{jobId or $next}/get`
    Describe(JobSelector),
    /// `{jobId}/update`
    Update(JobId),
}

/// Reads a topic that begins with `$`; `None` for one that is the clients' own.
pub(super) fn reserved(topic: &str) -> Option<Reserved> {
    if !topic.starts_with('$') {
        return None;
    }
    match topic {
        "$aws/certificates/create-from-csr/json" => {
            return Some(Reserved::Provisioning(Provisioning::CreateCertificateFromCsr));
        }
        "$aws/certificates/create/json" => return Some(Reserved::Provisioning(Provisioning::CreateKeysAndCertificate)),
        _ => {}
    }
    let template =
        topic.strip_prefix("$aws/provisioning-templates/").and_then(|rest| rest.strip_suffix("/provision/json"));
    if let Some(template) = template.filter(|name| !name.is_empty() && !name.contains('/')) {
        return Some(Reserved::Provisioning(Provisioning::RegisterThing(template.to_owned())));
    }
    let Some(rest) = topic.strip_prefix("$aws/things/") else { return Some(Reserved::Other) };
    let mut levels = rest.split('/');
    let (Some(thing), Some("jobs")) = (levels.next().and_then(|name| name.parse().ok()), levels.next()) else {
        return Some(Reserved::Other);
    };
    let operation = match (levels.next(), levels.next(), levels.next()) {
        (Some("get"), None, None) => Some(Operation::Pending),
        (Some("start-next"), None, None) => Some(Operation::StartNext),
        (Some(job), Some("get"), None) => job.parse().ok().map(Operation::Describe),
        (Some(job), Some("update"), None) => job.parse().ok().map(Operation::Update),
        _ => None,
    };
    Some(operation.map_or(Reserved::NoJobsRequest, |operation| Reserved::Jobs(thing, operation)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_follow_mqtt_and_names_have_no_wildcards() {
        for good in ["#", "+", "a/+/b", "a/#", "/", "a//b", "$aws/things/x/jobs/#"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a#", "#/a", "a/#/b", "a+/b", "a\0b", &"x".repeat(257), &"/".repeat(8)] {
            assert!(!is_filter(bad), "{bad}");
        }
        assert!(is_name("a/b") && !is_name("a/+") && !is_name("#") && !is_name(""));
        assert!(is_name("$aws/things/a/jobs/b/update/accepted"), "the reserved prefix isn't counted");
    }

    #[test]
    fn every_reserved_request_is_read_and_nothing_else() {
        let thing: ThingName = "dev-1".parse().unwrap();
        let ask = |rest: &str| reserved(&format!("$aws/things/dev-1/jobs/{rest}"));
        let is = |operation| Some(Reserved::Jobs(thing.clone(), operation));
        assert_eq!(ask("get"), is(Operation::Pending));
        assert_eq!(ask("start-next"), is(Operation::StartNext));
        assert_eq!(ask("$next/get"), is(Operation::Describe(JobSelector::Next)));
        assert_eq!(ask("j-1/get"), is(Operation::Describe(JobSelector::Id("j-1".parse().unwrap()))));
        assert_eq!(ask("j-1/update"), is(Operation::Update("j-1".parse().unwrap())));
        for bogus in ["", "get/accepted", "$next/update", "j/get/accepted", "j/put", "j k/get", "notify", "get/"] {
            assert_eq!(ask(bogus), Some(Reserved::NoJobsRequest), "{bogus}");
        }
        for other in ["$aws/things/dev-1/shadow/get", "$aws/things//jobs/get", "$SYS/x", "$aws/things/a b/jobs/get"] {
            assert_eq!(reserved(other), Some(Reserved::Other), "{other}");
        }
        assert_eq!(reserved("sensors/1"), None);
        let provisioning = |topic| match reserved(topic) {
            Some(Reserved::Provisioning(operation)) => Some(operation),
            _ => None,
        };
        let register = |name: &str| Some(Provisioning::RegisterThing(name.into()));
        assert_eq!(provisioning("$aws/provisioning-templates/line-1/provision/json"), register("line-1"));
        for bogus in [
            "$aws/provisioning-templates//provision/json",
            "$aws/provisioning-templates/a/b/provision/json",
            "$aws/provisioning-templates/line-1/provision/json/accepted",
            "$aws/certificates/create-from-csr/cbor",
            "$aws/certificates/create-from-csr/json/accepted",
        ] {
            assert_eq!(reserved(bogus), Some(Reserved::Other), "{bogus}");
        }
    }
}
