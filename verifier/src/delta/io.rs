//! The two stores a decoder works between.

/// Random reads of the base image.
pub trait BaseReader {
    /// What a failed read says.
    type Error;

    /// Fills `bytes` from `offset` on. The decoder stays inside the declared length of the base.
    ///
    /// # Errors
    /// Whatever the store says; the decoder passes it on and stops for good.
    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;
}

/// Where the target image goes, strictly in order.
pub trait Output {
    /// What a failed write or read says.
    type Error;

    /// Whether [`Self::read_back`] works. A delta that needs it is refused otherwise.
    const CAN_READ_BACK: bool = true;

    /// Takes the next `bytes` of the target; `offset` is where they belong and always where the last write ended (or the
    /// resume point). An implementation may buffer them until a page is full.
    ///
    /// # Errors
    /// Whatever the store says; the decoder passes it on and stops for good.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Fills `bytes` from what was written before. The range ends at least
    /// [`READ_BACK_MARGIN`](sealift_manifests::delta_format::READ_BACK_MARGIN) bytes before the last write's end, so a page buffer of up to
    /// that size needs no look; or it is asked for before the first write behind a resume point, when everything before that
    /// point is durable.
    ///
    /// # Errors
    /// Whatever the store says; the decoder passes it on and stops for good.
    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;
}

/// An image in memory. The read fails if it leaves the slice.
impl BaseReader for &[u8] {
    type Error = OutOfBounds;

    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = self.get(offset as usize..).and_then(|tail| tail.get(..bytes.len())).ok_or(OutOfBounds)?;
        bytes.copy_from_slice(from);
        Ok(())
    }
}

/// A read or write outside of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl core::fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("outside of the image")
    }
}

impl core::error::Error for OutOfBounds {}

/// A target in memory: writes go into the slice.
impl Output for &mut [u8] {
    type Error = OutOfBounds;

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let to = self.get_mut(offset as usize..).and_then(|tail| tail.get_mut(..bytes.len())).ok_or(OutOfBounds)?;
        to.copy_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        (&**self).read_at(offset, bytes)
    }
}

/// No base: for payloads that are no delta.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBase;

impl BaseReader for NoBase {
    type Error = OutOfBounds;

    fn read_at(&mut self, _: u32, _: &mut [u8]) -> Result<(), OutOfBounds> {
        // Only a delta reads a base, and this one has none: an image made of nothing would only fail later, by its hash.
        Err(OutOfBounds)
    }
}
