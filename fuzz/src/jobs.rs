//! What crosses AWS IoT Jobs: read, held to its bounds, written and read again.

use std::fmt::Debug;

use sealift_jobs::{
    DescribeJobExecutionRequest, DescribeJobExecutionResponse, DocumentError, ErrorResponse,
    GetPendingJobExecutionsResponse, GroupName, JobDocument, JobId, JobSelector, StartNextPendingJobExecutionRequest,
    StartNextPendingJobExecutionResponse, StatusDetails, ThingName, UpdateJobExecutionRequest,
    UpdateJobExecutionResponse, limits,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A document: one that is read can be written, unless writing makes it too long, and then is the same.
pub fn document(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(document) = JobDocument::from_json(text) else { return };
    assert_eq!(document.sealift, 1);
    assert!(document.metadata.ends_with('/') && document.metadata.len() <= limits::URL_MAX_BYTES);
    assert!(document.payloads.len() <= limits::DOCUMENT_PAYLOADS_MAX);
    match document.to_json() {
        Ok(written) => assert_eq!(JobDocument::from_json(&written).expect("what was written is read"), document),
        Err(DocumentError::TooLong(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Bytes as each message in turn.
pub fn messages(bytes: &[u8]) {
    message::<GetPendingJobExecutionsResponse>(bytes);
    message::<StartNextPendingJobExecutionRequest>(bytes);
    message::<StartNextPendingJobExecutionResponse>(bytes);
    message::<DescribeJobExecutionRequest>(bytes);
    message::<DescribeJobExecutionResponse>(bytes);
    message::<UpdateJobExecutionResponse>(bytes);
    message::<ErrorResponse>(bytes);
    if let Some(update) = message::<UpdateJobExecutionRequest>(bytes)
        && let Some(details) = update.status_details
    {
        bounds(&details);
    }
    if let Some(details) = message::<StatusDetails>(bytes) {
        bounds(&details);
    }
}

fn bounds(details: &StatusDetails) {
    assert!(details.len() <= limits::DETAILS_MAX_PAIRS);
    for (key, value) in details.iter() {
        assert!((1..=limits::DETAILS_KEY_MAX_CHARS).contains(&key.chars().count()));
        assert!((1..=limits::DETAILS_VALUE_MAX_CHARS).contains(&value.chars().count()));
        assert!(!value.chars().any(char::is_control), "a control in a detail");
    }
}

fn message<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written is read"), read);
    Some(read)
}

/// Text as each name: one that is taken is printed as it was, and can stand in a topic and a path.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let printed = [
        text.parse::<ThingName>().map(|name| name.to_string()),
        text.parse::<GroupName>().map(|name| name.to_string()),
        text.parse::<JobId>().map(|name| name.to_string()),
    ];
    for name in printed.into_iter().flatten() {
        assert_eq!(name, text);
        assert!(!name.is_empty() && !name.contains(['/', '+', '#', '$', '\0', '\n']), "{name:?} in a topic");
        assert!(name.len() <= 128);
    }
    if let Ok(selector) = text.parse::<JobSelector>() {
        assert_eq!(selector.to_string(), text);
    }
    // Free text always finds a place.
    let mut details = StatusDetails::new();
    details.insert_text("reason", text).expect("any text");
    bounds(&details);
}
