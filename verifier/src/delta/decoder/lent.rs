//! A decoder whose memory is the caller's, as large as the payload at hand asks for.

use sealift_manifests::delta_format::{Limits, RamClass};

use super::{
    super::{
        Payload, Progress,
        error::{DeltaError, Fault},
        io::{BaseReader, Output},
        map::AddressMap,
        predict::LOOKAHEAD,
        resume::ResumePoint,
    },
    Machine, Step, Store,
};

/// Memory that is lent to a [`DecoderIn`]. Its lengths are the decoder's limits; what is in it does not matter.
#[derive(Debug)]
pub struct Lent<'m> {
    /// The streams' windows and the block at hand.
    pub memory: &'m mut [u8],
    /// What is copied at a time: at least 256 bytes; some KiB are faster.
    pub work: &'m mut [u8],
    /// Keys of the shift table.
    pub keys: &'m mut [u32],
    /// Its shifts; as many as keys.
    pub shifts: &'m mut [u32],
}

/// The decoder of a host, which has the memory to spare but not the time to clear 2 MiB for a delta of 2 KiB. It is driven like
/// [`Decoder`](super::Decoder) and is the same machine.
pub struct DecoderIn<'m> {
    machine: Machine,
    store: Store<'m>,
}

impl<'m> DecoderIn<'m> {
    /// Fewest bytes of [`Lent::work`]: a field and what takes part in its recognition, some times over.
    pub const LEAST_WORK: usize = 256;

    /// A decoder that was not started.
    ///
    /// # Errors
    /// [`DeltaError::TooLarge`] if the work buffer is shorter than [`Self::LEAST_WORK`].
    pub fn new(lent: Lent<'m>) -> Result<Self, DeltaError> {
        const { assert!(Self::LEAST_WORK > 2 * LOOKAHEAD) };
        let Lent { memory, work, keys, shifts } = lent;
        if work.len() < Self::LEAST_WORK {
            return Err(DeltaError::TooLarge);
        }
        let host = RamClass::Host.limits();
        let entries = keys.len().min(shifts.len()).min(usize::from(host.shifts));
        let limits = Limits { memory: memory.len().min(host.memory as usize) as u32, shifts: entries as u16 };
        Ok(Self { machine: Machine::new(), store: Store { memory, work, keys, shifts, limits } })
    }

    /// As [`Decoder::start`](super::Decoder::start).
    ///
    /// # Errors
    /// The same.
    pub fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        self.machine.start(payload, resume)
    }

    /// As [`Decoder::push`](super::Decoder::push).
    ///
    /// # Errors
    /// The same.
    pub fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>> {
        let result = self.machine.push(input, &mut self.store, base, output);
        if result.is_err() {
            self.machine.step = Step::Stopped;
        }
        result
    }

    /// The delta's address map, as far as its prelude was read.
    pub fn map(&self) -> AddressMap<'_> {
        self.machine.mapping.map(self.store.keys, self.store.shifts)
    }
}
