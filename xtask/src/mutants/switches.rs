//! All mutants of a file in one: each becomes a branch that is taken when its number is chosen as the program starts.
//!
//! Building a crate and its tests takes a hundred times as long as the few tests that notice a mutant, so it is done once for all of
//! them. What can't be switched while it runs (constants, lengths, fields left out) stays as it is, for cargo-mutants to try.
//!
//! A branch holds the text that cargo-mutants would have put there: of the whole chain of operators, so that their precedence is what
//! it would be in the changed file.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    path::Path,
};

use syn::{Expr, spanned::Spanned, visit, visit::Visit};

use super::{
    branches::{Numbers, Place, Shape, Switched, assemble},
    list::{Genre, Mutant},
};
use crate::error::{Error, Result};

/// Puts the switches of `mutants` into the text of a file. Functions named in `constant` are called while compiling and stay `const`; what
/// they have isn't switched.
pub(super) fn switch(
    path: &Path,
    text: &str,
    mutants: &[(usize, &Mutant)],
    constant: &HashSet<String>,
    numbers: &mut Numbers,
) -> Result<Switched> {
    let wrong = |what: String| Error::Content { path: path.into(), what };
    let file = syn::parse_file(text).map_err(|e| wrong(e.to_string()))?;
    let mut wanted: BTreeMap<(usize, usize, Genre), Vec<usize>> = BTreeMap::new();
    for (index, mutant) in mutants {
        let Range { start, end } = mutant.bytes(text).ok_or_else(|| wrong(format!("has no {}", mutant.name)))?;
        wanted.entry((start, end, mutant.genre)).or_default().push(*index);
    }
    let replacement = |index: usize| {
        let found = mutants.iter().find(|(i, _)| *i == index);
        found.map_or("", |(_, mutant)| mutant.replacement.as_str())
    };
    let mut finder = Finder {
        text: text.to_owned(),
        wanted,
        replacement: &replacement,
        constant,
        places: Vec::new(),
        fixed: 0,
        catches_all: false,
    };
    finder.visit_file(&file);
    Ok(assemble(&finder.text, &finder.places, numbers))
}

/// Walks a file and finds the place of each mutant that can be switched.
struct Finder<'f> {
    /// The file, without the `const` of functions that needn't be.
    text: String,
    wanted: BTreeMap<(usize, usize, Genre), Vec<usize>>,
    replacement: &'f dyn Fn(usize) -> &'f str,
    constant: &'f HashSet<String>,
    places: Vec<Place>,
    /// How deep in what is evaluated while compiling.
    fixed: usize,
    /// Whether the match at hand has an arm for all that the others leave.
    catches_all: bool,
}

impl Finder<'_> {
    /// The mutants of exactly this place, each once; none where nothing can be switched.
    fn take(&mut self, range: &Range<usize>, genre: Genre) -> Vec<usize> {
        if self.fixed > 0 {
            return Vec::new();
        }
        self.wanted.remove(&(range.start, range.end, genre)).unwrap_or_default()
    }

    /// Adds a place whose branches are the text of `whole` with `at` replaced. What doesn't parse so isn't a program: cargo-mutants says
    /// so too.
    fn expression(&mut self, whole: &Range<usize>, changed: Vec<(usize, Range<usize>)>) {
        let branches: Vec<(usize, String)> = changed
            .into_iter()
            .map(|(mutant, at)| {
                let (before, after) = (&self.text[whole.start..at.start], &self.text[at.end..whole.end]);
                (mutant, format!("{before}{}{after}", (self.replacement)(mutant)))
            })
            .filter(|(_, text)| syn::parse_str::<Expr>(text).is_ok())
            .collect();
        if !branches.is_empty() {
            self.places.push(Place { range: whole.clone(), shape: Shape::Expression, branches });
        }
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block, walk: impl FnOnce(&mut Self)) {
        let outside = std::mem::take(&mut self.fixed);
        if let Some(token) = &signature.constness {
            if self.constant.contains(&signature.ident.to_string()) {
                self.fixed = 1;
            } else {
                let range = token.span.byte_range();
                self.text.replace_range(range.clone(), &" ".repeat(range.len()));
            }
        }
        if let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) {
            let body = first.span().byte_range().start..last.span().byte_range().end;
            // What returns `impl Trait` has one type: that of its body.
            if !self.text[signature.output.span().byte_range()].contains("impl ") {
                let branches: Vec<(usize, String)> = self
                    .take(&body, Genre::FnValue)
                    .into_iter()
                    .map(|mutant| (mutant, (self.replacement)(mutant).to_owned()))
                    .collect();
                if !branches.is_empty() {
                    let start = block.brace_token.span.open().byte_range().end;
                    self.places.push(Place { range: start..start, shape: Shape::Return, branches });
                }
            }
        }
        walk(self);
        self.fixed = outside;
    }

    fn fixed(&mut self, walk: impl FnOnce(&mut Self)) {
        self.fixed += 1;
        walk(self);
        self.fixed -= 1;
    }

    /// `a && let Some(b) = c && d`: only what stands between the `&&` can be switched.
    fn let_chain(&mut self, expression: &Expr) {
        match expression {
            Expr::Binary(binary) if matches!(binary.op, syn::BinOp::And(_)) && has_let(expression) => {
                self.let_chain(&binary.left);
                self.let_chain(&binary.right);
            }
            other => self.visit_expr(other),
        }
    }
}

