//! What the log's acts come to: the ceremony that is under way, if any.

use sealift_manifests::{Digest, sha256};

use super::edit::Edit;
use super::log::{Act, Entry, Log};
use super::response::Response;
use crate::error::{Error, Result};

/// A ceremony under way.
#[derive(Clone, Debug)]
pub struct Open {
    /// Number of the log's entry it began with.
    pub began: u64,
    /// The root it began on; 0 before the first.
    pub root: u64,
    /// The entry of the log before it, which its root and targets name.
    pub follows: Digest,
    /// The staged changes, in order.
    pub edits: Vec<Edit>,
    /// The request, once it is made.
    pub request: Option<String>,
    /// Requests of this ceremony that are void.
    pub void: Vec<Digest>,
    /// The responses to the request.
    pub responses: Vec<Response>,
    /// The thresholds were reached, and the new state is, or was, being written.
    pub applying: bool,
}

/// Plays the log through.
pub(super) fn replay(log: &Log) -> Result<Option<Open>> {
    let mut open = None;
    for entry in &log.entries {
        step(&mut open, entry).map_err(|fault| {
            Error::refused(
                format!("{}: line {}: {fault}", log.path.display(), entry.n),
                "`sealift audit` tells more; restore the log from its last good copy",
            )
        })?;
    }
    Ok(open)
}

/// One act; the fault when it cannot have happened.
pub(super) fn step(open: &mut Option<Open>, entry: &Entry) -> Result<(), String> {
    match (&entry.act, open.as_mut()) {
        (Act::Begin { root, .. }, None) => {
            *open = Some(Open {
                began: entry.n,
                root: *root,
                follows: entry.previous,
                edits: Vec::new(),
                request: None,
                void: Vec::new(),
                responses: Vec::new(),
                applying: false,
            });
        }
        (Act::Begin { .. }, Some(_)) => return Err("a ceremony begins within another".into()),
        (_, None) => return Err("an act of no ceremony".into()),
        (Act::Stage { .. } | Act::Request { .. } | Act::Response { .. }, Some(open)) if open.applying => {
            return Err("a change of a ceremony that is being applied".into());
        }
        (Act::Stage { edit }, Some(open)) => {
            open.edits.push(edit.clone());
            open.void.extend(open.request.take().map(|text| sha256(text.as_bytes())));
            open.responses.clear();
        }
        (Act::Request { request }, Some(open)) => {
            open.void.extend(open.request.replace(request.clone()).map(|text| sha256(text.as_bytes())));
            open.responses.clear();
        }
        (Act::Response { response }, Some(open)) => {
            let response = Response::decode(response, "the log").map_err(|error| error.to_string())?;
            let asked = open.request.as_ref().map(|text| sha256(text.as_bytes()));
            if asked != Some(response.request) {
                return Err("a response to nothing that was asked".into());
            }
            open.responses.push(response);
        }
        (Act::Applying {}, Some(open)) => open.applying = true,
        (Act::Applied { .. }, Some(Open { applying: false, .. })) => {
            return Err("applied before the thresholds were reached".into());
        }
        (Act::Applied { .. } | Act::Cancel { .. }, Some(_)) => *open = None,
    }
    Ok(())
}
