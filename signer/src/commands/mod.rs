//! The command line, one subcommand a file.

mod audit;
mod bundle;
mod completions;
mod delta;
mod doctor;
mod drill;
mod init;
mod inspect;
mod keys;
mod release;
mod renew;
mod root;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::clock;
use crate::error::{Error, Result};
use crate::keys::secret;
use crate::output::Report;
use crate::project::{FILE_NAME, Project};

const EXAMPLES: &str = "\
Examples:
  Try it out, with throw-away keys:
    sealift init --quick-start --product thermostat
    sealift release create --product thermostat --version 1.0.0 --security-counter 1 --image firmware.elf
  What is there:
    sealift release list
    sealift verify repository --root root.cbor
    sealift inspect repository/metadata/timestamp
    sealift keys show file:keys/root-1.pem

Exit codes: 0 done; 1 failed (I/O, key source: try again); 2 usage; 3 refused by policy or verification;
4 an input file (project, key, image, release, bundle) is bad.";

/// Signs firmware releases for devices that trust nothing else.
#[derive(Debug, Parser)]
#[command(name = "sealift", version, after_help = EXAMPLES, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The project file
    #[arg(long, global = true, value_name = "FILE", default_value = FILE_NAME, env = "SEALIFT_PROJECT")]
    project: PathBuf,
    /// Print one JSON object on standard output, and errors as one on standard error
    #[arg(long, global = true)]
    json: bool,
    /// Accept the EXAMPLE-INSECURE keys that everybody has; to try things out, and never for a device in the field
    #[arg(long, global = true)]
    development: bool,
    /// Read passphrases and PINs from this open descriptor, one a line, instead of asking on the terminal
    #[arg(long, global = true, value_name = "N", env = "SEALIFT_PASSPHRASE_FD")]
    passphrase_fd: Option<u32>,
    /// Sign even if this machine's clock is far from the time that the repository states
    #[arg(long, global = true)]
    trust_clock: bool,
}

impl Global {
    /// Reads the project, and says so when its keys are no keys.
    fn load(&self) -> Result<Project> {
        let project = Project::load(&self.project, self.development)?;
        self.warn(&project);
        Ok(project)
    }

    fn warn(&self, project: &Project) {
        if project.development {
            eprintln!(
                "warning: {} is a quick start for development: all of its keys lie in one folder, so whoever reads that \
                 folder can sign anything",
                project.file.display()
            );
        }
        if self.development {
            eprintln!("warning: --development accepts keys that everybody has");
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys and look at them
    #[command(subcommand)]
    Keys(keys::Command),
    /// Start a project: its file, the first root, and the repository directory
    Init(init::Options),
    /// Sign, list and withdraw releases
    #[command(subcommand)]
    Release(release::Command),
    /// Sign the timestamp anew (and the snapshot when asked), with online keys alone
    Renew(renew::Options),
    /// Export the root that devices trust, and hold the ceremony that signs its successor
    #[command(subcommand)]
    Root(root::Command),
    /// Look for what will hurt: expiries, thresholds, keys and files that are not as they should be
    Doctor(doctor::Options),
    /// Check the log of the ceremonies
    Audit(audit::Options),
    /// Rehearse what should never happen, on a copy of the project
    #[command(subcommand)]
    Drill(drill::Command),
    /// Export update bundles and install files
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Make, apply and look at deltas
    #[command(subcommand)]
    Delta(delta::Command),
    /// Check a repository, a bundle, an install file or a role file against a trusted root
    Verify(verify::Options),
    /// Show what a file says, without believing it
    Inspect(inspect::Options),
    /// Write a completion script for a shell
    Completions(completions::Options),
}

/// [`Cli`] with `delta` alone.
#[derive(Debug, Parser)]
#[command(name = "sealift")]
struct DeltaCli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: DeltaOnly,
}

#[derive(Debug, Subcommand)]
enum DeltaOnly {
    #[command(subcommand)]
    Delta(delta::Command),
}

/// Reads the command line. Every command's options as clap describes them take half a millisecond to put together, which is as much
/// as a small delta takes to apply: for `sealift delta`, those of `delta` are tried first. Whatever they are no answer to (`--help`,
/// a mistake) is left to the whole.
fn command_line() -> Cli {
    if std::env::args_os().nth(1).is_some_and(|first| first == "delta")
        && let Ok(DeltaCli { global, command: DeltaOnly::Delta(command) }) = DeltaCli::try_parse()
    {
        return Cli { global, command: Command::Delta(command) };
    }
    Cli::parse()
}

/// Runs the command line and returns the exit code.
pub fn main() -> ExitCode {
    forbid_core_files();
    let cli = command_line();
    let json = cli.global.json;
    if let Some(descriptor) = cli.global.passphrase_fd {
        secret::read_from(descriptor);
    }
    if cli.global.trust_clock {
        clock::trust();
    }
    let outcome = run(cli);
    secret::forget();
    match outcome.and_then(|report| print(&report, json).map(|()| report.exit_code())) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A crash must not leave keys on a disk. Where the limit can't be set, a program that never crashes is as good as before.
fn forbid_core_files() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn run(cli: Cli) -> Result<Report> {
    let global = &cli.global;
    match cli.command {
        Command::Keys(command) => keys::run(global, command),
        Command::Init(options) => init::run(global, options),
        Command::Release(command) => release::run(global, command),
        Command::Renew(options) => renew::run(global, options),
        Command::Root(command) => root::run(global, command),
        Command::Doctor(options) => doctor::run(global, &options),
        Command::Audit(options) => audit::run(global, &options),
        Command::Drill(command) => drill::run(global, command),
        Command::Bundle(command) => bundle::run(global, command),
        Command::Delta(command) => delta::run(global, command),
        Command::Verify(options) => verify::run(global, options),
        Command::Inspect(options) => inspect::run(global, options),
        Command::Completions(options) => completions::run::<Cli>(options),
    }
}

fn print(report: &Report, json: bool) -> Result<()> {
    match report.print(json) {
        // Whoever reads our output may stop early: `sealift release list | head -1`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(Error::io("write to", "standard output")),
    }
}

fn complain(error: &Error, json: bool) {
    if json {
        let code = error.code().map(|code| format!("SL-{code:03}"));
        let facts = json!({"error": {
            "class": error.class(), "code": code, "message": error.to_string(), "remedy": error.remedy(),
        }});
        eprintln!("{facts:#}");
    } else {
        eprintln!("error: {error}");
        if let Some(remedy) = error.remedy() {
            eprintln!("  help: {remedy}");
        }
    }
}
