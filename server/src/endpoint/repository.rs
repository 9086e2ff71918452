//! The repository: metadata and payloads as files, with ranges and entity tags (RFC 9110).

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sealift_jobs::{Digest, ErrorCode};

use super::identity::Admitted;
use super::{ApiError, App};
use crate::intake::FILE_MAX;
use crate::store::{ArtifactStore as _, Key, StoreError, TIMESTAMP};

pub(super) async fn metadata(
    State(app): State<Arc<App>>,
    _: Admitted,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = Key::metadata(&name).map_err(|e| ApiError::new(ErrorCode::InvalidRequest, e.to_string()))?;
    let found = app.store.small(&key, FILE_MAX as u64).await.map_err(failed)?;
    let (bytes, tag) = found.ok_or_else(|| not_found(&key))?;
    let etag = format!("\"{tag}\"");
    // Only the timestamp changes; everything else is named by version or hash and may be kept for good.
    let caching = if name == TIMESTAMP { "no-cache" } else { "public, max-age=31536000, immutable" };
    let mut response = if matches(&headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        bytes.into_response()
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cose; cose-type=\"cose-sign\""));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    insert(out, header::ETAG, &etag);
    Ok(response)
}

pub(super) async fn payload(
    State(app): State<Arc<App>>,
    _: Admitted,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let digest: Digest = digest
        .parse()
        .map_err(|e: sealift_jobs::digest::DigestError| ApiError::new(ErrorCode::InvalidRequest, e.to_string()))?;
    let key = Key::payload(&digest);
    let etag = format!("\"{digest}\"");
    let length = app.store.length(&key).await.map_err(failed)?.ok_or_else(|| not_found(&key))?;
    let mut response = if matches(&headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match requested(&headers, &etag, length) {
            Requested::Unsatisfiable => {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{length}"));
                response
            }
            Requested::Whole => body(&app, &key, None).await?,
            Requested::Part(range) => body(&app, &key, Some(range)).await?,
        }
    };
    let out = response.headers_mut();
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    insert(out, header::ETAG, &etag);
    Ok(response)
}

async fn body(app: &App, key: &Key, range: Option<Range<u64>>) -> Result<Response, ApiError> {
    let partial = range.is_some();
    let object = app.store.read(key, range).await.map_err(failed)?;
    let Range { start, end } = object.range.clone();
    let mut response = Body::from_stream(object.body).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    insert(out, header::CONTENT_LENGTH, &(end - start).to_string());
    if partial {
        insert(out, header::CONTENT_RANGE, &format!("bytes {start}-{}/{}", end - 1, object.length));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn matches(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    let listed = headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    listed.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}

#[derive(Debug, PartialEq, Eq)]
enum Requested {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// What the `Range` header asks for (RFC 9110, section 14.2). Anything but one well-formed byte range may be ignored,
/// and is: the whole object then answers.
fn requested(headers: &HeaderMap, etag: &str, length: u64) -> Requested {
    let Some(range) = headers.get(header::RANGE).and_then(|v| v.to_str().ok()) else { return Requested::Whole };
    // If-Range: a part only of the very object the client has the rest of (section 13.1.5).
    if headers.contains_key(header::IF_RANGE)
        && headers.get(header::IF_RANGE).map(HeaderValue::as_bytes) != Some(etag.as_bytes())
    {
        return Requested::Whole;
    }
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else {
        return Requested::Whole;
    };
    let number = |text: &str| -> Option<Option<u64>> {
        match text.trim() {
            "" => Some(None),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u64::MAX))),
            _ => None,
        }
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            let end = last.unwrap_or(u64::MAX).saturating_add(1).min(length);
            match last {
                Some(last) if last < first => Requested::Whole,
                _ if first >= length => Requested::Unsatisfiable,
                _ => Requested::Part(first..end),
            }
        }
        (Some(None), Some(Some(suffix))) => match suffix {
            0 => Requested::Unsatisfiable,
            _ => Requested::Part(length.saturating_sub(suffix)..length),
        },
        _ => Requested::Whole,
    }
}

fn not_found(key: &Key) -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, format!("{key} isn't published"))
}

fn failed(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound(key) => not_found(&key),
        error => {
            tracing::error!(%error, "a published file couldn't be read");
            ApiError::new(ErrorCode::InternalError, "the server failed; try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &str) -> Requested {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        requested(&headers, "\"x\"", 10)
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        assert_eq!(ask("bytes=0-3"), Requested::Part(0..4));
        assert_eq!(ask("bytes=4-"), Requested::Part(4..10));
        assert_eq!(ask("bytes=-3"), Requested::Part(7..10));
        assert_eq!(ask("bytes=-30"), Requested::Part(0..10));
        assert_eq!(ask("bytes=9-99999999999999999999999"), Requested::Part(9..10));
        assert_eq!(ask("bytes=10-"), Requested::Unsatisfiable);
        assert_eq!(ask("bytes=-0"), Requested::Unsatisfiable);
        for ignored in ["bytes=3-1", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-", "bytes", "bytes=+1-2"] {
            assert_eq!(ask(ignored), Requested::Whole, "{ignored}");
        }
    }

    #[test]
    fn a_part_is_given_only_of_the_object_that_if_range_names() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=1-2".parse().unwrap());
        headers.insert(header::IF_RANGE, "\"x\"".parse().unwrap());
        assert_eq!(requested(&headers, "\"x\"", 10), Requested::Part(1..3));
        assert_eq!(requested(&headers, "\"y\"", 10), Requested::Whole);
    }
}
