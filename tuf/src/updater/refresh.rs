//! One refresh: time, roots, timestamp, snapshot, targets (specification 1.0.34, sections 5.1 to 5.6).
//!
//! Kept files come first and are floors; what is kept and still right is not fetched again. Each step is kept before the
//! next begins.

use std::time::SystemTime;

use sealift_manifests::{Digest, Role};
use sealift_verifier::trust::format::{
    Pin as _, RoleFacts as _, RootFacts as _, SnapshotFacts as _, TimestampFacts as _,
};
use sealift_verifier::trust::{Floor, Remembered, Time};

use super::{Session, TopLevel, Trusted, Updater, check};
use crate::authority::KeySet;
use crate::config::Clock;
use crate::error::{Error, FetchError};
use crate::fetch::Fetcher;
use crate::role::{Snapshot, Targets, Timestamp};
use crate::store::{Record, Store};

/// How far a clock may be set back and still be used: steps of that size are what time synchronisation makes. Even then the
/// later time holds.
const CLOCK_STEP: u64 = 60;

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// Brings the metadata of the top-level roles up to date. Does it once: later calls change nothing.
    pub fn refresh(&mut self) -> Result<(), Error> {
        if self.session.is_some() {
            return Ok(());
        }
        // 5.1: one time for the whole of it.
        let time = self.start_time()?;
        self.update_root()?;
        // 5.3.10. The machine looks again with the timestamp; here it saves the requests.
        self.root.check_expiry(time).map_err(|reason| self.refused("root.json", reason))?;
        let timestamp = self.update_timestamp(time)?;
        let snapshot = self.update_snapshot(&timestamp, time)?;
        let targets = self.update_targets(&snapshot, time)?;
        let top_level = [
            TopLevel::of(self.root.content()),
            TopLevel::of(timestamp.content()),
            TopLevel::of(snapshot.content()),
            TopLevel::of(targets.content()),
        ];
        self.session = Some(Session { time, top_level, snapshot, targets });
        Ok(())
    }

    /// The session, after a refresh if there was none.
    pub(crate) fn session(&mut self) -> Result<&Session, Error> {
        self.refresh()?;
        // A refresh that returned has made one.
        self.session.as_ref().ok_or_else(|| Error::NotInitialised(self.store.location(Record::LatestTime)))
    }

    fn refused(&self, file: &str, reason: sealift_verifier::Error) -> Error {
        Error::Refused { file: file.to_owned(), reason, detail: None }
    }

    /// The clock's time, which never goes back: the latest reading is kept, and one that is earlier is refused.
    fn start_time(&mut self) -> Result<Time, Error> {
        let now = match self.config.clock {
            Clock::Unknown if self.config.policy.requires_clock() => {
                return Err(self.refused("the clock", sealift_verifier::Error::ClockRequired));
            }
            Clock::Unknown => return Ok(Time::Unknown),
            Clock::At(now) => now,
            // A clock before 1970 is one that was never set.
            Clock::System => {
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
            }
        };
        let record = self.store.location(Record::LatestTime);
        let kept = self.store.read(Record::LatestTime).map_err(|error| Error::storage("read", &record, error))?;
        let latest: u64 = match kept {
            None => 0,
            Some(kept) => {
                std::str::from_utf8(&kept).ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
                    Error::storage(
                        "read",
                        &record,
                        std::io::Error::other("it holds no time; remove it if you know why"),
                    )
                })?
            }
        };
        if now.saturating_add(CLOCK_STEP) < latest {
            return Err(Error::ClockWentBack { now, latest, record });
        }
        if now > latest {
            let text = now.to_string();
            self.store
                .write(Record::LatestTime, text.as_bytes())
                .map_err(|error| Error::storage("write", &record, error))?;
        }
        Ok(Time::AtLeast(now.max(latest)))
    }

    /// 5.3: from root to root, each kept before the next is asked for.
    fn update_root(&mut self) -> Result<(), Error> {
        let mut accepted = 0;
        loop {
            let Some(next) = self.root().version().checked_add(1) else { return Ok(()) };
            let file = format!("{next}.root.json");
            let bytes = match self.fetch_metadata(&file, self.config.limits.root_length) {
                Err(Error::Fetch { source: FetchError::NotFound, .. }) => return Ok(()),
                other => other?,
            };
            if accepted == self.config.limits.roots {
                return Err(self.refused(&file, sealift_verifier::Error::TooManyRoots));
            }
            let policy = self.config.policy;
            let root = check(&bytes, &file, &self.config, |file| self.root.next_root(file, &policy))?;
            self.keep(Role::Root.name(), &bytes)?;
            self.root = root;
            accepted += 1;
        }
    }

    /// A kept file that the trusted root still vouches for. One that it does not is no floor any more, and one that cannot
    /// be read never was: it is fetched anew.
    fn remembered<R>(&self, role: Role, bytes: Option<&[u8]>) -> Option<Remembered<R, KeySet>>
    where
        R: crate::file::JsonRole + sealift_verifier::trust::format::RoleFacts,
    {
        check(bytes?, role.name(), &self.config, |file| self.root.remembered(file, role)).ok()
    }

    /// 5.4.
    fn update_timestamp(&mut self, time: Time) -> Result<Trusted<Timestamp>, Error> {
        const FILE: &str = "timestamp.json";
        let kept = self.kept(Role::Timestamp.name())?;
        let known = self.remembered::<Timestamp>(Role::Timestamp, kept.as_deref());
        let floor = known.as_ref().map(Remembered::floor);
        let listed = known.as_ref().map(|known| known.content().snapshot().version());
        let kept_snapshot = self.kept(Role::Snapshot.name())?;
        let snapshot_floor = match self.remembered::<Snapshot>(Role::Snapshot, kept_snapshot.as_deref()) {
            Some(snapshot) => Some(snapshot.floor()),
            // A snapshot that was named and not fetched yet binds as one that all of the role's keys had signed. One whose
            // signers are gone binds nothing.
            None if kept_snapshot.is_none() => listed.map(|version| Floor {
                version,
                content: Digest::default(),
                signers: self.root().authority(Role::Snapshot).fingerprints(),
            }),
            None => None,
        };

        let bytes = self.fetch_metadata(FILE, self.config.limits.timestamp_length)?;
        let accepted = check(&bytes, FILE, &self.config, |file| {
            self.root.timestamp(file, floor.as_ref(), listed.zip(snapshot_floor.as_ref()), time)
        });
        let same_version = |timestamp: &Trusted<Timestamp>| {
            floor.as_ref().is_some_and(|floor| floor.version == timestamp.content().version())
        };
        match accepted {
            // 5.4.3.1: of one version the first is kept, and that is no error.
            Err(Error::Refused { reason: sealift_verifier::Error::VersionReused(Role::Timestamp), .. }) => {}
            Ok(timestamp) if same_version(&timestamp) => {}
            Ok(timestamp) => {
                self.keep(Role::Timestamp.name(), &bytes)?;
                return Ok(timestamp);
            }
            Err(error) => return Err(error),
        }
        // The kept one is checked like one that has just come, but for its own floor.
        check(kept.as_deref().unwrap_or_default(), FILE, &self.config, |file| {
            self.root.timestamp(file, None, None, time)
        })
    }

    /// 5.5.
    fn update_snapshot(&mut self, timestamp: &Trusted<Timestamp>, time: Time) -> Result<Trusted<Snapshot>, Error> {
        let kept = self.kept(Role::Snapshot.name())?;
        // Its listing binds even if the timestamp pins another by now, or it has expired.
        let known = self.remembered::<Snapshot>(Role::Snapshot, kept.as_deref());
        let floor = known.as_ref().map(Remembered::floor);
        let verify = |bytes: &[u8], file: &str| {
            let prior = known.iter().flat_map(|known| known.content().listed());
            check(bytes, file, &self.config, |file| self.root.snapshot(timestamp, file, floor.as_ref(), prior, time))
        };
        if let Some(kept) = &kept
            && let Ok(snapshot) = verify(kept, "snapshot.json")
        {
            return Ok(snapshot);
        }
        let pin = timestamp.content().snapshot();
        let file = self.file_name(Role::Snapshot.name(), pin.version());
        let most = self.most(&file, pin.length(), self.config.limits.snapshot_length)?;
        let bytes = self.fetch_metadata(&file, most)?;
        let snapshot = verify(&bytes, &file)?;
        self.keep(Role::Snapshot.name(), &bytes)?;
        Ok(snapshot)
    }

    /// 5.6.1 to 5.6.6. The snapshot's listing is the floor of every targets file: rotating the snapshot's keys is how TUF
    /// recovers from one that was driven up (5.3.11), so that a targets file brings no floor of its own.
    fn update_targets(&mut self, snapshot: &Trusted<Snapshot>, time: Time) -> Result<Trusted<Targets>, Error> {
        let verify = |bytes: &[u8], file: &str| {
            check(bytes, file, &self.config, |file| self.root.targets(snapshot, file, None, time))
        };
        if let Some(kept) = self.kept(Role::Targets.name())?
            && let Ok(targets) = verify(&kept, "targets.json")
        {
            return Ok(targets);
        }
        let pin = snapshot.content().targets(None);
        let pin = pin.ok_or_else(|| self.refused("targets.json", sealift_verifier::Error::NotInSnapshot))?;
        let file = self.file_name(Role::Targets.name(), pin.version());
        let most = self.most(&file, pin.length(), self.config.limits.targets_length)?;
        let bytes = self.fetch_metadata(&file, most)?;
        let targets = verify(&bytes, &file)?;
        self.keep(Role::Targets.name(), &bytes)?;
        Ok(targets)
    }
}
