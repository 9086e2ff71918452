//! Where an address map's regions lie, in one look: the range that they all lie in, cut into 64 parts of equal length.
//!
//! For hosts alone: it changes nothing about what [`AddressMap::contains`](super::map::AddressMap::contains) says.

use super::map::Region;

/// A bit for each part, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    /// First address of the first part.
    first: u32,
    /// Logarithm of a part's length.
    log: u32,
    /// Parts of which a region has some.
    some: u64,
    /// Parts that a region has whole.
    all: u64,
}

impl Parts {
    pub(super) const NONE: Self = Self { first: 0, log: 0, some: 0, all: 0 };

    /// Of `regions`, none of which has an address below the first one of `reach`, or more than the second one above it.
    pub(super) fn of(regions: &[Region], reach: (u32, u32)) -> Self {
        let (first, span) = reach;
        let log = u32::BITS.saturating_sub(span.leading_zeros()).saturating_sub(6);
        let mut parts = Self { first, log, ..Self::NONE };
        for region in regions {
            let end = u64::from(region.address).saturating_add(u64::from(region.len));
            parts.mark(region.address.into(), end.min(1 << 32));
            // It goes on at address 0.
            parts.mark(0, end.saturating_sub(1 << 32));
        }
        parts
    }

    /// Marks what addresses from `start` to before `end` have.
    fn mark(&mut self, start: u64, end: u64) {
        let Some(last) = end.checked_sub(1).filter(|last| *last >= start) else { return };
        let (start, last) = (start.wrapping_sub(self.first.into()), last.wrapping_sub(self.first.into()));
        let below = |part: u64| 1u64.checked_shl(part as u32).map_or(u64::MAX, |bit| bit.wrapping_sub(1));
        self.some |= below((last >> self.log).saturating_add(1)) & !below(start >> self.log);
        let whole = start.div_ceil(1 << self.log);
        self.all |= below(last.saturating_add(1) >> self.log) & !below(whole);
    }

    /// First address of the first part.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Whether a region may have the address that is so far above the first one.
    #[inline]
    pub(super) fn may_contain(&self, above: u64) -> bool {
        let part = above >> self.log;
        (part < 64) & (self.some >> (part & 63) & 1 != 0)
    }

    /// Whether a region has `address`; none where only a look at each region can tell.
    #[inline]
    pub(super) fn contain(&self, address: u32) -> Option<bool> {
        let part = address.wrapping_sub(self.first) >> self.log;
        if part >= 64 || self.some >> part & 1 == 0 {
            return Some(false);
        }
        (self.all >> part & 1 != 0).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{dice, map::AddressMap},
        *,
    };

    #[test]
    fn parts_say_what_the_regions_say() {
        let mut state = 0x0dd5_eed5_u32;
        let mut random = |most: u32| dice::random(&mut state) % most;
        let (mut inside, mut short) = (0, 0);
        for round in 0..4000 {
            let log = random(32);
            let mut regions = [Region::default(); 4];
            let count = round % 5;
            for region in regions.iter_mut().take(count) {
                region.address = random(u32::MAX) >> random(32) << random(8);
                region.len = random(u32::MAX) >> log >> random(6);
            }
            let regions = &regions[..count];
            let map = AddressMap::new(0, regions, &[], &[]);
            let mut probe = |address: u32| {
                let expected = regions.iter().any(|region| address.wrapping_sub(region.address) < region.len);
                assert_eq!(map.contains(address), expected, "{address:#x} of {regions:x?}");
                let parts = map.parts();
                let above = u64::from(address.wrapping_sub(parts.first()));
                assert!(!expected || parts.may_contain(above), "{address:#x} of {regions:x?}");
                inside += usize::from(expected);
                short += usize::from(parts.contain(address) == Some(expected));
            };
            for region in regions {
                let behind = region.address.wrapping_add(region.len);
                [region.address, behind].iter().for_each(|&edge| {
                    for near in [0, 1, 2, 64, 1 << log] {
                        probe(edge.wrapping_add(near));
                        probe(edge.wrapping_sub(near));
                    }
                });
            }
            (0..20).for_each(|_| probe(random(u32::MAX)));
            assert!(!map.parts().may_contain(1 << 32), "{regions:x?}");
        }
        assert!(inside > 10_000 && short > 50_000, "{inside} {short}");
    }

    #[test]
    fn a_word_far_from_all_regions_and_one_amid_a_large_one_need_no_long_look() {
        let region = |address, len| Region { address, len, ..Region::default() };
        let regions = [region(0x800_0000, 0x40_0000), region(0x2000_0000, 0x10_0000)];
        let map = AddressMap::new(0, &regions, &[], &[]);
        assert_eq!(map.parts().contain(0x1234_5678), Some(false));
        assert_eq!(map.parts().contain(0x700_0000), Some(false));
        assert!(map.parts().may_contain(0) && !map.parts().may_contain(0x1000_0000));
        assert_eq!(map.parts().contain(0x800_0000), None);
        let regions = [region(0x800_0000, 0x3f_1000)];
        let map = AddressMap::new(0, &regions, &[], &[]);
        assert_eq!(map.parts().contain(0x800_0000), Some(true));
        assert_eq!(map.parts().contain(0x83e_ffff), Some(true));
        assert_eq!(map.parts().contain(0x83f_0000), None);
        assert_eq!(map.parts().contain(0x840_0000), Some(false));
        assert_eq!(map.parts().contain(0x1000_0000), Some(false));
    }
}
