//! A proxy between the binary and the emulator: it writes down each call as IAM names it, and it can let calls be lost,
//! happen twice, be throttled, or be the last thing that a process does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper_util::rt::TokioIo;

/// A call that came by.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// As IAM policies spell it: `s3:PutObject`. Several operations share one.
    pub(crate) action: &'static str,
    /// The resource's ARN.
    pub(crate) resource: String,
    /// The answer's status; none when there was no answer to it.
    pub(crate) status: Option<u16>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and so does its answer.
    Pass,
    /// It never arrives.
    LoseCall,
    /// It arrives, and its answer doesn't.
    LoseAnswer,
    /// It arrives twice.
    Twice,
    /// AWS asks for fewer calls.
    Throttle,
    /// AWS says no.
    Deny(&'static str),
}

type Judge = Box<dyn FnMut(usize, &Call) -> Fate + Send>;

struct Inner {
    upstream: SocketAddr,
    calls: Mutex<Vec<Call>>,
    judge: Mutex<Judge>,
}

/// A running proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    pub(crate) endpoint: String,
}

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").parse().unwrap();
        let inner = Inner { upstream, calls: Mutex::default(), judge: Mutex::new(Box::new(|_, _| Fate::Pass)) };
        let inner = Arc::new(inner);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(handle).with_state(inner.clone());
        // A thread of its own: tests wait for processes that wait for it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Proxy { inner, endpoint }
    }

    /// Forgets the calls so far and judges those to come; numbers begin with 0.
    pub(crate) fn judge(&self, judge: impl FnMut(usize, &Call) -> Fate + Send + 'static) {
        *self.inner.judge.lock().unwrap() = Box::new(judge);
        self.inner.calls.lock().unwrap().clear();
    }

    /// Lets everything pass again, and forgets the calls so far.
    pub(crate) fn pass(&self) {
        self.judge(|_, _| Fate::Pass);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner.calls.lock().unwrap().clone()
    }

    /// Resources of the calls of one action that were done.
    pub(crate) fn done(&self, action: &str) -> Vec<String> {
        let done = |call: &Call| call.action == action && call.status.is_some_and(|status| status < 300);
        self.calls().into_iter().filter(done).map(|call| call.resource).collect()
    }
}

async fn handle(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let (action, resource) =
        name(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), &parts.headers);
    let call = Call { action, resource, status: None };
    let (index, fate) = {
        let mut calls = inner.calls.lock().unwrap();
        let index = calls.len();
        calls.push(call.clone());
        (index, (inner.judge.lock().unwrap())(index, &call))
    };
    let lost = || Response::builder().status(StatusCode::OK).header("x-lost", "1").body(cut()).unwrap();
    match fate {
        Fate::LoseCall => return lost(),
        Fate::Throttle => return refusal(action, "ThrottlingException", "SlowDown", 429),
        Fate::Deny(code) => return refusal(action, code, code, 403),
        Fate::Twice => drop(forward(&inner, &parts, &body).await),
        Fate::Pass | Fate::LoseAnswer => {}
    }
    // A task of its own: what arrived is done, though its sender is killed or gives up meanwhile.
    let done = tokio::spawn(async move {
        let answer = forward(&inner, &parts, &body).await?;
        if let Some(call) = inner.calls.lock().unwrap().get_mut(index) {
            call.status = Some(answer.status().as_u16());
        }
        Some(answer)
    });
    match done.await.ok().flatten() {
        Some(answer) if fate != Fate::LoseAnswer => answer,
        _ => lost(),
    }
}

/// A body that breaks off: the connection is cut, as when a cable is.
fn cut() -> Body {
    let error = std::io::Error::other("cut");
    Body::from_stream(futures_util::stream::iter([Ok(Bytes::from_static(b"<")), Err(error)]))
}

fn refusal(action: &str, code: &str, s3_code: &str, status: u16) -> Response {
    let status = StatusCode::from_u16(if action.starts_with("s3:") && status == 429 { 503 } else { status }).unwrap();
    if action.starts_with("s3:") {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{s3_code}</Code><Message>injected</Message></Error>");
        return (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response();
    }
    if action.starts_with("sts:") {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>injected</Message></Error></ErrorResponse>"
        );
        return (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response();
    }
    (status, [("x-amzn-errortype", code)], "{\"message\":\"injected\"}".to_owned()).into_response()
}

async fn forward(inner: &Inner, parts: &axum::http::request::Parts, body: &Bytes) -> Option<Response> {
    let stream = tokio::net::TcpStream::connect(inner.upstream).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let target = parts.uri.path_and_query()?.as_str();
    let mut request = hyper::Request::builder().method(&parts.method).uri(target);
    for (name, value) in &parts.headers {
        if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH && name != header::EXPECT {
            request = request.header(name, value);
        }
    }
    let request = request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body.clone())).ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let (mut head, content) = answer.into_parts();
    // To a HEAD there is a length and no body.
    if parts.method == Method::HEAD {
        return Some(Response::from_parts(head, Body::empty()));
    }
    let content = axum::body::to_bytes(Body::new(content), 64 << 20).await.ok()?;
    head.headers.remove(header::TRANSFER_ENCODING);
    Some(Response::from_parts(head, Body::from(content)))
}

