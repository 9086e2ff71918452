//! Address prediction: rewrites the address fields of copied code and data to where their targets have moved.
//!
//! [`retarget`] is one pure function over bytes, used by the decoder on what it copies and by the signer on whole images (to
//! compare them as if nothing had moved). It is total: every input has a defined result, and a wrong guess costs bytes of patch, never
//! correctness. A build without an operating system knows its own processor's instructions alone, unless the feature
//! `every-architecture` asks for all: a microcontroller updates itself, and each of the others is half a KiB of flash. What it does to a field depends on nothing but the bytes from the field's start to [`LOOKAHEAD`] behind it.

#[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "aarch64"))]
mod aarch64;
#[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "arm"))]
mod arm;
#[cfg(not(target_os = "none"))]
mod pass;
#[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "riscv32", target_arch = "riscv64"))]
mod riscv;
#[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "arm"))]
mod thumb;
#[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "xtensa"))]
mod xtensa;

use sealift_manifests::delta_format::{Arch, field};

use super::map::AddressMap;

/// Bytes from a field's start that may take part in its recognition.
pub const LOOKAHEAD: usize = 40;

/// Says where targets of fields have gone.
pub trait Mover {
    /// New address of what was at `target`; the field that names it starts `at` bytes into the piece.
    fn moved(&self, at: usize, target: u32) -> u32;
}

/// A decoder's mover: an address map, and a piece that moves as a whole.
#[derive(Clone, Copy, Debug)]
pub struct MapMover<'a> {
    /// Where things outside of the piece have gone.
    pub map: AddressMap<'a>,
    /// First address of the piece; what lies inside keeps its distance.
    pub piece: u32,
    /// Length of the piece.
    pub len: u32,
    /// What the piece's addresses move by.
    pub shift: u32,
}

impl Mover for MapMover<'_> {
    #[inline]
    fn moved(&self, _: usize, target: u32) -> u32 {
        if target.wrapping_sub(self.piece) < self.len {
            target.wrapping_add(self.shift)
        } else {
            self.map.moved(target)
        }
    }
}

/// Where a piece of an image was, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a, M> {
    /// Instruction set.
    pub arch: Arch,
    /// Bits of [`field`].
    pub fields: u8,
    /// Regions; its shifts are the mover's business.
    pub map: AddressMap<'a>,
    /// Where targets have gone.
    pub mover: M,
    /// Address of the first byte in the image it comes from.
    pub from: u32,
    /// Address of the first byte where it goes.
    pub to: u32,
    /// All bytes count as being at address `to`: the fields then show their targets, not distances (how the signer compares images).
    pub pinned: bool,
}

impl<M: Mover> Place<'_, M> {
    /// Old address of the byte at `at`.
    #[inline]
    fn pc(&self, at: usize) -> u32 {
        self.from.wrapping_add(at as u32)
    }

    /// New address of the byte at `at`.
    #[inline]
    fn new_pc(&self, at: usize) -> u32 {
        if self.pinned { self.to } else { self.to.wrapping_add(at as u32) }
    }

    /// New address of what was at `target`, for the field at `at`.
    #[inline]
    fn moved(&self, at: usize, target: u32) -> u32 {
        self.mover.moved(at, target)
    }

    /// `value` relative to the origin, if it is an absolute pointer.
    #[inline]
    fn address(&self, value: u64) -> Option<u32> {
        let relative = u32::try_from(value.wrapping_sub(self.map.origin)).ok()?;
        self.map.contains(relative).then_some(relative)
    }

    /// New value of the field at `at`, if `value` is an absolute pointer.
    #[inline]
    fn pointer(&self, at: usize, value: u64) -> Option<u64> {
        let address = self.address(value)?;
        Some(self.map.origin.wrapping_add(u64::from(self.moved(at, address))))
    }

    /// The same for a pointer of 32 bits.
    #[inline]
    fn pointer32(&self, at: usize, value: u32) -> Option<u32> {
        self.pointer(at, u64::from(value)).map(|moved| moved as u32)
    }
}

