//! AWS IoT's jobs data plane: over MQTT when that is there, else over HTTPS.

use reqwest::{Method, StatusCode};
use sealift_jobs::limits::JOB_DOCUMENT_MAX_CHARS;
use sealift_jobs::{
    DescribeJobExecutionRequest, DescribeJobExecutionResponse, ErrorCode, ErrorResponse, JobExecution, JobId,
    StartNextPendingJobExecutionRequest, StartNextPendingJobExecutionResponse, ThingName, UpdateJobExecutionRequest,
    UpdateJobExecutionResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::mqtt::{Link, Reply};
use super::{ANSWER, Net, bounded, https, network, timed_out};
use crate::error::{Error, Result};

/// Most bytes of an answer: a document at its longest, every character escaped, and the details beside it.
const ANSWER_MAX: usize = 6 * JOB_DOCUMENT_MAX_CHARS + 256 * 1024;
/// Most bytes that are read of a refusal.
const REFUSAL_MAX: usize = 256 * 1024;

/// The data plane as one thing sees it.
#[derive(Clone, Debug)]
pub struct Jobs {
    net: Net,
    thing: ThingName,
    link: Option<Link>,
}

impl Jobs {
    /// The jobs of `thing`.
    pub fn new(net: Net, thing: ThingName) -> Self {
        Jobs { net, thing, link: None }
    }

    /// Talks over `link` from now on, and over HTTPS only while that is down.
    pub fn prefer(&mut self, link: Link) {
        self.link = Some(link);
    }

    /// Waits until the server says by itself that there may be a job; for ever without MQTT.
    pub async fn news(&self) {
        match &self.link {
            Some(link) => link.news().await,
            None => std::future::pending().await,
        }
    }

    /// Asks over MQTT; `None` when HTTPS has to be asked. A request whose answer was lost may so be sent twice: the
    /// expected version and the execution number in it are what keeps the second from doing harm, as when it is repeated.
    async fn over_mqtt<T: DeserializeOwned>(
        &self,
        what: &str,
        request: String,
        body: Option<&impl Serialize>,
    ) -> Option<Result<T>> {
        let link = self.link.as_ref()?;
        let body = match body.map(serde_json::to_value) {
            Some(Ok(Value::Object(body))) => body,
            _ => Map::new(),
        };
        match link.ask(request, body).await? {
            Reply::Accepted(body) => Some(serde_json::from_value(as_over_https(body)).map_err(|error| Error::Answer {
                what: what.into(),
                problem: format!("JSON of another shape: {error}"),
            })),
            // HTTPS may be better off.
            Reply::Rejected(said) if said.code.is_transient() => None,
            Reply::Rejected(said) => {
                Some(Err(Error::Service { what: what.into(), code: said.code, message: said.message }))
            }
        }
    }

    /// Starts the next pending execution, or gives the one in progress again (`StartNextPendingJobExecution`).
    pub async fn start_next(&self) -> Result<Option<JobExecution>> {
        const WHAT: &str = "start the next job";
        let body = StartNextPendingJobExecutionRequest::default();
        let answer: StartNextPendingJobExecutionResponse =
            match self.over_mqtt(WHAT, "start-next".into(), Some(&body)).await {
                Some(answer) => answer?,
                None => self.call(WHAT, Method::PUT, "/$next", Some(&body)).await?,
            };
        Ok(answer.execution)
    }

    /// Looks at one execution, with its document: presigned URLs in it are fresh (`DescribeJobExecution`).
    pub async fn describe(&self, job: &JobId, execution: u64) -> Result<Option<JobExecution>> {
        const WHAT: &str = "look at the job";
        let path = format!("/{job}?includeJobDocument=true&executionNumber={execution}");
        let body = DescribeJobExecutionRequest { execution_number: Some(execution), include_job_document: Some(true) };
        let answer: Result<DescribeJobExecutionResponse> =
            match self.over_mqtt(WHAT, format!("{job}/get"), Some(&body)).await {
                Some(answer) => answer,
                None => self.call(WHAT, Method::GET, &path, None::<&()>).await,
            };
        match answer {
            Ok(answer) => Ok(answer.execution),
            Err(Error::Service { code: ErrorCode::ResourceNotFound | ErrorCode::TerminalStateReached, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reports on an execution (`UpdateJobExecution`); returns the new version of the execution, if the answer says it.
    pub async fn update(&self, job: &JobId, request: &UpdateJobExecutionRequest) -> Result<Option<u64>> {
        const WHAT: &str = "report on the job";
        let answer: UpdateJobExecutionResponse =
            match self.over_mqtt(WHAT, format!("{job}/update"), Some(request)).await {
                Some(answer) => answer?,
                None => self.call(WHAT, Method::POST, &format!("/{job}"), Some(request)).await?,
            };
        Ok(answer.execution_state.map(|state| state.version_number))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let url = https(&self.net.own(&format!("/things/{}/jobs{path}", self.thing)))?;
        let mut request = self.net.own.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let work = async {
            let response = request.send().await.map_err(|error| network(what, &error))?;
            let status = response.status();
            let exception = response.headers().get("x-amzn-errortype").and_then(|name| name.to_str().ok());
            let exception = exception.and_then(ErrorCode::from_exception);
            if status == StatusCode::OK {
                let body = bounded(response, ANSWER_MAX, what).await?;
                return serde_json::from_slice(&body).map_err(|error| Error::Answer {
                    what: what.into(),
                    problem: format!("JSON of another shape: {error}"),
                });
            }
            let body = bounded(response, REFUSAL_MAX, what).await.unwrap_or_default();
            let said = serde_json::from_slice::<ErrorResponse>(&body).ok();
            match exception.or(said.as_ref().map(|said| said.code)) {
                Some(code) if !code.is_transient() => {
                    let message = said.map_or_else(|| status.to_string(), |said| said.message);
                    Err(Error::Service { what: what.into(), code, message })
                }
                Some(code) => Err(Error::Network { what: what.into(), problem: format!("the server says {code}") }),
                None => Err(super::unexpected(what, status)),
            }
        };
        timeout(ANSWER, work).await.map_err(|_| timed_out(what))?
    }
}

/// Over MQTT the document is an object, over HTTPS its text; the agent reads the text.
fn as_over_https(mut body: Value) -> Value {
    for holder in ["", "/execution"] {
        if let Some(document) = body.pointer_mut(&format!("{holder}/jobDocument"))
            && !document.is_string()
        {
            *document = Value::String(document.to_string());
        }
    }
    body
}
