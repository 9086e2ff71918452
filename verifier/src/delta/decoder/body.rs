//! Codec 2, a delta: header, address map, then sections of operations.

use sealift_manifests::delta_format::{Header, Limits, field, stream};

use super::{
    super::{
        error::{DeltaError, Fault},
        io::{BaseReader, Output},
        predict,
        prelude::{Mapping, PreludeReader},
        resume::ResumePoint,
    },
    Machine, Parts, Pause, Step,
};

impl Machine {
    /// The header must be of the payload that the signed metadata announced, and fit.
    pub(super) fn accept(&mut self, header: &Header, limits: &Limits, read_back: bool) -> Result<(), DeltaError> {
        let expected = &self.payload;
        if header.base_len != expected.base_len
            || header.base_sha256 != expected.base_sha256
            || header.target_len != expected.target_len
            || header.target_sha256 != expected.target_sha256
        {
            return Err(DeltaError::WrongImages);
        }
        if !header.fits(limits) || !predict::knows(header.arch) {
            return Err(DeltaError::TooLarge);
        }
        if header.fields & field::READ_BACK != 0 && !read_back {
            return Err(DeltaError::NeedsReadBack);
        }
        self.header = Some(*header);
        self.mapping = Mapping::NEW;
        self.streams.reset(&header.window_logs);
        self.prelude = PreludeReader::new(header);
        self.step = Step::Prelude;
        Ok(())
    }

    pub(super) fn read_prelude(&mut self, parts: &mut Parts<'_>) -> Result<Result<(), Pause>, DeltaError> {
        let body = self.header.as_ref().ok_or(DeltaError::NotRunning)?.body;
        while !self.prelude.done() {
            let value = match self.streams.varint(stream::LITERAL, &mut self.number, parts.windows)? {
                Ok(value) => value,
                Err(pause) => return Ok(Err(pause)),
            };
            self.prelude.take(value, &mut self.mapping, parts.keys, parts.shifts)?;
        }
        if !self.streams.drained() || self.at != body {
            return Err(DeltaError::Prelude);
        }
        match &self.resume {
            Some(point) if point.output() > 0 => {
                if point.payload() < body {
                    return Err(DeltaError::Resume);
                }
                self.step = Step::Jump;
            }
            _ => self.next_section(),
        }
        Ok(Ok(()))
    }

    pub(super) fn next_section(&mut self) {
        self.step = if self.written == self.payload.target_len { Step::Done } else { Step::Section };
        self.mark = ResumePoint::new(&self.payload, self.at, self.written);
    }

    pub(super) fn begin_section(&mut self, len: u32) -> Result<(), DeltaError> {
        let end = self.written.checked_add(len).filter(|&end| len > 0 && end <= self.payload.target_len);
        self.section_end = end.ok_or(DeltaError::OutputBounds)?;
        let header = self.header.as_ref().ok_or(DeltaError::NotRunning)?;
        if header.is_frame() {
            self.step = Step::Body;
            return Ok(());
        }
        self.streams.reset(&header.window_logs);
        self.copier.begin_section();
        self.step = Step::LiteralLen;
        Ok(())
    }

    pub(super) fn read_operation(&mut self, parts: &mut Parts<'_>) -> Result<Result<(), Pause>, DeltaError> {
        if self.step == Step::LiteralLen && self.written == self.section_end {
            if !self.streams.drained() || !self.copier.drained() {
                return Err(DeltaError::Operation);
            }
            self.next_section();
            return Ok(Ok(()));
        }
        let windows = &*parts.windows;
        loop {
            match self.step {
                Step::LiteralLen => match self.streams.varint(stream::LITERAL_LEN, &mut self.number, windows)? {
                    Ok(value) => {
                        self.operation.literals = value;
                        self.step = Step::CopyLen;
                    }
                    Err(pause) => return Ok(Err(pause)),
                },
                Step::CopyLen => match self.streams.varint(stream::COPY_LEN, &mut self.number, windows)? {
                    Ok(value) => {
                        self.operation.copy = value;
                        let total = self.operation.literals.checked_add(value).ok_or(DeltaError::OutputBounds)?;
                        if total == 0 {
                            return Err(DeltaError::Operation);
                        }
                        if total > self.section_end.saturating_sub(self.written) {
                            return Err(DeltaError::OutputBounds);
                        }
                        self.step = if value > 0 { Step::Diagonal } else { Step::Literals };
                    }
                    Err(pause) => return Ok(Err(pause)),
                },
                Step::Diagonal => match self.streams.byte(stream::DIAGONAL, windows) {
                    Ok(head) => {
                        self.operation.diagonal = u32::from(head & 0x3f);
                        self.operation.missing = head >> 6;
                        self.step = Step::DiagonalLow;
                    }
                    Err(pause) => return Ok(Err(pause)),
                },
                Step::DiagonalLow => {
                    while self.operation.missing > 0 {
                        match self.streams.byte(stream::DIAGONAL_LOW, windows) {
                            Ok(byte) => self.operation.diagonal = self.operation.diagonal << 8 | u32::from(byte),
                            Err(pause) => return Ok(Err(pause)),
                        }
                        self.operation.missing = self.operation.missing.saturating_sub(1);
                    }
                    let header = self.header.as_ref().ok_or(DeltaError::NotRunning)?;
                    let to = self.written.saturating_add(self.operation.literals);
                    self.copier.begin(self.operation.diagonal, self.operation.copy, to, header)?;
                    self.step = Step::Literals;
                }
                _ => return Ok(Ok(())),
            }
        }
    }

    pub(super) fn literals<B, O: Output>(
        &mut self,
        parts: &mut Parts<'_>,
        output: &mut O,
    ) -> Result<Result<(), Pause>, Fault<B, O::Error>> {
        while self.operation.literals > 0 {
            let bytes = self.streams.readable(stream::LITERAL, parts.windows);
            let now = bytes.get(..bytes.len().min(self.operation.literals as usize)).unwrap_or(&[]);
            if now.is_empty() {
                return Ok(Err(Pause::Block(stream::LITERAL as u8)));
            }
            output.write(self.written, now).map_err(Fault::Output)?;
            let count = now.len() as u32;
            self.streams.skip(stream::LITERAL, count);
            self.operation.literals = self.operation.literals.saturating_sub(count);
            self.written = self.written.saturating_add(count);
        }
        self.step = if self.operation.copy > 0 { Step::Copy } else { Step::LiteralLen };
        Ok(Ok(()))
    }

    pub(super) fn copy<B: BaseReader, O: Output>(
        &mut self,
        parts: &mut Parts<'_>,
        base: &mut B,
        output: &mut O,
    ) -> Result<Result<(), Pause>, Fault<B::Error, O::Error>> {
        let header = &self.header.ok_or(DeltaError::NotRunning)?;
        let map = self.mapping.map(parts.keys, parts.shifts);
        loop {
            if !self.copier.filled() {
                self.copier.fill(header, &map, parts.work, base, output)?;
            }
            if let Err(pause) = self.copier.correct(&mut self.streams, parts.windows, parts.work)? {
                return Ok(Err(pause));
            }
            let done = self.copier.flush(&mut self.written, parts.work, output)?;
            if done {
                self.step = Step::LiteralLen;
                return Ok(Ok(()));
            }
        }
    }
}
