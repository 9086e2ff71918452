//! The prelude: the address map, as numbers in one zstd frame between header and body.
//!
//! Regions first, in the order of the header's count: address, length, kind (0 RAM, 1 data, 2 code), offset in the base, target bias. Then
//! the shift table: for each entry the step from the last key, then for each entry the zigzag step from the last shift.
//! Two numbers for the origin come before everything: its low and its high half.

use sealift_manifests::delta_format::{Header, MAX_REGIONS};

use super::{
    error::DeltaError,
    map::{AddressMap, Extent, Region},
};

/// Regions and origin; the shift table's memory is the decoder's.
pub(super) struct Mapping {
    origin: u64,
    regions: [Region; MAX_REGIONS],
    count: u8,
    shifts: u16,
    /// Of the regions so far. Operations ask for the map again and again, and small ones do little else; without an operating
    /// system flash is dearer.
    #[cfg(not(target_os = "none"))]
    extent: Extent,
}

impl Mapping {
    pub(super) const NEW: Self = Self {
        origin: 0,
        regions: [Region { address: 0, len: 0, base: None, code: false, target_bias: 0 }; MAX_REGIONS],
        count: 0,
        shifts: 0,
        #[cfg(not(target_os = "none"))]
        extent: Extent::NONE,
    };

    pub(super) fn regions(&self) -> &[Region] {
        self.regions.get(..usize::from(self.count)).unwrap_or(&[])
    }

    pub(super) fn map<'a>(&'a self, keys: &'a [u32], shifts: &'a [u32]) -> AddressMap<'a> {
        let count = usize::from(self.shifts);
        let (keys, shifts) = (keys.get(..count).unwrap_or(&[]), shifts.get(..count).unwrap_or(&[]));
        #[cfg(not(target_os = "none"))]
        let extent = self.extent;
        #[cfg(target_os = "none")]
        let extent = Extent::of(self.regions());
        AddressMap::within(extent, self.origin, self.regions(), keys, shifts)
    }
}

/// Reads the numbers one by one.
pub(super) struct PreludeReader {
    regions: u32,
    shifts: u32,
    next: u32,
    last: u32,
}

/// Numbers before the regions, and numbers of a region.
const ORIGIN: u32 = 2;
const PER_REGION: u32 = 5;

impl PreludeReader {
    pub(super) const NEW: Self = Self { regions: 0, shifts: 0, next: 0, last: 0 };

    pub(super) fn new(header: &Header) -> Self {
        Self { regions: u32::from(header.regions), shifts: u32::from(header.shifts), ..Self::NEW }
    }

    /// A delta without regions and shifts has no prelude at all.
    pub(super) fn done(&self) -> bool {
        let numbers = ORIGIN + self.regions * PER_REGION + self.shifts * 2;
        numbers == ORIGIN || self.next == numbers
    }

    pub(super) fn take(
        &mut self,
        value: u32,
        mapping: &mut Mapping,
        keys: &mut [u32],
        shifts: &mut [u32],
    ) -> Result<(), DeltaError> {
        let at = self.next;
        self.next += 1;
        if at < ORIGIN {
            mapping.origin |= u64::from(value) << (32 * at);
            return Ok(());
        }
        let at = at - ORIGIN;
        if at < self.regions * PER_REGION {
            let region = mapping.regions.get_mut((at / PER_REGION) as usize).ok_or(DeltaError::Prelude)?;
            match at % PER_REGION {
                0 => region.address = value,
                1 => region.len = value,
                2 if value > 2 => return Err(DeltaError::Prelude),
                2 => {
                    region.base = (value > 0).then_some(0);
                    region.code = value == 2;
                }
                3 => region.base = region.base.map(|_| value),
                _ => {
                    region.target_bias = value;
                    mapping.count += 1;
                    #[cfg(not(target_os = "none"))]
                    {
                        mapping.extent = Extent::of(mapping.regions());
                    }
                }
            }
            return Ok(());
        }
        let at = at - self.regions * PER_REGION;
        if at == 0 || at == self.shifts {
            self.last = 0;
        }
        if at < self.shifts {
            self.last = self.last.checked_add(value).ok_or(DeltaError::Prelude)?;
            *keys.get_mut(at as usize).ok_or(DeltaError::Prelude)? = self.last;
        } else {
            self.last = self.last.wrapping_add(unzigzag(value));
            *shifts.get_mut((at - self.shifts) as usize).ok_or(DeltaError::Prelude)? = self.last;
            mapping.shifts += 1;
        }
        Ok(())
    }
}

/// 0, 1, 2, 3 to 0, -1, 1, -2, modulo 2^32.
pub(super) fn unzigzag(value: u32) -> u32 {
    value >> 1 ^ (value & 1).wrapping_neg()
}
