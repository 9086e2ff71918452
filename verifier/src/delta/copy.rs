//! Copies: from the base or from the target written so far, with predicted fields and a sparse difference.

use sealift_manifests::delta_format::{Arch, Header, READ_BACK_MARGIN, field, stream};

use super::{
    decoder::Pause,
    error::{DeltaError, Fault},
    io::{BaseReader, Output},
    map::{AddressMap, Region},
    predict::{self, LOOKAHEAD, MapMover, Place},
    prelude::unzigzag,
    streams::{Streams, Varint},
};

/// Bytes a decoder of a class copies at a time.
pub(super) const WORK: usize = 320;
/// Diagonals (source minus place) that an operation can name by a small number.
pub(super) const RECENT: usize = 4;

/// A stretch of a copy inside of one region.
#[derive(Clone, Copy)]
struct Piece {
    arch: Arch,
    /// First address of the piece, and its length (0: nothing moves with it).
    start: u32,
    len: u32,
    /// Old and new address of `work[0]`.
    from: u32,
    to: u32,
}

/// A copy at hand, and what lasts from copy to copy of a section.
pub(super) struct Copier {
    /// The latest diagonals, newest first.
    recent: [u32; RECENT],
    /// Next byte to read, as an offset into base and target laid end to end.
    source: u32,
    /// Bytes not yet read into `work`.
    unread: u32,
    from_target: bool,
    /// Offset in the target of the next byte to read.
    to: u32,
    /// Bytes until the next region starts, where a new piece begins.
    piece_left: u32,
    /// Where the piece at hand was and goes; no prediction without.
    piece: Option<Piece>,
    /// `work[..filled]` is read, `work[..scanned]` has its fields predicted, `work[..ready]` may be corrected and written,
    /// `work[..corrected]` is corrected.
    filled: usize,
    scanned: usize,
    ready: usize,
    corrected: usize,
    /// Zero bytes of difference before the next one that is not; `None`: not yet read.
    run: Option<u32>,
    number: Varint,
}

impl Copier {
    pub(super) const NEW: Self = Self {
        recent: [0; RECENT],
        source: 0,
        unread: 0,
        from_target: false,
        to: 0,
        piece_left: 0,
        piece: None,
        filled: 0,
        scanned: 0,
        ready: 0,
        corrected: 0,
        run: None,
        number: Varint::NEW,
    };

    pub(super) fn begin_section(&mut self) {
        self.recent = [0; RECENT];
        self.run = None;
        self.number = Varint::NEW;
        (self.filled, self.scanned, self.ready, self.corrected) = (0, 0, 0, 0);
    }

    /// At a section's end no run may be half used.
    pub(super) fn drained(&self) -> bool {
        self.run.is_none_or(|run| run == 0)
    }

    /// Starts a copy of `len` bytes to `to`. `code` names its diagonal: 0 to 3 a recent one, else a step from the newest.
    pub(super) fn begin(&mut self, code: u32, len: u32, to: u32, header: &Header) -> Result<(), DeltaError> {
        let newest = self.recent.first().copied().unwrap_or(0);
        let (diagonal, depth) = match self.recent.get(code as usize) {
            Some(diagonal) => (*diagonal, code as usize),
            None => (newest.wrapping_add(unzigzag(code.wrapping_sub(RECENT as u32))), RECENT - 1),
        };
        // To the front, and those before it one place on. (`rotate_right` is 800 bytes of a device's code.)
        let mut carried = diagonal;
        for place in self.recent.iter_mut().take(depth.saturating_add(1)) {
            core::mem::swap(place, &mut carried);
        }
        self.source = to.wrapping_add(diagonal);
        let end = self.source.checked_add(len).ok_or(DeltaError::SourceBounds)?;
        self.from_target = self.source >= header.base_len;
        let limit = if !self.from_target {
            header.base_len
        } else if header.fields & field::READ_BACK != 0 {
            header.base_len.saturating_add(to.saturating_sub(READ_BACK_MARGIN))
        } else {
            0
        };
        if end > limit {
            return Err(DeltaError::SourceBounds);
        }
        self.unread = len;
        (self.filled, self.scanned, self.ready, self.corrected) = (0, 0, 0, 0);
        self.to = to;
        self.piece_left = 0;
        Ok(())
    }

    /// Whether there is something to correct and write.
    pub(super) fn filled(&self) -> bool {
        self.ready > 0
    }

