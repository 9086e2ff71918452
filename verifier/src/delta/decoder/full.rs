//! Codecs 0 and 1, the full image: as it is, or as zstd frames.

use sealift_manifests::delta_format::STREAMS;

use super::{
    super::{
        error::{DeltaError, Fault},
        io::Output,
        resume::ResumePoint,
        zstd::FrameHeader,
    },
    Machine, Parts, Pause, Step,
};

impl Machine {
    /// Codec 0: the payload is the image.
    pub(super) fn raw<B, O: Output>(&mut self, rest: &mut &[u8], output: &mut O) -> Result<(), Fault<B, O::Error>> {
        let left = self.payload.target_len.saturating_sub(self.written) as usize;
        let (now, later) = rest.split_at_checked(left.min(rest.len())).ok_or(DeltaError::OutputBounds)?;
        if !now.is_empty() {
            output.write(self.written, now).map_err(Fault::Output)?;
        }
        self.written = self.written.saturating_add(now.len() as u32);
        self.at = self.at.saturating_add(now.len() as u32);
        self.mark = ResumePoint::new(&self.payload, self.at, self.written);
        *rest = later;
        if self.written == self.payload.target_len {
            self.step = Step::Done;
        }
        Ok(())
    }

    pub(super) fn frame_rest(&mut self, parts: &mut Parts<'_>) -> Result<Result<(), Pause>, DeltaError> {
        let start = self.frame.as_ref().ok_or(DeltaError::Zstd)?;
        let len = start.rest();
        if self.gathered < len {
            return Ok(Err(Pause::Bytes(len as u8)));
        }
        let header: FrameHeader = start.finish(parts.block.get(..len).unwrap_or(&[]))?;
        self.gathered = 0;
        let log = header.window.max(1 << 10).checked_next_power_of_two().ok_or(DeltaError::TooLarge)?.ilog2() as u8;
        // Without room for a block beside it, a window is of no use.
        if log > parts.limits.zstd().0 {
            return Err(DeltaError::TooLarge);
        }
        self.checksum = header.checksum;
        // One stream has all the windows; the others stay empty.
        let mut logs = [0; STREAMS];
        logs[0] = log;
        self.streams.reset(&logs);
        self.section_end = self.payload.target_len;
        self.step = Step::Frame;
        Ok(Ok(()))
    }

    /// What its blocks yield was written when they were decoded.
    pub(super) fn frame(&mut self) -> Result<(), Pause> {
        if !self.streams.ended(0) {
            return Err(Pause::Block(0));
        }
        if self.checksum {
            self.step = Step::Checksum;
        } else {
            self.end_frame();
        }
        Ok(())
    }

    pub(super) fn end_frame(&mut self) {
        self.mark = ResumePoint::new(&self.payload, self.at, self.written);
        self.step = if self.written == self.payload.target_len { Step::Done } else { Step::FrameStart };
    }
}
