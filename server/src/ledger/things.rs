//! Things, groups, enrolment tokens and policies.

use redb::ReadableTable as _;
use sealift_jobs::{GroupName, ThingName};

use super::{EnrolmentToken, Group, Ledger, PAGE_MAX, Result, StoredPolicy, Thing, read, write};

impl Ledger<'_> {
    /// One thing.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn thing(&self, name: &ThingName) -> Result<Option<Thing>> {
        self.things.get(name.as_str())?.map(|v| read("things", name.as_str(), v.value())).transpose()
    }

    /// The thing that a certificate speaks for, by the SHA-256 of its DER in hex.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn thing_of(&self, fingerprint: &str) -> Result<Option<Thing>> {
        let Some(name) = self.principals.get(fingerprint)?.map(|v| v.value().to_owned()) else { return Ok(None) };
        self.things.get(name.as_str())?.map(|v| read("things", &name, v.value())).transpose()
    }

    /// Writes a thing, its memberships and whose its certificates are.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_thing(&mut self, thing: &Thing) -> Result<()> {
        self.dirty = true;
        if let Some(before) = self.thing(&thing.name)? {
            for group in &before.groups {
                self.members.remove((group.as_str(), thing.name.as_str()))?;
            }
            for fingerprint in before.fingerprints() {
                self.principals.remove(fingerprint)?;
            }
        }
        for group in &thing.groups {
            self.members.insert((group.as_str(), thing.name.as_str()), ())?;
        }
        for fingerprint in thing.fingerprints() {
            self.principals.insert(fingerprint, thing.name.as_str())?;
        }
        self.things.insert(thing.name.as_str(), write(thing).as_slice())?;
        Ok(())
    }

    /// Things by name, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn things(&self, after: Option<&str>, limit: usize) -> Result<Vec<Thing>> {
        let mut page = Vec::new();
        for entry in self.things.range(after.unwrap_or("")..)? {
            let (key, value) = entry?;
            if after == Some(key.value()) {
                continue;
            }
            if page.len() == limit.min(PAGE_MAX) {
                break;
            }
            page.push(read("things", key.value(), value.value())?);
        }
        Ok(page)
    }

    /// One group.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn group(&self, name: &GroupName) -> Result<Option<Group>> {
        self.groups.get(name.as_str())?.map(|v| read("groups", name.as_str(), v.value())).transpose()
    }

    /// Writes a group.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_group(&mut self, group: &Group) -> Result<()> {
        self.dirty = true;
        self.groups.insert(group.name.as_str(), write(group).as_slice())?;
        Ok(())
    }

    /// Every group. Groups are few: they are named by people.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn groups(&self) -> Result<Vec<Group>> {
        let mut all = Vec::new();
        for entry in self.groups.iter()? {
            let (key, value) = entry?;
            all.push(read("groups", key.value(), value.value())?);
        }
        Ok(all)
    }

    /// Names of a group's things, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn members(&self, group: &GroupName, after: Option<&str>, limit: usize) -> Result<Vec<ThingName>> {
        let mut page = Vec::new();
        for entry in self.members.range((group.as_str(), after.unwrap_or(""))..)? {
            let (key, _) = entry?;
            let (of, thing) = key.value();
            if of != group.as_str() || page.len() == limit {
                break;
            }
            if after == Some(thing) {
                continue;
            }
            page.extend(thing.parse::<ThingName>());
        }
        Ok(page)
    }

    /// One enrolment token, by the hex SHA-256 of its secret.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn token(&self, id: &str) -> Result<Option<EnrolmentToken>> {
        self.tokens.get(id)?.map(|v| read("tokens", id, v.value())).transpose()
    }

    /// Writes a token.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_token(&mut self, token: &EnrolmentToken) -> Result<()> {
        self.dirty = true;
        self.tokens.insert(token.id.as_str(), write(token).as_slice())?;
        Ok(())
    }

    /// One policy.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn policy(&self, name: &str) -> Result<Option<StoredPolicy>> {
        self.policies.get(name)?.map(|v| read("policies", name, v.value())).transpose()
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_policy(&mut self, policy: &StoredPolicy) -> Result<()> {
        self.dirty = true;
        self.policies.insert(policy.name.as_str(), write(policy).as_slice())?;
        Ok(())
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn remove_policy(&mut self, name: &str) -> Result<()> {
        self.dirty = true;
        self.policies.remove(name)?;
        Ok(())
    }

    /// Every policy. Policies are few: they are named by people.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn policies(&self) -> Result<Vec<StoredPolicy>> {
        let mut all = Vec::new();
        for entry in self.policies.iter()? {
            let (key, value) = entry?;
            all.push(read("policies", key.value(), value.value())?);
        }
        Ok(all)
    }
}
