//! A mutator for JSON and TOML: it changes values of the tree, so that a change gets past the syntax to the rules of the content.

use serde_json::{Map, Value, json};

use crate::mutate::Choices;

/// Numbers and words at which something changes.
fn odd(choices: &mut Choices) -> Value {
    match choices.below(16) {
        0 => json!(0),
        1 => json!(-1),
        2 => json!(u64::MAX),
        3 => json!(i64::MIN),
        4 => json!(0.5),
        5 => json!(""),
        6 => json!("$next"),
        7 => json!("\u{202e}\u{0}é"),
        8 => json!("../../x"),
        9 => Value::Null,
        10 => json!([]),
        11 => json!({}),
        12 => json!(true),
        13 => json!("9999-12-31T23:59:59Z"),
        14 => json!("x".repeat(1 + choices.below(200))),
        _ => json!(1u64 << choices.below(64)),
    }
}

/// All values of a tree but itself, by number; `act` is called on the chosen one.
fn nth(value: &mut Value, left: &mut usize, act: &mut dyn FnMut(&mut Value)) -> bool {
    if *left == 0 {
        act(value);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| nth(item, left, act)),
        Value::Object(fields) => fields.values_mut().any(|item| nth(item, left, act)),
        _ => false,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes one value of a tree.
pub fn change(tree: &mut Value, choices: &mut Choices) {
    let mut donor = Value::Null;
    nth(tree, &mut choices.below(count(tree)), &mut |value| donor = value.clone());
    let mut at = choices.below(count(tree));
    nth(tree, &mut at, &mut |value| alter(value, &donor, choices));
}

fn alter(value: &mut Value, donor: &Value, choices: &mut Choices) {
    match (choices.below(8), &mut *value) {
        (0, value) => *value = donor.clone(),
        (1, value) => *value = odd(choices),
        (_, Value::Bool(flag)) => *flag ^= true,
        (_, Value::Number(number)) => {
            let near = number.as_i64().unwrap_or(1);
            *value = [json!(near.wrapping_add(1)), json!(near.wrapping_sub(1)), json!(near ^ 1 << choices.below(60))]
                [choices.below(3)]
            .clone();
        }
        (_, Value::String(text)) => {
            let mut letters: Vec<char> = text.chars().collect();
            let at = choices.below(letters.len() + 1);
            match choices.below(4) {
                0 => letters.truncate(at),
                1 => letters.insert(at, ['a', '0', '/', '.', '\u{7f}', 'É', '*', '-'][choices.below(8)]),
                2 if at < letters.len() => letters[at] = char::from(b' ' + choices.below(95) as u8),
                _ => letters.extend(donor.as_str().unwrap_or("x").chars()),
            }
            *text = letters.into_iter().collect();
        }
        (_, Value::Array(items)) => {
            let at = choices.below(items.len() + 1);
            match choices.below(3) {
                0 if at < items.len() => {
                    items.remove(at);
                }
                1 if !items.is_empty() => {
                    let copied = items[at % items.len()].clone();
                    items.insert(at, copied);
                }
                _ => items.insert(at, donor.clone()),
            }
        }
        (_, Value::Object(fields)) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            let name = names.get(choices.below(names.len())).cloned().unwrap_or_default();
            match choices.below(4) {
                0 => {
                    fields.remove(&name);
                }
                1 => {
                    let value = fields.remove(&name).unwrap_or_default();
                    fields.insert(name + "x", value);
                }
                2 => {
                    fields.insert(["extra", "a.b", "", "version"][choices.below(4)].into(), donor.clone());
                }
                _ => {
                    fields.insert(name, donor.clone());
                }
            }
        }
        (_, Value::Null) => *value = Value::Object(Map::new()),
    }
}

fn with(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    read: impl Fn(&str) -> Option<Value>,
    write: impl Fn(&Value) -> Option<String>,
) -> usize {
    let mut choices = Choices::new(seed);
    let bytewise = choices.below(3) == 0;
    let tree = std::str::from_utf8(&data[..size]).ok().filter(|_| !bytewise).and_then(read);
    let changed = tree.and_then(|mut tree| {
        (0..=choices.below(3)).for_each(|_| change(&mut tree, &mut choices));
        write(&tree).filter(|text| !text.is_empty() && text.len() <= max_size)
    });
    match changed {
        Some(text) => {
            data[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}

/// The body of a target's `fuzz_mutator!` for JSON.
pub fn json(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    with(data, size, max_size, seed, |text| serde_json::from_str(text).ok(), |tree| Some(tree.to_string()))
}

/// The body of a target's `fuzz_mutator!` for TOML.
pub fn toml(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    with(data, size, max_size, seed, |text| ::toml::from_str(text).ok(), |tree| ::toml::to_string(tree).ok())
}
