//! AWS IoT Jobs over MQTT: a request's payload to the Jobs machine, and its answer to `accepted` or `rejected`.

use std::sync::Arc;

use sealift_jobs::limits::CLIENT_TOKEN_MAX_CHARS;
use sealift_jobs::{
    DescribeJobExecutionRequest, ErrorCode, ErrorResponse, JobExecution, StartNextPendingJobExecutionRequest,
    ThingName, UpdateJobExecutionRequest,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::broker::Broker;
use super::counters::count;
use super::message::{Message, Qos};
use super::session::Session;
use super::topics::Operation;
use crate::jobs::{DeviceAsk, Failure, Request, Response};

/// Numbers that AWS also takes as text; its own client library for microcontrollers sends them so.
const NUMBERS: [&str; 3] = ["expectedVersion", "executionNumber", "stepTimeoutInMinutes"];

/// A request as it arrived.
pub(super) struct Asked<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) qos: Qos,
    /// The origin of URLs for this client, when no other is set.
    pub(super) origin: &'a str,
}

/// Answers one request. When this returns, what the answer says is on disk.
pub(super) async fn serve(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    asked: &Asked<'_>,
    request: Option<(ThingName, Operation)>,
) {
    let (token, answered) = match (read(asked.payload), request) {
        (Ok((_, token)), None) => {
            let message = format!("{} is no jobs request", asked.topic);
            (token, Err(refusal(ErrorCode::InvalidTopic, message)))
        }
        (Ok((body, token)), Some((thing, operation))) => (token, ask(broker, asked, thing, operation, body).await),
        (Err(refused), _) => (None, Err(refused)),
    };
    let (verdict, mut body) = match answered {
        Ok(body) => {
            count(&broker.counters.jobs_accepted);
            ("accepted", body)
        }
        Err(refused) => {
            count(&broker.counters.jobs_rejected);
            tracing::info!(thing = %session.owner, topic = asked.topic, code = %refused.code, "a jobs request was rejected");
            ("rejected", rejected(refused))
        }
    };
    body.insert("timestamp".into(), (broker.clock)().into());
    if let Some(token) = token {
        body.insert("clientToken".into(), token.into());
    }
    let payload = Value::Object(body).to_string().into_bytes();
    broker.answer(session, &Message::new(format!("{}/{verdict}", asked.topic), payload, asked.qos));
}

/// Rejects a request of a client that asks too often.
pub(super) fn throttle(broker: &Arc<Broker>, session: &Arc<Session>, asked: &Asked<'_>) {
    count(&broker.counters.jobs_rejected);
    let mut body = rejected(refusal(ErrorCode::RequestThrottled, "too many requests on this connection: slow down"));
    body.insert("timestamp".into(), (broker.clock)().into());
    if let Ok((_, Some(token))) = read(asked.payload) {
        body.insert("clientToken".into(), token.into());
    }
    let payload = Value::Object(body).to_string().into_bytes();
    broker.answer(session, &Message::new(format!("{}/rejected", asked.topic), payload, asked.qos));
}

fn refusal(code: ErrorCode, message: impl Into<String>) -> ErrorResponse {
    ErrorResponse { code, message: message.into(), execution_state: None }
}

fn rejected(mut refused: ErrorResponse) -> Map<String, Value> {
    // MQTT has no word for these two.
    refused.code = match refused.code {
        ErrorCode::ServiceUnavailable => ErrorCode::RequestThrottled,
        ErrorCode::Forbidden => ErrorCode::InvalidRequest,
        code => code,
    };
    object(serde_json::to_value(&refused))
}

