//! Who may use the control API from elsewhere, and how much of it.
//!
//! `operators.json` in the state directory (mode 0600) keeps SHA-256 of tokens and of certificates, never a secret itself. A
//! token has 192 bits of a generator's output: nobody guesses it, so that a plain hash is enough.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::pki::{PkiError, create, read_secret};

const FILE: &str = "operators.json";
/// The key of [`Operators::secret`].
const KEY_FILE: &str = "control.key";
/// Bytes of a secret that is handed out.
const SECRET_BYTES: usize = 24;
/// Tells an operator's token from a device's, for people and for scanners of leaked secrets.
const PREFIX: &str = "slop_";
/// Most operators: the file is read into memory.
const OPERATORS_MAX: usize = 10_000;
/// Most characters of a name.
const NAME_MAX: usize = 64;

/// What an operator may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Roll out, pause, cancel; make groups and jobs.
    Operator,
    /// Let devices in, revoke them, write policies, name operators.
    Admin,
}

/// One operator, without his secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operator {
    /// His name, in logs.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// SHA-256 of his token, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// SHA-256 of his certificate's DER, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// When he was named, in seconds since the Unix epoch.
    pub created_at: u64,
    /// When his access ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// The same for others to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorView {
    /// His name.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// `token` or `certificate`.
    pub by: String,
    /// When he was named.
    pub created_at: u64,
    /// When his access ends.
    pub expires_at: Option<u64>,
}

impl From<&Operator> for OperatorView {
    fn from(operator: &Operator) -> Self {
        let by = if operator.certificate.is_some() { "certificate" } else { "token" };
        let Operator { name, role, created_at, expires_at, .. } = operator.clone();
        Self { name, role, by: by.into(), created_at, expires_at }
    }
}

/// Why an operator wasn't named.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    /// Not a name.
    #[error("{0:?} can't name an operator: 1 to {NAME_MAX} of [a-zA-Z0-9._@-]")]
    Name(String),
    /// Somebody else has it.
    #[error("an operator called {0} exists already; remove him first, or take another name")]
    Taken(String),
    /// Not a certificate.
    #[error("certificate isn't one X.509 certificate in PEM: {0}")]
    Certificate(String),
    /// Too many.
    #[error("there are {OPERATORS_MAX} operators already, the most there may be")]
    TooMany,
    /// The file.
    #[error(transparent)]
    File(#[from] PkiError),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    operators: Vec<Operator>,
}

/// The operators of one state directory.
pub struct Operators {
    path: PathBuf,
    current: RwLock<Vec<Operator>>,
    secret: hmac::Key,
}

fn io(path: &Path, act: &'static str) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.display().to_string();
    move |source| PkiError::Io { path, act, source }
}

