//! How often what happened: everything that was refused is counted, by kind.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counters since the server started.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)+
        }

        impl Counters {
            /// Every counter with its name.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)+]
            }
        }
    };
}

counters! {
    /// Sessions that connected.
    connected,
    /// Connections that are open now, past CONNECT.
    open,
    /// TLS handshakes that failed: no or a foreign or an expired certificate, a wrong name, noise.
    handshakes_failed,
    /// Connections of an address or a certificate that holds too many already.
    crowded,
    /// Clients that sent no CONNECT in time, or a packet too slowly.
    too_slow,
    /// CONNECTs refused: certificate unknown or revoked, or the policy said no.
    connects_refused,
    /// Packets that break MQTT's rules.
    malformed,
    /// Packets or messages that are too large.
    too_large,
    /// Publishes that the policy forbids.
    publishes_forbidden,
    /// Subscriptions that the policy forbids.
    subscriptions_forbidden,
    /// Messages of a client that sends more than it may.
    throttled,
    /// Messages taken from clients.
    received,
    /// Messages sent to clients.
    sent,
    /// Messages that had no room in a client's queue.
    dropped,
    /// Clients that didn't take what they were sent.
    stalled,
    /// Clients that went silent beyond their keep-alive.
    silent,
    /// Sessions taken over by a newer connection.
    taken_over,
    /// Connections ended because a certificate was revoked or a policy changed.
    revoked,
    /// Jobs requests answered with `rejected`.
    jobs_rejected,
    /// Jobs requests answered with `accepted`.
    jobs_accepted,
    /// Certificates of registered CAs that were registered on first sight.
    certificates_registered,
    /// Things that a provisioning template made.
    things_provisioned,
    /// Provisioning requests answered with `rejected`, and templates that made no thing of a certificate.
    provisioning_rejected,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
