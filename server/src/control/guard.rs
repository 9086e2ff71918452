//! In front of the control API on the network: who asks, whether he may, and how often.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sealift_jobs::ErrorCode;

use super::operators::{Operator, Operators, Role};
use super::routes::ROUTES;
use crate::endpoint::{ApiError, Peer};
use crate::engine::Clock;

/// Failed attempts that one address may make at once, and how many a second it gets back.
const FAILURES: (f64, f64) = (10.0, 0.2);
/// Requests at once, in seconds of the rate.
const BURST_SECONDS: f64 = 5.0;
/// Most of a refusal that isn't JSON yet.
const PLAIN_MAX: usize = 4_096;
/// Most buckets kept: beyond that the fullest are dropped, which are as good as new.
const BUCKETS_MAX: usize = 10_000;

/// Who asked: present on the network only. The socket's user owns the state directory.
#[derive(Clone, Debug)]
pub(super) struct Asker(pub(super) String);

/// The guard.
pub(super) struct Guard {
    pub(super) operators: Arc<Operators>,
    pub(super) clock: Clock,
    requests: Limiter<String>,
    failures: Limiter<IpAddr>,
}

impl Guard {
    /// A guard that lets each operator ask so many times a second.
    pub(super) fn new(operators: Arc<Operators>, clock: Clock, rate: u32) -> Self {
        let rate = f64::from(rate.max(1));
        let requests = Limiter::new(rate * BURST_SECONDS, rate);
        Self { operators, clock, requests, failures: Limiter::new(FAILURES.0, FAILURES.1) }
    }

    fn operator(&self, request: &Request) -> Option<Operator> {
        let now = (self.clock)();
        let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.split_once(' '));
        if let Some((scheme, token)) = bearer {
            // Who shows a token means it: a wrong one isn't made good by a certificate.
            return scheme.eq_ignore_ascii_case("bearer").then(|| self.operators.by_token(token.trim(), now)).flatten();
        }
        let peer = request.extensions().get::<Peer>()?;
        self.operators.by_certificate(peer.fingerprint(), now)
    }
}

/// Lets a request through, or answers it.
pub(super) async fn check(Extension(guard): Extension<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let address = request.extensions().get::<SocketAddr>().map(SocketAddr::ip);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let Some(operator) = guard.operator(&request) else {
        let patient = address.is_none_or(|address| guard.failures.take(address).is_ok());
        tracing::warn!(?address, %method, path, "the control API was asked by nobody it knows");
        if !patient {
            return throttled(1.0 / FAILURES.1);
        }
        let refused = ApiError::new(
            ErrorCode::Forbidden,
            "a token (Authorization: Bearer) or an operator's certificate is needed",
        );
        let mut response = refused.status(StatusCode::UNAUTHORIZED).into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    };
    if let Err(seconds) = guard.requests.take(operator.name.clone()) {
        return throttled(seconds);
    }
    // A route that isn't in the table is nobody's.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let needed = match &route {
        Some(route) => role_of(&method, route),
        None => Role::Viewer, // no route: the answer is 404 or 405
    };
    if operator.role < needed {
        tracing::warn!(operator = operator.name, %method, path, "an operator asked for more than his role allows");
        let message = format!("{} is a {:?}; this needs the role {needed:?}", operator.name, operator.role);
        return ApiError::new(ErrorCode::Forbidden, message.to_lowercase()).into_response();
    }
    request.extensions_mut().insert(Asker(operator.name.clone()));
    let response = as_json(next.run(request).await).await;
    let status = response.status().as_u16();
    if method == Method::GET {
        tracing::debug!(operator = operator.name, %method, path, status, "control");
    } else {
        tracing::info!(operator = operator.name, %method, path, status, "control");
    }
    response
}

fn role_of(method: &Method, route: &str) -> Role {
    let found = ROUTES.iter().find(|(m, r, _)| *m == method.as_str() && *r == route);
    match found {
        Some((_, _, role)) => *role,
        // Another method of a known route is answered with 405.
        None if ROUTES.iter().any(|(_, r, _)| *r == route) => Role::Viewer,
        None => Role::Admin,
    }
}

fn throttled(seconds: f64) -> Response {
    let mut response = ApiError::new(ErrorCode::RequestThrottled, "too many requests; ask again later").into_response();
    let seconds = format!("{:.0}", seconds.ceil().clamp(1.0, 3_600.0));
    if let Ok(value) = HeaderValue::from_str(&seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Refusals by the HTTP library (a query that can't be read, say) get the shape of all others.
async fn as_json(response: Response) -> Response {
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !response.status().is_client_error() || json {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, PLAIN_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut again = ApiError::new(ErrorCode::InvalidRequest, text).status(parts.status).into_response();
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        again.headers_mut().insert(header::ALLOW, allow.clone());
    }
    let (parts, body) = again.into_parts();
    Response::from_parts(parts, Body::new(body))
}

/// Token buckets.
struct Limiter<K> {
    most: f64,
    rate: f64,
    buckets: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: std::hash::Hash + Eq + Clone> Limiter<K> {
    fn new(most: f64, rate: f64) -> Self {
        Self { most, rate, buckets: Mutex::default() }
    }

    /// Takes one; else the seconds until there is one.
    fn take(&self, key: K) -> Result<(), f64> {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: K, now: Instant) -> Result<(), f64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            let (most, rate) = (self.most, self.rate);
            buckets.retain(|_, (left, at)| *left + now.duration_since(*at).as_secs_f64() * rate < most);
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let (left, at) = buckets.entry(key).or_insert((self.most, now));
        *left = (*left + now.saturating_duration_since(*at).as_secs_f64() * self.rate).min(self.most);
        *at = now;
        if *left >= 1.0 {
            *left -= 1.0;
            Ok(())
        } else {
            Err((1.0 - *left) / self.rate)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_fills_again_and_is_each_ones_own() {
        let limiter = Limiter::new(3.0, 2.0);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(limiter.take_at("a", start).is_ok());
        }
        let wait = limiter.take_at("a", start).unwrap_err();
        assert!((wait - 0.5).abs() < 1e-9, "{wait}");
        assert!(limiter.take_at("b", start).is_ok());
        assert!(limiter.take_at("a", start + Duration::from_millis(500)).is_ok());
        assert!(limiter.take_at("a", start + Duration::from_millis(510)).is_err());
    }

    #[test]
    fn what_stands_in_no_table_is_for_admins() {
        assert_eq!(role_of(&Method::GET, "/v1/rollouts"), Role::Viewer);
        assert_eq!(role_of(&Method::POST, "/v1/rollouts"), Role::Operator);
        assert_eq!(role_of(&Method::POST, "/v1/tokens"), Role::Admin);
        assert_eq!(role_of(&Method::GET, "/v1/forgotten"), Role::Admin);
    }
}
