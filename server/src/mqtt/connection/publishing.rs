//! PUBLISH: what a client may say, how fast, and who gets it.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Exit};
use crate::mqtt::counters::count;
use crate::mqtt::jobs::{self, Asked};
use crate::mqtt::limits::TOPIC_ALIASES;
use crate::mqtt::message::{Message, Qos};
use crate::mqtt::policy::Action;
use crate::mqtt::rate::Verdict;
use crate::mqtt::topics::{self, Reserved};
use crate::mqtt::wire::{Publish, Version, reason};
use crate::mqtt::{encode, provisioning};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    pub(super) async fn publish(&mut self, publish: Publish) -> Result<(), Exit> {
        let Publish { topic, alias, id, qos, retain, payload, properties, life } = publish;
        let topic = self.named(topic, alias)?;
        if !topics::is_name(&topic) {
            count(&self.broker.counters.malformed);
            return Err(Exit::new(reason::TOPIC_INVALID, "a topic that can't be published to"));
        }
        if !self.session.may(Action::Publish, &topic) || (retain && !self.session.may(Action::RetainPublish, &topic)) {
            count(&self.broker.counters.publishes_forbidden);
            self.broker.stranger(&self.session.owner);
            tracing::warn!(thing = %self.session.owner, topic, "a publish that the policy forbids");
            return Err(Exit::new(reason::NOT_AUTHORIZED, "the policy forbids this publish"));
        }
        if retain {
            return Err(Exit::new(reason::RETAIN_NOT_SUPPORTED, "retained messages aren't supported"));
        }
        let reserved = topics::reserved(&topic);
        if reserved == Some(Reserved::Other) {
            count(&self.broker.counters.malformed);
            return Err(Exit::new(reason::TOPIC_INVALID, "a reserved topic that clients don't publish to"));
        }
        let asked = Asked { topic: &topic, payload: &payload, qos, origin: &self.client.origin };
        let mut code = reason::SUCCESS;
        match self.rate.take() {
            Verdict::Fine => {
                count(&self.broker.counters.received);
                match reserved {
                    Some(Reserved::Jobs(thing, operation)) => {
                        jobs::serve(self.broker, self.session, &asked, Some((thing, operation))).await;
                    }
                    Some(Reserved::Provisioning(operation)) => {
                        provisioning::serve(self.broker, self.session, &asked, &operation).await;
                    }
                    Some(_) => jobs::serve(self.broker, self.session, &asked, None).await,
                    None => {
                        let expires = life.map(|life| Instant::now() + life);
                        let topic = topic.as_str().into();
                        self.broker.publish(&Message { topic, payload, qos, properties: properties.into(), expires });
                    }
                }
            }
            Verdict::TooFast => {
                count(&self.broker.counters.throttled);
                match reserved {
                    Some(Reserved::Provisioning(_)) => provisioning::throttle(self.broker, self.session, &asked),
                    Some(_) => jobs::throttle(self.broker, self.session, &asked),
                    // As AWS does: discarded, and not acknowledged; MQTT 5 can say why.
                    None if self.version == Version::V3 => return Ok(()),
                    None => code = reason::QUOTA_EXCEEDED,
                }
            }
            Verdict::Flood => {
                count(&self.broker.counters.throttled);
                tracing::warn!(thing = %self.session.owner, "a client floods the server");
                return Err(Exit::new(reason::RATE_TOO_HIGH, "far more messages than allowed"));
            }
        }
        if qos == Qos::One
            && let Some(id) = id
        {
            encode::puback(&mut self.out, self.version, id, code);
        }
        Ok(())
    }

    /// The topic, which an alias may stand for (MQTT 5, section 3.3.2.3.4).
    fn named(&mut self, topic: String, alias: Option<u16>) -> Result<String, Exit> {
        let Some(alias) = alias else { return Ok(topic) };
        if alias == 0 || alias > TOPIC_ALIASES {
            return Err(Exit::new(reason::ALIAS_INVALID, "a topic alias out of bounds"));
        }
        let known = self.aliases.iter().position(|(number, _)| *number == alias);
        match (known, topic.is_empty()) {
            (Some(at), true) => Ok(self.aliases[at].1.clone()),
            (None, true) => Err(Exit::new(reason::PROTOCOL_ERROR, "a topic alias that stands for nothing")),
            (known, false) => {
                if !topics::is_name(&topic) {
                    return Err(Exit::new(reason::TOPIC_INVALID, "a topic that can't be published to"));
                }
                if let Some(at) = known {
                    self.aliases.swap_remove(at);
                }
                self.aliases.push((alias, topic.clone()));
                Ok(topic)
            }
        }
    }
}
