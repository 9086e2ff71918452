//! The `sealift-server` command line.

mod account;
mod audit;
mod cloud;
mod devices;
mod jobs;
mod operators;
mod output;
mod policies;
mod provisioning;
mod publish;
mod registrar;
mod rollout;
mod serve;
mod venue;
mod watching;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sealift_jobs::ErrorCode;
use sealift_verifier::trust::Policy;

use crate::audit::AuditError;
use crate::control::{Client, ClientError, Credentials};
use crate::intake::IntakeError;
use crate::pki::PkiError;
use crate::publish::PublishError;
use crate::rollout::RolloutError;
use crate::service::ServiceError;
use crate::store::StoreError;

/// Publish Sealift releases and roll them out to devices.
#[derive(Debug, Parser)]
#[command(name = "sealift-server", version, about, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  sealift-server serve --state ./state --listen 127.0.0.1:8443
  sealift-server publish --state ./state --release ./release
  sealift-server devices token --state ./state --group canary --product thermostat
  sealift-server rollout create --state ./state --release 1.1.0 --group canary
  sealift-server rollout status --state ./state NAME --wait
  sealift-server rollout start --bucket acme-fw --prefix prod/ --presign-role ARN plan.toml

Exit codes: 0 done; 1 failed, try again; 2 wrong use; 3 refused (verification or policy said no);
4 a file can't be used (key, image, release).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the device endpoint: AWS IoT's MQTT and HTTPS data planes of Jobs, the repository and enrolment.
    Serve(serve::Serve),
    /// Check a release with the verifier's own code and publish it, all or nothing.
    Publish(publish::Publish),
    /// Show what is published and can be rolled out.
    Releases(publish::Releases),
    /// Create, watch and stop rollouts.
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Show, check and export the log of who did what.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Policies and a stack for a cloud account, and a check of a bucket's settings.
    #[command(subcommand)]
    Aws(account::Account),
    /// Create and look at single jobs, with any document.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Enrol, list, show and revoke devices.
    #[command(subcommand)]
    Devices(devices::Devices),
    /// List and make groups.
    #[command(subcommand)]
    Groups(devices::Groups),
    /// Register the CAs whose certificates your devices were made with.
    #[command(subcommand)]
    Ca(provisioning::Ca),
    /// Write, list and remove AWS IoT provisioning templates.
    #[command(subcommand)]
    Templates(provisioning::Templates),
    /// Make, list and revoke claims, with which a production line's devices enrol themselves.
    #[command(subcommand)]
    Claims(provisioning::Claims),
    /// List, activate and revoke certificates that no device has yet.
    #[command(subcommand)]
    Certificates(provisioning::Certificates),
    /// Write, list, attach, detach and delete AWS IoT policies.
    #[command(subcommand)]
    Policies(policies::Policies),
    /// Show what isn't as the security profiles say.
    Alerts(watching::Alerts),
    /// Look for what is wrong with the fleet as a whole.
    #[command(subcommand)]
    Check(watching::Check),
    /// Name, list and remove those who may use the control API from elsewhere.
    #[command(subcommand)]
    Operators(operators::Operators),
}

/// What every command that talks to a server or its state takes.
#[derive(Debug, Args)]
struct Common {
    /// The server's state directory, when it runs on this machine.
    #[arg(long, env = "SEALIFT_STATE", value_name = "DIR", required_unless_present = "server")]
    state: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

/// A server on another machine, and how it knows who asks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A server on another machine")]
struct Elsewhere {
    /// Its control API: https://HOST:PORT of `serve --control-listen`.
    #[arg(long, env = "SEALIFT_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The CA that signed its certificate (ca/ca.pem of its state directory).
    #[arg(long, env = "SEALIFT_SERVER_CA", value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// A file of mode 0600 with the operator's token. (Not an argument of its own: everybody on a machine can read those.)
    #[arg(long, env = "SEALIFT_TOKEN_FILE", value_name = "FILE", conflicts_with = "client_certificate")]
    token_file: Option<PathBuf>,
    /// The operator's certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0600.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
}

impl Common {
    /// The state directory, for what works on the machine itself.
    fn state(&self) -> Result<&std::path::Path, Failure> {
        self.state.as_deref().ok_or_else(|| Failure::new(USAGE, "this works on the server's own machine: name --state"))
    }

