//! SUBSCRIBE and UNSUBSCRIBE: each filter gets its own verdict.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Exit};
use crate::mqtt::counters::count;
use crate::mqtt::encode;
use crate::mqtt::limits::FILTERS_PER_REQUEST;
use crate::mqtt::message::Qos;
use crate::mqtt::policy::Action;
use crate::mqtt::topics;
use crate::mqtt::wire::reason;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    pub(super) fn subscribe(&mut self, id: u16, filters: &[(String, Qos)]) -> Result<(), Exit> {
        if filters.is_empty() || filters.len() > FILTERS_PER_REQUEST {
            return Err(Exit::new(reason::PROTOCOL_ERROR, "SUBSCRIBE has 1 to 8 filters"));
        }
        let mut codes = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            codes.push(if topics::is_shared(filter) {
                reason::SHARED_NOT_SUPPORTED
            } else if !topics::is_filter(filter) {
                count(&self.broker.counters.malformed);
                reason::FILTER_INVALID
            } else if !self.session.may(Action::Subscribe, filter) {
                count(&self.broker.counters.subscriptions_forbidden);
                self.broker.stranger(&self.session.owner);
                tracing::warn!(thing = %self.session.owner, filter, "a subscription that the policy forbids");
                reason::NOT_AUTHORIZED
            } else if !self.broker.subscribe(self.session, filter, *qos) {
                reason::QUOTA_EXCEEDED
            } else {
                qos.code()
            });
        }
        encode::suback(&mut self.out, self.version, id, &codes);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, id: u16, filters: &[String]) -> Result<(), Exit> {
        if filters.is_empty() || filters.len() > FILTERS_PER_REQUEST {
            return Err(Exit::new(reason::PROTOCOL_ERROR, "UNSUBSCRIBE has 1 to 8 filters"));
        }
        let codes: Vec<u8> =
            filters
                .iter()
                .map(|filter| {
                    if self.broker.unsubscribe(self.session, filter) {
                        reason::SUCCESS
                    } else {
                        reason::NO_SUBSCRIPTION
                    }
                })
                .collect();
        encode::unsuback(&mut self.out, self.version, id, &codes);
        Ok(())
    }
}
