//! Enrolment by a one-time token.

use std::collections::{BTreeMap, BTreeSet};

use sealift_jobs::GroupName;
use sealift_rollout::buckets;

use super::{Enrolment, Failure, Issued, Response, create_groups};
use crate::ledger::{EnrolmentToken, Ledger, Thing};

/// The token, and the thing it already made when this very device repeats an enrolment whose answer it lost.
pub(super) fn check_token(
    ledger: &Ledger<'_>,
    enrolment: &Enrolment,
    now: u64,
) -> Result<(EnrolmentToken, Option<Thing>), Failure> {
    let token = ledger.token(&enrolment.token)?.filter(|t| now < t.expires_at).ok_or(Failure::Token)?;
    let existing = ledger.thing(&enrolment.thing)?;
    match &token.used_by {
        Some(user) => {
            let again = existing.filter(|thing| {
                *user == enrolment.thing
                    && thing.active
                    && thing.key_fingerprint == enrolment.key_fingerprint
                    && thing.report_key == enrolment.report_key
            });
            Ok((token, Some(again.ok_or(Failure::Token)?)))
        }
        None => {
            if let Some(expected) = token.thing.clone().filter(|name| *name != enrolment.thing) {
                return Err(Failure::Name { expected, found: enrolment.thing.clone() });
            }
            // A revoked name may be given again only by a token that was made for it.
            if existing.is_some_and(|thing| thing.active || token.thing.is_none()) {
                return Err(Failure::Taken(enrolment.thing.clone()));
            }
            Ok((token, None))
        }
    }
}

pub(super) fn enrol(
    ledger: &mut Ledger<'_>,
    enrolment: &Enrolment,
    issued: &Issued,
    now: u64,
) -> Result<Response, Failure> {
    let (mut token, existing) = check_token(ledger, enrolment, now)?;
    if let Some(thing) = existing {
        return Ok(Response::Thing(Box::new(thing)));
    }
    // Percentages of a rollout are made of these.
    let bucket = buckets::group_name(&token.product, buckets::bucket_of(&token.product, enrolment.thing.as_str()));
    let mut groups = token.groups.clone();
    groups.extend(bucket.parse::<GroupName>().ok());
    create_groups(ledger, &groups, now)?;
    let thing = Thing {
        name: enrolment.thing.clone(),
        product: token.product.clone(),
        groups,
        report_key: enrolment.report_key.clone(),
        certificate: issued.certificate.clone(),
        fingerprint: issued.fingerprint.clone(),
        key_fingerprint: enrolment.key_fingerprint.clone(),
        enrolled_at: now,
        active: true,
        next: None,
        policies: BTreeSet::new(),
        attributes: BTreeMap::new(),
    };
    token.used_by = Some(thing.name.clone());
    ledger.put_token(&token)?;
    ledger.put_thing(&thing)?;
    Ok(Response::Thing(Box::new(thing)))
}
