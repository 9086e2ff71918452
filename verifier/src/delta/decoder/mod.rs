//! The decoder's state machine: payload bytes in, base reads, target bytes out.

mod body;
mod full;
mod lent;
mod reach;

pub use lent::{DecoderIn, Lent};

use sealift_manifests::delta_format::{Codec, HEADER_LEN, Header, Limits, STREAMS};

use super::{
    Payload, Progress, State,
    copy::{Copier, WORK},
    error::{DeltaError, Fault},
    io::{BaseReader, Output},
    map::AddressMap,
    predict,
    prelude::{Mapping, PreludeReader},
    resume::ResumePoint,
    streams::{Streams, Varint},
    zstd::{BlockHeader, FrameStart, Images},
};
use reach::Reach;

/// Bytes of a section's header: the number of target bytes it yields.
const SECTION_HEADER: usize = 4;
/// Bytes of one in a body of one frame: the recent offsets that it starts with come behind that number.
const FRAME_SECTION: usize = 16;

/// What comes next in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Not started, or failed.
    Stopped,
    /// Raw image bytes.
    Raw,
    /// The delta's header.
    Header,
    /// The delta's address map.
    Prelude,
    /// The payload goes on at the resume point.
    Jump,
    /// A section of the delta.
    Section,
    /// An operation: its literal length, copy length and source.
    LiteralLen,
    CopyLen,
    Diagonal,
    DiagonalLow,
    /// The operation's literals, then its copy.
    Literals,
    Copy,
    /// A block of a body that is one frame.
    Body,
    /// A zstd frame: first five bytes of its header, the rest, its blocks, its checksum.
    FrameStart,
    FrameRest,
    Frame,
    Checksum,
    /// Everything is written.
    Done,
}

/// What a step found missing.
pub(super) enum Pause {
    /// So many bytes of payload, gathered at the start of the block buffer: a header's.
    Bytes(u8),
    /// The next block of this stream.
    Block(u8),
}

/// The next part of the operation at hand.
#[derive(Clone, Copy)]
struct Operation {
    literals: u32,
    copy: u32,
    /// The number that names the diagonal, as far as it was read, and the bytes of it that are missing.
    diagonal: u32,
    missing: u8,
}

/// Decodes a payload of any [`Codec`] in a fixed amount of RAM. See the [module](super) for how to drive it.
///
/// `MEMORY` bytes are shared by the streams' windows and the block at hand, `SHIFTS` bounds the shift table; the aliases
/// [`Decoder16K`](super::Decoder16K) to [`HostDecoder`](super::HostDecoder) are the RAM classes.
///
/// What is small and often used stands first, here and in the structures below: a microcontroller reaches the first few hundred
/// bytes behind a pointer in one instruction.
#[repr(C)]
pub struct Decoder<const MEMORY: usize, const SHIFTS: usize> {
    machine: Machine,
    work: [u8; WORK],
    keys: [u32; SHIFTS],
    shifts: [u32; SHIFTS],
    memory: [u8; MEMORY],
}

/// Everything whose size does not depend on the class.
#[repr(C)]
struct Machine {
    payload: Payload,
    resume: Option<ResumePoint>,
    /// The latest place from which decoding can start.
    mark: ResumePoint,
    step: Step,
    header: Option<Header>,
    /// Offset of the next byte of payload.
    at: u32,
    /// Bytes of target written.
    written: u32,
    /// Bytes in the block buffer.
    gathered: usize,
    /// A block whose header was read and whose content is missing.
    pending: Option<(usize, BlockHeader)>,
    /// A zstd frame whose header was begun.
    frame: Option<FrameStart>,
    checksum: bool,
    number: Varint,
    prelude: PreludeReader,
    section_end: u32,
    operation: Operation,
    copier: Copier,
    mapping: Mapping,
    streams: Streams,
}

/// What a class sizes, and what is copied at a time.
struct Store<'a> {
    memory: &'a mut [u8],
    work: &'a mut [u8],
    keys: &'a mut [u32],
    shifts: &'a mut [u32],
    limits: Limits,
}

/// The parts of a decoder that one step works on.
struct Parts<'a> {
    /// The streams' windows.
    windows: &'a mut [u8],
    /// What they leave: the block at hand.
    block: &'a mut [u8],
    work: &'a mut [u8],
    keys: &'a mut [u32],
    shifts: &'a mut [u32],
    limits: Limits,
}

impl<const MEMORY: usize, const SHIFTS: usize> Default for Decoder<MEMORY, SHIFTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const MEMORY: usize, const SHIFTS: usize> Decoder<MEMORY, SHIFTS> {
    /// A decoder that was not started. `const`, so that it can be a `static` and never pass over a small stack.
    pub const fn new() -> Self {
        Self { machine: Machine::new(), work: [0; WORK], memory: [0; MEMORY], keys: [0; SHIFTS], shifts: [0; SHIFTS] }
    }

