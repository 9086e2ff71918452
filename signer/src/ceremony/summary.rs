//! What a ceremony changes, in words. The words follow from the signed bytes alone, so that an officer's machine, which knows
//! nothing but those, comes to the same.

use std::collections::BTreeSet;

use sealift_manifests::{Extensions, Header, List, PublicKey, Role, RoleKeys, Root, Target, Targets, sha256};

use crate::authority::LOG_HEAD;
use crate::clock::date;
use crate::error::{Error, Result};

/// One line: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which role or delegation.
    pub place: String,
    /// What is new about it.
    pub words: String,
    /// Whether it is as before.
    pub same: bool,
}

/// The lines of a whole request.
#[derive(Debug, Default)]
pub struct Summary(pub Vec<Change>);

/// Keys and threshold, out of the file that names them.
struct Signers {
    keys: BTreeSet<PublicKey>,
    threshold: u64,
}

impl Signers {
    fn of(role: &RoleKeys<'_>, keys: List<'_, PublicKey>) -> Self {
        Signers { keys: role.resolve(keys).collect(), threshold: role.threshold }
    }

    fn words(&self) -> String {
        format!("{} of {} keys", self.threshold, self.keys.len())
    }
}

impl Summary {
    /// As the lines of a request.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|change| format!("{}: {}", change.place, change.words)).collect()
    }

    fn say(&mut self, place: &str, words: String, same: bool) {
        self.0.push(Change { place: place.to_owned(), words, same });
    }

    /// What every role has: versions, expiry, extensions. A line for everything that is signed, or it is not signed.
    fn header(&mut self, place: &str, before: Option<u64>, header: &Header<'_>, first: &str) -> Result<()> {
        let after = match before {
            Some(version) => format!("after version {version}"),
            None => first.to_owned(),
        };
        let words = format!("version {}, {after}, valid until {}", header.version, date(header.expires));
        self.say(place, words, false);
        self.extensions(place, &header.critical, true)?;
        self.extensions(place, &header.extensions, false)
    }

    fn extensions(&mut self, place: &str, extensions: &Extensions<'_>, critical: bool) -> Result<()> {
        for (number, value) in extensions.iter() {
            if critical || number != LOG_HEAD {
                return Err(Error::refused(
                    format!("{place} carries extension {number}, of which this sealift does not know what it means"),
                    "sign it with the version of sealift that it was made with, once you know what it says",
                ));
            }
            self.say(place, format!("follows entry {} of the ceremony log", hex::encode(value)), true);
        }
        Ok(())
    }

    fn signers(&mut self, place: &str, before: Option<&Signers>, after: &Signers) {
        let Some(before) = before else {
            self.say(place, after.words(), false);
            for key in &after.keys {
                self.say(place, format!("+ key {}", key.id()), false);
            }
            return;
        };
        if before.keys == after.keys && before.threshold == after.threshold {
            return self.say(place, format!("as before, {}", after.words()), true);
        }
        self.say(place, format!("{} (before: {})", after.words(), before.words()), false);
        for key in after.keys.difference(&before.keys) {
            self.say(place, format!("+ key {}", key.id()), false);
        }
        for key in before.keys.difference(&after.keys) {
            self.say(place, format!("- key {}", key.id()), false);
        }
        for key in after.keys.intersection(&before.keys) {
            self.say(place, format!("  key {} stays", key.id()), true);
        }
    }

    fn ceiling(&mut self, place: &str, before: Option<u64>, after: u64) {
        let words = |and: String| format!("security counters up to {after}{and}");
        match before {
            Some(before) if before != after => self.say(place, words(format!(" (before: {before})")), false),
            Some(_) => self.say(place, words(", as before".into()), true),
            None => self.say(place, words(String::new()), false),
        }
    }

    /// A root, after the one before it.
    pub fn root(&mut self, before: Option<&Root<'_>>, after: &Root<'_>) -> Result<()> {
        let first = format!("the first root of repository {}", after.header.repository);
        self.header("root", before.map(|root| root.header.version), &after.header, &first)?;
        for role in Role::ALL {
            let before = before.map(|root| Signers::of(root.role(role), root.keys));
            self.signers(&format!("who signs {role}"), before.as_ref(), &Signers::of(after.role(role), after.keys));
        }
        self.ceiling("root", before.map(|root| root.counter_ceiling), after.counter_ceiling);
        Ok(())
    }

    /// Top-level targets, after those before them.
    pub fn targets(&mut self, before: Option<&Targets<'_>>, after: &Targets<'_>) -> Result<()> {
        self.header("targets", before.map(|targets| targets.header.version), &after.header, "the first")?;
        self.releases("targets", before, after);
        for delegation in after.delegations.iter() {
            let place = format!("who signs for {}", delegation.products.iter().collect::<Vec<_>>().join(", "));
            let place = format!("{place} (delegation {})", delegation.name);
            let old = before.and_then(|targets| targets.delegations.iter().find(|it| it.name == delegation.name));
            let signers = old.zip(before).map(|(old, targets)| Signers::of(&old.keys, targets.keys));
            self.signers(&place, signers.as_ref(), &Signers::of(&delegation.keys, after.keys));
            if let Some(old) = &old
                && old.products != delegation.products
            {
                let products = old.products.iter().collect::<Vec<_>>().join(", ");
                self.say(&place, format!("before, for: {products}"), false);
            }
            self.ceiling(&place, old.map(|old| old.counter_ceiling), delegation.counter_ceiling);
        }
        for old in before.into_iter().flat_map(|targets| targets.delegations.iter()) {
            if after.delegations.iter().all(|delegation| delegation.name != old.name) {
                let products = old.products.iter().collect::<Vec<_>>().join(", ");
                self.say(
                    &format!("delegation {}", old.name),
                    format!("removed, with what it signed for {products}"),
                    false,
                );
            }
        }
        Ok(())
    }

    /// The targets of a delegated role, after those before them.
    pub fn delegated(&mut self, name: &str, before: Option<&Targets<'_>>, after: &Targets<'_>) -> Result<()> {
        let place = format!("targets of {name}");
        self.header(&place, before.map(|targets| targets.header.version), &after.header, "the first")?;
        self.releases(&place, before, after);
        Ok(())
    }

    fn releases(&mut self, place: &str, before: Option<&Targets<'_>>, after: &Targets<'_>) {
        let listed = |targets: &Targets<'_>, wanted: &Target<'_>| targets.targets.iter().any(|it| it == *wanted);
        for target in after.targets.iter() {
            let same = before.is_some_and(|before| listed(before, &target));
            let sign = if same { " " } else { "+" };
            self.say(place, format!("{sign} release {}", release(&target)), same);
        }
        for target in before.into_iter().flat_map(|before| before.targets.iter()) {
            if !listed(after, &target) {
                self.say(place, format!("- release {}", release(&target)), false);
            }
        }
    }
}

fn release(target: &Target<'_>) -> String {
    format!(
        "{} {} ({}) on {}, security counter {}, image sha256 {}, entry {}",
        target.product,
        target.version,
        target.component,
        target.hardware.iter().collect::<Vec<_>>().join(", "),
        target.security_counter,
        target.image.digest,
        sha256(&target.encoded())
    )
}
