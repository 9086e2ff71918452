//! An approved target into the spare slot, from wherever its payload comes.

use std::time::Duration;

use sealift_manifests::delta_format::{MAX_WINDOW_LOG, RamClass};
use sealift_manifests::{Image, Payload};
use sealift_verifier::Error as Refusal;
use sealift_verifier::boot::{RecordId, Records as _};
use sealift_verifier::delta::HostDecoder;
use sealift_verifier::image::{Choice, HINT_RECORD_MAX, Install, Limits, Next, Slot, VerifiedImage, choose_available};
use sealift_verifier::session::Approved;
use sealift_verifier::session::slot_record::SLOT_RECORD_MAX;
use tracing::{info, warn};

use crate::error::{Error, Result};
use crate::state::State;
use crate::state::slot_file::SlotFile;

/// Bytes gathered before a write: a sector, so that each is written once.
const BUFFER: usize = crate::state::slot_file::SECTOR;
/// Bytes of the image between two resume records: each costs an fsync of the slot.
const HINT_STEP: u32 = 256 * 1024;

/// An installation into files.
type FileInstall<'b, 's> = Install<'b, &'s mut SlotFile, &'s mut SlotFile, &'s mut HostDecoder, BUFFER>;

/// Gives a payload's bytes.
pub trait PayloadSource {
    /// Starts to give `payload` from `offset` on. `attempt` counts the failures in a row: a source with several places goes
    /// on to the next.
    fn start(&mut self, payload: &Payload, offset: u32, attempt: u32) -> impl Future<Output = Result<()>>;

    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>>>;

    /// Whether this payload can be had at all.
    fn has(&self, payload: &Payload) -> bool {
        let _ = payload;
        true
    }
}

/// Told how far an installation is: bytes of the payload, and how many there are. An error ends the installation.
pub trait Progress {
    /// So many of the payload's bytes have come.
    fn at(&mut self, payload: &Choice, done: u32) -> impl Future<Output = Result<()>>;
}

/// What was installed.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// Where.
    pub slot: Slot,
    /// By which payload.
    pub choice: Choice,
}

/// How to install.
#[derive(Clone, Copy, Debug)]
pub struct Preferences {
    /// Take deltas alone.
    pub delta_only: bool,
    /// Times a source may fail in a row without a single new byte.
    pub attempts: u32,
}

impl Default for Preferences {
    fn default() -> Self {
        Preferences { delta_only: false, attempts: 6 }
    }
}

/// Writes an approved target into the spare slot, and proves it by reading it back. The caller activates it.
pub async fn install<'b>(
    state: &State,
    approved: Approved<'b>,
    running: &Image,
    preferences: Preferences,
    source: &mut impl PayloadSource,
    progress: &mut impl Progress,
) -> Result<(VerifiedImage<'b>, Installed)> {
    let limits = Limits {
        decoder_ram: RamClass::Host.bytes(),
        window_log: MAX_WINDOW_LOG,
        slot: state.config.slot_size,
        delta_only: preferences.delta_only,
    };
    let target = format!("version {}", approved.target().version);
    let choose = |base, source: &_| {
        let among = |base, limits: &_| {
            choose_available(approved.target(), base, limits, |payload| PayloadSource::has(source, payload))
                .map_err(Error::refused(target.clone()))
        };
        match among(base, &limits) {
            // Not a verdict on the release: on another link the whole image will do.
            Err(_) if preferences.delta_only => {
                let other = among(None, &Limits { delta_only: false, ..limits })?;
                Err(Error::Metered { bytes: other.payload().length })
            }
            choice => choice,
        }
    };
    let slot = state.control().prepare().map_err(Error::refused("the spare slot"))?;
    let choice = choose(Some(running), &*source)?;
    let mut transfer = Transfer { state, slot, attempts: preferences.attempts, source, progress };
    let result = transfer.run(approved, &choice).await;
    match result {
        // The running image isn't what its record says: it rots. The whole image doesn't need it.
        Err(Error::Refused { refusal: Refusal::BaseMismatch, .. }) if matches!(choice, Choice::Delta(_)) => {
            warn!("the running image isn't the delta's base: taking the whole image");
            let choice = choose(None, &*transfer.source)?;
            let verified = transfer.run(approved, &choice).await?;
            Ok((verified, Installed { slot, choice }))
        }
        result => result.map(|verified| (verified, Installed { slot, choice })),
    }
}

/// What moves a payload into a slot.
struct Transfer<'a, S, P> {
    state: &'a State,
    slot: Slot,
    attempts: u32,
    source: &'a mut S,
    progress: &'a mut P,
}

