//! CBOR by serde_cbor. Deterministic is what serde_cbor writes back byte for byte.

use serde_cbor::Value;

/// One item, deterministically encoded, and nothing behind it.
pub fn read(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_cbor::from_slice(bytes).ok()?;
    (serde_cbor::to_vec(&value).ok()? == bytes).then_some(value)
}

/// The items of a sequence, each as its own bytes, up to the first that is not well-formed: `None` stands for that one.
pub fn sequence(bytes: &[u8]) -> Vec<Option<&[u8]>> {
    let mut items = Vec::new();
    let mut stream = serde_cbor::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut start = 0;
    while start < bytes.len() || items.is_empty() {
        match stream.next() {
            Some(Ok(_)) => {
                items.push(Some(&bytes[start..stream.byte_offset()]));
                start = stream.byte_offset();
            }
            _ => {
                items.push(None);
                break;
            }
        }
    }
    items
}

/// The bytes of an item.
pub fn write(value: &Value) -> Vec<u8> {
    serde_cbor::to_vec(value).expect("a value can be written")
}

/// The fields of a map: taken one by one, and none may be left.
pub struct Fields(std::collections::BTreeMap<Value, Value>);

impl Fields {
    /// The fields, if it is a map.
    pub fn of(value: Value) -> Option<Self> {
        if let Value::Map(map) = value { Some(Fields(map)) } else { None }
    }
    /// The field `key`, if it is there.
    pub fn take(&mut self, key: i128) -> Option<Value> {
        self.0.remove(&Value::Integer(key))
    }
    /// Nothing may be left.
    pub fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// An unsigned integer.
pub fn uint(value: Value) -> Option<u64> {
    if let Value::Integer(number) = value { u64::try_from(number).ok() } else { None }
}

/// Exactly this integer.
pub fn is(value: Value, number: i128) -> Option<()> {
    (value == Value::Integer(number)).then_some(())
}

/// A byte string.
pub fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}

/// A byte string of `N` bytes.
pub fn array_of_bytes<const N: usize>(value: Value) -> Option<[u8; N]> {
    bytes(value)?.try_into().ok()
}

/// A text string.
pub fn text(value: Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// An array of `N` items.
pub fn tuple<const N: usize>(value: Value) -> Option<[Value; N]> {
    if let Value::Array(items) = value { items.try_into().ok() } else { None }
}

/// An array of 1 to `most` items.
pub fn list<T>(value: Value, most: usize, item: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Array(items) if (1..=most).contains(&items.len()) => items.into_iter().map(item).collect(),
        _ => None,
    }
}

/// Whether a list ascends strictly.
pub fn ascends<T: Ord>(items: &[T]) -> Option<()> {
    items.windows(2).all(|pair| pair[0] < pair[1]).then_some(())
}
