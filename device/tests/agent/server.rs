//! A small HTTPS server with mutual TLS: AWS IoT's jobs data plane for one thing, a repository, enrolment; and, path by path,
//! whatever a hostile server could do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These bytes, with ranges.
    File(Vec<u8>),
    /// The whole, whatever range was asked for.
    NoRanges(Vec<u8>),
    /// The right head, and then only so many bytes.
    CutAfter(Vec<u8>, usize),
    /// Bytes without end.
    Endless,
    /// So many bytes a second.
    Slow(Vec<u8>, usize),
    /// Pieces of this many bytes with a pause between.
    Throttled(Vec<u8>, usize, Duration),
    /// A status and headers.
    Status(u16, Vec<(String, String)>),
    /// A part, but another than was asked for.
    WrongRange(Vec<u8>),
}

/// One request, as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    /// Whether a client certificate was shown.
    pub with_certificate: bool,
    pub body: String,
}

/// The one job of the one thing.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub id: String,
    pub execution: u64,
    pub version: u64,
    pub status: String,
    pub document: String,
    /// Executions that may still follow a failed one.
    pub retries: u64,
}

#[derive(Default)]
pub(crate) struct Shared {
    pub files: BTreeMap<String, Reply>,
    pub seen: Vec<Seen>,
    pub job: Option<Job>,
    /// Every accepted update: status and details.
    pub updates: Vec<(String, Value)>,
    /// Updates to refuse before any is taken: HTTP status and exception.
    pub refuse_updates: Vec<(u16, &'static str)>,
    /// Bytes written to clients as bodies of payloads.
    pub sent: u64,
    pub report_key: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub origin: String,
    pub ca: String,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = Arc::new(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![leaf.der().clone()],
                rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let server = Server { origin, ca: ca.pem(), shared: Arc::default() };
        let (config, shared) = (Arc::new(config), server.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, shared, ca) = (config.clone(), shared.clone(), ca.clone());
                // A client that was killed breaks its connection: that is what these tests do.
                std::thread::spawn(move || shared.serve(stream, config, &ca));
            }
        });
        server
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub(crate) fn put(&self, path: impl Into<String>, reply: Reply) {
        self.lock().files.insert(path.into(), reply);
    }

    /// The requests whose path begins so.
    pub(crate) fn requests(&self, prefix: &str) -> Vec<Seen> {
        self.lock().seen.iter().filter(|seen| seen.path.starts_with(prefix)).cloned().collect()
    }

    /// The last status of the job, and its details.
    pub(crate) fn outcome(&self) -> (String, Value) {
        let shared = self.lock();
        shared.updates.iter().rev().find(|(status, _)| status != "IN_PROGRESS").cloned().unwrap_or_default()
    }

    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>, ca: &CertifiedIssuer<'_, KeyPair>) -> Option<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let tls = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
        let mut reader = BufReader::new(tls);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut length, mut range) = (0, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "range" => range = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let mut tls = reader.into_inner();
        let with_certificate = tls.conn.peer_certificates().is_some();
        let seen = Seen { method, path, range, with_certificate, body };
        self.lock().seen.push(seen.clone());
        let path = seen.path.split('?').next()?.to_owned();
        let done = if path == "/enrol" {
            answer(&mut tls, 201, &[], self.enrol(&seen.body, ca)?.to_string().as_bytes())
        } else if path.starts_with("/things/") {
            let (status, exception, body) = self.jobs(&seen.method, &path, &seen.body);
            let headers = exception.map(|name| ("x-amzn-errortype".to_owned(), name.to_owned()));
            answer(&mut tls, status, headers.as_slice(), body.to_string().as_bytes())
        } else {
            let reply = self.lock().files.get(&path).cloned();
            self.file(&mut tls, reply, seen.range.as_deref())
        };
        done.ok()?;
        tls.conn.send_close_notify();
        tls.flush().ok()
    }

    fn enrol(&self, body: &str, ca: &CertifiedIssuer<'_, KeyPair>) -> Option<Value> {
        let ask: Value = serde_json::from_str(body).ok()?;
        let mut request = CertificateSigningRequestParams::from_pem(ask["csr"].as_str()?).ok()?;
        request.params.is_ca = IsCa::NoCa;
        let certificate = request.signed_by(ca).ok()?;
        self.lock().report_key = Some(ask["reportKey"].as_str()?.to_owned());
        Some(json!({ "thing": "thing-1", "product": "thermostat", "groups": ["g"],
            "certificate": certificate.pem(), "ca": self.ca }))
    }

    fn jobs(&self, method: &str, path: &str, body: &str) -> (u16, Option<&'static str>, Value) {
        let mut shared = self.lock();
        let execution = |job: &Job| {
            json!({ "jobId": job.id, "thingName": "thing-1", "status": job.status, "queuedAt": 1, "lastUpdatedAt": 1,
                "versionNumber": job.version, "executionNumber": job.execution, "jobDocument": job.document })
        };
        let refusal = |status, name: &'static str| {
            let code = name.trim_end_matches("Exception");
            (status, Some(name), json!({ "code": code, "message": "no" }))
        };
        let open = |job: &&mut Job| matches!(job.status.as_str(), "QUEUED" | "IN_PROGRESS");
        match method {
            "PUT" => match shared.job.as_mut().filter(open) {
                None => (200, None, json!({})),
                Some(job) => {
                    if job.status == "QUEUED" {
                        job.status = "IN_PROGRESS".into();
                        job.version += 1;
                    }
                    (200, None, json!({ "execution": execution(job) }))
                }
            },
            "GET" => match &shared.job {
                Some(job) if path.ends_with(&job.id) => (200, None, json!({ "execution": execution(job) })),
                _ => refusal(404, "ResourceNotFoundException"),
            },
            _ => {
                let update: Value = serde_json::from_str(body).unwrap();
                if !shared.refuse_updates.is_empty() {
                    let (status, name) = shared.refuse_updates.remove(0);
                    if name == "VersionMismatchException"
                        && let Some(job) = &mut shared.job
                    {
                        job.version += 5;
                    }
                    return refusal(status, name);
                }
                let Some(job) = shared.job.as_mut().filter(|job| path.ends_with(&job.id)) else {
                    return refusal(404, "ResourceNotFoundException");
                };
                if update["executionNumber"].as_u64().is_some_and(|number| number != job.execution)
                    || job.status != "IN_PROGRESS"
                {
                    return refusal(409, "InvalidStateTransitionException");
                }
                if update["expectedVersion"].as_u64().is_some_and(|version| version != job.version) {
                    return refusal(409, "VersionMismatchException");
                }
                job.version += 1;
                let status = update["status"].as_str().unwrap().to_owned();
                job.status.clone_from(&status);
                if status == "FAILED" && job.retries > 0 {
                    job.retries -= 1;
                    job.execution += 1;
                    job.version = 1;
                    job.status = "QUEUED".into();
                }
                let state = json!({ "status": status, "versionNumber": job.version });
                shared.updates.push((status, update["statusDetails"].clone()));
                (200, None, json!({ "executionState": state }))
            }
        }
    }

    fn file(&self, out: &mut impl Write, reply: Option<Reply>, range: Option<&str>) -> std::io::Result<()> {
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok());
        let head = |out: &mut dyn Write, bytes: &[u8], from: Option<usize>| match from {
            None => head(out, 200, &[], Some(bytes.len())),
            Some(from) => {
                let last = bytes.len() - 1;
                let value = format!("bytes {from}-{last}/{}", bytes.len());
                head(out, 206, &[("content-range".into(), value)], Some(bytes.len() - from))
            }
        };
        let rest = |bytes: &[u8], from: Option<usize>| bytes[from.unwrap_or(0)..].to_vec();
        match reply {
            None => answer(out, 404, &[], b"{}"),
            Some(Reply::Status(status, headers)) => answer(out, status, &headers, b""),
            Some(Reply::File(bytes)) => {
                head(out, &bytes, from)?;
                self.send(out, &rest(&bytes, from))
            }
            Some(Reply::NoRanges(bytes)) => {
                head(out, &bytes, None)?;
                self.send(out, &bytes)
            }
            Some(Reply::CutAfter(bytes, most)) => {
                head(out, &bytes, from)?;
                let rest = rest(&bytes, from);
                self.send(out, &rest[..most.min(rest.len())])
            }
            Some(Reply::Endless) => {
                self::head(out, 200, &[("transfer-encoding".into(), "chunked".into())], None)?;
                loop {
                    out.write_all(b"1000\r\n")?;
                    self.send(out, &[0xa5; 0x1000])?;
                    out.write_all(b"\r\n")?;
                }
            }
            Some(Reply::Slow(bytes, rate)) => {
                head(out, &bytes, from)?;
                for piece in rest(&bytes, from).chunks((rate / 10).max(1)) {
                    self.send(out, piece)?;
                    std::thread::sleep(Duration::from_millis(100));
                }
                Ok(())
            }
            Some(Reply::Throttled(bytes, size, pause)) => {
                head(out, &bytes, from)?;
                for piece in rest(&bytes, from).chunks(size) {
                    self.send(out, piece)?;
                    std::thread::sleep(pause);
                }
                Ok(())
            }
            Some(Reply::WrongRange(bytes)) => match from {
                // Ends early first, so that the agent asks for the rest.
                None => {
                    head(out, &bytes, None)?;
                    self.send(out, &bytes[..bytes.len() / 2])
                }
                Some(_) => {
                    head(out, &bytes, Some(7))?;
                    self.send(out, &bytes[7..])
                }
            },
        }
    }

    fn send(&self, out: &mut (impl Write + ?Sized), bytes: &[u8]) -> std::io::Result<()> {
        self.lock().sent += bytes.len() as u64;
        out.write_all(bytes)?;
        out.flush()
    }
}

fn head(
    out: &mut (impl Write + ?Sized),
    status: u16,
    headers: &[(String, String)],
    length: Option<usize>,
) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 {status} X\r\nconnection: close\r\n")?;
    for (name, value) in headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    if let Some(length) = length {
        write!(out, "content-length: {length}\r\n")?;
    }
    out.write_all(b"\r\n")
}

fn answer(
    out: &mut (impl Write + ?Sized),
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> std::io::Result<()> {
    head(out, status, headers, Some(body.len()))?;
    out.write_all(body)?;
    out.flush()
}
