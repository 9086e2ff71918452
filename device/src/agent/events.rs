//! What the agent tells the one who started it: a line for people, or one JSON object a line.

use std::io::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

/// Where events go.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    /// As JSON.
    pub json: bool,
}

impl Events {
    /// Tells one event: its name, its fields, and the sentence for people.
    pub fn tell(&self, event: &str, fields: Value, sentence: &str) {
        let mut out = std::io::stdout().lock();
        // Whoever started the agent may have stopped reading: that is no reason to stop working.
        let _ = if self.json {
            let mut object = json!({ "event": event });
            if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
                object.extend(fields);
            }
            writeln!(out, "{object}")
        } else {
            writeln!(out, "{sentence}")
        };
        let _ = out.flush();
    }

    /// The same for something that serialises.
    pub fn tell_as(&self, event: &str, value: &impl Serialize, sentence: &str) {
        self.tell(event, serde_json::to_value(value).unwrap_or(Value::Null), sentence);
    }
}
