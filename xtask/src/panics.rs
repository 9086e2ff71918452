//! Which calls of Rust's panic machinery are left in a linked Cortex-M program, and whose code they are.
//!
//! Every branch of the program is decoded. What calls the machinery is asked of the line table, inlined calls included: the
//! innermost function that is not of `core` or the compiler is the one that wrote the check. So code of the verifier counts as
//! the verifier's wherever it was inlined, and the answer does not hang on what a compiler happens to inline. Functions that are
//! `core`'s alone, and what the linker's outliner made, are machinery themselves when they call it: then their callers are asked.
//!
//! Nothing may be left but the calls of [`KNOWN`], each with the reason why it is never taken, and those of the weather station
//! that the sample application is beside its update: they are counted apart.

use std::collections::{BTreeMap, BTreeSet};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use crate::error::{Error, Result};

/// A call that is left, by parts of the path of its source file and of its function's name, and why it is never taken.
struct Known {
    file: &'static [&'static str],
    function: &'static str,
    why: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        file: &["curve25519-dalek-", "/src/backend/serial/u32/scalar.rs"],
        function: "index",
        why: "the nine limbs of a scalar, indexed by constants and by loops over 0..9: the compiler does not see it at opt z",
    },
    Known {
        file: &["curve25519-dalek-", "/src/window.rs"],
        function: "select",
        why: "eight odd multiples, indexed by half of a digit of a width-5 non-adjacent form: odd and below 16",
    },
    Known {
        file: &["sha2-", "/src/sha256/soft.rs"],
        function: "",
        why: "sixteen words of a block of 64 bytes: `block[4 * i..][..4]` for i below 16",
    },
    Known {
        // Also `sha512.rs:0` and `soft/compact.rs:0`: what the compiler has merged has no line.
        file: &["sha2-", "/src/sha512"],
        function: "",
        why: "sixteen words of a block of 128 bytes: `block[8 * i..][..8]` for i below 16, and `[t & 15]`",
    },
];

/// Whether a place is of the weather station: the firmware that is updated, which prints with `core::fmt` and indexes its
/// tables. What updates it, `main.rs` among it, is not excused.
fn is_sample(place: &str) -> bool {
    place.contains("src/bin/app/") && !place.contains("src/bin/app/main.rs")
}

/// Words in the names of `core`'s panic machinery.
const MACHINERY: [&str; 8] = [
    "panicking",
    "panic_for",
    "panic_const",
    "slice_index_fail",
    "begin_unwind",
    "unwrap_failed",
    "expect_failed",
    "mismatch_fail",
];

/// What was found in a program.
pub(crate) struct Panics {
    /// Calls that are known, by the reason why they are never taken: how many of each.
    pub(crate) known: BTreeMap<String, usize>,
    /// Calls of the sample application's own code: it is no part of what is claimed.
    pub(crate) of_sample: usize,
    /// Calls that must not be there: function and place.
    pub(crate) wrong: Vec<String>,
}

pub(crate) type Lines<'a> = addr2line::Context<gimli::EndianSlice<'a, gimli::LittleEndian>>;

/// A function of the program.
struct Function<'a> {
    from: u64,
    size: u64,
    name: &'a str,
    /// Addresses of its branches, and where they go.
    branches: Vec<(u64, u64)>,
}

/// Looks through a linked Cortex-M program with a line table.
pub(crate) fn find(elf: &[u8]) -> Result<Panics> {
    let file = object::File::parse(elf).map_err(broken)?;
    let lines = lines(&file)?;
    let functions = functions(&file)?;
    let starts: BTreeMap<u64, usize> =
        functions.iter().enumerate().map(|(index, function)| (function.from, index)).collect();
    let mut machinery: BTreeSet<usize> = functions
        .iter()
        .enumerate()
        .filter(|(_, function)| MACHINERY.iter().any(|word| function.name.contains(word)))
        .map(|(index, _)| index)
        .collect();
    let mut panics = Panics { known: BTreeMap::new(), of_sample: 0, wrong: Vec::new() };
    // Whose only frames are core's, or the outliner's, becomes machinery; until nothing new does.
    let mut sites = BTreeSet::new();
    loop {
        let mut grown = false;
        for (index, function) in functions.iter().enumerate() {
            if machinery.contains(&index) {
                continue;
            }
            for (at, target) in &function.branches {
                if !starts.get(target).is_some_and(|callee| machinery.contains(callee)) {
                    continue;
                }
                if owner(&lines, *at)?.is_some() {
                    sites.insert((*at, index));
                } else {
                    grown |= machinery.insert(index);
                }
            }
        }
        if !grown {
            break;
        }
    }
    for (at, index) in sites.into_iter().filter(|(_, index)| !machinery.contains(index)) {
        let Some((inlined, place)) = owner(&lines, at)? else { continue };
        // A line table names inlined functions alone; the symbol names the others.
        let name = if inlined.is_empty() { functions[index].name.to_owned() } else { inlined };
        let known = KNOWN
            .iter()
            .find(|known| known.file.iter().all(|part| place.contains(part)) && name.contains(known.function));
        match known {
            Some(known) => *panics.known.entry(format!("{}: {}", known.file.concat(), known.why)).or_default() += 1,
            None if is_sample(&place) => panics.of_sample += 1,
            None => panics.wrong.push(format!("{name} ({place})")),
        }
    }
    Ok(panics)
}