    /// A client of the server that is meant.
    fn client(&self) -> Result<Client, Failure> {
        match self.elsewhere.client()? {
            Some(client) => Ok(client),
            None => Ok(Client::new(self.state()?)),
        }
    }
}

impl Elsewhere {
    /// A client of that server, if one is named.
    fn client(&self) -> Result<Option<Client>, Failure> {
        let Some(url) = &self.server else { return Ok(None) };
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|e| Failure::new(BAD_FILE, format!("{}: can't read: {e}", path.display())))
        };
        let ca = self.ca.as_ref();
        let ca = ca.ok_or_else(|| Failure::new(USAGE, "--server needs --ca: the CA that signed its certificate"))?;
        let credentials = match self {
            Elsewhere { token_file: Some(path), .. } => Credentials::Token(crate::pki::read_secret(path)?),
            Elsewhere { client_certificate: Some(certificate), client_key: Some(key), .. } => {
                let bad = |path: &PathBuf, e: &dyn std::fmt::Display| {
                    Failure::new(BAD_FILE, format!("{}: {e}", path.display()))
                };
                let pem = read(certificate)?;
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                let chain = chain.map_err(|e| bad(certificate, &e))?;
                let secret = crate::pki::read_secret(key)?;
                let secret = PrivateKeyDer::from_pem_slice(secret.as_bytes()).map_err(|e| bad(key, &e))?;
                Credentials::Certificate(chain, secret)
            }
            _ => {
                return Err(Failure::new(
                    USAGE,
                    "--server needs --token-file, or --client-certificate and --client-key",
                ));
            }
        };
        Client::elsewhere(url, &read(ca)?, credentials).map(Some).map_err(|message| Failure::new(USAGE, message))
    }
}

/// What went wrong, with the exit code that says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    exit: u8,
    message: String,
    /// Sealift's code, when the verifier refused.
    code: Option<String>,
}

/// Failed, may work later.
const FAILED: u8 = 1;
/// Wrong use.
const USAGE: u8 = 2;
/// Verification or policy said no.
const REFUSED: u8 = 3;
/// A file can't be used.
const BAD_FILE: u8 = 4;

impl Failure {
    fn new(exit: u8, message: impl std::fmt::Display) -> Self {
        Self { exit, message: message.to_string(), code: None }
    }
}

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        match &error {
            IntakeError::Refused { error: refusal, .. } => {
                let code = Some(format!("SL-{:03}", refusal.code()));
                Self { exit: REFUSED, message: error.to_string(), code }
            }
            IntakeError::Host { code, .. } => {
                let code = code.map(|code| format!("SL-{code:03}"));
                Self { exit: REFUSED, message: error.to_string(), code }
            }
            IntakeError::OtherRepository(_) => Self::new(REFUSED, error),
            IntakeError::Missing(_) | IntakeError::TooLarge { .. } => Self::new(BAD_FILE, error),
            IntakeError::Store(store) => Self::new(store_exit(store), error),
            IntakeError::Io { .. } => Self::new(FAILED, error),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Intake(error) => error.into(),
            PublishError::Audit(error) => error.into(),
            PublishError::Store(ref store) => Self::new(store_exit(store), error),
            PublishError::Lost { .. } => Self::new(FAILED, error),
        }
    }
}

/// What went wrong with a store, by whether trying again may help.
fn store_exit(error: &StoreError) -> u8 {
    match error {
        StoreError::Clash { .. } => REFUSED,
        #[cfg(feature = "aws")]
        StoreError::Io { source, .. } => match source.downcast_ref::<crate::aws::AwsError>() {
            Some(error) => aws_exit(error),
            None => FAILED,
        },
        _ => FAILED,
    }
}

#[cfg(feature = "aws")]
fn aws_exit(error: &crate::aws::AwsError) -> u8 {
    match () {
        () if error.transient => FAILED,
        () if error.misplaced => USAGE,
        // Credentials or permissions: somebody has to change something first.
        () if error.hint.is_some() => REFUSED,
        () => FAILED,
    }
}

