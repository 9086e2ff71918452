//! The registry: which devices there are, what they may call themselves, and who may join.
//!
//! Like [`crate::jobs`], pure over a [`Ledger`]: certificates are issued by the caller, and only recorded here, in the
//! same transaction that uses up the token.

mod access;
mod enrolment;

use std::collections::BTreeSet;

use sealift_jobs::limits::GROUPS_PER_THING_MAX;
use sealift_jobs::{GroupName, ThingName};
use serde::{Deserialize, Serialize};

use crate::ledger::{Certificate, EnrolmentToken, Group, Ledger, LedgerError, NextCertificate, StoredPolicy, Thing};
use crate::mqtt::policy::{ATTACHED_MAX, Policy, PolicyError};
use access::{attached_to, check_policy_name, identify};
use enrolment::{check_token, enrol};

/// What is asked of the registry.
#[derive(Clone, Debug)]
pub enum Request {
    /// Keep a token. Its groups come into being with it.
    IssueToken(EnrolmentToken),
    /// Look at what a token would allow, before a certificate is issued for it.
    CheckToken(Enrolment),
    /// Use up a token and record the thing with its certificate.
    Enrol(Box<Enrolment>, Issued),
    /// One thing.
    Thing(ThingName),
    /// Things by name.
    Things {
        /// Start after this name.
        after: Option<String>,
        /// At most this many.
        limit: usize,
        /// Only members of this group.
        group: Option<GroupName>,
    },
    /// Every group with its number of things.
    Groups,
    /// Make a group; one that exists stays as it is.
    CreateGroup(GroupName),
    /// Revoke a thing's certificate, at once.
    Revoke(ThingName),
    /// Keep a certificate that was issued for a thing's new key, until it is first used.
    Rotate {
        /// The thing.
        thing: ThingName,
        /// The certificate.
        issued: Issued,
        /// SHA-256 of its public key, hex.
        key_fingerprint: String,
    },
    /// A thing came with its next certificate: from now on that is the one, and the one before is dropped.
    Present {
        /// The thing.
        thing: ThingName,
        /// SHA-256 of the certificate's DER, hex.
        fingerprint: String,
    },
    /// Whose a certificate is, and the documents of its policies.
    Access {
        /// SHA-256 of the certificate's DER, hex.
        fingerprint: String,
        /// The thing that its common name names.
        named: Option<ThingName>,
    },
    /// Write a policy; the document has to be one that can be evaluated.
    PutPolicy {
        /// Its name: `[a-zA-Z0-9_+=,.@-]{1,128}`, as in AWS.
        name: String,
        /// The JSON document.
        document: String,
    },
    /// Every policy.
    Policies,
    /// Remove a policy that nothing has attached.
    RemovePolicy(String),
    /// Attach a policy to a thing's certificate, or detach it.
    AttachPolicy {
        /// The policy.
        name: String,
        /// The thing.
        thing: ThingName,
        /// False detaches.
        attach: bool,
    },
}

impl Request {
    /// Whose access an accepted request changes: one thing's, everybody's (`Some(None)`), or nobody's.
    #[must_use]
    pub fn changes_access(&self) -> Option<Option<ThingName>> {
        match self {
            Self::Revoke(thing) | Self::AttachPolicy { thing, .. } | Self::Present { thing, .. } => {
                Some(Some(thing.clone()))
            }
            Self::Enrol(enrolment, _) => Some(Some(enrolment.thing.clone())),
            Self::PutPolicy { .. } => Some(None),
            _ => None,
        }
    }
}

/// A device's wish to enrol, its proofs of possession already checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// SHA-256 of the token's secret, hex.
    pub token: String,
    /// The name its certificate request carries.
    pub thing: ThingName,
    /// Ed25519 public key of its reports, hex.
    pub report_key: String,
    /// SHA-256 of the public key in the certificate request, hex.
    pub key_fingerprint: String,
}

/// The certificate made for an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// SHA-256 of its DER, hex.
    pub fingerprint: String,
}

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A thing's; whether it still speaks for it is another question ([`crate::engine::Engine::speaks_for`]).
    Thing(Box<Thing>),
    /// Nobody's, and active: a claim.
    Certificate(Box<Certificate>),
    /// The registry doesn't know it, or not as active.
    Unknown,
}

/// A group and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOverview {
    /// The group.
    pub name: GroupName,
    /// How many things are in it.
    pub things: u64,
}