impl Operators {
    /// Reads the operators of a state directory; there may be none.
    ///
    /// # Errors
    /// [`PkiError`]: unreadable, malformed, or a file that others may read.
    pub fn open(state: &Path) -> Result<Self, PkiError> {
        let path = state.join(FILE);
        let bad = |problem: String| PkiError::Bad { path: path.display().to_string(), problem };
        let operators = if path.exists() {
            use std::os::unix::fs::PermissionsExt as _;
            let metadata = std::fs::metadata(&path).map_err(io(&path, "look at"))?;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o022 != 0 {
                return Err(bad(format!(
                    "mode {mode:03o} lets others name operators; run `chmod 600 {}`",
                    path.display()
                )));
            }
            let text = std::fs::read(&path).map_err(io(&path, "read"))?;
            let kept: Kept = serde_json::from_slice(&text)
                .map_err(|e| bad(format!("{e}; restore the file, or remove it and name the operators again")))?;
            if kept.format != 1 {
                return Err(bad(format!("format {}; this build reads format 1", kept.format)));
            }
            kept.operators
        } else {
            Vec::new()
        };
        let key = state.join(KEY_FILE);
        if !key.exists() {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *secret)
                .map_err(|e| PkiError::Make { what: "the control API's key", problem: e.to_string() })?;
            let text = Zeroizing::new(hex::encode(*secret));
            create(&key, text.as_bytes(), 0o600)?;
        }
        let text = read_secret(&key)?;
        let bytes = hex::decode(text.trim()).ok().filter(|bytes| bytes.len() == 32).map(Zeroizing::new);
        let bytes = bytes.ok_or_else(|| PkiError::Bad {
            path: key.display().to_string(),
            problem: "not 64 hex characters; remove it, and the server makes another".into(),
        })?;
        Ok(Self { path, current: RwLock::new(operators), secret: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The secret of a token that `who` asked for under an idempotency key: asked for again, it is the same one, and nobody
    /// had to keep it.
    pub(super) fn derived(&self, purpose: &str, who: &str, key: &str) -> String {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in ["sealift control v1", purpose, who, key] {
            // Lengths in front: no two lists of parts are the same message.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..SECRET_BYTES).unwrap_or_default())
    }

    /// Names an operator: with a certificate he is known by it, without one by the token that is returned, this once.
    /// The same call with the same key gives the same answer.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub(super) fn add(
        &self,
        name: &str,
        role: Role,
        certificate: Option<&str>,
        expires_at: Option<u64>,
        (who, key): (&str, &str),
        now: u64,
    ) -> Result<(OperatorView, Option<String>), OperatorError> {
        check_name(name)?;
        let certificate = certificate.map(fingerprint).transpose()?;
        let secret = match certificate {
            Some(_) => None,
            None => Some(format!("{PREFIX}{}", self.derived("operator", who, &format!("{name} {key}")))),
        };
        let token = secret.as_ref().map(|secret| hex::encode(Sha256::digest(secret)));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = current.iter().find(|operator| operator.name == name) {
            let same = existing.role == role && existing.token == token && existing.certificate == certificate;
            return if same { Ok((existing.into(), secret)) } else { Err(OperatorError::Taken(name.to_owned())) };
        }
        if current.len() >= OPERATORS_MAX {
            return Err(OperatorError::TooMany);
        }
        let operator = Operator { name: name.to_owned(), role, token, certificate, created_at: now, expires_at };
        let view = OperatorView::from(&operator);
        let mut changed = current.clone();
        changed.push(operator);
        self.store(&changed)?;
        *current = changed;
        Ok((view, secret))
    }

    /// Ends an operator's access, at once; false when there was none of that name.
    ///
    /// # Errors
    /// [`OperatorError::File`].
    pub(super) fn remove(&self, name: &str) -> Result<bool, OperatorError> {
        check_name(name)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let rest: Vec<Operator> = current.iter().filter(|operator| operator.name != name).cloned().collect();
        let removed = rest.len() != current.len();
        if removed {
            self.store(&rest)?;
            *current = rest;
        }
        Ok(removed)
    }

    /// Everybody.
    pub(super) fn list(&self) -> Vec<OperatorView> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).iter().map(OperatorView::from).collect()
    }

    /// The operator whose token this is.
    pub(super) fn by_token(&self, token: &str, now: u64) -> Option<Operator> {
        let hash = hex::encode(Sha256::digest(token));
        self.find(now, |operator| operator.token.as_ref() == Some(&hash))
    }

    /// The operator whose certificate this is, by the SHA-256 of its DER in hex.
    pub(super) fn by_certificate(&self, fingerprint: &str, now: u64) -> Option<Operator> {
        self.find(now, |operator| operator.certificate.as_deref() == Some(fingerprint))
    }

    fn find(&self, now: u64, is: impl Fn(&Operator) -> bool) -> Option<Operator> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.iter().find(|operator| is(operator) && operator.expires_at.is_none_or(|end| now < end)).cloned()
    }

    fn store(&self, operators: &[Operator]) -> Result<(), PkiError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let kept = Kept { format: 1, operators: operators.to_vec() };
        let json = serde_json::to_vec_pretty(&kept)
            .map_err(|e| PkiError::Bad { path: self.path.display().to_string(), problem: e.to_string() })?;
        // Mode 0600 is tempfile's own.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io(&self.path, "write beside it"))?;
        file.write_all(&json).and_then(|()| file.as_file().sync_all()).map_err(io(&self.path, "write"))?;
        file.persist(&self.path).map_err(|e| io(&self.path, "replace")(e.error))?;
        std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(io(folder, "sync"))
    }
}

fn check_name(name: &str) -> Result<(), OperatorError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        return Err(OperatorError::Name(name.to_owned()));
    }
    Ok(())
}

/// SHA-256 of the one certificate in a PEM text, hex.
fn fingerprint(pem: &str) -> Result<String, OperatorError> {
    let wrong = |e: &dyn std::fmt::Display| OperatorError::Certificate(e.to_string());
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| wrong(&e))?;
    x509_parser::parse_x509_certificate(&der).map_err(|e| wrong(&e))?;
    Ok(hex::encode(Sha256::digest(&der)))
}