/// The operators of a chain without parentheses, and what stands between them.
fn chain<'e>(binary: &'e syn::ExprBinary, operators: &mut Vec<Range<usize>>, operands: &mut Vec<&'e Expr>) {
    let mut side = |operand: &'e Expr, operators: &mut Vec<Range<usize>>| match operand {
        Expr::Binary(inner) => chain(inner, operators, operands),
        other => operands.push(other),
    };
    side(&binary.left, operators);
    operators.push(binary.op.span().byte_range());
    side(&binary.right, operators);
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, |v| visit::visit_item_fn(v, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block, |v| visit::visit_impl_item_fn(v, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block, |v| visit::visit_trait_item_fn(v, item));
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.fixed(|v| visit::visit_item_const(v, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.fixed(|v| visit::visit_item_static(v, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.fixed(|v| visit::visit_impl_item_const(v, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.fixed(|v| visit::visit_trait_item_const(v, item));
    }

    fn visit_variant(&mut self, item: &'ast syn::Variant) {
        self.fixed(|v| visit::visit_variant(v, item));
    }

    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.fixed(|v| visit::visit_type(v, item));
    }

    fn visit_generic_argument(&mut self, item: &'ast syn::GenericArgument) {
        self.fixed(|v| visit::visit_generic_argument(v, item));
    }

    fn visit_pat(&mut self, item: &'ast syn::Pat) {
        self.fixed(|v| visit::visit_pat(v, item));
    }

    fn visit_expr_const(&mut self, item: &'ast syn::ExprConst) {
        self.fixed(|v| visit::visit_expr_const(v, item));
    }

    fn visit_expr_repeat(&mut self, item: &'ast syn::ExprRepeat) {
        self.visit_expr(&item.expr);
        self.fixed(|v| v.visit_expr(&item.len));
    }

    fn visit_expr_binary(&mut self, item: &'ast syn::ExprBinary) {
        let whole = item.span().byte_range();
        let (mut operators, mut operands) = (Vec::new(), Vec::new());
        chain(item, &mut operators, &mut operands);
        if operands.iter().any(|operand| matches!(operand, Expr::Let(_))) {
            self.let_chain(&item.left);
            self.let_chain(&item.right);
            return;
        }
        let mut changed = Vec::new();
        for operator in operators {
            let mutants = self.take(&operator, Genre::BinaryOperator);
            changed.extend(mutants.into_iter().map(|mutant| (mutant, operator.clone())));
        }
        self.expression(&whole, changed);
        for operand in operands {
            self.visit_expr(operand);
        }
    }

    fn visit_expr_unary(&mut self, item: &'ast syn::ExprUnary) {
        let operator = item.op.span().byte_range();
        let mutants = self.take(&operator, Genre::UnaryOperator);
        let changed = mutants.into_iter().map(|mutant| (mutant, operator.clone())).collect();
        self.expression(&item.span().byte_range(), changed);
        visit::visit_expr_unary(self, item);
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        self.visit_expr(&item.expr);
        let last = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        let catches_all = item.arms.iter().any(last);
        for arm in &item.arms {
            self.catches_all = catches_all;
            self.visit_arm(arm);
        }
    }

    fn visit_arm(&mut self, item: &'ast syn::Arm) {
        if let Some((_, guard)) = &item.guard {
            let range = guard.span().byte_range();
            let mutants = self.take(&range, Genre::MatchArmGuard);
            self.expression(&range, mutants.into_iter().map(|mutant| (mutant, range.clone())).collect());
        } else if self.catches_all
            && let Some(mutant) = self.take(&item.span().byte_range(), Genre::MatchArm).pop()
        {
            let end = item.pat.span().byte_range().end;
            self.places.push(Place { range: end..end, shape: Shape::Guard, branches: vec![(mutant, String::new())] });
        }
        visit::visit_arm(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in `text` when each mutant is its own branch; the mutants' places are given by their text.
    fn switched(text: &str, mutants: &[(&str, &str, Genre)], constant: &[&str]) -> (String, Vec<usize>) {
        let mutants: Vec<Mutant> = mutants
            .iter()
            .enumerate()
            .map(|(at, (place, replacement, genre))| {
                let start = text.find(place).unwrap();
                Mutant::at(&at.to_string(), text, start..start + place.len(), replacement, *genre)
            })
            .collect();
        let wanted: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
        let constant = constant.iter().map(|name| (*name).to_owned()).collect();
        let mut numbers = Numbers::default();
        let done = switch(Path::new("a.rs"), text, &wanted, &constant, &mut numbers).unwrap();
        for (mutant, range) in &done.branches {
            let (place, own) = done.places.iter().find(|(_, own)| own.contains(mutant)).unwrap();
            assert!(place.start <= range.start && range.end <= place.end && own.contains(mutant));
        }
        syn::parse_file(&done.text).unwrap();
        let text = done.text.replace("crate::mutant_switch::", "");
        (text.split_whitespace().collect::<Vec<_>>().join(" "), numbers.all().map(|(_, mutant)| mutant).collect())
    }

    use Genre::{BinaryOperator, FnValue, MatchArm, MatchArmGuard, UnaryOperator};

    /// As in a file in which `*` was replaced: the new operator may bind otherwise than the old one.
    #[test]
    fn a_branch_is_the_text_of_the_whole_chain() {
        let (text, _) = switched("fn f() -> u8 { a - b * c }", &[("*", "+", BinaryOperator)], &[]);
        assert_eq!(text, "fn f() -> u8 { (if off(3, 3) { a - b * c } else { a - b + c }) }");
    }

    #[test]
    fn a_place_within_another_is_switched_apart() {
        let mutants = [("!", "", UnaryOperator), ("&&", "||", BinaryOperator)];
        let (text, order) = switched("fn f() -> bool { !(a && b) }", &mutants, &[]);
        assert_eq!(
            text,
            "fn f() -> bool { (if off(3, 3) { !((if off(4, 4) { a && b } else { a || b })) } else { (a && b) }) }"
        );
        assert_eq!(order, [0, 1]);
    }

    #[test]
    fn a_function_returns_early_and_a_match_arm_is_passed_by() {
        let source = "fn f(x: u8) -> u8 { match x { 1 => 2, n if n > 9 => 3, _ => 4 } }";
        let body = &source[20..source.len() - 2];
        let mutants =
            [(body, "0", FnValue), (body, "1", FnValue), ("1 => 2,", "", MatchArm), ("n > 9", "true", MatchArmGuard)];
        let (text, _) = switched(source, &mutants, &[]);
        assert_eq!(
            text,
            "fn f(x: u8) -> u8 { if !off(3, 4) { if on(3) { return 0; } if on(4) { return 1; } } match x { \
             1 if off(5, 5) => 2, n if (if off(6, 6) { n > 9 } else { true }) => 3, _ => 4 } }"
        );
    }

    /// Cargo-mutants has to try those.
    #[test]
    fn what_is_evaluated_while_compiling_is_not_switched() {
        for (source, place, genre) in [
            ("const A: u8 = 1 + 2;", "+", BinaryOperator),
            ("fn f() { let a = [0; 1 + 2]; }", "+", BinaryOperator),
            ("fn f() { let a: [u8; 1 + 2] = b; }", "+", BinaryOperator),
            ("const fn kept() -> u8 { 1 + 2 }", "+", BinaryOperator),
            ("fn f() -> impl Iterator<Item = u8> { a() }", "a()", FnValue),
            // `||` can't stand beside `let`.
            ("fn f() { if a && let Some(b) = c {} }", "&&", BinaryOperator),
            // Without the arm, `match` leaves something open: the last one has a guard.
            ("fn f() { match x { A => 1, _ if b => 2, B => 3 } }", "A => 1,", MatchArm),
            // `<` would begin generic arguments.
            ("fn f() -> bool { a as u8 > b }", ">", BinaryOperator),
        ] {
            let replacement = if place == ">" { "<" } else { "||" };
            let (text, switched) = switched(source, &[(place, replacement, genre)], &["kept"]);
            assert_eq!((text.as_str(), switched.len()), (source, 0));
        }
    }

    #[test]
    fn a_function_that_need_not_be_const_is_not() {
        let (text, _) = switched("const fn f() -> bool { !a }", &[("!", "", UnaryOperator)], &["kept"]);
        assert_eq!(text, "fn f() -> bool { (if off(3, 3) { !a } else { a }) }");
    }

    #[test]
    fn what_stands_between_lets_is_switched() {
        let (text, _) = switched("fn f() { if a == b && let C = d {} }", &[("==", "!=", BinaryOperator)], &[]);
        assert_eq!(text, "fn f() { if (if off(3, 3) { a == b } else { a != b }) && let C = d {} }");
    }
}
