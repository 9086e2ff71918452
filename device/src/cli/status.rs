//! `sealift-device status`.

use std::fmt::Write as _;

use sealift_manifests::{Envelope, Root};
use sealift_verifier::boot::Trial;
use sealift_verifier::image::Slot;
use sealift_verifier::session::TrustState;
use sealift_verifier::session::slot_record::SLOT_RECORD_MAX;
use serde_json::{Value, json};

use super::StateArgument;
use crate::agent::boot::OutcomeView;
use crate::agent::events::Events;
use crate::error::{Error, Result};
use crate::state::State;
use crate::state::config::Connection;
use crate::state::keys::ReportKey;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
}

/// Reads alone: it works beside a running agent. Slots are not hashed; `boot` does that.
pub(super) fn run(arguments: &Arguments, events: Events) -> Result<u8> {
    let state = State::look(&arguments.state.state)?;
    let identity = state.config.identity();
    let mut control = state.control();
    let recorded = control.state().map_err(Error::refused("the boot record"))?;
    let counter = control.security_counter().map_err(Error::refused("the security counter"))?;
    let mut slots = serde_json::Map::new();
    let mut lines = String::new();
    for slot in Slot::ALL {
        let mut scratch = vec![0; SLOT_RECORD_MAX];
        let role = match (slot == recorded.active, recorded.trial) {
            (true, _) => "active",
            (false, Trial::Pending(_)) => "pending",
            (false, Trial::Running(_)) => "on trial",
            (false, Trial::None) => "spare",
        };
        let (value, line) = match control.recorded(slot, &identity, &mut scratch) {
            Ok(target) => (
                json!({
                    "role": role, "version": target.version.to_string(), "target": target.digest.to_string(),
                    "image": target.image.digest.to_string(), "length": target.image.length,
                    "securityCounter": target.security_counter,
                }),
                format!(
                    "version {}, {} bytes, counter {}",
                    target.version, target.image.length, target.security_counter
                ),
            ),
            Err(_) => (json!({ "role": role }), "nothing that may run".into()),
        };
        let _ = writeln!(lines, "slot {slot} ({role}): {line}");
        slots.insert(slot.name().into(), value);
    }
    let root = state.root()?;
    let root_version = Envelope::decode(&root).ok().and_then(|envelope| Root::decode(envelope.payload).ok());
    let root_version = root_version.map(|root| root.header.version);
    let connection = Connection::load(&state.connection_path())?;
    let job = state.journal().load()?;
    let report_key = state.key_path("report.key");
    let report_key = match report_key.exists() {
        true => Some(hex::encode(ReportKey::load(&report_key)?.public().0)),
        false => None,
    };
    let fields = json!({
        "repository": identity.repository.to_string(), "product": identity.product, "component": identity.component,
        "hardware": identity.hardware, "securityCounter": counter, "boots": recorded.boots,
        "active": recorded.active.name(), "slots": slots, "outcome": OutcomeView::from(recorded.outcome),
        "root": root_version, "floors": floors(&state.trust()?), "thing": connection.as_ref().map(|c| c.thing.as_str()),
        "server": connection.as_ref().map(|c| c.server.as_str()), "job": job, "reportKey": report_key,
    });
    let head = format!(
        "{} {} on {}, repository {}\nsecurity counter {counter}, root version {}, {}\n",
        identity.product,
        identity.component,
        identity.hardware,
        identity.repository,
        root_version.unwrap_or(0),
        connection.map_or("not enrolled".into(), |c| format!("enrolled as {} at {}", c.thing, c.server)),
    );
    if let Some(key) = &report_key {
        let _ = writeln!(lines, "reports are signed with {key} (public)");
    }
    events.tell("status", fields, format!("{head}{lines}").trim_end());
    Ok(0)
}

fn floors(trust: &TrustState) -> Value {
    json!({
        "timestamp": trust.timestamp.as_ref().map(|known| known.floor.version),
        "issued": trust.timestamp.as_ref().map(|known| known.issued),
        "snapshot": trust.snapshot.as_ref().map(|known| known.floor.version),
        "targets": trust.targets.as_ref().map(|floor| floor.version),
    })
}
