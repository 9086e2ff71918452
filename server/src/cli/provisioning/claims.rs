//! `sealift-server claims`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::certificates::{list, revoke};
use super::{Bare, ById};
use crate::cli::{BAD_FILE, Common, FAILED, Failure, output};
use crate::control::{Client, NewClaim};
use crate::ledger::Certificate;
use crate::pki::{create, read_secret};

/// Make, list and revoke claims: certificates with which a production line's devices enrol themselves.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Claims {
    /// Make a claim: key and certificate, in a directory of yours. The key is made here and not sent.
    Create(CreateClaim),
    /// List claims.
    List(Bare),
    /// Revoke a claim, at once. Devices that enrolled with it go on.
    Revoke(ById),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server claims create --state ./state --template line-1 --days 90 --out ./line-1
  sealift-device enrol --state ./device --server https://updates.example.com:8443 --ca ca.pem \\
      --claim line-1/claim.pem line-1/claim.key --template line-1 --parameter SerialNumber=0042

Writes claim.pem and claim.key (mode 0600) into the directory. Many devices may use one claim: it can ask for certificates
and use its template, and nothing else. A repeated command with the same directory gives the same claim.")]
pub(in crate::cli) struct CreateClaim {
    #[command(flatten)]
    common: Common,
    /// The template its holders may use.
    #[arg(long, value_name = "NAME")]
    template: String,
    /// Days it is good.
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3640))]
    days: u64,
    /// Where claim.pem and claim.key go; made if it isn't there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Claims {
    pub(in crate::cli) fn common(&self) -> &Common {
        match self {
            Self::Create(create) => &create.common,
            Self::List(bare) => &bare.common,
            Self::Revoke(one) => &one.common,
        }
    }

    pub(in crate::cli) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Create(create) => create.run(&client).await,
            Self::List(bare) => list(&client, &bare.common, |one| one.claim.is_some()).await,
            Self::Revoke(one) => revoke(&client, &one).await,
        }
    }
}

impl CreateClaim {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let (key_path, path) = (self.out.join("claim.key"), self.out.join("claim.pem"));
        std::fs::create_dir_all(&self.out)
            .map_err(|e| Failure::new(FAILED, format!("{}: can't make the directory: {e}", self.out.display())))?;
        // A command that was cut off goes on with the key it made.
        let key = if key_path.exists() {
            let pem = read_secret(&key_path)?;
            KeyPair::from_pem(&pem).map_err(|e| Failure::new(BAD_FILE, format!("{}: {e}", key_path.display())))?
        } else {
            let key = KeyPair::generate().map_err(|e| Failure::new(FAILED, e))?;
            create(&key_path, zeroize::Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
            key
        };
        let csr = request(&key).map_err(|e| Failure::new(FAILED, e))?;
        let wish = NewClaim { template: self.template, csr, days: self.days };
        let claim: Certificate = client.post("/v1/claims", &wish).await?;
        match create(&path, claim.certificate.as_bytes(), 0o644) {
            Err(crate::pki::PkiError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists
                    && std::fs::read_to_string(&path).is_ok_and(|was| was == claim.certificate) => {}
            Err(crate::pki::PkiError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                let message = format!("{}: another claim is here; name an empty directory", path.display());
                return Err(Failure::new(BAD_FILE, message));
            }
            other => other?,
        }
        if self.common.json {
            output::json(&claim);
        } else {
            let (path, key, until) = (path.display(), key_path.display(), output::time(claim.not_after));
            output::line(&format!("claim {}: {path} and {key}, good until {until}", claim.id));
        }
        Ok(())
    }
}

fn request(key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "sealift-claim");
    params.serialize_request(key)?.pem()
}
