//! `sealift root …`: the root that devices trust, and the ceremony that makes the next one.

mod ceremony;
mod export;
mod sign;
mod stage;

use clap::Subcommand;

use super::Global;
use crate::error::Result;
use crate::output::Report;

const EXAMPLES: &str = "\
A ceremony changes keys, thresholds, expiries, ceilings and delegations. Three people, three machines:

  release engineer   sealift root stage replace-key --old bob --new bob-2 --uri offline:bob-2 --public a30101...
                     sealift root show --diff
                     sealift root request --out request.json              -> to the officers, on a USB stick
  each officer       sealift root sign --request request.json --key file:/media/token/alice.pem --out alice.txt
                     (reads what would be signed, not what the request says of it; --qr prints the response)
  release engineer   sealift root import alice.txt bob.txt
                     sealift root apply                                   (when the old and the new threshold are reached)

With all keys on one machine, edit sealift.toml and run `sealift root apply`: it does all this in one go.
`sealift audit` checks the log of every act. signer/CEREMONY.md has the whole story.";

/// Subcommands of `root`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Write a signed root, for factory images and as the trusted root of `sealift verify`
    Export(export::Options),
    /// Begin a ceremony: for the next root, or for the first one of a project whose keys are elsewhere
    Init,
    /// Stage a change: keys, thresholds, expiries, ceilings, delegations
    #[command(subcommand)]
    Stage(Box<stage::Change>),
    /// Show the ceremony under way: what is staged, who has signed, what is missing
    Show(ceremony::Show),
    /// Fix what is to be signed, and write the sign-request for the officers
    Request(ceremony::Request),
    /// Sign a request with an officer's key, on any machine, or the request under way with the keys that are here
    Sign(sign::Options),
    /// Take the officers' responses
    Import(ceremony::Import),
    /// Write the new state, once the thresholds of the old and the new root are reached; with all keys here, do everything
    Apply(ceremony::Apply),
    /// Call the ceremony under way off
    Cancel(ceremony::Cancel),
}

/// Runs one of them.
pub(super) fn run(global: &Global, command: Command) -> Result<Report> {
    match command {
        Command::Export(options) => export::run(global, options),
        Command::Init => ceremony::init(global),
        Command::Stage(change) => stage::run(global, *change),
        Command::Show(options) => ceremony::show(global, &options),
        Command::Request(options) => ceremony::request(global, options),
        Command::Sign(options) => sign::run(global, options),
        Command::Import(options) => ceremony::import(global, &options),
        Command::Apply(options) => ceremony::apply(global, &options),
        Command::Cancel(options) => ceremony::cancel(global, options),
    }
}
