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
/// Times a source may fail in a row without a single new byte.
const MOST_FAILURES: u32 = 6;

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
#[derive(Clone, Copy, Debug, Default)]
pub struct Preferences {
    /// Take deltas alone.
    pub delta_only: bool,
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
        choose_available(approved.target(), base, &limits, |payload| PayloadSource::has(source, payload))
            .map_err(Error::refused(target.clone()))
    };
    let slot = state.control().prepare().map_err(Error::refused("the spare slot"))?;
    let choice = choose(Some(running), &*source)?;
    let result = with_hint(state, approved, &choice, slot, source, progress).await;
    match result {
        // The running image isn't what its record says: it rots. The whole image doesn't need it.
        Err(Error::Refused { refusal: Refusal::BaseMismatch, .. }) if matches!(choice, Choice::Delta(_)) => {
            warn!("the running image isn't the delta's base: taking the whole image");
            let choice = choose(None, &*source)?;
            let verified = with_hint(state, approved, &choice, slot, source, progress).await?;
            Ok((verified, Installed { slot, choice }))
        }
        result => result.map(|verified| (verified, Installed { slot, choice })),
    }
}

/// Goes on where a resume record says; if that leads to a refusal, once more from the start.
async fn with_hint<'b>(
    state: &State,
    approved: Approved<'b>,
    choice: &Choice,
    slot: Slot,
    source: &mut impl PayloadSource,
    progress: &mut impl Progress,
) -> Result<VerifiedImage<'b>> {
    if let Some(hint) = state.records().load(RecordId::Resume)? {
        match transfer(state, approved, choice, slot, Some(&hint), source, progress).await {
            Err(Error::Refused { refusal, .. }) => {
                info!(%refusal, "what an earlier attempt left can't be used: starting over");
                let dropped = state.records().remove(RecordId::Resume);
                dropped.map_err(Error::refused("the resume record"))?;
            }
            result => return result,
        }
    }
    transfer(state, approved, choice, slot, None, source, progress).await
}

async fn transfer<'b>(
    state: &State,
    approved: Approved<'b>,
    choice: &Choice,
    slot: Slot,
    hint: Option<&[u8]>,
    source: &mut impl PayloadSource,
    progress: &mut impl Progress,
) -> Result<VerifiedImage<'b>> {
    let mut slots = state.slots(true)?;
    let flusher = SlotFile::open(&state.slot_path(slot), state.config.slot_size, true)?;
    let (flash, base) = slots.split(slot);
    let mut decoder = Box::new(HostDecoder::new());
    let refused = || Error::refused(format!("the payload {}", choice.payload().digest));
    let mut install: FileInstall<'_, '_> =
        Install::begin(approved, choice, slot, flash, Some(base), &mut *decoder, hint).map_err(refused())?;
    if install.next_offset() > 0 {
        info!(offset = install.next_offset(), "going on where an earlier attempt stood");
    }
    pump(state, &mut install, choice, &flusher, source, progress).await?;
    let verified = install.finish().map_err(refused())?;
    // What was read back must be what a power cut leaves.
    flusher.sync()?;
    Ok(verified)
}

/// Moves bytes from the source to the installation until it has all.
async fn pump(
    state: &State,
    install: &mut FileInstall<'_, '_>,
    choice: &Choice,
    flusher: &SlotFile,
    source: &mut impl PayloadSource,
    progress: &mut impl Progress,
) -> Result<()> {
    let mut hinted = install.hinted();
    let mut failures = 0;
    while install.next_offset() < choice.payload().length {
        let before = install.next_offset();
        let pumped = pump_once(state, install, choice, flusher, &mut hinted, failures, source, progress).await;
        if install.next_offset() != before {
            failures = 0;
        }
        match pumped {
            Ok(()) => {}
            Err(error) if error.is_passing() && failures + 1 < MOST_FAILURES => {
                failures += 1;
                warn!(%error, failures, "the payload's source failed: asking again");
                tokio::time::sleep(super::run::backoff(failures, Duration::from_secs(30))).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one attempt of `pump`, which owns all of it")]
async fn pump_once(
    state: &State,
    install: &mut FileInstall<'_, '_>,
    choice: &Choice,
    flusher: &SlotFile,
    hinted: &mut u32,
    failures: u32,
    source: &mut impl PayloadSource,
    progress: &mut impl Progress,
) -> Result<()> {
    let payload = choice.payload();
    source.start(payload, install.next_offset(), failures).await?;
    while let Some(chunk) = source.next().await? {
        let next = install.push(&chunk).map_err(Error::refused(format!("the payload {}", payload.digest)))?;
        progress.at(choice, install.next_offset()).await?;
        if install.hinted().saturating_sub(*hinted) >= HINT_STEP {
            *hinted = install.hinted();
            // In this order: the record says that the slot has it.
            flusher.sync()?;
            let mut record = [0; HINT_RECORD_MAX];
            if let Some(length) = install.hint(&mut record).map_err(Error::refused("the resume record"))? {
                state.records().store(RecordId::Resume, record.get(..length).unwrap_or(&record))?;
            }
        }
        match next {
            Next::More => {}
            Next::Seek(_) => return Ok(()),
            // What follows the last byte is the installation's to refuse.
            Next::Done => {
                if let Some(more) = source.next().await? {
                    install.push(&more).map_err(Error::refused(format!("the payload {}", payload.digest)))?;
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

/// The next boot tries a verified image.
pub fn activate(state: &State, verified: VerifiedImage<'_>) -> Result<()> {
    let mut scratch = vec![0; SLOT_RECORD_MAX];
    state.control().activate(verified, &mut scratch).map_err(Error::refused("the activation"))
}
