//! The client that TUF's conformance suite drives: its command line, and nothing but exit codes 0 and 1.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sealift_tuf::http::{HttpFetcher, Timeouts};
use sealift_tuf::{Config, DirStore, Error, KeyIds, Locations, Updater};

/// A client of a standard TUF repository, for TUF's conformance suite and for hand use.
///
/// Exit codes: 0 when the command did what it says, 1 when not; the reason is on standard error.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        tuf-conformance-client --metadata-dir trust init root.json\n  \
        tuf-conformance-client --metadata-dir trust --metadata-url https://example.com/metadata refresh\n  \
        tuf-conformance-client --metadata-dir trust --metadata-url https://example.com/metadata \\\n    \
        --target-base-url https://example.com/targets --target-dir out --target-name app.bin download"
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Options {
    /// Directory of the trusted metadata
    #[arg(long, global = true)]
    metadata_dir: Option<PathBuf>,
    /// URL of the repository's metadata
    #[arg(long, global = true)]
    metadata_url: Option<String>,
    /// Path of a target; may be given more than once, and is then taken in order
    #[arg(long, global = true)]
    target_name: Vec<String>,
    /// URL of the repository's targets
    #[arg(long, global = true)]
    target_base_url: Option<String>,
    /// Directory for downloaded targets
    #[arg(long, global = true)]
    target_dir: Option<PathBuf>,
    /// Take key ids as opaque names (TAP 12), and not as hashes that must be right
    #[arg(long, global = true)]
    opaque_key_ids: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start trusting a root file; makes no request
    Init {
        /// The root file, from a trusted place
        root: PathBuf,
    },
    /// Bring the top-level metadata up to date
    Refresh,
    /// Refresh, then download targets
    Download,
}

/// What ended a command.
#[derive(Debug)]
enum Failure {
    Client(Error),
    Usage(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Client(error)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("tuf-conformance-client: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Client(error)) => {
            eprintln!("tuf-conformance-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let options = &cli.options;
    let dir = wanted(options.metadata_dir.as_deref(), "--metadata-dir")?;
    let key_ids = if options.opaque_key_ids { KeyIds::Opaque } else { KeyIds::Recomputed };
    let config = Config { key_ids, ..Config::default() };
    match &cli.command {
        Command::Init { root } => {
            let bytes = std::fs::read(root).map_err(|error| Failure::Usage(format!("{}: {error}", root.display())))?;
            let store = DirStore::open(dir).map_err(|error| Failure::Usage(format!("{}: {error}", dir.display())));
            Updater::<HttpFetcher, DirStore>::initialise(&mut store?, &bytes, &config)?;
        }
        Command::Refresh => updater(options, dir, config)?.refresh()?,
        Command::Download => {
            let target_dir: &Path = wanted(options.target_dir.as_deref(), "--target-dir")?;
            wanted(options.target_base_url.as_deref(), "--target-base-url")?;
            let mut updater = updater(options, dir, config)?;
            updater.refresh()?;
            if options.target_name.is_empty() {
                return Err(Failure::Usage("--target-name is wanted, at least once".to_owned()));
            }
            for name in &options.target_name {
                let file = updater.download(name, target_dir)?;
                println!("{}", file.display());
            }
        }
    }
    Ok(())
}

fn updater(options: &Options, dir: &Path, config: Config) -> Result<Updater<HttpFetcher, DirStore>, Failure> {
    let url = wanted(options.metadata_url.as_deref(), "--metadata-url")?;
    let mut locations = Locations::metadata(url);
    if let Some(base) = &options.target_base_url {
        locations = locations.with_targets(base);
    }
    let fetcher = HttpFetcher::new(Timeouts::default());
    let fetcher = fetcher.map_err(|error| Failure::Usage(format!("no HTTP client: {error}")))?;
    Ok(Updater::in_dir(dir, fetcher, locations, config)?)
}

fn wanted<'o, T: ?Sized>(option: Option<&'o T>, name: &str) -> Result<&'o T, Failure> {
    option.ok_or_else(|| Failure::Usage(format!("{name} is wanted for this command")))
}