    /// Reads and predicts the next bytes.
    pub(super) fn fill<B: BaseReader, O: Output>(
        &mut self,
        header: &Header,
        map: &AddressMap<'_>,
        work: &mut [u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<(), Fault<B::Error, O::Error>> {
        if self.piece_left == 0 {
            self.next_piece(header, map);
        }
        let room = work.get_mut(self.filled..).unwrap_or(&mut []);
        let count = room.len().min(self.piece_left as usize);
        let room = room.get_mut(..count).unwrap_or(&mut []);
        if self.from_target {
            let offset = self.source.wrapping_sub(header.base_len);
            output.read_back(offset, room).map_err(Fault::Output)?;
        } else {
            base.read_at(self.source, room).map_err(Fault::Base)?;
        }
        self.source = self.source.wrapping_add(count as u32);
        self.to = self.to.wrapping_add(count as u32);
        self.unread = self.unread.saturating_sub(count as u32);
        self.piece_left = self.piece_left.saturating_sub(count as u32);
        self.filled = self.filled.saturating_add(count);
        self.ready = self.filled;
        if let Some(Piece { arch, start, len, from, to }) = self.piece {
            if self.piece_left > 0 {
                self.ready = self.filled.saturating_sub(LOOKAHEAD);
            }
            let moved = if self.from_target { map.unmoved() } else { *map };
            let mover = MapMover { map: moved, piece: start, len, shift: to.wrapping_sub(from) };
            let place = Place { arch, fields: header.fields, map: *map, mover, from, to, pinned: false };
            let bytes = work.get_mut(..self.filled).unwrap_or(&mut []);
            self.scanned = predict::retarget(bytes, self.scanned, self.ready, &place);
        }
        Ok(())
    }

    /// Begins the piece that the next byte belongs to.
    fn next_piece(&mut self, header: &Header, map: &AddressMap<'_>) {
        self.scanned = 0;
        let (region, address) = if self.from_target {
            let offset = self.source.wrapping_sub(header.base_len);
            let region = map.target_region(offset);
            self.piece_left = self.unread;
            (region, region.map_or(0, |region| offset.wrapping_add(region.target_bias)))
        } else {
            let region = map.region_of(self.source);
            self.piece_left = self.unread.min(map.until_next_region(self.source));
            let within = |region: &Region| self.source.wrapping_sub(region.base.unwrap_or(0));
            (region, region.map_or(0, |region| region.address.wrapping_add(within(region))))
        };
        self.piece = region.map(|region| Piece {
            arch: if region.code { header.arch } else { Arch::None },
            start: address,
            len: if self.from_target { 0 } else { self.piece_left },
            from: address,
            to: self.to.wrapping_add(region.target_bias),
        });
    }

    /// Adds the sparse difference to what is ready.
    pub(super) fn correct(
        &mut self,
        streams: &mut Streams,
        windows: &[u8],
        work: &mut [u8],
    ) -> Result<Result<(), Pause>, DeltaError> {
        while self.corrected < self.ready {
            let run = match self.run {
                Some(run) => run,
                None => match streams.varint(stream::RUN, &mut self.number, windows)? {
                    Ok(run) => *self.run.insert(run),
                    Err(pause) => return Ok(Err(pause)),
                },
            };
            let skip = (self.ready.saturating_sub(self.corrected) as u32).min(run);
            self.corrected = self.corrected.saturating_add(skip as usize);
            self.run = Some(run.saturating_sub(skip));
            if run > skip || self.corrected == self.ready {
                continue;
            }
            match streams.byte(stream::DIFFERENCE, windows) {
                Ok(byte) => {
                    if let Some(place) = work.get_mut(self.corrected) {
                        *place = place.wrapping_add(byte);
                    }
                    self.corrected = self.corrected.saturating_add(1);
                    self.run = None;
                }
                Err(pause) => return Ok(Err(pause)),
            }
        }
        Ok(Ok(()))
    }

    /// Writes what is ready. `true`: the copy is complete.
    pub(super) fn flush<B, O: Output>(
        &mut self,
        written: &mut u32,
        work: &mut [u8],
        output: &mut O,
    ) -> Result<bool, Fault<B, O::Error>> {
        let bytes = work.get(..self.ready).unwrap_or(&[]);
        output.write(*written, bytes).map_err(Fault::Output)?;
        let count = bytes.len();
        *written = written.saturating_add(count as u32);
        if let Some(piece) = &mut self.piece {
            piece.from = piece.from.wrapping_add(count as u32);
            piece.to = piece.to.wrapping_add(count as u32);
        }
        // What is left moves to the front, by exchanges: a device has no other use for `memmove`, which is 760 bytes.
        for (to, from) in (count..self.filled).enumerate() {
            let (Some(old), Some(new)) = (work.get(to).copied(), work.get(from).copied()) else { break };
            for (at, byte) in [(to, new), (from, old)] {
                if let Some(place) = work.get_mut(at) {
                    *place = byte;
                }
            }
        }
        self.filled = self.filled.saturating_sub(count);
        self.scanned = self.scanned.saturating_sub(count);
        (self.ready, self.corrected) = (0, 0);
        Ok(self.unread == 0 && self.filled == 0)
    }
}
