//! Bodies of one frame: zstd whose window is base and target laid end to end. What lies behind its window in memory is read where it
//! is, so that a frame reaches as far in 24 KiB as in megabytes.

use sealift_manifests::delta_format::READ_BACK_MARGIN;

use super::{
    super::{
        error::Fault,
        io::{BaseReader, Output},
        zstd::Images,
    },
    Machine, Parts,
};

/// Base and target, while a block is decoded.
pub(super) struct Reach<'a, B: BaseReader, O: Output> {
    pub(super) base: &'a mut B,
    pub(super) output: &'a mut O,
    pub(super) base_len: u32,
    /// Bytes of target written.
    pub(super) written: u32,
    /// Whether a match may begin outside of the window: not in a payload of plain zstd frames.
    pub(super) reaches: bool,
    /// What failed first; nothing is read or written after it.
    pub(super) fault: Option<Fault<B::Error, O::Error>>,
}

impl<B: BaseReader, O: Output> Images for Reach<'_, B, O> {
    fn write(&mut self, bytes: &[u8]) {
        if self.fault.is_none() {
            self.fault = self.output.write(self.written, bytes).err().map(Fault::Output);
            self.written = self.written.saturating_add(bytes.len() as u32);
        }
    }

    fn read(&mut self, distance: u32, bytes: &mut [u8]) -> usize {
        let own = self.written.checked_sub(distance);
        // Up to the margin, or to the base's end.
        let (place, most) = match own {
            Some(place) => (Some(place), distance.saturating_sub(READ_BACK_MARGIN)),
            None => {
                let back = distance.wrapping_sub(self.written);
                (self.base_len.checked_sub(back), back)
            }
        };
        let count = bytes.len().min(most as usize);
        let (Some(place), Some(bytes), None, true) = (place, bytes.get_mut(..count), &self.fault, self.reaches) else {
            return 0;
        };
        self.fault = if own.is_some() {
            self.output.read_back(place, bytes).err().map(Fault::Output)
        } else {
            self.base.read_at(place, bytes).err().map(Fault::Base)
        };
        count
    }
}

impl Machine {
    /// Begins a section of the frame. Behind a resume point the window is filled from the target: the only time that its last bytes
    /// are read.
    pub(super) fn begin_frame<B, O: Output>(
        &mut self,
        recent: [u32; 3],
        parts: &mut Parts<'_>,
        output: &mut O,
    ) -> Result<(), Fault<B, O::Error>> {
        let before = self.streams.begin_frame(self.written, recent, parts.windows);
        if !before.is_empty() {
            let from = self.written.saturating_sub(before.len() as u32);
            output.read_back(from, before).map_err(Fault::Output)?;
        }
        Ok(())
    }
}
