//! Enrolment as AWS IoT does it, beside the one-time tokens: registered CAs with just-in-time registration and provisioning
//! (JITR, JITP), and fleet provisioning by claim.
//!
//! Like [`crate::registry`], pure over a [`Ledger`]: certificates are issued by the caller, and only recorded here. Whatever way a
//! device came, what it becomes is a thing with one certificate, and `thing.rs` is the only place where that happens.

mod just_in_time;
mod registered;
mod template;
mod thing;
mod value;

use sealift_jobs::{GroupName, ThingName};
use serde_json::Value as Json;

use crate::ledger::{CaCertificate, Certificate, Ledger, LedgerError, ProvisioningTemplate, Thing};
use crate::mqtt::policy::PolicyError;
use std::collections::BTreeSet;

pub use just_in_time::{Arrival, Arrived};
pub use registered::{Registration, check_registration, claim_policy};
pub use template::{Template, TemplateError};
pub use thing::Claimed;
pub use value::Parameters;

/// Seconds a certificate ownership token is good, as in AWS.
pub const TOKEN_SECONDS: u64 = 3_600;
/// Certificates that may wait for their token to be used; one more is told to come back later.
const WAITING_MAX: u64 = 10_000;
/// Certificates that nothing came of, removed at a time: more than are made at a time.
const SWEEP: usize = 16;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// Keep a CA. The same one again may be registered on other terms.
    RegisterCa(CaCertificate),
    /// Every CA.
    Cas,
    /// Switch a CA on or off.
    SetCa {
        /// Its id.
        id: String,
        /// Off: nothing new is registered under it.
        active: bool,
    },
    /// Write a template; the document has to be one that can be used.
    PutTemplate(ProvisioningTemplate),
    /// Every template.
    Templates,
    /// Remove a template.
    RemoveTemplate(String),
    /// Keep a claim certificate, and the policy that lets it do what claims do, if there is none of that name.
    AddClaim(Box<Certificate>),
    /// Certificates of no thing, by id.
    Certificates {
        /// Start after this id.
        after: Option<String>,
        /// At most this many.
        limit: usize,
    },
    /// Make a thing of a certificate that waits.
    Activate {
        /// Its id.
        id: String,
        /// The thing it becomes.
        thing: ThingName,
        /// The thing's product.
        product: String,
        /// The thing's groups.
        groups: BTreeSet<GroupName>,
    },
    /// Revoke a certificate, at once; a thing's as well.
    Revoke(String),
    /// A certificate of a registered CA has come in a TLS handshake.
    Arrive(Box<Arrival>),
    /// Keep a certificate that was made for a claim, until its token is used or has ended.
    Create(Box<Certificate>),
    /// Use a token: `RegisterThing`.
    Claim(Box<Claimed>),
}

