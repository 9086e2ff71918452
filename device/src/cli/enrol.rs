//! `sealift-device enrol`.

use std::io::Read as _;
use std::path::PathBuf;

use sealift_jobs::ThingName;
use zeroize::Zeroizing;

use super::{StateArgument, block_on};
use crate::agent::events::Events;
use crate::claim::{Claim, enrol_by_claim};
use crate::enrol::enrol;
use crate::error::{Error, Result};
use crate::state::{State, files};

const EXAMPLES: &str = "\
Examples:
  sealift-server devices token --state ./server --group canary --product thermostat > token
  sealift-device enrol --state ./device --server https://localhost:8443 --ca server/ca/ca.pem \\
      --thing dev-1 --token-file token
  By a claim that a whole production line shares (AWS IoT's fleet provisioning); the template names the device:
  sealift-server claims create --state ./server --template line-1 --out line-1
  sealift-device enrol --state ./device --server https://localhost:8443 --ca server/ca/ca.pem \\
      --claim line-1/claim.pem line-1/claim.key --template line-1 --parameter SerialNumber=0042

Both private keys (TLS, reports) are made here, are readable by the owner alone, and never leave. An enrolment whose answer was \
lost, or that was cut off, may be repeated: it sends the same keys.";

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
    /// The thing's name. With a claim, the template says it.
    #[arg(long, value_name = "NAME", required_unless_present = "claim", conflicts_with = "claim")]
    thing: Option<String>,
    /// A file with the one-time token of `sealift-server devices token`; `-` reads standard input. Without it the token is
    /// taken from SEALIFT_ENROL_TOKEN. (Not an argument of its own: everybody on a machine can read those.)
    #[arg(long, value_name = "FILE", conflicts_with = "claim")]
    token_file: Option<PathBuf>,
    /// A claim's certificate and its key (mode 0600), PEM: the device gets a certificate of its own with them. They are not kept.
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"], requires = "template")]
    claim: Vec<PathBuf>,
    /// The provisioning template that the claim is for.
    #[arg(long, value_name = "NAME", requires = "claim", value_parser = template)]
    template: Option<String>,
    /// A parameter of the template; may be repeated.
    #[arg(long = "parameter", value_name = "NAME=VALUE", requires = "claim", value_parser = parameter)]
    parameters: Vec<(String, String)>,
}

fn template(text: &str) -> std::result::Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let fine = (1..=36).contains(&text.len()) && text.chars().all(plain);
    if fine { Ok(text.to_owned()) } else { Err("1 to 36 of [0-9A-Za-z_-]".into()) }
}

fn parameter(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// Most bytes of a token.
const TOKEN_MAX: usize = 4096;

pub(super) fn run(arguments: &Arguments, events: Events) -> Result<u8> {
    let enrolled = match (arguments.claim.as_slice(), &arguments.template) {
        ([certificate, key], Some(template)) => {
            let (certificate, key, template) = (certificate.clone(), key.clone(), template.clone());
            let parameters = arguments.parameters.iter().cloned().collect();
            let state = State::open(&arguments.state.state)?;
            let claim = Claim { certificate, key, template, parameters };
            block_on(enrol_by_claim(&state, &arguments.server, &arguments.ca, &claim))?
        }
        _ => {
            let thing = arguments.thing.as_deref().unwrap_or_default();
            let thing: ThingName = thing.parse().map_err(|error| Error::Usage(format!("--thing: {error}")))?;
            let token = token(arguments)?;
            let state = State::open(&arguments.state.state)?;
            block_on(enrol(&state, &arguments.server, token.trim(), &arguments.ca, &thing))?
        }
    };
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