    /// Starts on `payload`, from its first byte or from a resume point. The output must then go on at
    /// [`ResumePoint::output`]. Whatever was going on before is forgotten.
    ///
    /// # Errors
    /// [`DeltaError::Resume`] if the point belongs to another payload: start again without one.
    pub fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        self.machine.start(payload, resume)
    }

    /// Takes the next bytes of the payload, in pieces of any size; everything they allow is written before the call returns.
    ///
    /// # Errors
    /// [`Fault`]; the decoder is then stopped, and only [`Self::start`] revives it.
    pub fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>> {
        let Self { machine, work, memory, keys, shifts } = self;
        let mut store = Store { memory, work, keys, shifts, limits: Self::LIMITS };
        let result = machine.push(input, &mut store, base, output);
        if result.is_err() {
            self.machine.step = Step::Stopped;
        }
        result
    }

    /// The latest place to continue from after a reset. Persist it only when the output up to [`ResumePoint::output`] is durable.
    pub fn resume_point(&self) -> ResumePoint {
        self.machine.mark
    }

    /// Offset in the payload of the next byte that [`Self::push`] wants.
    pub fn next_offset(&self) -> u32 {
        self.machine.at
    }

    /// Bytes of target written, those before the resume point included.
    pub fn written(&self) -> u32 {
        self.machine.written
    }

    /// The delta's header, once it was read and checked.
    pub fn header(&self) -> Option<&Header> {
        self.machine.header.as_ref()
    }

    /// The delta's address map, as far as its prelude was read.
    pub fn map(&self) -> AddressMap<'_> {
        self.machine.mapping.map(&self.keys, &self.shifts)
    }
}