/// Rewrites all fields that start in `bytes[start..limit]`; a field may reach to the end of `bytes`. Returns where the next
/// field may start (at or a few bytes behind `limit`), which is `start` of the next call for a longer piece.
pub fn retarget<M: Mover>(bytes: &mut [u8], start: usize, limit: usize, place: &Place<'_, M>) -> usize {
    #[cfg(not(target_os = "none"))]
    let end = pass::retarget(bytes, start, limit, place);
    #[cfg(target_os = "none")]
    let end = plainly(bytes, start, limit, place);
    end
}

/// [`retarget`] with a full look at every place.
#[cfg(any(target_os = "none", test))]
fn plainly<M: Mover>(bytes: &mut [u8], start: usize, limit: usize, place: &Place<'_, M>) -> usize {
    let mut at = start;
    while at < limit {
        let taken = data(bytes, at, place).unwrap_or_else(|| step(bytes, at, place));
        at = at.saturating_add(taken.max(1));
    }
    at
}

/// Whether deltas for this instruction set can be decoded here.
pub fn knows(arch: Arch) -> bool {
    const ALL: bool = cfg!(any(not(target_os = "none"), feature = "every-architecture"));
    match arch {
        Arch::None => true,
        Arch::Thumb | Arch::Arm => ALL || cfg!(target_arch = "arm"),
        Arch::AArch64 => ALL || cfg!(target_arch = "aarch64"),
        Arch::RiscV => ALL || cfg!(any(target_arch = "riscv32", target_arch = "riscv64")),
        Arch::Xtensa => ALL || cfg!(target_arch = "xtensa"),
    }
}

/// Rewrites one instruction; returns the bytes it takes.
#[cfg(any(target_os = "none", test))]
fn step<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> usize {
    match place.arch {
        #[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "arm"))]
        Arch::Thumb => thumb::step(bytes, at, place),
        #[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "arm"))]
        Arch::Arm => arm::step(bytes, at, place),
        #[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "aarch64"))]
        Arch::AArch64 => aarch64::step(bytes, at, place),
        #[cfg(any(
            not(target_os = "none"),
            feature = "every-architecture",
            target_arch = "riscv32",
            target_arch = "riscv64"
        ))]
        Arch::RiscV => riscv::step(bytes, at, place),
        #[cfg(any(not(target_os = "none"), feature = "every-architecture", target_arch = "xtensa"))]
        Arch::Xtensa => xtensa::step(bytes, at, place),
        // No instructions, or none that this build knows: the decoder has refused those.
        #[allow(unreachable_patterns)]
        _ => 4usize.saturating_sub(place.pc(at) as usize & 3),
    }
}

/// Pointers and distances in aligned words. Returns the bytes taken.
#[inline]
fn data<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> Option<usize> {
    let pc = place.pc(at);
    if pc & 3 != 0 || place.fields & (field::POINTER64 | field::POINTER32 | field::RELATIVE32) == 0 {
        return None;
    }
    if place.fields & field::POINTER64 != 0 && pc & 7 == 0 {
        let value = read::<8>(bytes, at).map(u64::from_le_bytes)?;
        if let Some(moved) = place.pointer(at, value) {
            write(bytes, at, moved.to_le_bytes());
            return Some(8);
        }
    }
    if place.fields & (field::POINTER32 | field::RELATIVE32) == 0 {
        return None;
    }
    let value = word(bytes, at)?;
    // A LUI at a round address looks like a pointer to an odd one near it.
    if place.arch == Arch::RiscV && matches!(value & 0x7f, 0x17 | 0x37) {
        return None;
    }
    if place.fields & field::POINTER32 != 0
        && let Some(moved) = place.pointer32(at, value)
    {
        write(bytes, at, moved.to_le_bytes());
        return Some(4);
    }
    if place.fields & field::RELATIVE32 != 0 && value != 0 && value.wrapping_add(0x80_0000) < 0x100_0000 {
        let target = pc.wrapping_add(value);
        if place.map.contains(target) {
            let moved = place.moved(at, target).wrapping_sub(place.new_pc(at));
            write(bytes, at, moved.to_le_bytes());
            return Some(4);
        }
    }
    None
}

#[inline]
fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[inline]
fn write<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<N>()) {
        *place = value;
    }
}

#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    read(bytes, at).map(u32::from_le_bytes)
}

#[inline]
fn half(bytes: &[u8], at: usize) -> Option<u16> {
    read(bytes, at).map(u16::from_le_bytes)
}