/// A call as IAM names it. Told here anew, from the wire alone: a mistake of the policies isn't repeated.
fn name(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> (&'static str, String) {
    let scope = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = path.trim_start_matches('/');
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let parts: Vec<&str> = path.split('/').collect();
    if scope.contains("/sts/") {
        return ("sts:GetCallerIdentity", "*".into());
    }
    if scope.contains("/iot/") || scope.contains("/execute-api/") {
        let arn = |kind: &str, name: &str| format!("arn:aws:iot:eu-west-1:123456789012:{kind}/{name}");
        return match (method.as_str(), &parts[..]) {
            ("PUT", ["jobs", job]) => ("iot:CreateJob", arn("job", job)),
            ("GET", ["jobs", job]) => ("iot:DescribeJob", arn("job", job)),
            ("PUT", ["jobs", job, "cancel"]) => ("iot:CancelJob", arn("job", job)),
            ("GET", ["jobs", job, "things"]) => ("iot:ListJobExecutionsForJob", arn("job", job)),
            ("GET", ["things", thing, "jobs"]) => ("iot:ListJobExecutionsForThing", arn("thing", thing)),
            ("GET", ["things", thing, "jobs", _]) => ("iot:DescribeJobExecution", arn("thing", thing)),
            ("GET", ["things", thing]) => ("iot:DescribeThing", arn("thing", thing)),
            ("GET", ["things", thing, "thing-groups"]) => ("iot:ListThingGroupsForThing", arn("thing", thing)),
            ("POST", ["things", thing]) => ("iot:CreateThing", arn("thing", thing)),
            ("PATCH", ["things", thing]) => ("iot:UpdateThing", arn("thing", thing)),
            ("PUT", ["things", thing, "principals"]) => ("iot:AttachThingPrincipal", arn("thing", thing)),
            ("PUT", ["target-policies", _]) => ("iot:AttachPolicy", arn("cert", "of-the-body")),
            ("PUT", ["thing-groups", "addThingToThingGroup"]) => {
                ("iot:AddThingToThingGroup", arn("thinggroup", "of-the-body"))
            }
            ("GET", ["thing-groups", group]) => ("iot:DescribeThingGroup", arn("thinggroup", group)),
            ("GET", ["thing-groups", group, "things"]) => ("iot:ListThingsInThingGroup", arn("thinggroup", group)),
            _ => ("iot:Unknown", format!("{method} {path}")),
        };
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (whole, object) = (format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/{key}"));
    match (method.as_str(), key.is_empty()) {
        ("GET", true) if has("uploads") => ("s3:ListBucketMultipartUploads", whole),
        ("GET", true) if has("publicAccessBlock") => ("s3:GetBucketPublicAccessBlock", whole),
        ("GET", true) if has("policyStatus") => ("s3:GetBucketPolicyStatus", whole),
        ("GET", true) if has("policy") => ("s3:GetBucketPolicy", whole),
        ("GET", true) if has("encryption") => ("s3:GetEncryptionConfiguration", whole),
        ("GET", true) if has("versioning") => ("s3:GetBucketVersioning", whole),
        ("GET", true) if has("lifecycle") => ("s3:GetLifecycleConfiguration", whole),
        ("GET", true) if has("acl") => ("s3:GetBucketAcl", whole),
        ("GET", true) if has("location") => ("s3:GetBucketLocation", whole),
        ("GET" | "HEAD", true) => ("s3:ListBucket", whole),
        ("GET", false) if has("uploadId") => ("s3:ListMultipartUploadParts", object),
        ("GET" | "HEAD", false) => ("s3:GetObject", object),
        ("DELETE", false) if has("uploadId") => ("s3:AbortMultipartUpload", object),
        ("DELETE", false) => ("s3:DeleteObject", object),
        ("PUT" | "POST", false) => ("s3:PutObject", object),
        _ => ("s3:Unknown", format!("{method} {path}?{query}")),
    }
}
