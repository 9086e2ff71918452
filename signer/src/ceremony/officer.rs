//! On an officer's machine: a request is checked, and what it asks for is signed.

use std::collections::BTreeMap;

use sealift_verifier::ed25519;

use super::request::Examined;
use super::response::{Response, Signed};
use crate::clock;
use crate::error::{Error, Result};
use crate::keys::KeySource;

const DAY: u64 = 86_400;
/// A request is good for so long: who signs it later signs something that was overtaken, or that somebody kept.
const GOOD_FOR: u64 = 30 * DAY;
/// Clocks of machines that are never online drift.
const SLACK: u64 = DAY;

/// Holds a request to this machine's clock.
pub fn check_clock(examined: &Examined, now: u64) -> Result<()> {
    let created = examined.request.created;
    let here = clock::date(now);
    if now + SLACK < created {
        return Err(Error::refused(
            format!(
                "the request was made at {}, and this machine's clock says {here}: one of them is wrong",
                clock::date(created)
            ),
            "set this machine's clock; if it is right, ask who sent the request. --any-clock signs all the same",
        ));
    }
    if now > created.saturating_add(GOOD_FOR) {
        return Err(Error::refused(
            format!(
                "the request is stale: it was made at {}, and this machine's clock says {here}",
                clock::date(created)
            ),
            "ask for a new one (`sealift root request --anew`); if the clock is wrong, set it. --any-clock signs all the same",
        ));
    }
    Ok(())
}

/// Signs every item that `key` may sign.
pub fn sign(examined: &Examined, key: &dyn KeySource) -> Result<Response> {
    let public = key.public_key();
    let mut signatures = BTreeMap::new();
    for (index, item) in examined.items.iter().enumerate() {
        if !item.needs.iter().any(|need| need.keys.contains(&public)) {
            continue;
        }
        let make = |message: &[u8]| {
            if let Some(most) = key.longest_message().filter(|most| message.len() > *most) {
                return Err(Error::refused(
                    format!(
                        "{}: the key {} signs at most {most} bytes, and these are {}",
                        item.role,
                        public.id(),
                        message.len()
                    ),
                    "list fewer keys or releases in this file",
                ));
            }
            let signature = key.sign(message)?;
            // A token with a fault must not be noticed by the devices first.
            if ed25519::verify(&public.0, &[message], &signature) {
                Ok(signature)
            } else {
                Err(Error::failed(
                    format!("{}: the key {} made a signature that does not verify", item.role, public.id()),
                    "try again; if it stays so, the key or its token is broken",
                ))
            }
        };
        let host = item.host_message.as_deref().map(make).transpose()?;
        signatures.insert(index, Signed { device: make(&item.device_message)?, host });
    }
    if signatures.is_empty() {
        let wanted: Vec<String> = examined
            .items
            .iter()
            .flat_map(|item| &item.needs)
            .map(|need| {
                let ids: Vec<String> = need.keys.iter().map(|key| key.id().to_string()[..16].to_owned()).collect();
                format!("{} ({}…)", need.by, ids.join("…, "))
            })
            .collect();
        return Err(Error::refused(
            format!(
                "the key {} signs nothing of this request: it is a key for another role, or of another repository",
                public.id()
            ),
            format!("use one of the keys of {}", wanted.join("; ")),
        ));
    }
    Ok(Response { request: examined.digest, key: public, signatures })
}
