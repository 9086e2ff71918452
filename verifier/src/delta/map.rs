//! The address map: where the images are linked, and where what has moved went.

#[cfg(not(target_os = "none"))]
use super::parts::Parts;

/// A part of the base image that is loaded at an address of its own, or a range of RAM that pointers point to.
///
/// Addresses are relative to [`AddressMap::origin`], modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Region {
    /// Address of the first byte.
    pub address: u32,
    /// Length in bytes.
    pub len: u32,
    /// Offset in the base image of the first byte; `None` for RAM, which is in no image.
    pub base: Option<u32>,
    /// Whether instructions are looked for.
    pub code: bool,
    /// What added to an offset in the target image gives an address, for what was copied from this region.
    pub target_bias: u32,
}

/// Regions, and the shift table: from an address on, by how much things have moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressMap<'a> {
    /// The address that addresses are relative to; a multiple of 4,096.
    pub origin: u64,
    /// The regions, in any order.
    pub regions: &'a [Region],
    /// Ascending addresses at which a new shift begins.
    pub keys: &'a [u32],
    /// The shifts, as many as keys, modulo 2^32.
    pub shifts: &'a [u32],
    extent: Extent,
}

/// Where regions lie, taken together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// No address below the first one, or more than the second one above it, lies in a region.
    reach: (u32, u32),
    /// The same part by part, where there is flash to spare for it.
    #[cfg(not(target_os = "none"))]
    parts: Parts,
}

impl Extent {
    #[cfg(not(target_os = "none"))]
    pub(super) const NONE: Self = Self { reach: (u32::MAX, 0), parts: Parts::NONE };

    pub(super) fn of(regions: &[Region]) -> Self {
        let (mut low, mut end) = (u32::MAX, 0);
        for region in regions {
            low = low.min(region.address);
            end = end.max(region.address.saturating_add(region.len));
            if region.address.wrapping_add(region.len) < region.address {
                // It goes on at address 0.
                low = 0;
            }
        }
        let reach = (low, end.saturating_sub(low));
        Self {
            reach,
            #[cfg(not(target_os = "none"))]
            parts: Parts::of(regions, reach),
        }
    }
}

impl<'a> AddressMap<'a> {
    /// A map of these parts.
    pub fn new(origin: u64, regions: &'a [Region], keys: &'a [u32], shifts: &'a [u32]) -> Self {
        Self::within(Extent::of(regions), origin, regions, keys, shifts)
    }

    /// [`Self::new`] for regions that lie within that.
    pub(super) fn within(
        extent: Extent,
        origin: u64,
        regions: &'a [Region],
        keys: &'a [u32],
        shifts: &'a [u32],
    ) -> Self {
        Self { origin, regions, keys, shifts, extent }
    }

    /// The same regions, in which nothing has moved.
    #[must_use]
    pub fn unmoved(&self) -> Self {
        Self { keys: &[], shifts: &[], ..*self }
    }

    /// Where regions lie, part by part.
    #[cfg(not(target_os = "none"))]
    pub(super) fn parts(&self) -> &Parts {
        &self.extent.parts
    }

    /// Whether `address` lies in a region. Most words of an image are far from all of them.
    #[inline]
    pub fn contains(&self, address: u32) -> bool {
        #[cfg(not(target_os = "none"))]
        if let Some(answer) = self.extent.parts.contain(address) {
            return answer;
        }
        address.wrapping_sub(self.extent.reach.0) <= self.extent.reach.1
            && self.regions.iter().any(|region| address.wrapping_sub(region.address) < region.len)
    }

    /// The new place of what was at `address`.
    #[inline]
    pub fn moved(&self, address: u32) -> u32 {
        let after = self.keys.partition_point(|&key| key <= address);
        let shift = after.checked_sub(1).and_then(|last| self.shifts.get(last)).copied().unwrap_or(0);
        address.wrapping_add(shift)
    }

    /// The region an offset of the base image belongs to: the last one that starts at or before it.
    pub fn region_of(&self, base_offset: u32) -> Option<&Region> {
        let started =
            self.regions.iter().filter_map(|region| Some((region.base.filter(|&b| b <= base_offset)?, region)));
        started.max_by_key(|(start, _)| *start).map(|(_, region)| region)
    }

    /// Bytes from `base_offset` to the start of the next region.
    pub fn until_next_region(&self, base_offset: u32) -> u32 {
        let starts = self.regions.iter().filter_map(|region| region.base.filter(|&start| start > base_offset));
        starts.min().unwrap_or(u32::MAX).saturating_sub(base_offset)
    }

    /// The region whose addresses an offset of the target image falls into: the first that has it.
    pub fn target_region(&self, target_offset: u32) -> Option<&Region> {
        self.regions.iter().find(|region| {
            let address = target_offset.wrapping_add(region.target_bias);
            region.base.is_some() && address.wrapping_sub(region.address) < region.len
        })
    }
}
