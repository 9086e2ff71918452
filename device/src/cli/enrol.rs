//! `sealift-device enrol`.

use std::io::Read as _;
use std::path::PathBuf;

use sealift_jobs::ThingName;
use zeroize::Zeroizing;

use super::{StateArgument, block_on};
use crate::agent::events::Events;
use crate::enrol::enrol;
use crate::error::{Error, Result};
use crate::state::{State, files};

const EXAMPLES: &str = "\
Examples:
  sealift-server devices token --state ./server --group canary --product thermostat > token
  sealift-device enrol --state ./device --server https://localhost:8443 --ca server/ca/ca.pem \\
      --thing dev-1 --token-file token

Both private keys (TLS, reports) are made here, are readable by the owner alone, and never leave. An enrolment whose answer was \
lost may be repeated: it sends the same keys.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    /// Origin of the server, like https://updates.example.com:8443.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The CAs to trust, in PEM: the server's own, and those of the places that payloads come from.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The thing's name.
    #[arg(long, value_name = "NAME")]
    thing: String,
    /// A file with the one-time token of `sealift-server devices token`; `-` reads standard input. Without it the token is
    /// taken from SEALIFT_ENROL_TOKEN. (Not an argument of its own: everybody on a machine can read those.)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Most bytes of a token.
const TOKEN_MAX: usize = 4096;

pub(super) fn run(arguments: &Arguments, events: Events) -> Result<u8> {
    let thing: ThingName = arguments.thing.parse().map_err(|error| Error::Usage(format!("--thing: {error}")))?;
    let token = token(arguments)?;
    let state = State::open(&arguments.state.state)?;
    let enrolled = block_on(enrol(&state, &arguments.server, token.trim(), &arguments.ca, &thing))?;
    let sentence = format!("{} is enrolled at {}; next: sealift-device run", enrolled.thing, enrolled.server);
    events.tell_as("enrolled", &enrolled, &sentence);
    Ok(0)
}

fn token(arguments: &Arguments) -> Result<Zeroizing<String>> {
    let bytes = match &arguments.token_file {
        Some(path) if path.as_os_str() == "-" => {
            let mut bytes = Zeroizing::new(Vec::new());
            let read = std::io::stdin().take(TOKEN_MAX as u64).read_to_end(&mut bytes);
            read.map_err(Error::file("read", path))?;
            bytes
        }
        Some(path) => Zeroizing::new(files::read(path, TOKEN_MAX)?),
        None => match std::env::var("SEALIFT_ENROL_TOKEN") {
            Ok(token) => return Ok(Zeroizing::new(token)),
            Err(_) => return Err(Error::Usage("no token: name --token-file, or set SEALIFT_ENROL_TOKEN".into())),
        },
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.trim().is_empty() => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(Error::Usage("the token is empty or no text".into())),
    }
}
