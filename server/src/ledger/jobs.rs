//! Jobs and their executions, with every index over them.

use redb::ReadableTable as _;
use sealift_jobs::{ExecutionStatus, JobId, ThingName};

use super::{Execution, Job, Ledger, PAGE_MAX, Result, read, write};

impl Ledger<'_> {
    /// One job.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn job(&self, id: &JobId) -> Result<Option<Job>> {
        self.jobs.get(id.as_str())?.map(|v| read("jobs", id.as_str(), v.value())).transpose()
    }

    /// Writes a job.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_job(&mut self, job: &Job) -> Result<()> {
        self.dirty = true;
        self.jobs.insert(job.id.as_str(), write(job).as_slice())?;
        Ok(())
    }

    /// Jobs by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Vec<Job>> {
        let mut page = Vec::new();
        for entry in self.jobs.range(after.unwrap_or("")..)? {
            let (key, value) = entry?;
            if after == Some(key.value()) {
                continue;
            }
            if page.len() == limit.min(PAGE_MAX) {
                break;
            }
            page.push(read("jobs", key.value(), value.value())?);
        }
        Ok(page)
    }

    /// A job's document.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn document(&self, id: &JobId) -> Result<Option<String>> {
        Ok(self.documents.get(id.as_str())?.map(|v| v.value().to_owned()))
    }

    /// Writes a job's document.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_document(&mut self, id: &JobId, document: &str) -> Result<()> {
        self.dirty = true;
        self.documents.insert(id.as_str(), document)?;
        Ok(())
    }

    /// How many of a job's current executions are in each state; states with none are left out.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn counts(&self, job: &JobId) -> Result<Vec<(ExecutionStatus, u64)>> {
        let mut counts = Vec::new();
        for status in ExecutionStatus::ALL {
            let count = self.counts.get((job.as_str(), status.as_str()))?.map_or(0, |v| v.value());
            if count > 0 {
                counts.push((status, count));
            }
        }
        Ok(counts)
    }

    /// The number of the newest execution of `job` on `thing`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn current_number(&self, thing: &ThingName, job: &JobId) -> Result<Option<u64>> {
        Ok(self.current.get((job.as_str(), thing.as_str()))?.map(|v| v.value()))
    }

    /// One execution.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn execution(&self, thing: &ThingName, job: &JobId, number: u64) -> Result<Option<Execution>> {
        let value = self.executions.get((thing.as_str(), job.as_str(), number))?;
        value.map(|v| read("executions", &format!("{thing}/{job}/{number}"), v.value())).transpose()
    }

    /// Writes an execution, and with it every index: the job's counts, the thing's pending list, the timers.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn put_execution(&mut self, execution: &Execution) -> Result<()> {
        self.dirty = true;
        let (thing, job, number) = (execution.thing.as_str(), execution.job.as_str(), execution.number);
        let current = self.current_number(&execution.thing, &execution.job)?;
        let before = match current {
            Some(n) => self.execution(&execution.thing, &execution.job, n)?,
            None => None,
        };
        if let Some(before) = &before {
            self.count(job, before.status, -1)?;
            if let Some(deadline) = before.deadline() {
                self.timers.remove((deadline, thing, job, before.number))?;
            }
        }
        self.count(job, execution.status, 1)?;
        if current != Some(number) {
            self.current.insert((job, thing), number)?;
        }
        if execution.status.is_terminal() {
            self.pending.remove((thing, execution.sequence))?;
        } else {
            self.pending.insert((thing, execution.sequence), (job, number))?;
            if let Some(deadline) = execution.deadline() {
                self.timers.insert((deadline, thing, job, number), ())?;
            }
        }
        self.executions.insert((thing, job, number), write(execution).as_slice())?;
        Ok(())
    }

    fn count(&mut self, job: &str, status: ExecutionStatus, change: i64) -> Result<()> {
        let key = (job, status.as_str());
        let count = self.counts.get(key)?.map_or(0, |v| v.value()).saturating_add_signed(change);
        self.counts.insert(key, count)?;
        Ok(())
    }

    /// A thing's open executions in creation order.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn pending(&self, thing: &ThingName) -> Result<Vec<Execution>> {
        let mut open = Vec::new();
        for entry in self.pending.range((thing.as_str(), 0)..=(thing.as_str(), u64::MAX))? {
            let (_, value) = entry?;
            let (job, number) = value.value();
            let key = (thing.as_str(), job, number);
            if let Some(v) = self.executions.get(key)? {
                open.push(read("executions", &format!("{thing}/{job}/{number}"), v.value())?);
            }
        }
        Ok(open)
    }

    /// A job's current executions by thing name, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn executions_of(&self, job: &JobId, after: Option<&str>, limit: usize) -> Result<Vec<Execution>> {
        let mut page = Vec::new();
        for entry in self.current.range((job.as_str(), after.unwrap_or(""))..)? {
            let (key, number) = entry?;
            let (of, thing) = key.value();
            if of != job.as_str() || page.len() == limit.min(PAGE_MAX) {
                break;
            }
            if after == Some(thing) {
                continue;
            }
            if let Some(v) = self.executions.get((thing, job.as_str(), number.value()))? {
                page.push(read("executions", &format!("{thing}/{job}"), v.value())?);
            }
        }
        Ok(page)
    }

    /// A thing's newest execution of each job, newest job last; at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn executions_on(&self, thing: &ThingName, limit: usize) -> Result<Vec<Execution>> {
        let mut by_job: std::collections::BTreeMap<String, Execution> = std::collections::BTreeMap::new();
        for entry in self.executions.range((thing.as_str(), "", 0)..)? {
            let (key, value) = entry?;
            let (of, job, _) = key.value();
            if of != thing.as_str() {
                break;
            }
            by_job.insert(job.to_owned(), read("executions", &format!("{thing}/{job}"), value.value())?);
        }
        let mut all: Vec<Execution> = by_job.into_values().collect();
        all.sort_by_key(|e| e.sequence);
        let skip = all.len().saturating_sub(limit);
        Ok(all.split_off(skip))
    }

    /// The earliest timer that is due at `now`.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn due(&self, now: u64) -> Result<Option<(ThingName, JobId, u64)>> {
        let Some((key, ())) = self.timers.first()?.map(|(k, _)| (k, ())) else { return Ok(None) };
        let (deadline, thing, job, number) = key.value();
        if deadline > now {
            return Ok(None);
        }
        Ok(thing.parse().ok().zip(job.parse().ok()).map(|(thing, job)| (thing, job, number)))
    }

    /// When the earliest timer is due.
    ///
    /// # Errors
    /// [`LedgerError`](super::LedgerError) when the database fails.
    pub fn next_deadline(&self) -> Result<Option<u64>> {
        Ok(self.timers.first()?.map(|(key, _)| key.value().0))
    }
}
