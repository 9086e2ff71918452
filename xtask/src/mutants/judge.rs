//! Which tests come by a mutant, and whether one of them fails with it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Judged, QUICK_CASES, build::Built};
use crate::{
    error::{Error, Result},
    process,
};

/// What takes longer is asked only of mutants that all others let through.
pub(super) const LONG: Duration = Duration::from_secs(4);

/// A test that is slower than before by more than this much hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// Ranges of numbers of the mutants that a test comes by.
type Reached = Vec<(u32, u32)>;

/// One test, as it runs in a process of its own.
pub(super) struct Test {
    /// Its program: the name and the file.
    pub(super) program_name: String,
    program: PathBuf,
    /// Program and test, as people call it.
    pub(super) name: String,
    exact: String,
    pub(super) took: Duration,
    reached: Reached,
}

impl Test {
    fn reaches(&self, number: u32) -> bool {
        self.reached.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = process::command(program);
        command.current_dir(folder).args([&self.exact, "--exact", "--test-threads", "1"]);
        command.env("CARGO_MANIFEST_DIR", folder).stdout(Stdio::null()).stderr(Stdio::null());
        // The same cases each time, none remembered from another mutant, and none made smaller: that it fails is enough.
        command.env("PROPTEST_CASES", QUICK_CASES).env("PROPTEST_RNG_SEED", "1");
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        command
    }

    /// Runs it, as it was built into `program`, with a mutant; what it noticed, if it did.
    /// `slower` says how many times as long it may take unchanged.
    pub(super) fn attempt(&self, program: &Path, number: Option<u32>, folder: &Path, slower: u32) -> Option<Fate> {
        let mut command = self.command(program, folder);
        command.env("SEALIFT_MUTANT", number.map_or_else(String::new, |number| number.to_string()));
        match wait(&mut command, Instant::now() + (self.took * 5 + PATIENCE) * slower) {
            Some(true) => None,
            Some(false) => Some(Fate::Caught(self.name.clone())),
            None => Some(Fate::Hung(self.name.clone())),
        }
    }
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// This test failed.
    Caught(String),
    /// This test didn't end.
    Hung(String),
    /// So many tests came by it, and all passed.
    Missed(usize),
}

/// Runs all tests once, unchanged, and sees what each comes by. Asked for quick ones alone, it leaves out those that take long.
pub(super) fn trace(judged: &Judged, built: &Built, jobs: usize, quick: bool) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for (name, program) in &built.programs {
        let mut command = process::command(program);
        let listed = process::succeed(command.current_dir(&built.folder).args(["--list", "--format", "terse"]))?;
        for exact in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
            if !judged.never.iter().any(|never| exact.contains(never)) {
                tests.push(Test {
                    program_name: name.clone(),
                    program: program.clone(),
                    name: format!("{name} {exact}"),
                    exact: exact.to_owned(),
                    took: Duration::ZERO,
                    reached: Vec::new(),
                });
            }
        }
    }
    println!("{}: {} tests, each run once to see what it comes by", judged.name, tests.len());
    let dir = tempfile::tempdir().map_err(|source| Error::File { act: "create", path: "a folder".into(), source })?;
    let failed = Mutex::new(Vec::new());
    let traced: Mutex<BTreeMap<usize, (Duration, Reached)>> = Mutex::new(BTreeMap::new());
    in_parallel(tests.len(), jobs, |at| {
        let (test, file) = (&tests[at], dir.path().join(at.to_string()));
        let mut command = test.command(&test.program, &built.folder);
        command.env("SEALIFT_MUTANT", "trace").env("SEALIFT_MUTANT_TRACE", &file);
        let begun = Instant::now();
        match wait(&mut command, begun + if quick { LONG * 4 } else { Duration::from_secs(86_400) }) {
            Some(true) => {}
            None if quick => return,
            _ => {
                lock(&failed).push(test.name.clone());
                return;
            }
        }
        let took = begun.elapsed();
        let text = fs::read_to_string(&file).unwrap_or_default();
        let ranges = text.lines().filter_map(|line| {
            let (first, last) = line.split_once(' ')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        lock(&traced).insert(at, (took, ranges.collect()));
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        let what = format!("{}: these fail with no mutant switched on: {}", judged.name, failed.join(", "));
        return Err(Error::Story { what });
    }
    let mut traced = traced.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Those that took too long aren't among them.
    let kept = tests.into_iter().enumerate().filter_map(|(at, test)| {
        let (took, reached) = traced.remove(&at)?;
        Some(Test { took, reached, ..test })
    });
    let mut tests: Vec<Test> = kept.filter(|test| !quick || test.took <= LONG).collect();
    tests.sort_by_key(|test| test.took);
    for test in tests.iter().filter(|test| test.took > LONG) {
        println!("  {:.0} seconds: {}", test.took.as_secs_f32(), test.name);
    }
    Ok(tests)
}

/// Tries each mutant: first with tests that take seconds, then those that survived with the long ones. `done` is told of each fate.
pub(super) fn judge(
    built: &Built,
    tests: &[Test],
    jobs: usize,
    done: &(impl Fn(usize, &Fate, Duration) + Sync),
) -> BTreeMap<usize, Fate> {
    let fates = Mutex::new(BTreeMap::new());
    let mut waiting: Vec<(u32, usize)> = built.numbers.all().collect();
    let (quick, long): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(|test| test.took <= LONG);
    for (round, tests) in [quick, long].into_iter().enumerate() {
        let left = Mutex::new(Vec::new());
        in_parallel(waiting.len(), jobs, |at| {
            let (number, mutant) = waiting[at];
            let begun = Instant::now();
            let asked: Vec<&Test> = tests.iter().copied().filter(|test| test.reaches(number)).collect();
            let noticed = asked.iter().find_map(|test| test.attempt(&test.program, Some(number), &built.folder, 1));
            let earlier = match lock(&fates).get(&mutant) {
                Some(Fate::Missed(tests)) => *tests,
                _ => 0,
            };
            let fate = noticed.unwrap_or(Fate::Missed(earlier + asked.len()));
            if round == 0 && matches!(fate, Fate::Missed(_)) {
                lock(&left).push((number, mutant));
            } else {
                done(mutant, &fate, begun.elapsed());
            }
            lock(&fates).insert(mutant, fate);
        });
        waiting = left.into_inner().unwrap_or_else(PoisonError::into_inner);
        if round == 0 && !waiting.is_empty() {
            println!("{} survived tests of up to {} seconds; now the longer ones", waiting.len(), LONG.as_secs());
        }
    }
    fates.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a program succeeds before `deadline`; nothing when it didn't end.
fn wait(command: &mut Command, deadline: Instant) -> Option<bool> {
    let Ok(mut child) = command.spawn() else { return Some(false) };
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if Instant::now() < deadline => thread::sleep(pause),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn in_parallel(count: usize, jobs: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    work(at);
                }
            });
        }
    });
}

/// A thread that panicked left it as it was.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
