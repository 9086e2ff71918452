//! `cargo xtask bench device`: what the verifier costs on a Cortex-M3, in flash, RAM and instructions, measured in QEMU.
//!
//! Code is attributed to parts by the linked program's line table: each address counts for the innermost function that is not
//! of Rust's `core`, so what `core` adds inline counts where it is used.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use serde_json::json;

use crate::{
    error::{Error, Result},
    metal::{self, Board, Firmware, Project},
    panics::{self, Panics},
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
    (APPLICATION, &["bare-metal/src", "src/bin", "src/board", "src/"]),
];
/// The part that is not the verifier's: the program around it.
const APPLICATION: &str = "the program around it";
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
    /// Calls of Rust's panic machinery.
    panics: Panics,
}

impl Code {
    /// Without the integrator's own lines: start-up, flash driver, the order of the calls.
    fn of_verifier(&self) -> u64 {
        self.text - self.parts.get(APPLICATION).copied().unwrap_or(0)
    }
}

/// The programs of the bare-metal device, each with the calls of panic machinery in it that nobody has named: there should be
/// none. One program that indexes a slice is judged too, so that a check that finds nothing shows itself.
pub(crate) fn programs_that_can_panic() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for program in ["boot", "app", "whole"] {
        let panics = panics::find(&Firmware::small(Board::Mps2, program, "").build(&[])?)?;
        for (reason, count) in &panics.known {
            println!("{program}: {count} known, never taken: {reason}");
        }
        if panics.of_sample > 0 {
            println!("{program}: {} of the weather station's own code, which is not judged", panics.of_sample);
        }
        found.extend(panics.wrong.into_iter().map(|wrong| format!("{program} can panic: {wrong}")));
    }
    let control = panics::find(&Firmware::small(Board::Mps2, "whole", "control-panics").build(&[])?)?;
    match &control.wrong[..] {
        [one] if one.contains("whole.rs") => println!("the control, a slice that is indexed: found in {one}"),
        other => found.push(format!("the check for panics does not see the one that was put in: {other:?}")),
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
    let lines = panics::lines(&file)?;
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
    Ok(Code { parts, text, ram, panics: panics::find(elf)? })
}

fn part_of(lines: &panics::Lines<'_>, at: u64) -> Result<&'static str> {
    let mut frames = lines.find_frames(at).skip_all_loads().map_err(broken)?;
    while let Some(frame) = frames.next().map_err(broken)? {
        let Some(file) = frame.location.and_then(|location| location.file) else { continue };
        if panics::is_core(file) {
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
    /// The verifier with everything, in a program of its own.
    whole: Code,
    /// The application with console and link.
    app: Code,
    /// The boot stage alone.
    boot: Code,
    steps: Steps,
    /// Deepest stack of the application, over a whole update that it takes in the emulator.
    stack: u64,
}

fn figures(profile: &'static str, folder: &Path) -> Result<Figures> {
    let build = |program, features| Firmware { board: Board::Mps2, program, features, profile };
    let named = folder.display().to_string();
    let measure = build("measure", "measure").build(&[("SEALIFT_MEASURE", &named)])?;
    let steps = steps(&measure, folder)?;
    let weigh = |program| code(&build(program, "").build(&[])?);
    let (whole, app, boot) = (weigh("whole")?, weigh("app")?, weigh("boot")?);
    Ok(Figures { whole, app, boot, steps, stack: metal::stack_of_an_update(profile)? })
}

/// A budget of the project's.
struct Budget {
    what: &'static str,
    found: u64,
    most: u64,
}

fn budgets(small: &Figures) -> Vec<Budget> {
    let step = |name: &str| small.steps.get(name).copied().unwrap_or_default();
    vec![
        Budget {
            what: "text of the verifier with everything, opt z, bytes",
            found: small.whole.of_verifier(),
            most: 64 * 1024,
        },
        Budget {
            what: "RAM of the application over a whole update, 24 KiB delta class, opt z, bytes",
            found: small.app.ram + small.stack,
            most: 36 * 1024,
        },
        Budget {
            what: "instructions of a bundle with 4 signatures, against 1.15 x 4 x a bare verify_strict",
            found: step("bundle").0,
            most: step("dalek_verify_strict").0 * 4 * 115 / 100,
        },
        Budget {
            what: "calls of panic machinery, but for those that are named and never taken",
            found: [&small.whole, &small.app, &small.boot].iter().map(|code| code.panics.wrong.len() as u64).sum(),
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
        json!({ "verifier_text": figures.whole.of_verifier(), "whole_text": figures.whole.text,
            "parts": figures.whole.parts, "application_text": figures.app.text, "bootloader_text": figures.boot.text,
            "static_ram": figures.app.ram, "stack_of_an_update": figures.stack, "steps": steps,
            "panics": figures.whole.panics.wrong, "panics_never_taken": figures.whole.panics.known })
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
    for (part, bytes) in &small.whole.parts {
        println!("| {part} | {bytes} | {} |", fast.whole.parts.get(part).copied().unwrap_or(0));
    }
    let (of_small, of_fast) = (small.whole.of_verifier(), fast.whole.of_verifier());
    println!("| **the verifier with everything** | **{of_small}** | **{of_fast}** |");
    println!("| the same with the program around it | {} | {} |", small.whole.text, fast.whole.text);
    println!("| application with console and link | {} | {} |", small.app.text, fast.app.text);
    println!("| bootloader: signature, hash, boot, storage | {} | {} |", small.boot.text, fast.boot.text);
    println!("\n| RAM of the application, bytes | opt z | opt 3 |\n|---|---:|---:|");
    println!("| static: root, bundle | {} | {} |", small.app.ram, fast.app.ram);
    println!("| deepest stack over a whole update by delta | {} | {} |", small.stack, fast.stack);
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
    println!("\nImage {} bytes, delta {} bytes, bundle {} bytes.\n", input.new, input.delta, input.bundle);
    println!("| budget | found | most | |\n|---|---:|---:|---|");
    for Budget { what, found, most } in budgets {
        println!("| {what} | {found} | {most} | {} |", if found <= most { "kept" } else { "BROKEN" });
    }
    for wrong in &small.whole.panics.wrong {
        println!("can panic: {wrong}");
    }
    for (reason, count) in &small.whole.panics.known {
        println!("{count} known call of panic machinery, never taken: {reason}");
    }
}