fn broken(why: impl ToString) -> Error {
    Error::Content { path: "the linked program".into(), what: why.to_string() }
}

/// The program's line table.
pub(crate) fn lines<'a>(file: &object::File<'a>) -> Result<Lines<'a>> {
    let load = |id: gimli::SectionId| -> std::result::Result<_, gimli::Error> {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or(&[]);
        Ok(gimli::EndianSlice::new(data, gimli::LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(load).map_err(broken)?;
    addr2line::Context::from_dwarf(dwarf).map_err(broken)
}

/// Whether a source file is of `core` or the compiler.
pub(crate) fn is_core(file: &str) -> bool {
    file.contains("library/") || file.contains("compiler_builtins") || file.contains("compiler-builtins")
}

/// The innermost function at an address that is not of `core`, with its place; `None` when there is none.
fn owner(lines: &Lines<'_>, at: u64) -> Result<Option<(String, String)>> {
    let mut frames = lines.find_frames(at).skip_all_loads().map_err(broken)?;
    while let Some(frame) = frames.next().map_err(broken)? {
        let Some(place) = frame.location else { continue };
        let Some(file) = place.file.filter(|file| !is_core(file)) else { continue };
        let name = frame.function.as_ref().and_then(|name| name.raw_name().ok()).unwrap_or_default();
        return Ok(Some((name.into_owned(), format!("{file}:{}", place.line.unwrap_or(0)))));
    }
    Ok(None)
}

fn functions<'a>(file: &object::File<'a>) -> Result<Vec<Function<'a>>> {
    let text = file.section_by_name(".text").ok_or_else(|| broken("it has no .text"))?;
    let (base, bytes) = (text.address(), text.data().map_err(broken)?);
    let half = |at: u64| {
        let from = at.checked_sub(base)? as usize;
        Some(u16::from_le_bytes(bytes.get(from..from + 2)?.try_into().ok()?))
    };
    let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    Ok(symbols
        .filter_map(|symbol| {
            // The lowest bit says Thumb.
            let (from, size) = (symbol.address() & !1, symbol.size());
            let branch = |at| Some((at, branch_target(at, half(at)?, half(at + 2)?)?));
            let branches = (from..from + size).step_by(2).filter_map(branch).collect();
            Some(Function { from, size, name: symbol.name().ok()?, branches })
        })
        .filter(|function| function.size > 0)
        .collect())
}

/// Where a Thumb-2 `bl`, `b.w` (encodings T1 and T4) or short `b` (T2) at this address goes.
fn branch_target(at: u64, first: u16, second: u16) -> Option<u64> {
    if first & 0xf800 == 0xe000 {
        let distance = i64::from((u32::from(first) << 21) as i32 >> 20);
        return at.checked_add_signed(4 + distance);
    }
    let is_branch = first & 0xf800 == 0xf000 && matches!(second & 0xd000, 0xd000 | 0x9000);
    if !is_branch {
        return None;
    }
    let bit = |word: u16, at: u32| u32::from(word >> at & 1);
    let sign = bit(first, 10);
    let (high, low) = (1 ^ bit(second, 13) ^ sign, 1 ^ bit(second, 11) ^ sign);
    let distance =
        sign << 24 | high << 23 | low << 22 | u32::from(first & 0x3ff) << 12 | u32::from(second & 0x7ff) << 1;
    // 25 bits, signed.
    let distance = i64::from((distance << 7) as i32 >> 7);
    at.checked_add_signed(4 + distance)
}

#[cfg(test)]
mod tests {
    use super::branch_target;

    #[test]
    fn branches_are_decoded_as_a_disassembler_does() {
        // bl with a distance of -2140 and +422, b.w with -16: `llvm-objdump`'s own figures.
        let encode = |distance: i32, link: u16| {
            let bits = (distance as u32) & 0x1ff_ffff;
            let sign = (bits >> 24 & 1) as u16;
            let (high, low) = ((bits >> 23 & 1) as u16, (bits >> 22 & 1) as u16);
            let first = 0xf000 | sign << 10 | (bits >> 12 & 0x3ff) as u16;
            let second = link | (1 ^ high ^ sign) << 13 | (1 ^ low ^ sign) << 11 | (bits >> 1 & 0x7ff) as u16;
            (first, second)
        };
        for distance in [-2140, 422, -16, 0, 4, -27452] {
            for link in [0xd000, 0x9000] {
                let (first, second) = encode(distance, link);
                assert_eq!(branch_target(0x10_0000, first, second), Some((0x10_0004 + i64::from(distance)) as u64));
            }
        }
        // `bl` to the next instruction but one, from the architecture manual's encoding: f000 f800.
        assert_eq!(branch_target(0x1000, 0xf000, 0xf800), Some(0x1004));
        assert_eq!(branch_target(0x1000, 0x4770, 0xbf00), None);
        // `b .`, which is e7fe.
        assert_eq!(branch_target(0x1000, 0xe7fe, 0), Some(0x1000));
    }
}
