//! Pages of other origins: the CORS protocol of the Fetch standard. Closed, but for the origins that the configuration names.

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use claviger_actors::session::origin;
use claviger_config::Doors;
use reqwest::Url;

use super::problem::{Code, Problem};
use crate::outgoing::is_loopback;

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
/// What a page may send.
const HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, traceparent, \
                       x-claviger-min-epoch, x-request-id";
/// What it may read.
const EXPOSED: &str = "etag, ratelimit, ratelimit-policy, retry-after, x-claviger-epoch, x-request-id";
/// How long a browser may keep the answer to a preflight, in seconds.
const MAX_AGE: &str = "600";

/// Where the page comes from; `None` also when no page of another origin is let in.
pub(super) fn origin_of(doors: &Doors, request: &ServiceRequest) -> Option<Box<HeaderValue>> {
    if is_closed(doors) {
        return None;
    }
    request.headers().get(header::ORIGIN).cloned().map(Box::new)
}

/// The answer to a preflight. It bears no credential, so it says nothing of what is there.
pub(super) fn preflight(doors: &Doors, request: &ServiceRequest, id: &str) -> Option<HttpResponse> {
    let headers = request.headers();
    if request.method() != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?;
    if !allows(doors, origin) {
        let detail = "pages of this origin may not call; name it in http.cors_origins if they are to";
        return Some(Problem::new(Code::Forbidden, detail).response(Some(id)));
    }
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    Some(response)
}

/// Lets a page of an origin that is named read an answer. Caches are told that others may not.
pub(super) fn mark(doors: &Doors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if is_closed(doors) || headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| allows(doors, origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

const fn is_closed(doors: &Doors) -> bool {
    doors.cors_origins.is_empty() && !doors.local_origins
}

fn allows(doors: &Doors, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    origin::is_allowed(origin, None, &doors.cors_origins) || doors.local_origins && is_local(origin)
}

/// A page that this machine serves, on whatever port.
fn is_local(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    is_loopback(&url)
        && matches!(url.scheme(), "http" | "https")
        && url.origin().ascii_serialization() == origin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine() {
        for origin in
            ["http://localhost", "http://localhost:5173", "https://127.0.0.1:8443", "http://[::1]:3000"]
        {
            assert!(is_local(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://localhost.evil.example",
            "http://localhost:5173/",
            "http://user@localhost",
            "ftp://localhost",
            "http://10.0.0.1",
            "file://localhost",
            "http://LOCALHOST",
        ] {
            assert!(!is_local(origin), "{origin}");
        }
    }
}
