//! A second, stricter judge of `schema.cddl`: cddl-verifier (Python), which also checks that the encoding is deterministic.
//! The CDDL crate of `schema.rs` lets some faults pass (an integer's range is not checked against its type, for one), so what
//! must be refused is held to this one.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use sealift_manifests::{DecodeError, Fault};

use crate::documents::{self, Kind, recode, rule, uint};
use crate::tree::Tree;
use crate::{python, values};

/// The judge's process; it answers line by line.
struct Judge {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    fn start() -> Self {
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.cddl");
        let mut command = Command::new(python::interpreter());
        command.arg(python::script("judge_schema.py")).arg(schema).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|why| panic!("start {command:?}: {why}"));
        let questions = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Judge { process, questions, answers }
    }

    fn ask(&mut self, rule: &str, document: &[u8]) -> Result<(), String> {
        let mut answer = String::new();
        writeln!(self.questions, "{rule} {}", hex::encode(document)).expect("the judge reads");
        self.answers.read_line(&mut answer).expect("the judge answers");
        match answer.trim_end() {
            "ok" => Ok(()),
            refused if refused.starts_with("refused: ") => Err(refused.into()),
            other => panic!("the judge said {other:?}; is it still running? {:?}", self.process.try_wait()),
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the schema allows these bytes as `rule`; if not, why.
fn check(rule: &str, document: &[u8]) -> Result<(), String> {
    thread_local! {
        static JUDGE: RefCell<Judge> = RefCell::new(Judge::start());
    }
    JUDGE.with_borrow_mut(|judge| judge.ask(rule, document))
}

#[test]
fn the_judge_allows_every_document_and_every_bundle_of_them() {
    for (kind, document) in documents::all() {
        assert_eq!(check(rule(kind), &document.bytes()), Ok(()), "{kind:?}");
    }
    let root = || documents::envelope_of(documents::root());
    let latest = [documents::timestamp(), documents::snapshot(), documents::top_level_targets()];
    let latest = latest.map(documents::envelope_of);
    let delegated = documents::envelope_of(documents::delegated_targets());
    let bundle = |roots: usize, rest: &[Tree]| {
        Tree::Array((0..roots).map(|_| root()).chain(rest.iter().cloned()).collect()).bytes()
    };
    let all = [&latest[..], std::slice::from_ref(&delegated)].concat();
    assert_eq!(check("bundle", &bundle(0, &latest)), Ok(()));
    assert_eq!(check("bundle", &bundle(8, &all)), Ok(()));
    let payloads = [Tree::Bytes(vec![1; 300]), Tree::Bytes(vec![])];
    let install = Tree::Array(all.iter().chain(&payloads).cloned().collect()).bytes();
    assert_eq!(check("install-file", &install), Ok(()));
    assert!(check("bundle", &install).is_err(), "a bundle has no payloads");
    let early = Tree::Array(payloads.iter().chain(&all).cloned().collect()).bytes();
    assert!(check("install-file", &early).is_err(), "payloads before the bundle");
    let [timestamp, snapshot, targets] = latest;
    for (what, refused) in [
        ("nine roots", bundle(9, &all)),
        ("no targets", bundle(0, &[timestamp.clone(), snapshot.clone()])),
        ("another order", bundle(0, &[snapshot.clone(), timestamp.clone(), targets.clone()])),
        ("delegated targets for the top-level ones", bundle(0, &[timestamp, snapshot, delegated])),
    ] {
        assert!(check("bundle", &refused).is_err(), "{what}");
    }
}

#[test]
fn the_judge_refuses_a_head_that_is_not_shortest() {
    for (kind, document) in documents::all() {
        let (written, hit) = document.bytes_with(crate::tree::Heads::OneTooLong(1));
        assert!(hit && check(rule(kind), &written).is_err(), "{kind:?}");
    }
}

/// What replaces an item: something of every type, and numbers at the edges.
fn replacement() -> impl Strategy<Value = Tree> {
    prop_oneof![
        4 => values::number().prop_map(Tree::Uint),
        1 => values::number().prop_map(Tree::Negative),
        2 => prop::sample::select(vec![0usize, 1, 16, 31, 32, 33, 64, 255, 256, 257]).prop_map(|n| Tree::Bytes(vec![1; n])),
        2 => "[a-zA-Z0-9._-]{0,5}".prop_map(Tree::Text),
        1 => Just(Tree::Array(vec![])),
        1 => Just(Tree::Map(vec![])),
        1 => Just(Tree::Raw(vec![0xf5])),
        1 => Just(Tree::Raw(vec![0xf6])),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Replace(Tree),
    /// Removes the item from its array, or its entry from its map.
    Remove,
    /// Puts the item into its array once more.
    Double,
    /// Adds a field.
    Add(u64, Tree),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => replacement().prop_map(Change::Replace),
        3 => Just(Change::Remove),
        1 => Just(Change::Double),
        1 => (0..26u64, replacement()).prop_map(|(key, value)| Change::Add(key, value)),
    ]
}

fn apply(document: &mut Tree, path: &[usize], change: &Change) {
    let Some((last, parent)) = path.split_last() else { return };
    match (change, document.at(parent)) {
        (Change::Replace(item), _) => *document.at(path) = item.clone(),
        (Change::Remove, Tree::Array(items)) => {
            items.remove(*last);
        }
        (Change::Remove, Tree::Map(entries)) => {
            entries.remove(last / 2);
        }
        (Change::Double, Tree::Array(items)) => items.insert(*last, items[*last].clone()),
        (Change::Add(key, value), Tree::Map(entries)) if !entries.iter().any(|(found, _)| *found == uint(*key)) => {
            entries.push((uint(*key), value.clone()));
        }
        _ => {}
    }
}

/// Puts map keys into their order, so that what code and judge see is the change itself.
fn sort_keys(tree: &mut Tree) {
    match tree {
        Tree::Map(entries) => {
            entries.iter_mut().for_each(|(_, value)| sort_keys(value));
            entries.sort_by_key(|(key, _)| key.bytes());
        }
        Tree::Array(items) => items.iter_mut().for_each(sort_keys),
        Tree::Tag(_, item) | Tree::Wrapped(item) => sort_keys(item),
        _ => {}
    }
}

/// What the code refuses and CDDL has no words for: order in lists, and an index beyond the keys of its own file.
fn is_beyond_cddl(why: DecodeError) -> bool {
    matches!(why.fault(), Fault::NotAscending | Fault::BadValue)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_536))]
    /// What the code reads, the schema allows; what the schema allows, the code reads or refuses for its order.
    #[test]
    fn code_and_schema_agree_on_changed_documents(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        change in change(),
    ) {
        let (kind, mut document) = which.get(&documents::all()).clone();
        let paths = document.paths();
        apply(&mut document, &paths[at.index(paths.len())], &change);
        sort_keys(&mut document);
        let written = document.bytes();
        let allowed = check(rule(kind), &written);
        match recode(kind, &written) {
            Ok(_) => prop_assert!(allowed.is_ok(), "{kind:?}: the code reads what the schema refuses: {allowed:?}"),
            Err(why) => prop_assert!(
                allowed.is_err() || is_beyond_cddl(why),
                "{kind:?}: the schema allows what the code refuses: {why}\n{}", hex::encode(&written)
            ),
        }
    }
}

