//! Mutants that can't be switched while a program runs: each is put into a copy of the project, built, and tried.
//!
//! First with the one program of tests that asks most of its file, so that for most mutants one is linked and not all of them; what
//! survives that, with all. The quickest tests come first, and the first that fails ends it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Judged, build,
    judge::{Fate, LONG, Test},
    list::Mutant,
};
use crate::{
    error::{Error, Result},
    project,
};

/// How many times as long a test may take that was built quickly and not to be quick.
const UNOPTIMISED: u32 = 8;

/// What became of one: nothing when it doesn't compile.
pub(super) type Outcome = Option<Fate>;

/// Tries these, and tells `done` of each.
pub(super) fn run(
    judged: &Judged,
    mutants: &[&Mutant],
    tests: &[Test],
    mut done: impl FnMut(&Mutant, &Outcome, Duration),
) -> Result<()> {
    let tree = project::target().join("mutants").join(judged.name).join("plain");
    // A run that was ended may have left a change there.
    build::copy(&tree)?;
    for mutant in mutants {
        let begun = Instant::now();
        let path = tree.join(&mutant.file);
        let text = project::read_text(&path)?;
        let changed = mutant.apply(&text).ok_or_else(|| {
            let what = format!("has no {}", mutant.name);
            Error::Content { path: path.clone(), what }
        })?;
        let write = |text: &str| {
            fs::write(&path, text).map_err(|source| Error::File { act: "write", path: path.clone(), source })
        };
        write(&changed)?;
        let outcome = attempt(judged, mutant, tests, &tree);
        write(&text)?;
        done(mutant, &outcome?, begun.elapsed());
    }
    Ok(())
}

fn attempt(judged: &Judged, mutant: &Mutant, tests: &[Test], tree: &Path) -> Result<Outcome> {
    let folder = tree.join(judged.folder);
    let near = judged.near.iter().filter(|(beginning, _)| mutant.file.starts_with(beginning));
    let near = near.max_by_key(|(beginning, _)| beginning.len()).map(|(_, program)| *program);
    let mut asked = BTreeSet::new();
    for programs in [near.map(|near| vec![near]), Some(judged.programs())].into_iter().flatten() {
        let Some(built) = build::compile(judged, tree, &programs, build::Purpose::Once)? else { return Ok(None) };
        // By how long they take; the long ones when all others have passed.
        let all = programs.len() > 1;
        for test in tests.iter().filter(|test| all || test.took <= LONG) {
            if let Some(program) = built.get(&test.program_name)
                && asked.insert(&test.name)
                && let Some(noticed) = test.attempt(program, None, &folder, UNOPTIMISED)
            {
                return Ok(Some(noticed));
            }
        }
    }
    Ok(Some(Fate::Missed(asked.len())))
}
