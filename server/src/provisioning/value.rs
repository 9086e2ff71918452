//! Values of a template: text, parameters, and AWS's intrinsic functions over them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::template::TemplateError;

/// Functions within functions that a document may have; nobody needs more, and reading is recursive.
const DEPTH_MAX: usize = 16;

/// `Mappings`: map, key, name, text.
pub(super) type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;
/// Parameters by name.
pub type Parameters = BTreeMap<String, String>;

/// A value that is text once the parameters are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// `Ref`
    Parameter(String),
    /// `Fn::Join`: what stands between, and what is joined.
    Join(String, Box<List>),
    /// `Fn::Select`: which one, from 0.
    Select(usize, Box<List>),
    /// `Fn::Sub`: text with `${Parameter}` in it.
    Sub(Vec<Value>),
    /// `Fn::FindInMap`: map, key, name.
    Find(Box<[Value; 3]>),
}

/// A list of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    Of(Vec<Value>),
    /// `Fn::Split`: what stands between, and what is split.
    Split(String, Value),
}

fn bad(place: &str, problem: impl Into<String>) -> TemplateError {
    TemplateError::Document { place: place.into(), problem: problem.into() }
}

/// The one function of an object, if it is one.
fn function(json: &Json) -> Option<(&str, &Json)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    let (name, argument) = object.iter().next()?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name, argument))
}

impl Value {
    /// True for text that begins as a function would.
    pub(super) fn is_function(json: &Json) -> bool {
        function(json).is_some()
    }

    /// Reads a value; `place` says where it stands.
    pub(super) fn read(json: &Json, place: &str) -> Result<Self, TemplateError> {
        Self::read_at(json, place, 0)
    }

    fn read_at(json: &Json, place: &str, depth: usize) -> Result<Self, TemplateError> {
        if depth > DEPTH_MAX {
            return Err(bad(place, format!("more than {DEPTH_MAX} functions within one another")));
        }
        match json {
            Json::String(text) => return Ok(Self::Text(text.clone())),
            Json::Number(number) => return Ok(Self::Text(number.to_string())),
            Json::Bool(flag) => return Ok(Self::Text(flag.to_string())),
            _ => {}
        }
        let (name, argument) =
            function(json).ok_or_else(|| bad(place, "expected text, Ref or one of AWS's functions"))?;
        let text = |json: &Json| {
            json.as_str().map(str::to_owned).ok_or_else(|| bad(place, format!("{name}: expected text, not {json}")))
        };
        let items = |count: usize| {
            let items = argument.as_array().filter(|items| items.len() == count);
            items.ok_or_else(|| bad(place, format!("{name} takes a list of {count}")))
        };
        match name {
            "Ref" => Ok(Self::Parameter(text(argument)?)),
            "Fn::Join" => {
                let [between, list] = items(2)?.as_slice() else {
                    return Err(bad(place, "Fn::Join takes a list of 2"));
                };
                Ok(Self::Join(text(between)?, Box::new(List::read_at(list, place, depth + 1)?)))
            }
            "Fn::Select" => {
                let [which, list] = items(2)?.as_slice() else {
                    return Err(bad(place, "Fn::Select takes a list of 2"));
                };
                let index =
                    which.as_u64().or_else(|| which.as_str()?.parse().ok()).and_then(|n| usize::try_from(n).ok());
                let index = index.ok_or_else(|| bad(place, format!("Fn::Select: {which} is no index")))?;
                Ok(Self::Select(index, Box::new(List::read_at(list, place, depth + 1)?)))
            }
            "Fn::Sub" => Ok(Self::Sub(substitution(&text(argument)?, place)?)),
            "Fn::FindInMap" => {
                let mut three = Vec::new();
                for item in items(3)? {
                    three.push(Self::read_at(item, place, depth + 1)?);
                }
                let three: [Self; 3] = three.try_into().map_err(|_| bad(place, "Fn::FindInMap takes a list of 3"))?;
                Ok(Self::Find(Box::new(three)))
            }
            "Fn::Split" => Err(bad(place, "Fn::Split gives a list: it stands within Fn::Select or Fn::Join")),
            other => Err(bad(
                place,
                format!("{other} isn't known (known: Ref, Fn::Join, Fn::Select, Fn::Split, Fn::Sub, Fn::FindInMap)"),
            )),
        }
    }

    /// Every parameter it names.
    pub(super) fn parameters<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Text(_) => {}
            Self::Parameter(name) => found.push(name),
            Self::Join(_, list) | Self::Select(_, list) => match list.as_ref() {
                List::Of(items) => items.iter().for_each(|item| item.parameters(found)),
                List::Split(_, value) => value.parameters(found),
            },
            Self::Sub(items) => items.iter().for_each(|item| item.parameters(found)),
            Self::Find(three) => three.iter().for_each(|item| item.parameters(found)),
        }
    }

    /// The text.
    pub(super) fn resolve(&self, parameters: &Parameters, mappings: &Mappings) -> Result<String, TemplateError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Parameter(name) => {
                parameters.get(name).cloned().ok_or_else(|| TemplateError::Missing { parameter: name.clone() })
            }
            Self::Join(between, list) => Ok(list.resolve(parameters, mappings)?.join(between)),
            Self::Select(index, list) => {
                let list = list.resolve(parameters, mappings)?;
                let most = list.len();
                let found = list.into_iter().nth(*index);
                found.ok_or_else(|| TemplateError::Value(format!("Fn::Select asks for item {index} of {most}")))
            }
            Self::Sub(items) => items.iter().map(|item| item.resolve(parameters, mappings)).collect(),
            Self::Find(three) => {
                let [map, key, name] = three.as_ref();
                let of = |value: &Self| value.resolve(parameters, mappings);
                let (map, key, name) = (of(map)?, of(key)?, of(name)?);
                let found = mappings.get(&map).and_then(|map| map.get(&key)).and_then(|key| key.get(&name));
                found.cloned().ok_or_else(|| TemplateError::Value(format!("Mappings has no {map}, {key}, {name}")))
            }
        }
    }
}

