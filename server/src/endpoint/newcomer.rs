//! A connection whose certificate a registered CA signed: let in, registered just in time, or ended.

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use sealift_jobs::ThingName;

use crate::engine::Engine;
use crate::mqtt::{Broker, count};
use crate::pki::inspect;
use crate::provisioning::{Arrival, Arrived, Request, Response};

/// True when the connection may go on. What was registered just now has to come again, as at AWS IoT.
pub(super) async fn may_go_on(
    broker: &Broker,
    engine: &Engine,
    chain: &[CertificateDer<'_>],
    ca: String,
    (address, named_server): (SocketAddr, bool),
) -> bool {
    let Some(certificate) = chain.first().and_then(|der| inspect(der).ok()) else { return false };
    let (id, registered_by) = (certificate.id.clone(), ca.clone());
    let arrival = Arrival { certificate, ca, named_server };
    let arrived = match engine.provisioning(Request::Arrive(Box::new(arrival))).await {
        Some(Ok(Response::Arrived(arrived))) => arrived,
        Some(Err(error)) => {
            tracing::error!(%error, "a certificate of a registered CA couldn't be looked up");
            return false;
        }
        Some(Ok(_)) | None => return false,
    };
    let stranger = || engine.watch().wrong_identity(None::<&ThingName>, broker.now());
    match arrived {
        Arrived::Known => return true,
        Arrived::Registered { thing, problem } => {
            count(&broker.counters.certificates_registered);
            tracing::info!(%address, certificate = id, ca = registered_by, "a certificate was registered just in time");
            broker.certificate_registered(&id, &registered_by);
            match (thing, problem) {
                (Some(thing), _) => provisioned(broker, &thing, &id),
                (None, Some(problem)) => {
                    count(&broker.counters.provisioning_rejected);
                    tracing::warn!(%address, certificate = id, problem, "the template made no thing of a certificate");
                }
                (None, None) => {}
            }
        }
        Arrived::Provisioned(thing) => provisioned(broker, &thing, &id),
        Arrived::Pending => {
            count(&broker.counters.connects_refused);
            tracing::info!(%address, certificate = id, "a certificate that is PENDING_ACTIVATION");
        }
        Arrived::Refused(why) => {
            count(&broker.counters.connects_refused);
            stranger();
            tracing::warn!(%address, certificate = id, why, "a certificate of a registered CA isn't let in");
        }
    }
    false
}

fn provisioned(broker: &Broker, thing: &ThingName, certificate: &str) {
    count(&broker.counters.things_provisioned);
    tracing::info!(%thing, certificate, "provisioned just in time: the next connection is served");
}