/// Sign-extends the low `bits` of `value`.
#[inline]
fn signed(value: u32, bits: u32) -> u32 {
    let spare = 32u32.saturating_sub(bits);
    ((value.wrapping_shl(spare) as i32).wrapping_shr(spare)) as u32
}

#[cfg(test)]
mod tests {
    use super::{super::dice::random, *};
    use crate::delta::Region;

    /// What was moved, from a few bits of where.
    #[derive(Debug)]
    struct Scattered;

    impl Mover for Scattered {
        fn moved(&self, _: usize, target: u32) -> u32 {
            target.wrapping_add(target.rotate_left(7) & 0x7fc)
        }
    }

    #[test]
    fn a_distance_is_less_than_eight_mebibytes_and_at_most_as_far_back() {
        let regions = [Region { address: 0, len: u32::MAX, base: Some(0), code: false, target_bias: 0 }];
        let place = Place {
            arch: Arch::None,
            fields: field::RELATIVE32,
            map: AddressMap::new(0, &regions, &[], &[]),
            mover: Scattered,
            from: 0x100_0000,
            to: 0x200_0000,
            pinned: false,
        };
        for (value, is_one) in
            [(0x7f_ffffu32, true), (0x80_0000, false), (0xff80_0000, true), (0xff7f_ffff, false), (0, false)]
        {
            let mut plain = value.to_le_bytes();
            plainly(&mut plain, 0, 4, &place);
            assert_eq!(plain != value.to_le_bytes(), is_one, "{value:#x}");
            let mut passed = value.to_le_bytes();
            retarget(&mut passed, 0, 4, &place);
            assert_eq!(passed, plain, "{value:#x}");
        }
    }

    #[test]
    fn passing_over_what_holds_no_field_changes_nothing() {
        let region = |address, len, code| Region { address, len, base: Some(0), code, target_bias: 0 };
        let maps: [&[Region]; 4] = [
            &[],
            &[region(0x2_0000, 0x1_0000, true), region(0x3_4000, 0x200, false)],
            &[region(0, u32::MAX, true)],
            &[region(u32::MAX - 0x100, 0x4000, true)],
        ];
        let mut state = 0x5ea1_1f7d;
        let mut fields_seen = [0usize; 6];
        for round in 0..6000 {
            let mut bytes = [0u8; 96];
            bytes.iter_mut().for_each(|byte| *byte = random(&mut state) as u8);
            let origin = [0u64, 0x4000_0000, 0xffff_ffff_8000_0000][random(&mut state) as usize % 3];
            // Random words are hardly ever pointers or prologues: some are put in.
            for _ in 0..random(&mut state) % 6 {
                let at = (random(&mut state) % 88) as usize;
                let near = u64::from(random(&mut state) % 0x6_0000);
                bytes[at..at + 8].copy_from_slice(&origin.wrapping_add(near).to_le_bytes());
                let at = (random(&mut state) % 88) as usize;
                bytes[at..at + 2].copy_from_slice(&[[0x36, 0x41], [0x12, 0xc1]][at & 1]);
            }
            let sets = [Arch::None, Arch::Thumb, Arch::Arm, Arch::AArch64, Arch::RiscV, Arch::Xtensa];
            let arch = sets[round % sets.len()];
            let place = Place {
                arch,
                fields: random(&mut state) as u8 & field::ALL,
                map: AddressMap::new(origin, maps[random(&mut state) as usize % maps.len()], &[], &[]),
                mover: Scattered,
                from: random(&mut state) & 0x3_ffff,
                to: random(&mut state) & 0x3_ffff,
                pinned: false,
            };
            let mut slow = bytes;
            let limit = 60;
            let at = plainly(&mut slow, 0, limit, &place);
            let mut fast = bytes;
            assert_eq!(retarget(&mut fast, 0, limit, &place), at, "{place:?}: {bytes:02x?}");
            assert_eq!(fast, slow, "{place:?}: {bytes:02x?}");
            fields_seen[round % sets.len()] += usize::from(fast != bytes);
        }
        // Each set has met fields, or nothing was shown.
        assert!(fields_seen.iter().all(|&seen| seen > 50), "{fields_seen:?}");
    }
}
