//! Many things in a fresh state directory, made by the server's own code before it starts.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use sealift_server::engine::{Engine, system_clock};
use sealift_server::ledger::EnrolmentToken;
use sealift_server::pki::{Authority, CertificateRequest};
use sealift_server::registry::{Enrolment, Request, Response};

use super::Outcome;

pub struct Fleet {
    certificates: Vec<CertificateDer<'static>>,
    /// One key for all: what is measured is the server, and a key's age isn't seen by it.
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

pub fn name(number: usize) -> String {
    format!("load-{number:05}")
}

impl Fleet {
    pub async fn make(state: &Path, things: usize, workers: usize) -> Outcome<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().mode(0o700).create(state)?;
        let authority = Authority::open(&state.join("ca"))?;
        let (engine, thread) = Engine::open(&state.join("ledger.redb"), system_clock())?;
        let key = KeyPair::generate()?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let enrol = |number: usize| {
            let (engine, authority, key) = (&engine, &authority, &key);
            async move {
                let mut params = CertificateParams::default();
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(DnType::CommonName, name(number));
                let request = CertificateRequest::from_pem(&params.serialize_request(key)?.pem()?)?;
                let group = if number < workers { "workers" } else { "idle" };
                let token = EnrolmentToken {
                    id: format!("{number:064x}"),
                    product: "thermostat".into(),
                    groups: [group.parse()?].into(),
                    thing: None,
                    expires_at: u64::MAX,
                    used_by: None,
                };
                engine.registry(Request::IssueToken(token)).await.ok_or("busy")??;
                let issued = authority.issue_device(&request)?;
                let enrolment = Enrolment {
                    token: format!("{number:064x}"),
                    thing: request.thing().clone(),
                    report_key: "00".repeat(32),
                    key_fingerprint: request.key_fingerprint(),
                };
                let enrolled = engine.registry(Request::Enrol(Box::new(enrolment), issued)).await.ok_or("busy")??;
                let Response::Thing(thing) = enrolled else { return Err("not enrolled".into()) };
                Outcome::Ok((number, CertificateDer::from_pem_slice(thing.certificate.as_bytes())?))
            }
        };
        let mut made = Vec::with_capacity(things);
        let mut tasks = futures_util::stream::iter((0..things).map(enrol)).buffer_unordered(256);
        while let Some(one) = tasks.next().await {
            made.push(one?);
        }
        drop(tasks);
        made.sort_by_key(|(number, _)| *number);
        drop(engine);
        let _ = thread.join();
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        Ok(Self { certificates: made.into_iter().map(|(_, one)| one).collect(), key, roots: Arc::new(roots) })
    }

    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    pub fn config(&self, number: usize) -> Outcome<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(vec![self.certificates[number].clone()], self.key.clone_key())?;
        Ok(Arc::new(config))
    }
}