impl<S: PayloadSource, P: Progress> Transfer<'_, S, P> {
    /// Goes on where a resume record says; if that leads to a refusal, once more from the start.
    async fn run<'b>(&mut self, approved: Approved<'b>, choice: &Choice) -> Result<VerifiedImage<'b>> {
        if let Some(hint) = self.state.records().load(RecordId::Resume)? {
            match self.resume(approved, choice, Some(&hint)).await {
                Err(Error::Refused { refusal, .. }) => {
                    info!(%refusal, "what an earlier attempt left can't be used: starting over");
                    let dropped = self.state.records().remove(RecordId::Resume);
                    dropped.map_err(Error::refused("the resume record"))?;
                }
                result => return result,
            }
        }
        self.resume(approved, choice, None).await
    }

    async fn resume<'b>(
        &mut self,
        approved: Approved<'b>,
        choice: &Choice,
        hint: Option<&[u8]>,
    ) -> Result<VerifiedImage<'b>> {
        let mut slots = self.state.slots(Some(self.slot))?;
        let flusher = SlotFile::open(&self.state.slot_path(self.slot), self.state.config.slot_size, true)?;
        let (flash, base) = slots.split(self.slot);
        let mut decoder = Box::new(HostDecoder::new());
        let refused = || Error::refused(about(choice));
        let mut install: FileInstall<'_, '_> =
            Install::begin(approved, choice, self.slot, flash, Some(base), &mut *decoder, hint).map_err(refused())?;
        if install.next_offset() > 0 {
            info!(offset = install.next_offset(), "going on where an earlier attempt stood");
        }
        self.pump(&mut install, choice, &flusher).await?;
        // The activation may have to wait, for longer than this process lives.
        self.keep_hint(&install, &flusher)?;
        let verified = install.finish().map_err(refused())?;
        // What was read back must be what a power cut leaves.
        flusher.sync()?;
        Ok(verified)
    }

    /// Moves bytes from the source to the installation until it has all.
    async fn pump(&mut self, install: &mut FileInstall<'_, '_>, choice: &Choice, flusher: &SlotFile) -> Result<()> {
        let mut failures = 0;
        while install.next_offset() < choice.payload().length {
            let before = install.next_offset();
            let pumped = self.pump_once(install, choice, flusher, failures).await;
            if install.next_offset() != before {
                failures = 0;
            }
            if pumped.as_ref().is_err_and(Error::is_interruption) {
                self.keep_hint(install, flusher)?;
            }
            match pumped {
                Ok(()) => {}
                Err(error) if error.is_passing() && failures + 1 < self.attempts => {
                    failures += 1;
                    warn!(%error, failures, "the payload's source failed: asking again");
                    tokio::time::sleep(super::run::backoff(failures, Duration::from_secs(30))).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One attempt: until the source ends, fails, or has to be asked for another part.
    async fn pump_once(
        &mut self,
        install: &mut FileInstall<'_, '_>,
        choice: &Choice,
        flusher: &SlotFile,
        failures: u32,
    ) -> Result<()> {
        let payload = choice.payload();
        let refused = || Error::refused(about(choice));
        let mut hinted = install.hinted();
        self.source.start(payload, install.next_offset(), failures).await?;
        while let Some(chunk) = self.source.next().await? {
            let next = install.push(&chunk).map_err(refused())?;
            self.progress.at(choice, install.next_offset()).await?;
            if install.hinted().saturating_sub(hinted) >= HINT_STEP {
                hinted = install.hinted();
                self.keep_hint(install, flusher)?;
            }
            match next {
                Next::More => {}
                Next::Seek(_) => return Ok(()),
                // What follows the last byte is the installation's to refuse.
                Next::Done => {
                    if let Some(more) = self.source.next().await? {
                        install.push(&more).map_err(refused())?;
                    }
                    return Ok(());
                }
            }
        }
        if install.next_offset() < payload.length {
            let problem = format!("it ended after {} of {} bytes", install.next_offset(), payload.length);
            return Err(Error::Network { what: "fetch the payload".into(), problem });
        }
        Ok(())
    }

    /// In this order: the record says that the slot has it.
    fn keep_hint(&self, install: &FileInstall<'_, '_>, flusher: &SlotFile) -> Result<()> {
        flusher.sync()?;
        let mut record = [0; HINT_RECORD_MAX];
        match install.hint(&mut record).map_err(Error::refused("the resume record"))? {
            Some(length) => self.state.records().store(RecordId::Resume, record.get(..length).unwrap_or(&record)),
            None => Ok(()),
        }
    }
}

fn about(choice: &Choice) -> String {
    format!("the payload {}", choice.payload().digest)
}

/// The next boot tries a verified image.
pub fn activate(state: &State, verified: VerifiedImage<'_>) -> Result<()> {
    let mut scratch = vec![0; SLOT_RECORD_MAX];
    state.control().activate(verified, &mut scratch).map_err(Error::refused("the activation"))
}