impl List {
    fn read_at(json: &Json, place: &str, depth: usize) -> Result<Self, TemplateError> {
        if let Json::Array(items) = json {
            let items: Result<Vec<Value>, _> = items.iter().map(|item| Value::read_at(item, place, depth)).collect();
            return items.map(Self::Of);
        }
        match function(json) {
            Some(("Fn::Split", Json::Array(two)))
                if two.len() == 2 && two[0].as_str().is_some_and(|by| !by.is_empty()) =>
            {
                let between = two[0].as_str().unwrap_or_default().to_owned();
                Ok(Self::Split(between, Value::read_at(&two[1], place, depth + 1)?))
            }
            _ => Err(bad(place, "expected a list, or Fn::Split of two: what stands between, and what is split")),
        }
    }

    fn resolve(&self, parameters: &Parameters, mappings: &Mappings) -> Result<Vec<String>, TemplateError> {
        match self {
            Self::Of(items) => items.iter().map(|item| item.resolve(parameters, mappings)).collect(),
            Self::Split(between, value) => {
                Ok(value.resolve(parameters, mappings)?.split(between.as_str()).map(str::to_owned).collect())
            }
        }
    }
}

/// The pieces of `Fn::Sub`: `${Name}` is a parameter, `${!Name}` is the text `${Name}`.
fn substitution(text: &str, place: &str) -> Result<Vec<Value>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        pieces.push(Value::Text(rest[..at].to_owned()));
        let end = rest[at..].find('}').ok_or_else(|| bad(place, "Fn::Sub: `${` without its `}`"))? + at;
        let name = &rest[at + 2..end];
        pieces.push(match name.strip_prefix('!') {
            Some(literal) => Value::Text(format!("${{{literal}}}")),
            None => Value::Parameter(name.to_owned()),
        });
        rest = &rest[end + 1..];
    }
    pieces.push(Value::Text(rest.to_owned()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolve(value: &Json) -> Result<String, TemplateError> {
        let parameters: Parameters = [("Serial", "ab-12-x"), ("Place", "WA")].map(|(k, v)| (k.into(), v.into())).into();
        let mappings: Mappings =
            serde_json::from_value(json!({"Url": {"WA": {"mqtt": "west.example"}, "NY": {"mqtt": "east.example"}}}))
                .unwrap();
        Value::read(value, "here")?.resolve(&parameters, &mappings)
    }

    #[test]
    fn every_function_of_aws_gives_its_text() {
        for (value, text) in [
            (json!("plain"), "plain"),
            (json!(7), "7"),
            (json!({"Ref": "Serial"}), "ab-12-x"),
            (json!({"Fn::Join": ["_", ["thing", {"Ref": "Serial"}]]}), "thing_ab-12-x"),
            (json!({"Fn::Select": ["1", {"Fn::Split": ["-", {"Ref": "Serial"}]}]}), "12"),
            (json!({"Fn::Select": [0, ["a", "b"]]}), "a"),
            (json!({"Fn::Sub": "t-${Serial}/${!iot:ClientId}"}), "t-ab-12-x/${iot:ClientId}"),
            (json!({"Fn::FindInMap": ["Url", {"Ref": "Place"}, "mqtt"]}), "west.example"),
        ] {
            assert_eq!(resolve(&value).unwrap(), text, "{value}");
        }
    }

    #[test]
    fn what_is_no_value_or_has_none_is_refused_by_name() {
        for (value, word) in [
            (json!({"Fn::Base64": "x"}), "Fn::Base64"),
            (json!(["a"]), "expected text"),
            (json!({"Ref": 1}), "Ref"),
            (json!({"Fn::Join": ["-"]}), "list of 2"),
            (json!({"Fn::Select": [9, ["a"]]}), "item 9 of 1"),
            (json!({"Fn::Select": [-1, ["a"]]}), "no index"),
            (json!({"Fn::Split": ["-", "a-b"]}), "Fn::Select or Fn::Join"),
            (json!({"Fn::Sub": "${Serial"}), "without its"),
            (json!({"Fn::Sub": "${Bogus}"}), "Bogus"),
            (json!({"Fn::FindInMap": ["Url", "XX", "mqtt"]}), "XX"),
            (json!({"Ref": "Bogus"}), "Bogus"),
        ] {
            let error = resolve(&value).unwrap_err().to_string();
            assert!(error.contains(word), "{value}: {error}");
        }
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!({"Fn::Join": ["", [deep]]});
        }
        assert!(resolve(&deep).unwrap_err().to_string().contains("within one another"));
    }
}
