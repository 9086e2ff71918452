//! A factory: a CA of its own, and the devices it makes.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::Value;

use crate::device::{Device, report_key};
use crate::process::Server;

const DAY: i64 = 24 * 3_600;

pub struct Factory {
    pub pem: String,
    pub der: Vec<u8>,
    pub key: KeyPair,
}

fn params(name: &[(DnType, &str)], from: i64, seconds: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, text) in name {
        params.distinguished_name.push(kind.clone(), *text);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let at = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds as u64);
    (params.not_before, params.not_after) = (at(now + from), at(now + seconds));
    params
}

impl Factory {
    pub fn new(name: &str) -> Self {
        Self::until(name, 365 * DAY)
    }

    /// One whose CA ends `seconds` from now.
    pub fn until(name: &str, seconds: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[(DnType::CommonName, name)], -2 * DAY, seconds);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let made = params.self_signed(&key).unwrap();
        Self { pem: made.pem(), der: made.der().to_vec(), key }
    }

    /// A certificate of this CA, good from `from` to `to` seconds from now.
    pub fn certify(&self, name: &[(DnType, &str)], key: &KeyPair, from: i64, to: i64) -> String {
        let mut params = params(name, from, to);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = rustls::pki_types::CertificateDer::from(self.der.clone());
        let key_of_ca = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(&der, key_of_ca).unwrap();
        params.signed_by(key, &issuer).unwrap().pem()
    }

    /// A device with a certificate of this CA.
    pub fn device(&self, server: &Server, name: &[(DnType, &str)]) -> Device {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certify(name, &key, -DAY, 30 * DAY);
        let plain = name.iter().find(|(kind, _)| *kind == DnType::CommonName).map_or("", |(_, text)| text).to_owned();
        Device {
            report_key: report_key(&plain),
            name: plain,
            key,
            certificate,
            ca: server.ca.clone(),
            port: server.port,
        }
    }

    /// Registers the CA by a verification certificate.
    pub fn register(&self, server: &Server, home: &Path, more: &[&str]) -> Value {
        let code = server.ok(&["ca", "code"])["registrationCode"].as_str().unwrap().to_owned();
        let (ca, proof) = (home.join("factory.pem"), home.join("proof.pem"));
        std::fs::write(&ca, &self.pem).unwrap();
        let key = KeyPair::generate().unwrap();
        std::fs::write(&proof, self.certify(&[(DnType::CommonName, &code)], &key, -DAY, DAY)).unwrap();
        let files = ["--certificate", ca.to_str().unwrap(), "--verification-certificate", proof.to_str().unwrap()];
        server.ok(&[&["ca", "register"][..], &files, more].concat())
    }
}

/// Writes a template from its document.
pub fn template(server: &Server, home: &Path, name: &str, kind: &str, document: &Value) {
    let path = home.join("template.json");
    std::fs::write(&path, document.to_string()).unwrap();
    server.ok(&["templates", "put", "--name", name, "--kind", kind, "--document", path.to_str().unwrap()]);
}