/// The registry's answer.
#[derive(Clone, Debug)]
pub enum Response {
    /// Done.
    Done,
    /// To [`Request::IssueToken`]: the token as it is kept.
    Token(Box<EnrolmentToken>),
    /// The token is good: issue a certificate, or hand out again the one that the thing got before.
    TokenGood(Option<Box<Thing>>),
    /// To [`Request::Enrol`], [`Request::Thing`] and [`Request::Revoke`].
    Thing(Box<Thing>),
    /// To [`Request::Things`].
    Things(Vec<Thing>),
    /// To [`Request::Groups`].
    Groups(Vec<GroupOverview>),
    /// To [`Request::Access`]: whose it is, and its policies' documents.
    Access(Identity, Vec<String>),
    /// To [`Request::Policies`].
    Policies(Vec<StoredPolicy>),
}

/// Why the registry refused.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The token is unknown, was used by another device, or has expired. One answer for all three: a guesser learns
    /// nothing.
    #[error(
        "the enrolment token isn't valid (unknown, used or expired): ask for a new one with `sealift-server devices token`"
    )]
    Token,
    /// An idempotency key that stands for another token.
    #[error("this idempotency key was used for a token on other terms; choose a new key")]
    KeyReused,
    /// The token was made for another name.
    #[error("the enrolment token is for the thing {expected}, but the certificate request names {found}")]
    Name {
        /// The token's name.
        expected: ThingName,
        /// The request's name.
        found: ThingName,
    },
    /// The name is taken.
    #[error("a thing called {0} is enrolled already; choose another name, or revoke it first")]
    Taken(ThingName),
    /// No such thing.
    #[error("no thing is called {0}")]
    NoThing(ThingName),
    /// More groups than AWS allows.
    #[error("a thing is in at most {GROUPS_PER_THING_MAX} groups, its bucket group among them; the token names {0}")]
    Groups(usize),
    /// No such policy.
    #[error("no policy is called {0:?}")]
    NoPolicy(String),
    /// A policy that something has attached.
    #[error("the policy {name} is attached to {by}, and perhaps to others: detach or revoke them first")]
    PolicyInUse {
        /// The policy.
        name: String,
        /// One of those who have it.
        by: String,
    },
    /// A name that AWS wouldn't take.
    #[error("the policy name {0:?} isn't 1 to 128 of [a-zA-Z0-9_+=,.@-]")]
    PolicyName(String),
    /// More policies than AWS allows.
    #[error("{0} has {ATTACHED_MAX} policies already, the most that AWS IoT allows")]
    TooManyPolicies(ThingName),
    /// A document that can't be evaluated.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// The database failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Answers one request as of `now`.