impl Machine {
    /// A function and no constant: its zeros are then set, not copied from 6.7 KiB of flash.
    const fn new() -> Self {
        Self {
            payload: Payload::NONE,
            resume: None,
            mark: ResumePoint::NONE,
            step: Step::Stopped,
            header: None,
            at: 0,
            written: 0,
            gathered: 0,
            pending: None,
            frame: None,
            checksum: false,
            number: Varint::NEW,
            prelude: PreludeReader::NEW,
            section_end: 0,
            operation: Operation { literals: 0, copy: 0, diagonal: 0, missing: 0 },
            copier: Copier::NEW,
            streams: Streams::NEW,
            mapping: Mapping::NEW,
        }
    }

    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        self.step = Step::Stopped;
        if let Some(point) = &resume {
            point.check(payload)?;
        }
        self.payload = *payload;
        self.mark = resume.unwrap_or(ResumePoint::new(payload, 0, 0));
        self.resume = resume;
        self.header = None;
        self.streams.reset(&[0; STREAMS]);
        self.pending = None;
        self.frame = None;
        self.number = Varint::NEW;
        self.gathered = 0;
        // A delta's header and prelude are read first in any case; the other codecs go on where they were.
        (self.at, self.written) = match (payload.codec, &resume) {
            (Codec::Delta, _) | (_, None) => (0, 0),
            (_, Some(point)) => (point.payload(), point.output()),
        };
        self.step = match payload.codec {
            Codec::Raw => Step::Raw,
            Codec::Zstd => Step::FrameStart,
            Codec::Delta => Step::Header,
        };
        Ok(())
    }

    #[inline(never)] // a caller's frame and registers are its own
    fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        store: &mut Store<'_>,
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>> {
        let mut rest = input;
        loop {
            let windows = self.streams.windows();
            let (windows, block) = store.memory.split_at_mut_checked(windows).ok_or(DeltaError::TooLarge)?;
            let (work, keys, shifts) = (&mut *store.work, &mut *store.keys, &mut *store.shifts);
            let parts = &mut Parts { windows, block, work, keys, shifts, limits: store.limits };
            let state = match self.step {
                Step::Stopped => return Err(DeltaError::NotRunning.into()),
                Step::Done if rest.is_empty() => State::Done,
                Step::Done => return Err(DeltaError::Trailing.into()),
                Step::Jump => {
                    self.step = Step::Section;
                    let (at, written) = (self.mark.payload(), self.mark.output());
                    (self.at, self.written) = (at, written);
                    State::Seek(at)
                }
                Step::Raw => {
                    self.raw(&mut rest, output)?;
                    if self.step == Step::Done { continue } else { State::NeedInput }
                }
                _ => {
                    let Err(pause) = self.advance(parts, base, output)? else { continue };
                    if self.fetch(pause, &mut rest, parts, base, output)? {
                        continue;
                    }
                    State::NeedInput
                }
            };
            return Ok(Progress { consumed: input.len().saturating_sub(rest.len()), state });
        }
    }

    /// Gathers what a step paused for. `false`: the input is used up.
    fn fetch<B: BaseReader, O: Output>(
        &mut self,
        pause: Pause,
        rest: &mut &[u8],
        parts: &mut Parts<'_>,
        base: &mut B,
        output: &mut O,
    ) -> Result<bool, Fault<B::Error, O::Error>> {
        let stream = match pause {
            Pause::Bytes(count) => return Ok(self.gather(count.into(), rest, parts)?),
            Pause::Block(stream) => stream.into(),
        };
        if self.pending.is_none() {
            if self.streams.ended(stream) {
                return Err(DeltaError::Operation.into());
            }
            if !self.gather(3, rest, parts)? {
                return Ok(false);
            }
            let bytes = parts.block.first_chunk::<3>().ok_or(DeltaError::TooLarge)?;
            let header = BlockHeader::parse(*bytes).map_err(DeltaError::from)?;
            self.gathered = 0;
            self.pending = Some((stream, header));
        }
        let Some((stream, header)) = self.pending else { return Ok(true) };
        let content = header.content() as usize;
        if !self.gather(content, rest, parts)? {
            return Ok(false);
        }
        let (base_len, written, reaches) = (self.payload.base_len, self.written, self.step == Step::Body);
        let mut reach = Reach { base, output, base_len, written, reaches, fault: None };
        let (mut most, mut images) = (None, None);
        if matches!(self.step, Step::Body | Step::Frame) {
            let left = self.section_end.saturating_sub(written);
            // A plain frame's blocks are no larger than its window (RFC 8878 section 3.1.1.2.4).
            most = Some(if reaches { left } else { left.min(parts.windows.len() as u32) });
            images = Some(&mut reach as &mut dyn Images);
        }
        let content = parts.block.get(..content).ok_or(DeltaError::TooLarge)?;
        let decoded = self.streams.block(stream, header, content, parts.windows, most, images);
        let Reach { written, fault, .. } = reach;
        if let Some(fault) = fault {
            return Err(fault);
        }
        decoded?;
        self.written = written;
        self.gathered = 0;
        self.pending = None;
        Ok(true)
    }

    /// Fills the block buffer up to `count` bytes.
    fn gather(&mut self, count: usize, rest: &mut &[u8], parts: &mut Parts<'_>) -> Result<bool, DeltaError> {
        let room = parts.block.get_mut(self.gathered..count).ok_or(DeltaError::TooLarge)?;
        let (now, later) = rest.split_at_checked(room.len().min(rest.len())).unwrap_or((rest, &[]));
        room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
        self.gathered = self.gathered.saturating_add(now.len());
        self.at = self.at.checked_add(now.len() as u32).ok_or(DeltaError::Trailing)?;
        *rest = later;
        Ok(self.gathered == count)
    }

    /// The gathered bytes, which are then used up.
    fn taken<'a, const N: usize>(&mut self, parts: &'a Parts<'_>) -> Result<&'a [u8; N], Pause> {
        if self.gathered < N {
            return Err(Pause::Bytes(N as u8));
        }
        self.gathered = 0;
        parts.block.first_chunk::<N>().ok_or(Pause::Bytes(N as u8))
    }

    /// Runs one step. The outer error is final; the inner one says what is missing.
    fn advance<B: BaseReader, O: Output>(
        &mut self,
        parts: &mut Parts<'_>,
        base: &mut B,
        output: &mut O,
    ) -> Result<Result<(), Pause>, Fault<B::Error, O::Error>> {
        Ok(match self.step {
            Step::Header => match self.taken::<HEADER_LEN>(parts) {
                Ok(bytes) => {
                    let header = Header::parse(bytes).map_err(DeltaError::Header)?;
                    self.accept(&header, &parts.limits, O::CAN_READ_BACK)?;
                    Ok(())
                }
                Err(pause) => Err(pause),
            },
            Step::Prelude => self.read_prelude(parts)?,
            Step::Section => {
                let frame = self.header.as_ref().is_some_and(Header::is_frame);
                let len = if frame { FRAME_SECTION } else { SECTION_HEADER };
                if self.gathered < len {
                    Err(Pause::Bytes(len as u8))
                } else {
                    self.gathered = 0;
                    let word = |at| predict::word(parts.block, at).unwrap_or(0);
                    let (yields, recent) = (word(0), [word(4), word(8), word(12)]);
                    self.begin_section(yields)?;
                    if frame {
                        self.begin_frame(recent, parts, output)?;
                    }
                    Ok(())
                }
            }
            Step::Body if self.written == self.section_end => {
                self.next_section();
                Ok(())
            }
            Step::Body => Err(Pause::Block(0)),
            Step::LiteralLen | Step::CopyLen | Step::Diagonal | Step::DiagonalLow => self.read_operation(parts)?,
            Step::Literals => self.literals(parts, output)?,
            Step::Copy => self.copy(parts, base, output)?,
            Step::FrameStart => match self.taken::<{ FrameStart::LEN }>(parts) {
                Ok(bytes) => {
                    self.frame = Some(FrameStart::parse(*bytes).map_err(DeltaError::from)?);
                    self.step = Step::FrameRest;
                    Ok(())
                }
                Err(pause) => Err(pause),
            },
            Step::FrameRest => self.frame_rest(parts)?,
            Step::Frame => self.frame(),
            Step::Checksum => match self.taken::<4>(parts) {
                Ok(_) => {
                    self.end_frame();
                    Ok(())
                }
                Err(pause) => Err(pause),
            },
            Step::Stopped | Step::Raw | Step::Jump | Step::Done => Ok(()),
        })
    }
}