#[cfg(feature = "aws")]
impl From<crate::aws::AwsError> for Failure {
    fn from(error: crate::aws::AwsError) -> Self {
        Self::new(aws_exit(&error), error)
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let exit = match &error {
            AuditError::Store(error) => store_exit(error),
            AuditError::Key(_) => FAILED,
            _ => REFUSED,
        };
        Self::new(exit, error)
    }
}

impl From<RolloutError> for Failure {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Intake(error) => error.into(),
            RolloutError::Audit(error) => error.into(),
            RolloutError::Store(ref store) => Self::new(store_exit(store), error),
            RolloutError::Contended(_)
            | RolloutError::Record { .. }
            | RolloutError::Service(ServiceError::Unavailable(_)) => Self::new(FAILED, error),
            RolloutError::Service(ServiceError::Refused(_)) => Self::new(REFUSED, error),
            RolloutError::Plan(_) => Self::new(BAD_FILE, error),
            _ => Self::new(USAGE, error),
        }
    }
}

/// Who acts where no account says it: what the environment names, else user and machine.
fn local_actor() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = named("SEALIFT_ACTOR").or_else(|| named("USER")).or_else(|| named("LOGNAME"));
    format!("{}@{}", user.unwrap_or_else(|| "somebody".into()), host.trim())
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Refused(refusal) if !refusal.code.is_transient() => match refusal.code {
                ErrorCode::Forbidden => REFUSED,
                _ => USAGE,
            },
            _ => FAILED,
        };
        Self::new(exit, error)
    }
}

impl From<PkiError> for Failure {
    fn from(error: PkiError) -> Self {
        let exit = match &error {
            PkiError::Permissions { .. } | PkiError::Bad { .. } => BAD_FILE,
            PkiError::Io { .. } | PkiError::Make { .. } => FAILED,
        };
        Self::new(exit, error)
    }
}

impl Cli {
    /// Runs the command; prints its result or its error.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let json = self.command.json();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return output::failure(&Failure::new(FAILED, format!("can't start the runtime: {error}")), json);
            }
        };
        let done = runtime.block_on(async {
            match self.command {
                Command::Serve(serve) => serve.run().await,
                Command::Publish(publish) => publish.run().await,
                Command::Releases(releases) => releases.run().await,
                Command::Rollout(rollout) => rollout.run().await,
                Command::Audit(audit) => audit.run().await,
                Command::Aws(account) => account.run().await,
                Command::Jobs(jobs) => jobs.run().await,
                Command::Devices(devices) => devices.run().await,
                Command::Groups(groups) => groups.run().await,
                Command::Ca(ca) => ca.run().await,
                Command::Templates(templates) => templates.run().await,
                Command::Claims(claims) => claims.run().await,
                Command::Certificates(certificates) => certificates.run().await,
                Command::Policies(policies) => policies.run().await,
                Command::Operators(operators) => operators.run().await,
                Command::Alerts(alerts) => alerts.run().await,
                Command::Check(check) => check.run().await,
            }
        });
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => output::failure(&failure, json),
        }
    }
}

impl Command {
    fn json(&self) -> bool {
        match self {
            Self::Serve(serve) => serve.common.json,
            Self::Publish(publish) => publish.venue.json,
            Self::Releases(releases) => releases.common.json,
            Self::Rollout(rollout) => rollout.json(),
            Self::Audit(audit) => audit.json(),
            Self::Aws(account) => account.json(),
            Self::Jobs(jobs) => jobs.common().json,
            Self::Devices(devices) => devices.common().json,
            Self::Groups(groups) => groups.common().json,
            Self::Ca(ca) => ca.common().json,
            Self::Templates(templates) => templates.common().json,
            Self::Claims(claims) => claims.common().json,
            Self::Certificates(certificates) => certificates.common().json,
            Self::Policies(policies) => policies.common().json,
            Self::Operators(operators) => operators.common().json,
            Self::Alerts(alerts) => alerts.common.json,
            Self::Check(check) => check.common().json,
        }
    }
}

/// The verifier's policy: example keys are for development alone, and said so each time.
fn policy(development: bool) -> Policy {
    if development {
        tracing::warn!("--development: example keys that everybody has are accepted; never use this for real devices");
        Policy::development()
    } else {
        Policy::production()
    }
}
