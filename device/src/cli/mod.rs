//! The command line: one subcommand a file.

mod boot;
mod enrol;
mod hooks;
mod install;
mod provision;
mod run;
mod status;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::agent::events::Events;
use crate::error::{Error, Result};
use crate::state::agent_config::AgentConfig;

const EXAMPLES: &str = "\
Examples:
  In the factory, with the bundle that signs the image:
    sealift-device provision --state /var/lib/sealift --root 1.root --product thermostat \\
        --hardware board-a --image firmware-1.0.bin --bundle firmware-1.0.bundle
  ... or on the factory's word, before there is a release:
    sealift-device provision --state /var/lib/sealift --root 1.root --product thermostat \\
        --hardware board-a --image firmware-1.0.bin --image-version 1.0.0 --security-counter 1
  Once it has a network:
    sealift-device enrol --state /var/lib/sealift --server https://updates.example.com:8443 \\
        --ca ca.pem --thing thermostat-0042 --token-file token
    sealift-device run --state /var/lib/sealift --health-check '/usr/lib/thermostat/selftest'
  From a USB stick:
    sealift-device install --state /var/lib/sealift /media/usb/firmware-1.1.sealift

Exit codes: 0 done; 1 failed, trying again may help (network, disk, a reverted image); 2 usage; 3 refused by verification or \
policy (the error's SL- code says why); 4 a file that was given, or one of the state, is missing or doesn't say what it must.";

/// The reference agent of Sealift: receives signed firmware, verifies it, tries it, and confirms or reverts it.
#[derive(Debug, Parser)]
#[command(name = "sealift-device", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON on standard output: one object, or with `run` one object a line.
    #[arg(long, global = true)]
    json: bool,
    /// What to log to standard error: error, warn, info, debug, trace.
    #[arg(long, global = true, value_name = "LEVEL", env = "SEALIFT_LOG", default_value = "warn")]
    log: String,
    /// How to log: for people, or one JSON object a line, with the id that follows a release from publishing to here.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "SEALIFT_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a device's state directory (in the factory).
    Provision(provision::Arguments),
    /// Make keys and get a certificate (once the device has a network).
    Enrol(enrol::Arguments),
    /// Wait for jobs and do them.
    Run(run::Arguments),
    /// Run the boot stage: check the slots, try a pending image, confirm or revert it.
    Boot(boot::Arguments),
    /// Install an update from a file.
    Install(install::Arguments),
    /// Tell what the device is, what it runs and what it remembers.
    Status(status::Arguments),
}

/// Where the state is.
#[derive(Debug, clap::Args)]
struct StateArgument {
    /// The device's state directory.
    #[arg(long, value_name = "DIR", env = "SEALIFT_DEVICE_STATE")]
    state: PathBuf,
    /// What the device's owner wants: maintenance windows, consent, boot loader. [default: agent.toml in the state directory]
    #[arg(long, value_name = "FILE", env = "SEALIFT_DEVICE_CONFIG")]
    config: Option<PathBuf>,
}

impl StateArgument {
    /// The owner's file: one that is named must be there.
    fn config(&self) -> Result<AgentConfig> {
        match &self.config {
            Some(path) if !path.exists() => {
                Err(Error::Input { path: path.clone(), problem: "there is no such file; --config names one".into() })
            }
            Some(path) => AgentConfig::load(path),
            None => AgentConfig::load(&AgentConfig::path(&self.state)),
        }
    }
}

/// Parses the arguments, does what they say, and tells how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match cli.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).init(),
        // The span's fields beside the event's own: what has a job has its trace.
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).init(),
    }
    let events = Events { json: cli.json };
    let result = match cli.command {
        Command::Provision(arguments) => provision::run(&arguments, events),
        Command::Enrol(arguments) => enrol::run(&arguments, events),
        Command::Run(arguments) => run::run(arguments, events),
        Command::Boot(arguments) => boot::run(arguments, events),
        Command::Install(arguments) => install::run(arguments, events),
        Command::Status(arguments) => status::run(&arguments, events),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell_error(&error, events);
            ExitCode::from(error.exit_code())
        }
    }
}

fn tell_error(error: &Error, events: Events) {
    if events.json {
        let fields = json!({ "code": error.code(), "error": error.to_string(), "permanent": error.is_permanent() });
        events.tell("error", fields, "");
    }
    eprintln!("sealift-device: {error}");
}

/// Runs what needs a network, on this thread alone.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Usage(format!("no runtime can be made: {error}")))?;
    runtime.block_on(work)
}
