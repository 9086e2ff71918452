//! How much of the server one client may hold: connections are counted by address until a client has shown a certificate, and by
//! certificate from then on, so that neither a stranger nor one device of many can take every place.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of all places, the part that strangers of one address may hold: a quarter. Whole fleets come from one address, but they are
/// strangers for as long as a handshake takes.
const STRANGERS: usize = 4;
/// Of all places, the part that one certificate may hold: a sixteenth. A thing needs two or three; a claim is many devices'.
const CERTIFICATE: usize = 16;
/// So many may always be held.
const LEAST: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    /// SHA-256 of the certificate's DER, hex.
    Certificate(Arc<str>),
}

/// The connections that are open, by who has them.
#[derive(Debug)]
pub(super) struct Crowd {
    counts: Mutex<HashMap<Who, usize>>,
    connections: usize,
}

/// A place, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    who: Who,
}

impl Crowd {
    /// A crowd of at most `connections` in all, which somebody else sees to.
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), connections })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Who, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, who: Who, part: usize) -> Option<Place> {
        let most = (self.connections / part).max(LEAST);
        let mut counts = self.counts();
        let count = counts.entry(who.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place { crowd: self.clone(), who })
    }

    /// A place for somebody who hasn't shown a certificate; `None` when his address holds enough.
    pub(super) fn stranger(self: &Arc<Self>, address: SocketAddr) -> Option<Place> {
        self.enter(Who::Address(address.ip()), STRANGERS)
    }

    /// A place for a certificate; `None` when it holds enough.
    pub(super) fn certificate(self: &Arc<Self>, fingerprint: &str) -> Option<Place> {
        self.enter(Who::Certificate(fingerprint.into()), CERTIFICATE)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
                // A crowd that went home needs no room.
                if counts.is_empty() {
                    counts.shrink_to_fit();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_holds_a_quarter_one_certificate_a_sixteenth_and_places_come_back() {
        let crowd = Crowd::new(320);
        let address: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let held: Vec<Place> = (0..80).filter_map(|_| crowd.stranger(address)).collect();
        assert_eq!(held.len(), 80);
        assert!(crowd.stranger(address).is_none(), "whatever port it comes from");
        assert!(crowd.stranger("192.0.2.2:1".parse().unwrap()).is_some());
        let shown: Vec<Place> = (0..20).filter_map(|_| crowd.certificate("ab")).collect();
        assert!(shown.len() == 20 && crowd.certificate("ab").is_none() && crowd.certificate("cd").is_some());
        drop((held, shown));
        assert!(crowd.counts().is_empty(), "nothing is left of those who went");
        assert_eq!((0..9).filter_map(|_| Crowd::new(1).certificate("ab")).count(), 9, "each its own crowd");
    }
}