/// How often the test above sees each outcome: an agreement on refusals alone would show little.
#[test]
fn changed_documents_are_read_and_refused_in_good_numbers() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut reads, mut refusals, mut beyond) = (0, 0, 0);
    for _ in 0..1_000 {
        let strategy = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), change());
        let (which, at, change) = strategy.new_tree(&mut runner).unwrap().current();
        let (kind, mut document) = which.get(&documents::all()).clone();
        let paths = document.paths();
        apply(&mut document, &paths[at.index(paths.len())], &change);
        sort_keys(&mut document);
        match recode(kind, &document.bytes()) {
            Ok(_) => reads += 1,
            Err(why) if is_beyond_cddl(why) => beyond += 1,
            Err(_) => refusals += 1,
        }
    }
    assert!(reads > 100 && refusals > 300, "{reads} read, {refusals} refused, {beyond} refused beyond CDDL");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_judge_allows_every_generated_role(
        root in values::root(),
        timestamp in values::timestamp(),
        snapshot in values::snapshot(),
        targets in values::targets(),
        report in values::signed_report(),
    ) {
        prop_assert_eq!(check("root", &root.encode()), Ok(()));
        prop_assert_eq!(check("timestamp", &timestamp.encode()), Ok(()));
        prop_assert_eq!(check("snapshot", &snapshot.encode()), Ok(()));
        prop_assert_eq!(check("targets", &targets.encode()), Ok(()));
        prop_assert_eq!(check("signed-report", &report.encode()), Ok(()));
    }
}

/// `documents::Kind` and the rules of the schema are the same set.
#[test]
fn every_kind_has_a_rule_of_its_own() {
    let kinds =
        [Kind::Root, Kind::Timestamp, Kind::Snapshot, Kind::Targets, Kind::Envelope, Kind::Report, Kind::SignedReport];
    let rules: std::collections::BTreeSet<_> = kinds.into_iter().map(rule).collect();
    assert_eq!(rules.len(), kinds.len());
}
