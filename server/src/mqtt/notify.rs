//! What the server says by itself: `notify`, `notify-next`, and that somebody's access changed.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sealift_jobs::{DescribeJobExecutionRequest, ExecutionStatus, JobSelector, ThingName};
use serde_json::{Map, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::broker::Broker;
use super::jobs::execution_value;
use super::message::{Message, Qos};
use super::owner::Owner;
use crate::jobs::{DeviceAsk, Effect, Request, Response};

/// Looks at the state of so many things at a time: together they share the database's transactions.
const AT_ONCE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Pending,
    Next,
}

/// Tells clients what happened, for ever.
pub(super) async fn run(broker: Arc<Broker>, mut effects: broadcast::Receiver<Effect>) {
    // One look at a time for each thing and kind, so that news of one thing come in order; an effect meanwhile means
    // another look afterwards.
    let mut open: HashMap<(ThingName, Kind), bool> = HashMap::new();
    let mut looks = FuturesUnordered::new();
    loop {
        let effect = tokio::select! {
            Some(done) = looks.next() => {
                if open.remove(&done) == Some(true) {
                    open.insert(done.clone(), false);
                    looks.push(look(broker.clone(), done));
                }
                continue;
            }
            effect = effects.recv(), if looks.len() < AT_ONCE => effect,
        };
        let mut news: Vec<(ThingName, Kind)> = Vec::new();
        match effect {
            Ok(Effect::PendingChanged(thing)) => news.push((thing, Kind::Pending)),
            Ok(Effect::NextChanged(thing)) => news.push((thing, Kind::Next)),
            Ok(Effect::ExecutionEnded { job, thing, status }) => ended(&broker, &job, &thing, status),
            Ok(Effect::JobEnded(job)) => job_ended(&broker, &job).await,
            Ok(Effect::AccessChanged(Some(thing))) => broker.access_changed(&Owner::Thing(thing)).await,
            Ok(Effect::AccessChanged(None)) => everybody(&broker).await,
            Err(RecvError::Lagged(lost)) => {
                // What was lost is unknown, so everything is looked at again.
                tracing::warn!(lost, "notifications fell behind; every connected thing is told its state again");
                everybody(&broker).await;
                let things = broker.connected().into_iter().filter_map(|owner| owner.thing().cloned());
                news.extend(things.flat_map(|t| [(t.clone(), Kind::Pending), (t, Kind::Next)]));
            }
            Err(RecvError::Closed) => return,
        }
        for key in news {
            if !broker.is_heard(&topic(&key)) {
                continue;
            }
            match open.get_mut(&key) {
                Some(again) => *again = true,
                None => {
                    open.insert(key.clone(), false);
                    looks.push(look(broker.clone(), key));
                }
            }
        }
    }
}

async fn everybody(broker: &Arc<Broker>) {
    for owner in broker.connected() {
        broker.access_changed(&owner).await;
    }
}

fn topic((thing, kind): &(ThingName, Kind)) -> String {
    let last = match kind {
        Kind::Pending => "notify",
        Kind::Next => "notify-next",
    };
    format!("$aws/things/{thing}/jobs/{last}")
}

/// Reads the state and tells it.
async fn look(broker: Arc<Broker>, key: (ThingName, Kind)) -> (ThingName, Kind) {
    let ask = match key.1 {
        Kind::Pending => DeviceAsk::Pending,
        Kind::Next => DeviceAsk::Describe(JobSelector::Next, DescribeJobExecutionRequest::default()),
    };
    let mut body = Map::new();
    match broker.engine.jobs(Request::Device { thing: key.0.clone(), ask }).await {
        Ok(Response::Pending(pending)) => {
            let mut jobs = Map::new();
            for (status, list) in [
                (ExecutionStatus::InProgress, &pending.in_progress_jobs),
                (ExecutionStatus::Queued, &pending.queued_jobs),
            ] {
                if !list.is_empty() {
                    jobs.insert(status.as_str().into(), json!(list));
                }
            }
            body.insert("jobs".into(), jobs.into());
        }
        Ok(Response::Execution(execution)) => {
            if let Some(execution) = execution {
                let origin = broker.links.default_origin();
                body.insert("execution".into(), execution_value(&broker, &origin, *execution));
            }
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(thing = %key.0, %error, "a thing couldn't be told of its jobs; it learns of them when it asks");
            return key;
        }
    }
    body.insert("timestamp".into(), (broker.clock)().into());
    let payload = serde_json::Value::Object(body).to_string().into_bytes();
    broker.publish(&Message::new(topic(&key), payload, Qos::One));
    key
}

/// AWS's event of a whole job: `$aws/events/job/{jobId}/{completed or canceled}`.
async fn job_ended(broker: &Arc<Broker>, id: &sealift_jobs::JobId) {
    let topic = |operation: &str| format!("$aws/events/job/{id}/{operation}");
    // Asked only for somebody who listens.
    if !["completed", "canceled"].iter().any(|operation| broker.is_heard(&topic(operation))) {
        return;
    }
    let Ok(Response::Job(overview)) = broker.engine.jobs(Request::Job(id.clone())).await else { return };
    let job = overview.job;
    let operation = job.status.as_str().to_ascii_lowercase();
    let targets: Vec<String> = (job.things.iter().map(|name| format!("arn:aws:iot:local:000000000000:thing/{name}")))
        .chain(job.groups.iter().map(|name| format!("arn:aws:iot:local:000000000000:thinggroup/{name}")))
        .collect();
    let now = (broker.clock)();
    let body = json!({
        "eventType": "JOB", "eventId": format!("{id}-{operation}"), "operation": operation, "jobId": id,
        "status": job.status.as_str(), "targetSelection": "SNAPSHOT", "targets": targets, "description": job.description,
        "createdAt": job.created_at, "completedAt": job.completed_at, "lastUpdatedAt": job.completed_at, "timestamp": now,
    });
    broker.publish(&Message::new(topic(&operation), body.to_string().into_bytes(), Qos::One));
}

/// AWS's event for the fleet's side: `$aws/events/jobExecution/{jobId}/{status}`.
fn ended(broker: &Arc<Broker>, job: &sealift_jobs::JobId, thing: &ThingName, status: ExecutionStatus) {
    let topic = format!("$aws/events/jobExecution/{job}/{}", status.as_str().to_ascii_lowercase());
    if broker.is_heard(&topic) {
        let body = json!({
            "eventType": "JOB_EXECUTION", "operation": status.as_str().to_ascii_lowercase(), "jobId": job,
            "thingArn": format!("arn:aws:iot:local:000000000000:thing/{thing}"), "status": status,
            "timestamp": (broker.clock)(),
        });
        broker.publish(&Message::new(topic, body.to_string().into_bytes(), Qos::One));
    }
}