///
/// # Errors
/// [`Failure`]; a refusal has written nothing.
pub fn handle(ledger: &mut Ledger<'_>, request: &Request, now: u64) -> Result<Response, Failure> {
    match request {
        Request::IssueToken(token) => {
            // One place is the bucket group's.
            if token.groups.len() >= GROUPS_PER_THING_MAX {
                return Err(Failure::Groups(token.groups.len()));
            }
            // Asked for again under the same idempotency key: the same token, as long as it is meant the same.
            if let Some(known) = ledger.token(&token.id)? {
                let same = known.product == token.product && known.groups == token.groups && known.thing == token.thing;
                return if same { Ok(Response::Token(Box::new(known))) } else { Err(Failure::KeyReused) };
            }
            create_groups(ledger, &token.groups, now)?;
            ledger.put_token(token)?;
            Ok(Response::Token(Box::new(token.clone())))
        }
        Request::CheckToken(enrolment) => {
            let (_, thing) = check_token(ledger, enrolment, now)?;
            Ok(Response::TokenGood(thing.map(Box::new)))
        }
        Request::Enrol(enrolment, issued) => enrol(ledger, enrolment, issued, now),
        Request::Thing(name) => Ok(Response::Thing(Box::new(find(ledger, name)?))),
        Request::Things { after, limit, group: None } => Ok(Response::Things(ledger.things(after.as_deref(), *limit)?)),
        Request::Things { after, limit, group: Some(group) } => {
            let mut things = Vec::new();
            for name in ledger.members(group, after.as_deref(), *limit)? {
                things.extend(ledger.thing(&name)?);
            }
            Ok(Response::Things(things))
        }
        Request::Groups => {
            let mut groups = Vec::new();
            for group in ledger.groups()? {
                let things = ledger.members(&group.name, None, usize::MAX)?.len() as u64;
                groups.push(GroupOverview { name: group.name, things });
            }
            Ok(Response::Groups(groups))
        }
        Request::CreateGroup(name) => {
            create_groups(ledger, &BTreeSet::from([name.clone()]), now)?;
            Ok(Response::Done)
        }
        Request::Revoke(name) => {
            let mut thing = find(ledger, name)?;
            if thing.active {
                thing.active = false;
                thing.next = None;
                ledger.put_thing(&thing)?;
            }
            Ok(Response::Thing(Box::new(thing)))
        }
        Request::Rotate { thing, issued, key_fingerprint } => {
            let mut thing = find(ledger, thing)?;
            // Asked for again with the same key: what it has, or is about to have.
            let known =
                |thing: &Thing| thing.next.as_ref().is_some_and(|next| next.key_fingerprint == *key_fingerprint);
            if thing.active && thing.key_fingerprint != *key_fingerprint && !known(&thing) {
                thing.next = Some(NextCertificate {
                    certificate: issued.certificate.clone(),
                    fingerprint: issued.fingerprint.clone(),
                    key_fingerprint: key_fingerprint.clone(),
                    issued_at: now,
                });
                ledger.put_thing(&thing)?;
            }
            Ok(Response::Thing(Box::new(thing)))
        }
        Request::Present { thing, fingerprint } => {
            let mut thing = find(ledger, thing)?;
            if thing.active
                && let Some(next) = thing.next.take_if(|next| next.fingerprint == *fingerprint)
            {
                thing.certificate = next.certificate;
                thing.fingerprint = next.fingerprint;
                thing.key_fingerprint = next.key_fingerprint;
                ledger.put_thing(&thing)?;
            }
            Ok(Response::Thing(Box::new(thing)))
        }
        Request::Access { fingerprint, named } => {
            let identity = identify(ledger, fingerprint, named.as_ref())?;
            let policies = match &identity {
                Identity::Thing(thing) => &thing.policies,
                Identity::Certificate(certificate) => &certificate.policies,
                Identity::Unknown => return Ok(Response::Access(Identity::Unknown, Vec::new())),
            };
            let mut documents = Vec::with_capacity(policies.len());
            for policy in policies {
                documents.extend(ledger.policy(policy)?.map(|policy| policy.document));
            }
            Ok(Response::Access(identity, documents))
        }
        Request::PutPolicy { name, document } => {
            check_policy_name(name)?;
            Policy::from_json(document)?;
            let policy = StoredPolicy { name: name.clone(), document: document.clone(), updated_at: now };
            ledger.put_policy(&policy)?;
            Ok(Response::Policies(vec![policy]))
        }
        Request::Policies => Ok(Response::Policies(ledger.policies()?)),
        Request::RemovePolicy(name) => {
            check_policy_name(name)?;
            ledger.policy(name)?.ok_or_else(|| Failure::NoPolicy(name.clone()))?;
            if let Some(by) = attached_to(ledger, name)? {
                return Err(Failure::PolicyInUse { name: name.clone(), by });
            }
            ledger.remove_policy(name)?;
            Ok(Response::Done)
        }
        Request::AttachPolicy { name, thing, attach } => {
            let mut thing = find(ledger, thing)?;
            if *attach {
                ledger.policy(name)?.ok_or_else(|| Failure::NoPolicy(name.clone()))?;
                if thing.policies.len() >= ATTACHED_MAX && !thing.policies.contains(name) {
                    return Err(Failure::TooManyPolicies(thing.name));
                }
                thing.policies.insert(name.clone());
            } else if !thing.policies.remove(name) && ledger.policy(name)?.is_none() {
                return Err(Failure::NoPolicy(name.clone()));
            }
            ledger.put_thing(&thing)?;
            Ok(Response::Thing(Box::new(thing)))
        }
    }
}

fn find(ledger: &Ledger<'_>, name: &ThingName) -> Result<Thing, Failure> {
    ledger.thing(name)?.ok_or_else(|| Failure::NoThing(name.clone()))
}

fn create_groups(ledger: &mut Ledger<'_>, groups: &BTreeSet<GroupName>, now: u64) -> Result<(), Failure> {
    for name in groups {
        if ledger.group(name)?.is_none() {
            ledger.put_group(&Group { name: name.clone(), created_at: now })?;
        }
    }
    Ok(())
}
