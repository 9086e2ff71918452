//! `cargo xtask bench device`: what the verifier costs on a Cortex-M3, in flash, RAM and instructions, measured in QEMU.
//!
//! Code is attributed to parts by the linked program's line table: each address counts for the innermost function that is not
//! of Rust's `core`, so what `core` adds inline counts where it is used.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use serde_json::json;

use crate::{
    error::{Error, Result},
    metal::{self, Board, Firmware, Project},
    process, project,
};

/// Options of `cargo xtask bench device`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask bench device\n  cargo xtask bench device --json\n\n\
    Exit code: 0 when every budget is kept, 1 otherwise.")]
pub(crate) struct Options {
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Parts of the code, with what the path of a source file of theirs contains.
const PARTS: &[(&str, &[&str])] = &[
    (
        "crypto",
        &[
            "curve25519-dalek",
            "ed25519",
            "sha2-",
            "digest-",
            "block-buffer",
            "hybrid-array",
            "subtle-",
            "verifier/src/ed25519",
        ],
    ),
    ("parser", &["manifests/src"]),
    ("delta decoder", &["verifier/src/delta"]),
    ("storage", &["verifier/src/storage"]),
    ("image stream", &["verifier/src/image"]),
    ("boot", &["verifier/src/boot"]),
    ("trust machine", &["verifier/src"]),
    ("application", &["bare-metal/src", "src/bin", "src/board", "src/"]),
];
/// The parts that are not ours to budget: the application around the verifier.
const APPLICATION: &str = "application";
const CORE: &str = "core and compiler-builtins";
const CONSTANTS: &str = "constants and padding";

/// What the linked application takes.
struct Code {
    /// Bytes by part.
    parts: BTreeMap<&'static str, u64>,
    /// All of it.
    text: u64,
    /// Static RAM.
    ram: u64,
    /// Functions that call Rust's panic machinery.
    panics: Vec<String>,
}

impl Code {
    fn of_verifier(&self) -> u64 {
        self.text - self.parts.get(APPLICATION).copied().unwrap_or(0)
    }
}

/// Functions of a linked Cortex-M program that call into Rust's panic machinery, found by decoding every branch of its code.
///
/// curve25519-dalek's are left out: it indexes small arrays by constants and by masked digits, which the compiler does not see
/// at opt-level z; so are those of sha2's compact backend, for the same reason. Left out too is the application's `install`, with
/// what was inlined into it and the copy it calls: a gap in this check, since code of the verifier may be among that.
pub(crate) fn panic_callers(elf: &[u8]) -> Result<Vec<String>> {
    // Crates and functions as they stand in mangled names.
    const LEFT_OUT: [&str; 4] = ["curve25519_dalek", "4sha2", "3app7install", "copy_from_slice_impl"];
    const MACHINERY: [&str; 6] =
        ["panicking", "panic_for", "slice_index_fail", "begin_unwind", "unwrap_failed", "mismatch_fail"];
    let file = object::File::parse(elf).map_err(broken)?;
    let text = file.section_by_name(".text").ok_or_else(|| broken("it has no .text"))?;
    let (base, bytes) = (text.address(), text.data().map_err(broken)?);
    let functions: Vec<(u64, u64, &str)> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| Some((symbol.address() & !1, symbol.size(), symbol.name().ok()?)))
        .collect();
    let is_machinery = |name: &str| MACHINERY.iter().any(|word| name.contains(word));
    let panics: Vec<u64> = functions.iter().filter(|(_, _, name)| is_machinery(name)).map(|(at, _, _)| *at).collect();
    let half = |at: u64| {
        let from = at.checked_sub(base)? as usize;
        Some(u16::from_le_bytes(bytes.get(from..from + 2)?.try_into().ok()?))
    };
    let mut callers = Vec::new();
    for (from, size, name) in functions.iter().filter(|(_, _, name)| !is_machinery(name)) {
        let calls = (*from..from + size).step_by(2).filter_map(|at| branch_target(at, half(at)?, half(at + 2)?));
        if calls.into_iter().any(|target| panics.contains(&target)) && !LEFT_OUT.iter().any(|word| name.contains(word))
        {
            callers.push((*name).to_owned());
        }
    }
    callers.sort_unstable();
    callers.dedup();
    Ok(callers)
}

/// Where a Thumb-2 `bl` or `b.w` (encodings T1 and T4) at this address goes.
fn branch_target(at: u64, first: u16, second: u16) -> Option<u64> {
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

/// The programs of the bare-metal device from which panic machinery is called: there should be none.
pub(crate) fn programs_that_can_panic() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for program in ["boot", "app"] {
        let callers = panic_callers(&Firmware::small(Board::Mps2, program, "").build(&[])?)?;
        if !callers.is_empty() {
            found.push(format!("{program} can panic in {}", callers.join(" ")));
        }
    }
    Ok(found)
}

fn broken(why: impl ToString) -> Error {
    Error::Content { path: "the linked program".into(), what: why.to_string() }
}

