//! AWS IoT's jobs data plane over HTTPS.

use reqwest::{Method, StatusCode};
use sealift_jobs::limits::JOB_DOCUMENT_MAX_CHARS;
use sealift_jobs::{
    DescribeJobExecutionResponse, ErrorCode, ErrorResponse, JobExecution, JobId, StartNextPendingJobExecutionRequest,
    StartNextPendingJobExecutionResponse, ThingName, UpdateJobExecutionRequest, UpdateJobExecutionResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

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
}

impl Jobs {
    /// The jobs of `thing`.
    pub fn new(net: Net, thing: ThingName) -> Self {
        Jobs { net, thing }
    }

    /// Starts the next pending execution, or gives the one in progress again (`StartNextPendingJobExecution`).
    pub async fn start_next(&self) -> Result<Option<JobExecution>> {
        let body = StartNextPendingJobExecutionRequest::default();
        let answer: StartNextPendingJobExecutionResponse =
            self.call("start the next job", Method::PUT, "/$next", Some(&body)).await?;
        Ok(answer.execution)
    }

    /// Looks at one execution, with its document: presigned URLs in it are fresh (`DescribeJobExecution`).
    pub async fn describe(&self, job: &JobId, execution: u64) -> Result<Option<JobExecution>> {
        let path = format!("/{job}?includeJobDocument=true&executionNumber={execution}");
        let answer: Result<DescribeJobExecutionResponse> =
            self.call("look at the job", Method::GET, &path, None::<&()>).await;
        match answer {
            Ok(answer) => Ok(answer.execution),
            Err(Error::Service { code: ErrorCode::ResourceNotFound | ErrorCode::TerminalStateReached, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reports on an execution (`UpdateJobExecution`); returns the new version of the execution, if the answer says it.
    pub async fn update(&self, job: &JobId, request: &UpdateJobExecutionRequest) -> Result<Option<u64>> {
        let answer: UpdateJobExecutionResponse =
            self.call("report on the job", Method::POST, &format!("/{job}"), Some(request)).await?;
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
