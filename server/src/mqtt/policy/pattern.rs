//! Patterns of actions and resources: `*`, `?` and policy variables.

use super::Principal;

/// A pattern with its variables still in it.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// Any characters, slashes among them.
    Any,
    /// One character.
    One,
    Variable(Variable),
}

#[derive(Clone, Copy, Debug)]
enum Variable {
    ThingName,
    CommonName,
    ClientId,
    IsAttached,
}

/// One step of a pattern whose variables were filled in.
enum Step {
    Exactly(char),
    Any,
    One,
}

impl Pattern {
    /// Reads a pattern; the error says what can't be used.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (piece, length) = match first {
                '*' => (Piece::Any, 1),
                '?' => (Piece::One, 1),
                '$' if rest.starts_with("${") => {
                    let end = rest.find('}').ok_or("a variable without its `}`")?;
                    (Piece::Variable(variable(&rest[2..end])?), end + 1)
                }
                // A `$` that begins no variable is text, as in `$aws`.
                _ => {
                    let length = rest[first.len_utf8()..].find(['*', '?', '$']);
                    let length = length.map_or(rest.len(), |at| at + first.len_utf8());
                    (Piece::Text(rest[..length].into()), length)
                }
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        Ok(Self(pieces))
    }

    /// Matches the whole of `text`. What variables stand for is text: a `*` in a client id is a star.
    pub(super) fn matches(&self, text: &str, who: Principal<'_>) -> bool {
        let mut steps = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => steps.extend(text.chars().map(Step::Exactly)),
                Piece::Any => steps.push(Step::Any),
                Piece::One => steps.push(Step::One),
                Piece::Variable(variable) => {
                    let value = match variable {
                        Variable::ThingName => who.thing.map(|thing| thing.as_str()),
                        Variable::CommonName => who.common_name,
                        Variable::ClientId => Some(who.client_id),
                        Variable::IsAttached => Some(if who.thing.is_some() { "true" } else { "false" }),
                    };
                    // As AWS IoT has it: a variable that stands for nothing matches nothing.
                    let Some(value) = value else { return false };
                    steps.extend(value.chars().map(Step::Exactly));
                }
            }
        }
        run(&steps, &text.chars().collect::<Vec<_>>())
    }
}

fn variable(name: &str) -> Result<Variable, String> {
    match name {
        "iot:Connection.Thing.ThingName" => Ok(Variable::ThingName),
        "iot:Certificate.Subject.CommonName" => Ok(Variable::CommonName),
        "iot:ClientId" => Ok(Variable::ClientId),
        "iot:Connection.Thing.IsAttached" => Ok(Variable::IsAttached),
        other => Err(format!(
            "the variable ${{{other}}} isn't known here (known: iot:Connection.Thing.ThingName, iot:ClientId, \
             iot:Connection.Thing.IsAttached, iot:Certificate.Subject.CommonName)"
        )),
    }
}

/// Matching with at most one place to return to, so that no pattern takes more than length times length steps.
fn run(steps: &[Step], text: &[char]) -> bool {
    let (mut step, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match steps.get(step) {
            Some(Step::Any) => {
                back = Some((step + 1, at));
                step += 1;
            }
            Some(Step::One) => (step, at) = (step + 1, at + 1),
            Some(Step::Exactly(c)) if *c == text[at] => (step, at) = (step + 1, at + 1),
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (step, at) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    steps[step..].iter().all(|step| matches!(step, Step::Any))
}
