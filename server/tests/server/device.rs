//! A device as the wire sees it: keys of its own, a TLS connection, and raw HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::process::Server;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    }

    pub fn error(&self) -> (u16, &str) {
        (self.status, self.header("x-amzn-errortype").unwrap_or_default())
    }
}

/// Shows a certificate with a key, whether they fit or not: the server is to find out.
pub fn shown(
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'_>,
) -> Arc<dyn rustls::client::ResolvesClientCert> {
    let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
    Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate], key)))
}

/// One TLS connection.
pub struct Connection {
    pub stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    /// Connects, with a client certificate or without.
    pub fn open(ca: &str, port: u16, identity: Option<(&str, &KeyPair)>) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_cert_resolver(shown(certificate, &key))
            }
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(StreamOwned::new(session, socket)) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> std::io::Result<Answer> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer(method)
    }

    pub fn answer(&mut self, method: &str) -> std::io::Result<Answer> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "no answer"));
            }
            if head[before..].trim().is_empty() {
                break;
            }
        }
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
        let mut answer = Answer { status, head, body: vec![] };
        let length = answer.header("content-length").map_or(0, |v| v.parse().unwrap());
        if method != "HEAD" && status != 304 {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }
}

/// An enrolled device.
pub struct Device {
    pub name: String,
    pub key: KeyPair,
    pub report_key: SigningKey,
    pub certificate: String,
    pub ca: String,
    pub port: u16,
}

/// The body of an enrolment.
pub fn enrolment(token: &str, name: &str, key: &KeyPair, report_key: &SigningKey) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let csr = params.serialize_request(key).unwrap();
    let signed = [b"sealift enrol v1\0".as_slice(), &Sha256::digest(csr.der())].concat();
    json!({
        "token": token,
        "csr": csr.pem().unwrap(),
        "reportKey": hex::encode(report_key.verifying_key().as_bytes()),
        "reportKeyProof": hex::encode(report_key.sign(&signed).to_bytes()),
    })
}

pub fn post_enrolment(server: &Server, body: &Value) -> Answer {
    let mut connection = Connection::open(&server.ca, server.port, None).unwrap();
    connection.request("POST", "/enrol", "", body.to_string().as_bytes()).unwrap()
}

pub fn report_key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

impl Device {
    pub fn enrol(server: &Server, name: &str, group: &str) -> Self {
        let (key, report_key) = (KeyPair::generate().unwrap(), report_key(name));
        let answer = post_enrolment(server, &enrolment(&server.token(group), name, &key, &report_key));
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let said = answer.json();
        assert_eq!(said["thing"], name);
        let certificate = said["certificate"].as_str().unwrap().to_owned();
        Self { name: name.into(), key, report_key, certificate, ca: server.ca.clone(), port: server.port }
    }

    /// The same device, for a test to change a part of it.
    pub fn copy(&self) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let (name, certificate, ca) = (self.name.clone(), self.certificate.clone(), self.ca.clone());
        Self { name, key, report_key: self.report_key.clone(), certificate, ca, port: self.port }
    }

    pub fn connect(&self) -> std::io::Result<Connection> {
        Connection::open(&self.ca, self.port, Some((&self.certificate, &self.key)))
    }

    pub fn request(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.connect().unwrap().request(method, path, "", body.as_bytes()).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &Value::Null)
    }

    pub fn jobs(&self) -> String {
        format!("/things/{}/jobs", self.name)
    }

    pub fn start_next(&self) -> Value {
        let answer = self.request("PUT", &format!("{}/$next", self.jobs()), &json!({}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["execution"].clone()
    }

    pub fn update(&self, job: &str, body: &Value) -> Answer {
        self.request("POST", &format!("{}/{job}", self.jobs()), body)
    }

    /// A signed report on `execution`, claiming to run `image`.
    pub fn report(&self, repository: [u8; 16], execution: &Value, image: [u8; 32], counter: u64) -> String {
        use base64::Engine as _;
        use sealift_manifests::report::{Report, SignedReport};
        use sealift_manifests::{Digest, PublicKey, RepositoryId};
        let payload = Report {
            repository: RepositoryId(repository),
            thing: &self.name,
            job: execution["jobId"].as_str().unwrap(),
            execution: execution["executionNumber"].as_u64().unwrap(),
            boot_count: 7,
            image: Digest(image),
            security_counter: counter,
        }
        .encode();
        let signature = self.report_key.sign(&SignedReport::sig_structure(&payload)).to_bytes();
        let key_id = PublicKey(self.report_key.verifying_key().to_bytes()).id();
        let report = SignedReport { payload: &payload, key_id, signature: &signature }.encode();
        base64::engine::general_purpose::STANDARD.encode(report)
    }
}
