//! The data plane's messages are AWS's, name for name.

use sealift_jobs::limits::{DETAILS_MAX_PAIRS, DETAILS_VALUE_MAX_CHARS};
use sealift_jobs::*;
use serde_json::json;

#[test]
fn an_execution_has_awss_names_and_leaves_out_what_is_absent() {
    let execution: JobExecution = JobExecution {
        job_id: "sl-1".parse().unwrap(),
        thing_name: Some("dev:1".parse().unwrap()),
        status: ExecutionStatus::InProgress,
        status_details: StatusDetails::new(),
        queued_at: 1,
        started_at: Some(2),
        last_updated_at: 3,
        approximate_seconds_before_timed_out: None,
        version_number: 2,
        execution_number: 1,
        job_document: Some("{}".into()),
    };
    assert_eq!(
        serde_json::to_value(&execution).unwrap(),
        json!({"jobId": "sl-1", "thingName": "dev:1", "status": "IN_PROGRESS", "queuedAt": 1, "startedAt": 2,
            "lastUpdatedAt": 3, "versionNumber": 2, "executionNumber": 1, "jobDocument": "{}"})
    );
    assert_eq!(
        serde_json::to_value(StartNextPendingJobExecutionResponse::<String> { execution: None }).unwrap(),
        json!({})
    );
}

#[test]
fn over_mqtt_the_document_is_an_object() {
    let text = r#"{"execution":{"jobId":"j","status":"QUEUED","queuedAt":1,"lastUpdatedAt":1,"versionNumber":1,
        "executionNumber":1,"jobDocument":{"sealift":1}}}"#;
    let answer: DescribeJobExecutionResponse<serde_json::Value> = serde_json::from_str(text).unwrap();
    assert_eq!(answer.execution.unwrap().job_document, Some(json!({"sealift": 1})));
}

#[test]
fn an_update_reads_awss_body() {
    let body = json!({"status": "IN_PROGRESS", "statusDetails": {"step": "payload"}, "expectedVersion": 2,
        "stepTimeoutInMinutes": 5, "includeJobExecutionState": true, "clientToken": "x"});
    let update: UpdateJobExecutionRequest = serde_json::from_value(body).unwrap();
    assert_eq!(update.status_details.unwrap().value(details::STEP), Some("payload"));
    assert_eq!((update.expected_version, update.step_timeout_in_minutes), (Some(2), Some(5)));
    assert!(serde_json::from_value::<UpdateJobExecutionRequest>(json!({"status": "DONE"})).is_err());
    assert!(serde_json::from_value::<UpdateJobExecutionRequest>(json!({})).is_err());
}

#[test]
fn every_error_code_has_a_name_and_a_status_and_comes_back() {
    for code in ErrorCode::ALL {
        let back = ErrorCode::from_exception(code.exception()).unwrap();
        assert_eq!(back.http_status(), code.http_status());
        assert!((400..600).contains(&code.http_status()));
    }
    let namespaced = "InvalidStateTransitionException:http://internal.amazon.com/coral/";
    assert_eq!(ErrorCode::from_exception(namespaced), Some(ErrorCode::InvalidStateTransition));
    assert_eq!(ErrorCode::from_exception("Whatever"), None);
}

#[test]
fn names_follow_awss_patterns() {
    assert!("a:b_c-D9".parse::<ThingName>().is_ok());
    assert!("a:b".parse::<JobId>().is_err());
    for bad in ["", "a/b", "a b", "ä", "$next", "a+", "#"] {
        assert!(bad.parse::<ThingName>().is_err(), "{bad}");
        assert!(bad.parse::<JobId>().is_err(), "{bad}");
    }
    assert!("x".repeat(128).parse::<ThingName>().is_ok());
    assert!("x".repeat(129).parse::<ThingName>().is_err());
    assert!("x".repeat(65).parse::<JobId>().is_err());
    assert_eq!("$next".parse::<JobSelector>().unwrap(), JobSelector::Next);
}

#[test]
fn details_keep_to_awss_bounds() {
    let mut details = StatusDetails::new();
    assert!(details.insert("a b", "x").is_err());
    assert!(details.insert("a", "").is_err());
    assert!(details.insert("a", "x\ny").is_err());
    assert!(details.insert("a", "x".repeat(DETAILS_VALUE_MAX_CHARS + 1)).is_err());
    details.insert("a", "x".repeat(DETAILS_VALUE_MAX_CHARS)).unwrap();
    details.insert_text(details::REASON, &"line\n".repeat(1000)).unwrap();
    assert_eq!(details.value(details::REASON).unwrap().chars().count(), DETAILS_VALUE_MAX_CHARS);
    details.insert_text("empty", "\u{7}").unwrap();
    for n in details.len()..DETAILS_MAX_PAIRS {
        details.insert(&format!("k{n}"), "v").unwrap();
    }
    assert_eq!(details.insert("one-more", "v"), Err(DetailsError::Pairs(DETAILS_MAX_PAIRS + 1)));
    assert!(serde_json::from_value::<StatusDetails>(json!({"a": "b\u{0}"})).is_err());
}

#[test]
fn states_are_settable_terminal_and_retried_as_aws_says() {
    let by = |f: fn(ExecutionStatus) -> bool| -> Vec<&str> {
        ExecutionStatus::ALL.into_iter().filter(|s| f(*s)).map(ExecutionStatus::as_str).collect()
    };
    assert_eq!(by(ExecutionStatus::is_settable_by_device), ["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"]);
    assert_eq!(by(|s| !s.is_terminal()), ["QUEUED", "IN_PROGRESS"]);
    assert_eq!(by(ExecutionStatus::is_retried), ["FAILED", "TIMED_OUT"]);
    for status in ExecutionStatus::ALL {
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        assert_eq!(status.as_str().parse::<ExecutionStatus>().unwrap(), status);
    }
}
