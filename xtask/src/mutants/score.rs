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
        let mut score = Score::default();
        for line in project::read_text(&self.path)?.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            let [word, name, _, _, text] = parts[..] else { continue };
            if !names.contains(name) || text != self.text_of(name) {
                continue;
            }
            if word != "missed" {
                score.of(word).insert(name.to_owned());
            }
        }
        Ok(score)
    }
}