fn code(elf: &[u8]) -> Result<Code> {
    let file = object::File::parse(elf).map_err(broken)?;
    let size = |name: &str| file.section_by_name(name).map_or(0, |section| section.size());
    let (text, ram) = (size(".text"), size(".data") + size(".bss"));
    let load = |id: gimli::SectionId| -> std::result::Result<_, gimli::Error> {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or(&[]);
        Ok(gimli::EndianSlice::new(data, gimli::LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(load).map_err(broken)?;
    let lines = addr2line::Context::from_dwarf(dwarf).map_err(broken)?;
    let mut parts: BTreeMap<&'static str, u64> = PARTS.iter().map(|(part, _)| (*part, 0)).collect();
    let mut seen = std::collections::BTreeSet::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        // The lowest bit says Thumb.
        let from = symbol.address() & !1;
        for at in (from..from + symbol.size()).step_by(2).filter(|at| seen.insert(*at)) {
            *parts.entry(part_of(&lines, at)?).or_default() += 2;
        }
    }
    let counted: u64 = parts.values().sum();
    parts.insert(CONSTANTS, text.saturating_sub(counted));
    Ok(Code { parts, text, ram, panics: panic_callers(elf)? })
}

type Lines<'a> = addr2line::Context<gimli::EndianSlice<'a, gimli::LittleEndian>>;

fn part_of(lines: &Lines<'_>, at: u64) -> Result<&'static str> {
    let mut frames = lines.find_frames(at).skip_all_loads().map_err(broken)?;
    while let Some(frame) = frames.next().map_err(broken)? {
        let Some(file) = frame.location.and_then(|location| location.file) else { continue };
        if file.contains("library/") || file.contains("compiler_builtins") || file.contains("compiler-builtins") {
            continue;
        }
        if let Some((part, _)) = PARTS.iter().find(|(_, marks)| marks.iter().any(|mark| file.contains(mark))) {
            return Ok(part);
        }
    }
    Ok(CORE)
}

/// Instructions and stack of one step.
type Steps = BTreeMap<String, (u64, u64)>;

/// Runs the measuring program.
fn steps(elf: &[u8], folder: &Path) -> Result<Steps> {
    let path = folder.join("measure.elf");
    project::write(&path, elf)?;
    let mut qemu = process::command("qemu-system-arm");
    qemu.args(["-M", "mps2-an385", "-cpu", "cortex-m3", "-icount", "shift=0", "-display", "none", "-monitor", "none"]);
    qemu.args(["-serial", "stdio", "-semihosting-config", "enable=on,target=native", "-kernel"]).arg(&path);
    let said = process::succeed(&mut qemu)?;
    let mut steps = Steps::new();
    for line in said.lines().filter_map(|line| line.trim().strip_prefix("measured ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
        match (words.len(), number(1), number(2)) {
            (3, Some(instructions), Some(stack)) => steps.insert(words[0].to_owned(), (instructions, stack)),
            _ => return Err(broken(format!("a step went wrong: {line}"))),
        };
    }
    if steps.contains_key("end") { Ok(steps) } else { Err(broken("the measuring program did not come to its end")) }
}

/// The input of the measuring program: a release of the application with a delta, signed by the real `sealift`.
struct Input {
    new: u64,
    delta: u64,
    bundle: u64,
}

fn input(folder: &Path) -> Result<Input> {
    let board = Board::Mps2;
    let old = Firmware::small(board, "app", "").image()?;
    let new = Firmware::small(board, "app", "release-1-1").image()?;
    let project = Project::start(folder, board)?;
    let root = project.root()?;
    project.release("1.0.0", "1", &old)?;
    let release = project.release("1.1.0", "1", &new)?;
    let digest = release.delta.as_deref().ok_or_else(|| broken("the release has no delta"))?;
    let delta = project.payload(digest)?;
    let target = hex::decode(&release.target).map_err(broken)?;
    let files: [(&str, &[u8]); 7] = [
        ("root.cbor", &root),
        ("bundle", &release.bundle),
        ("repository-id", &project.repository.0),
        ("target-digest", &target),
        ("old.bin", &old),
        ("new.bin", &new),
        ("delta", &delta),
    ];
    for (name, bytes) in files {
        project::write(&folder.join(name), bytes)?;
    }
    Ok(Input { new: new.len() as u64, delta: delta.len() as u64, bundle: release.bundle.len() as u64 })
}

/// What one build costs.
struct Figures {
    code: Code,
    boot_text: u64,
    steps: Steps,
}

fn figures(profile: &'static str, folder: &Path) -> Result<Figures> {
    let build = |program, features| Firmware { board: Board::Mps2, program, features, profile };
    let named = folder.display().to_string();
    let measure = build("measure", "measure").build(&[("SEALIFT_MEASURE", &named)])?;
    let steps = steps(&measure, folder)?;
    let boot_text = code(&build("boot", "").build(&[])?)?.text;
    Ok(Figures { code: code(&build("app", "").build(&[])?)?, boot_text, steps })
}

/// A budget of the project's.
struct Budget {
    what: &'static str,
    found: u64,
    most: u64,
}

fn budgets(small: &Figures) -> Vec<Budget> {
    let step = |name: &str| small.steps.get(name).copied().unwrap_or_default();
    let stack = small.steps.values().map(|(_, stack)| *stack).max().unwrap_or(0);
    vec![
        Budget {
            what: "flash of the verifier with everything, opt z, bytes",
            found: small.code.of_verifier(),
            most: 64 * 1024,
        },
        Budget {
            what: "RAM, static and stack, 24 KiB delta class, bytes",
            found: small.code.ram + stack,
            most: 36 * 1024,
        },
        Budget {
            what: "instructions of a bundle with 4 signatures, against 1.15 x 4 x a bare verify_strict",
            found: step("bundle").0,
            most: step("dalek_verify_strict").0 * 4 * 115 / 100,
        },
        Budget {
            what: "functions that call panic machinery, but for those that the check leaves out",
            found: small.code.panics.len() as u64,
            most: 0,
        },
    ]
}

/// Measures and prints; a broken budget is a failure.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    metal::emulators()?;
    let folder = project::target().join("measure");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|source| Error::File { act: "create", path: folder.clone(), source })?;
    let input = input(&folder)?;
    let (small, fast) = (figures("release", &folder)?, figures("fast", &folder)?);
    let budgets = budgets(&small);
    let kept = budgets.iter().all(|budget| budget.found <= budget.most);
    if options.json {
        print_json(&small, &fast, &budgets, &input);
    } else {
        print_tables(&small, &fast, &budgets, &input);
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(small: &Figures, fast: &Figures, budgets: &[Budget], input: &Input) {
    let one = |figures: &Figures| {
        let steps: BTreeMap<_, _> = figures
            .steps
            .iter()
            .map(|(name, (count, stack))| (name, json!({ "instructions": count, "stack": stack })))
            .collect();
        json!({ "text": figures.code.text, "parts": figures.code.parts, "static_ram": figures.code.ram,
            "bootloader_text": figures.boot_text, "steps": steps, "panic_callers": figures.code.panics })
    };
    let kept: Vec<_> = budgets
        .iter()
        .map(|b| json!({ "what": b.what, "found": b.found, "most": b.most, "kept": b.found <= b.most }))
        .collect();
    let value = json!({ "target": Board::Mps2.target(), "image": input.new, "delta": input.delta, "bundle": input.bundle,
        "opt_z": one(small), "opt_3": one(fast), "budgets": kept });
    println!("{value:#}");
}

fn print_tables(small: &Figures, fast: &Figures, budgets: &[Budget], input: &Input) {
    println!("Cortex-M3 (thumbv7m), in QEMU; an emulator counts instructions, not the cycles of a chip.\n");
    println!("| flash, bytes | opt z | opt 3 |\n|---|---:|---:|");
    for (part, bytes) in &small.code.parts {
        println!("| {part} | {bytes} | {} |", fast.code.parts.get(part).copied().unwrap_or(0));
    }
    println!("| application with the whole verifier | {} | {} |", small.code.text, fast.code.text);
    println!("| bootloader: signature, hash, boot, storage | {} | {} |", small.boot_text, fast.boot_text);
    println!("\n| step | instructions, z | instructions, 3 | stack, z | stack, 3 |\n|---|---:|---:|---:|---:|");
    for (name, (count, stack)) in
        small.steps.iter().filter(|(name, _)| !["end", "nothing", "provisioned", "delta_is_right"].contains(&&***name))
    {
        let (fast_count, fast_stack) = fast.steps.get(name).copied().unwrap_or_default();
        println!("| {} | {count} | {fast_count} | {stack} | {fast_stack} |", name.replace('_', " "));
    }
    let per = |name: &str, bytes: u64| {
        let of = |figures: &Figures| figures.steps.get(name).map_or(0, |step| step.0 * 1024 / bytes.max(1));
        (of(small), of(fast))
    };
    let ((hash, hash_fast), (delta, delta_fast)) = (per("sha256_16k", 16 * 1024), per("delta", input.new));
    println!("| hashing, a KiB | {hash} | {hash_fast} | | |\n| delta, a KiB of output | {delta} | {delta_fast} | | |");
    println!(
        "\nImage {} bytes, delta {} bytes, bundle {} bytes. Static RAM of the application: {} bytes.\n",
        input.new, input.delta, input.bundle, small.code.ram
    );
    println!("| budget | found | most | |\n|---|---:|---:|---|");
    for Budget { what, found, most } in budgets {
        println!("| {what} | {found} | {most} | {} |", if found <= most { "kept" } else { "BROKEN" });
    }
    if !small.code.panics.is_empty() {
        println!("\ncan panic: {}", small.code.panics.join(", "));
    }
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
    }
}