/// The payload as an object, and the token that the answer repeats. Nothing at all is `{}`.
fn read(payload: &[u8]) -> Result<(Map<String, Value>, Option<String>), ErrorResponse> {
    let mut body = if payload.iter().all(u8::is_ascii_whitespace) {
        Map::new()
    } else {
        match serde_json::from_slice(payload) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err(refusal(ErrorCode::InvalidRequest, "the payload isn't a JSON object")),
            Err(error) => return Err(refusal(ErrorCode::InvalidJson, format!("the payload isn't JSON: {error}"))),
        }
    };
    let token = match body.remove("clientToken") {
        None | Some(Value::Null) => None,
        Some(Value::String(token)) if token.chars().count() <= CLIENT_TOKEN_MAX_CHARS => Some(token),
        Some(_) => {
            let message = format!("clientToken isn't a text of at most {CLIENT_TOKEN_MAX_CHARS} characters");
            return Err(refusal(ErrorCode::InvalidRequest, message));
        }
    };
    for name in NUMBERS {
        if let Some(value) = body.get_mut(name)
            && let Some(number) = value.as_str().and_then(|text| text.parse::<i64>().ok())
        {
            *value = number.into();
        }
    }
    Ok((body, token))
}

fn typed<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, ErrorResponse> {
    serde_json::from_value(Value::Object(body)).map_err(|e| refusal(ErrorCode::InvalidRequest, e.to_string()))
}

async fn ask(
    broker: &Arc<Broker>,
    asked: &Asked<'_>,
    thing: ThingName,
    operation: Operation,
    body: Map<String, Value>,
) -> Result<Map<String, Value>, ErrorResponse> {
    let ask = match operation {
        Operation::Pending => DeviceAsk::Pending,
        Operation::StartNext => DeviceAsk::StartNext(typed::<StartNextPendingJobExecutionRequest>(body)?),
        Operation::Describe(job) => DeviceAsk::Describe(job, typed::<DescribeJobExecutionRequest>(body)?),
        Operation::Update(job) => DeviceAsk::Update(job, typed::<UpdateJobExecutionRequest>(body)?),
    };
    let response = broker.engine.jobs(Request::Device { thing: thing.clone(), ask }).await;
    match response {
        Ok(Response::Pending(pending)) => Ok(object(serde_json::to_value(pending))),
        Ok(Response::Execution(execution)) => {
            let mut answer = Map::new();
            if let Some(execution) = execution {
                answer.insert("execution".into(), execution_value(broker, asked.origin, *execution));
            }
            Ok(answer)
        }
        Ok(Response::Updated(updated)) => {
            let mut answer = Map::new();
            if let Some(state) = &updated.execution_state {
                answer.insert("executionState".into(), json!(state));
            }
            if let Some(document) = &updated.job_document {
                answer.insert("jobDocument".into(), document_value(broker, asked.origin, document));
            }
            Ok(answer)
        }
        Ok(other) => {
            tracing::error!(response = ?other, "the Jobs machine answered another question");
            Err(refusal(ErrorCode::InternalError, "the server failed; try again"))
        }
        Err(Failure::Refused(refused)) => Err(refused),
        Err(Failure::Ledger(error)) => {
            tracing::error!(%error, "a request failed");
            Err(refusal(ErrorCode::InternalError, "the server failed; try again"))
        }
    }
}

/// An execution as MQTT gives it: the document is an object.
pub(super) fn execution_value(broker: &Broker, origin: &str, mut execution: JobExecution) -> Value {
    let document = execution.job_document.take();
    let mut value = object(serde_json::to_value(execution));
    if let Some(document) = document {
        value.insert("jobDocument".into(), document_value(broker, origin, &document));
    }
    Value::Object(value)
}

fn document_value(broker: &Broker, origin: &str, document: &str) -> Value {
    let filled = broker.links.fill(document, Some(origin), (broker.clock)());
    // A document that isn't JSON can only be given as the text it is.
    serde_json::from_str(&filled).unwrap_or(Value::String(filled))
}

fn object(value: Result<Value, serde_json::Error>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(object)) => object,
        other => unreachable!("answers are structs of plain data: {other:?}"),
    }
}
