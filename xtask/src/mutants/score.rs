//! What became of mutants: of this run, and of all runs so far.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{judge::lock, list::Mutant};
use crate::{
    error::{Error, Result},
    project,
};

/// What became of a crate's mutants, by name.
#[derive(Debug, Default)]
pub(super) struct Score {
    /// A test failed.
    pub(super) caught: BTreeSet<String>,
    /// A test didn't end.
    pub(super) hung: BTreeSet<String>,
    /// No test noticed.
    pub(super) missed: BTreeSet<String>,
    /// Doesn't compile.
    pub(super) unviable: BTreeSet<String>,
    /// Nothing is known of it: cut off, or left out on request.
    pub(super) untried: BTreeSet<String>,
    /// How many of these were built each.
    pub(super) rebuilt: usize,
}

impl Score {
    /// Those that compile: each has to be found.
    pub(super) fn viable(&self) -> usize {
        self.caught.len() + self.hung.len() + self.missed.len()
    }

    /// All that something became of.
    pub(super) fn all(&self) -> BTreeSet<String> {
        [&self.caught, &self.hung, &self.missed, &self.unviable].into_iter().flatten().cloned().collect()
    }

    /// What a journal says of those that count, but for what survived.
    fn read(journal: &str, counts: impl Fn(&str, &str) -> bool) -> Score {
        let mut score = Score::default();
        for line in journal.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            if let [word, name, _, _, text] = parts[..]
                && word != "missed"
                && counts(name, text)
            {
                score.of(word).insert(name.to_owned());
            }
        }
        score
    }

    /// The list of that name.
    pub(super) fn of(&mut self, fate: &str) -> &mut BTreeSet<String> {
        match fate {
            "caught" => &mut self.caught,
            "hung" => &mut self.hung,
            "missed" => &mut self.missed,
            "unviable" => &mut self.unviable,
            _ => &mut self.untried,
        }
    }

    pub(super) fn print(&self, name: &str, took: Duration) {
        println!(
            "{name}: {} of {} viable mutants found: a test fails for {} and hangs for {}; {} don't compile; {} were built each; {} minutes",
            self.caught.len() + self.hung.len(),
            self.viable(),
            self.caught.len(),
            self.hung.len(),
            self.unviable.len(),
            self.rebuilt,
            took.as_secs().div_ceil(60)
        );
        self.missed.iter().for_each(|mutant| println!("  survived: {mutant}"));
        self.untried.iter().for_each(|mutant| println!("  not tried: {mutant}"));
    }
}

/// `fates.txt`: what became of each mutant, a line each, as it happens: the word, the mutant, the test (or how many), seconds, and which
/// text its file had.
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<fs::File>,
    /// The beginning of the digest of each file.
    texts: BTreeMap<String, String>,
}

impl Journal {
    pub(super) fn open(name: &str, mutants: &[Mutant]) -> Result<Journal> {
        let path = project::target().join("mutants").join(name).join("fates.txt");
        let failed = |source| Error::File { act: "open", path: path.clone(), source };
        fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        let file = fs::OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
        let mut texts = BTreeMap::new();
        for file in mutants.iter().map(|mutant| &mutant.file).collect::<BTreeSet<_>>() {
            let digest = hex::encode(Sha256::digest(project::read(&project::root().join(file))?));
            texts.insert(file.clone(), digest[..16].to_owned());
        }
        Ok(Journal { path, file: Mutex::new(file), texts })
    }

    fn text_of(&self, mutant: &str) -> &str {
        self.texts.get(mutant.split(':').next().unwrap_or_default()).map_or("", String::as_str)
    }

    pub(super) fn note(&self, word: &str, mutant: &str, tests: &str, took: Duration) {
        // It is for a later run, and for people: what was found is in the score as well.
        let line = format!("{word}\t{mutant}\t{tests}\t{:.1}\t{}\n", took.as_secs_f32(), self.text_of(mutant));
        let _ = lock(&self.file).write_all(line.as_bytes());
    }

    /// What is known of these and needn't be asked again: found, or no program. Tests may be new since the others survived.
    pub(super) fn known(&self, mutants: &[Mutant]) -> Result<Score> {
        let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
        Ok(Score::read(&project::read_text(&self.path)?, |name, text| {
            names.contains(name) && text == self.text_of(name)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found is found, until the file changes; what survived is tried again, since tests may be new.
    #[test]
    fn a_later_run_leaves_out_what_was_found_in_a_file_that_is_the_same() {
        let journal = "caught\ta.rs:1:1: x\ttest\t0.1\tnew\nhung\ta.rs:2:1: x\ttest\t9.1\tnew\n\
            missed\ta.rs:3:1: x\t4 tests\t0.1\tnew\nunviable\ta.rs:4:1: x\t\t0.0\tnew\ncaught\ta.rs:5:1: x\ttest\t0.1\told\n\
            caught\tb.rs:1:1: x\ttest\t0.1\tnew\ncaught\ta.rs:6";
        let score = Score::read(journal, |name, text| name.starts_with("a.rs") && text == "new");
        let names = |list: &BTreeSet<String>| list.iter().cloned().collect::<Vec<_>>().join(", ");
        assert_eq!(names(&score.caught), "a.rs:1:1: x");
        assert_eq!(names(&score.hung), "a.rs:2:1: x");
        assert_eq!(names(&score.unviable), "a.rs:4:1: x");
        assert_eq!((names(&score.missed), names(&score.untried)), (String::new(), String::new()));
        assert_eq!((score.viable(), score.all().len()), (2, 3));
    }
}
