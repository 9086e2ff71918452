//! The text of a file in which mutants are branches, and the module that says which branch is taken.

use std::ops::Range;

/// What every switched crate gets as a module `mutant_switch`. Without a number nothing is changed; told to trace, it writes down which
/// switches the program comes by, each once.
pub(super) const MODULE: &str = r#"
#[doc(hidden)]
pub mod mutant_switch {
    extern crate std;
    use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
    use std::{env, format, fs, io::Write, string::String};

    const UNASKED: u32 = 0;
    const NONE: u32 = 1;
    const TRACE: u32 = 2;

    static CHOSEN: AtomicU32 = AtomicU32::new(UNASKED);
    static SEEN: [AtomicU8; 1 << 14] = [const { AtomicU8::new(0) }; 1 << 14];

    #[inline]
    pub fn off(first: u32, last: u32) -> bool {
        match CHOSEN.load(Relaxed) {
            NONE => true,
            TRACE if SEEN[first as usize].load(Relaxed) != 0 => true,
            UNASKED | TRACE => slow(first, last),
            chosen => chosen < first || last < chosen,
        }
    }

    #[inline]
    pub fn on(number: u32) -> bool {
        CHOSEN.load(Relaxed) == number
    }

    #[cold]
    fn slow(first: u32, last: u32) -> bool {
        let chosen = match CHOSEN.load(Relaxed) {
            UNASKED => {
                let asked = env::var("SEALIFT_MUTANT").unwrap_or_else(|_| String::new());
                let chosen = if asked == "trace" { TRACE } else { asked.parse().unwrap_or(NONE) };
                CHOSEN.store(chosen, Relaxed);
                chosen
            }
            chosen => chosen,
        };
        if chosen == TRACE && SEEN[first as usize].swap(1, Relaxed) == 0 {
            let path = env::var_os("SEALIFT_MUTANT_TRACE").expect("where to write what was reached");
            let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("a file to trace to");
            file.write_all(format!("{first} {last}\n").as_bytes()).expect("room for a line");
        }
        chosen < first || last < chosen
    }
}
"#;

/// The first number that names a mutant: those below mean something else to [`MODULE`].
const FIRST: usize = 3;

/// The mutants that are switched, in order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<usize>);

impl Numbers {
    fn add(&mut self, mutant: usize) -> usize {
        self.0.push(mutant);
        self.0.len() - 1 + FIRST
    }

    /// Number and mutant of each.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        self.0.iter().enumerate().map(|(at, mutant)| ((at + FIRST) as u32, *mutant))
    }
}

/// A file with switches.
pub(super) struct Switched {
    /// Its text.
    pub(super) text: String,
    /// Where each mutant's own text stands in it.
    pub(super) branches: Vec<(usize, Range<usize>)>,
    /// Where each place with a switch stands in it, and the mutants of that place.
    pub(super) places: Vec<(Range<usize>, Vec<usize>)>,
}

/// How the branches of a place stand beside what is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Instead of an expression.
    Expression,
    /// Before the statements of a function, as an early return.
    Return,
    /// As the guard of a match arm that had none.
    Guard,
}

/// A place in a file that has mutants.
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) shape: Shape,
    /// Mutants and their texts.
    pub(super) branches: Vec<(usize, String)>,
}

/// Text with all the places' branches in it. Places come in the order in which they were met: outer ones before those within them.
pub(super) fn assemble(text: &str, places: &[Place], numbers: &mut Numbers) -> Switched {
    // At one position, what ends comes before what begins; inner ones end first, outer ones begin first.
    let mut cuts: Vec<(usize, bool, isize)> = Vec::new();
    for (at, place) in places.iter().enumerate() {
        cuts.push((place.range.start, true, at as isize));
        if place.shape == Shape::Expression {
            cuts.push((place.range.end, false, -(at as isize)));
        }
    }
    cuts.sort_unstable();
    let mut out = Switched { text: String::with_capacity(text.len() * 4), branches: Vec::new(), places: Vec::new() };
    let mut begun = vec![(0, Vec::new()); places.len()];
    let mut copied = 0;
    for (position, begins, order) in cuts {
        let at = order.unsigned_abs();
        let place = &places[at];
        out.text.push_str(&text[copied..position]);
        copied = position;
        if begins {
            begun[at] =
                (out.text.len(), place.branches.iter().map(|(mutant, _)| numbers.add(*mutant)).collect::<Vec<_>>());
        }
        let (start, ids) = &begun[at];
        let off = format!("crate::mutant_switch::off({}, {})", ids[0], ids[ids.len() - 1]);
        match (place.shape, begins) {
            (Shape::Expression, true) => {
                out.text.push_str(&format!("(if {off} {{ "));
                continue;
            }
            (Shape::Expression, false) => {
                for (nth, branch) in place.branches.iter().enumerate() {
                    out.text.push_str(" } else ");
                    if nth + 1 < ids.len() {
                        out.text.push_str(&format!("if crate::mutant_switch::on({}) ", ids[nth]));
                    }
                    out.text.push_str("{ ");
                    out.branch(branch);
                }
                out.text.push_str(" })");
            }
            (Shape::Return, _) => {
                out.text.push_str(&format!(" if !{off} {{ "));
                for (id, branch) in ids.iter().zip(&place.branches) {
                    out.text.push_str(&format!("if crate::mutant_switch::on({id}) {{ return "));
                    out.branch(branch);
                    out.text.push_str("; } ");
                }
                out.text.push_str("} ");
            }
            (Shape::Guard, _) => {
                out.text.push_str(" if ");
                out.branch(&(place.branches[0].0, off));
            }
        }
        let mutants = place.branches.iter().map(|(mutant, _)| *mutant).collect();
        out.places.push((*start..out.text.len(), mutants));
    }
    out.text.push_str(&text[copied..]);
    out
}

impl Switched {
    fn branch(&mut self, (mutant, text): &(usize, String)) {
        let start = self.text.len();
        self.text.push_str(text);
        self.branches.push((*mutant, start..self.text.len()));
    }
}