impl Request {
    /// Whose access an accepted request changes, as [`crate::registry::Request::changes_access`].
    #[must_use]
    pub fn changes_access(&self) -> Option<Option<ThingName>> {
        match self {
            Self::Revoke(_) => Some(None),
            Self::Activate { thing, .. } => Some(Some(thing.clone())),
            _ => None,
        }
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Response {
    /// Done.
    Done,
    /// To [`Request::RegisterCa`], [`Request::SetCa`] and [`Request::Cas`].
    Cas(Vec<CaCertificate>),
    /// To [`Request::PutTemplate`] and [`Request::Templates`].
    Templates(Vec<ProvisioningTemplate>),
    /// To [`Request::AddClaim`], [`Request::Certificates`] and [`Request::Revoke`].
    Certificates(Vec<Certificate>),
    /// To [`Request::Activate`].
    Thing(Box<Thing>),
    /// To [`Request::Arrive`].
    Arrived(Arrived),
    /// To [`Request::Claim`].
    Claimed {
        /// The thing that the device is now.
        thing: ThingName,
        /// `DeviceConfiguration` of the template.
        configuration: serde_json::Map<String, Json>,
    },
}

/// Why it was refused.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No such template.
    #[error("no provisioning template is called {0:?}")]
    NoTemplate(String),
    /// A name that AWS wouldn't take.
    #[error("the template name {0:?} isn't 1 to 36 of [0-9A-Za-z_-]")]
    TemplateName(String),
    /// A template of another kind.
    #[error("the template {name} is for {found}, not for {expected}")]
    Kind {
        /// Its name.
        name: String,
        /// What it would have to be for.
        expected: &'static str,
        /// What it is for.
        found: &'static str,
    },
    /// A template that something needs.
    #[error("the template {name} is in use by {by}; end that first")]
    TemplateInUse {
        /// Its name.
        name: String,
        /// What needs it.
        by: String,
    },
    /// A template that can't be used, or not with these parameters.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// No such CA.
    #[error("no CA certificate has the id {0}")]
    NoCa(String),
    /// No such certificate.
    #[error("no certificate has the id {0}")]
    NoCertificate(String),
    /// A certificate that doesn't wait for anybody.
    #[error("the certificate {id} is {state}; only one that is PENDING_ACTIVATION can be activated")]
    NotPending {
        /// Its id.
        id: String,
        /// Where it stands.
        state: &'static str,
    },
    /// The ownership token is empty, unknown, another's, expired, or was used for something else. One answer for all of them.
    #[error("the certificate ownership token isn't valid: it is unknown, was used, or has expired after an hour")]
    Token,
    /// A claim for another template.
    #[error("this claim certificate is for the template {0}")]
    ClaimOf(String),
    /// The thing is there, with another key.
    #[error("a thing called {0} exists with another key; revoke it and enrol it again with a token of its own")]
    Taken(ThingName),
    /// The name is none that a product can have.
    #[error("{0:?} can't be a product id")]
    Product(String),
    /// A group that doesn't exist.
    #[error("no group is called {0}; make it with `sealift-server groups create`")]
    NoGroup(GroupName),
    /// More groups than AWS allows.
    #[error("a thing is in at most {max} groups, its bucket group among them; this would be {0}", max = sealift_jobs::limits::GROUPS_PER_THING_MAX)]
    Groups(usize),
    /// No such policy.
    #[error("no policy is called {0:?}")]
    NoPolicy(String),
    /// More policies than AWS allows.
    #[error("a thing has at most {max} policies; this would be {0}", max = crate::mqtt::policy::ATTACHED_MAX)]
    TooManyPolicies(usize),
    /// A policy that can't be evaluated.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A report key without its proof.
    #[error("{PROOF} isn't {KEY}'s signature over this certificate request", PROOF = thing::REPORT_KEY_PROOF, KEY = thing::REPORT_KEY)]
    ReportKey,
    /// Too many certificates wait.
    #[error("too many certificates wait for their token to be used; try again in a while")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Failure {
    /// Status and error code as AWS IoT's device provisioning MQTT API gives them.
    #[must_use]
    pub fn code(&self) -> (u16, &'static str) {
        match self {
            Self::Token => (400, "InvalidCertificateOwnershipToken"),
            Self::Template(TemplateError::Missing { .. }) | Self::ReportKey => (400, "InvalidParameters"),
            Self::NoTemplate(_) | Self::NoCa(_) | Self::NoCertificate(_) => (404, "ResourceNotFound"),
            Self::ClaimOf(_) => (403, "AccessDenied"),
            Self::Busy => (429, "Throttling"),
            Self::Ledger(_) => (500, "InternalFailure"),
            Self::Taken(_) => (409, "ResourceConflict"),
            _ => (400, "ResourceRegistrationFailure"),
        }
    }
}

/// Answers one request as of `now`.
///
/// # Errors
/// [`Failure`]; a refusal has written nothing.
pub fn handle(ledger: &mut Ledger<'_>, request: &Request, now: u64) -> Result<Response, Failure> {
    match request {
        Request::RegisterCa(ca) => registered::register_ca(ledger, ca),
        Request::Cas => Ok(Response::Cas(ledger.cas()?)),
        Request::SetCa { id, active } => registered::set_ca(ledger, id, *active),
        Request::PutTemplate(template) => registered::put_template(ledger, template, now),
        Request::Templates => Ok(Response::Templates(ledger.templates()?)),
        Request::RemoveTemplate(name) => registered::remove_template(ledger, name),
        Request::AddClaim(claim) => registered::add_claim(ledger, claim, now),
        Request::Certificates { after, limit } => {
            Ok(Response::Certificates(ledger.certificates(after.as_deref(), *limit)?))
        }
        Request::Activate { id, thing, product, groups } => {
            let plan = template::Plan {
                thing: thing.clone(),
                product: Some(product.clone()),
                attributes: Default::default(),
                groups: groups.clone(),
                policies: Vec::new(),
                configuration: Default::default(),
            };
            just_in_time::activate(ledger, id, &plan, now)
        }
        Request::Revoke(id) => registered::revoke(ledger, id),
        Request::Arrive(arrival) => just_in_time::arrive(ledger, arrival, now),
        Request::Create(certificate) => thing::create(ledger, certificate, now),
        Request::Claim(claimed) => thing::claim(ledger, claimed, now),
    }
}
