//! Methods that are REST routes: a request is made of the method and its params, and of its answer a response.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use actix_http::{HttpMessage as _, Payload, Request};
use actix_web::{
    body::{self, MessageBody as _},
    dev::ServiceResponse,
    http::{Method, Uri, header},
    web::{Bytes, Data},
};
use claviger_actors::session::{close::Failure, frame, methods::Verb};
use serde_json::{Map, Value};

use super::inside::Inside;
use crate::{
    auth::{InSession, Standing},
    http::state::AppState,
};

/// Largest answer that is taken for a payload.
const ANSWER_MAX_BYTES: usize = 64 << 20;
const PROBLEM: &str = "application/problem+json";

/// Who calls, and from where.
pub(super) struct Caller {
    pub(super) state: Data<AppState>,
    pub(super) inside: Inside,
    pub(super) standing: Arc<Standing>,
    pub(super) peer: SocketAddr,
}

impl Caller {
    /// Calls a route, and answers with the whole frame.
    pub(super) async fn call(
        &self,
        id: &str,
        (verb, pattern): (Verb, &str),
        params: Map<String, Value>,
    ) -> String {
        let request = match request(verb, pattern, params) {
            Ok(request) => request,
            Err(failure) => return frame::failure(id, &failure),
        };
        match self.ask(request).await {
            Ok(payload) => match std::str::from_utf8(&payload) {
                Ok("") => frame::success(id, None),
                Ok(payload) => frame::success(id, Some(payload)),
                Err(_) => frame::failure(id, &broken()),
            },
            Err(failure) => frame::failure(id, &failure),
        }
    }

    async fn ask(&self, mut request: Request) -> Result<Bytes, Failure> {
        request.head_mut().peer_addr = Some(self.peer);
        request.extensions_mut().insert(InSession(Arc::clone(&self.standing)));
        let answer = self.inside.call(&self.state, request).await.ok_or_else(broken)?;
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                // Lost with its handler; it carries its answer.
                let response = error.error_response();
                return Err(of_problem(&response_bytes(response).await.ok_or_else(broken)?, None));
            }
        };
        let retry_after = retry_after(&response);
        let is_problem = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes() == PROBLEM.as_bytes());
        let (_, response) = response.into_parts();
        let body = response_bytes(response).await.ok_or_else(broken)?;
        if is_problem { Err(of_problem(&body, retry_after)) } else { Ok(body) }
    }
}

async fn response_bytes(response: actix_web::HttpResponse) -> Option<Bytes> {
    match response.into_body().try_into_bytes() {
        Ok(body) => Some(body),
        Err(streamed) => body::to_bytes_limited(streamed, ANSWER_MAX_BYTES).await.ok()?.ok(),
    }
}

fn broken() -> Failure {
    Failure::new("internal", "the service failed; its log says why")
}

fn retry_after(response: &ServiceResponse) -> Option<u64> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse::<u64>().ok()?;
    Some(seconds.saturating_mul(1_000))
}

/// The error of a problem (RFC 9457): what it has beside code and detail are details.
fn of_problem(body: &[u8], retry_after_ms: Option<u64>) -> Failure {
    let Ok(Value::Object(mut problem)) = serde_json::from_slice(body) else { return broken() };
    let mut text = |name: &str| match problem.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    };
    let (Some(code), Some(detail)) = (text("code"), text("detail")) else { return broken() };
    for known in ["type", "title", "status"] {
        problem.remove(known);
    }
    let failure =
        Failure { details: (!problem.is_empty()).then(|| Box::new(problem)), ..Failure::new(code, detail) };
    match retry_after_ms {
        Some(retry_after_ms) => failure.after(retry_after_ms),
        None => failure,
    }
}

/// The request that a call is.
fn request(verb: Verb, pattern: &str, mut params: Map<String, Value>) -> Result<Request, Failure> {
    let mut target = path(pattern, &mut params)?;
    let (method, body) = match verb {
        Verb::Get | Verb::Delete => {
            query(&mut target, &params)?;
            (if verb == Verb::Get { Method::GET } else { Method::DELETE }, Bytes::new())
        }
        Verb::Post => {
            let body = serde_json::to_vec(&params).map_err(|_| broken())?;
            (Method::POST, Bytes::from(body))
        }
    };
    let uri: Uri = target.parse().map_err(|_| Failure::invalid("a parameter of the path is too long"))?;
    let mut request = Request::with_payload(Payload::from(body));
    let head = request.head_mut();
    (head.method, head.uri) = (method, uri);
    Ok(request)
}

/// The path with its parameters, which are taken out of `params`.
fn path(pattern: &str, params: &mut Map<String, Value>) -> Result<String, Failure> {
    let mut path = String::with_capacity(pattern.len() + 32);
    for segment in pattern.split('/').skip(1) {
        path.push('/');
        let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
            path.push_str(segment);
            continue;
        };
        let given = match params.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) | None => None,
        };
        let given = given.filter(|text| !text.is_empty());
        let given = given
            .ok_or_else(|| Failure::invalid(format!("params must have {name}, a text that is not empty")))?;
        encode(&mut path, &given);
    }
    Ok(path)
}

fn query(target: &mut String, params: &Map<String, Value>) -> Result<(), Failure> {
    let mut separator = '?';
    for (name, value) in params {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(Failure::invalid("params of this method are texts, numbers and booleans"));
            }
        };
        target.push(separator);
        encode(target, name);
        target.push('=');
        encode(target, &text);
        separator = '&';
    }
    Ok(())
}

/// Percent-encodes all but what is unreserved (RFC 3986 §2.3).
fn encode(to: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _written = write!(to, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(verb: Verb, pattern: &str, params: &Value) -> Result<(String, String), String> {
        let params = params.as_object().unwrap().clone();
        let mut request = request(verb, pattern, params).map_err(|failure| failure.message)?;
        let target = request.uri().to_string();
        let body = futures_util::FutureExt::now_or_never(body::to_bytes(body::BodyStream::new(
            request.take_payload(),
        )));
        Ok((target, String::from_utf8(body.unwrap().unwrap().to_vec()).unwrap()))
    }

    #[test]
    fn parameters_of_the_path_are_taken_by_name_and_the_rest_is_the_body() {
        let params = json!({"name": "a/b ä", "reason": "drill", "force": true});
        assert_eq!(
            made(Verb::Post, "/v1/keys/{name}/rotate", &params),
            Ok((
                "/v1/keys/a%2Fb%20%C3%A4/rotate".to_owned(),
                r#"{"reason":"drill","force":true}"#.to_owned()
            ))
        );
        assert_eq!(
            made(Verb::Get, "/v1/keys", &json!({"limit": 5, "label": "a=b&c", "cursor": null})),
            Ok(("/v1/keys?limit=5&label=a%3Db%26c".to_owned(), String::new()))
        );
        for params in [json!({}), json!({"name": ""}), json!({"name": null}), json!({"name": ["a"]})] {
            assert!(made(Verb::Get, "/v1/keys/{name}", &params).unwrap_err().contains("name"), "{params}");
        }
        assert!(made(Verb::Get, "/v1/keys", &json!({"limit": [1]})).is_err());
        assert!(made(Verb::Get, "/v1/keys/{name}", &json!({"name": "x".repeat(70_000)})).is_err());
    }

    #[test]
    fn problems_are_errors() {
        let problem = br#"{"type":"t","title":"T","status":409,"detail":"too young","code":"standby_too_young","request_id":"r","earliest_activation":"2026"}"#;
        let failure = of_problem(problem, None);
        assert_eq!((failure.code.as_ref(), failure.message.as_str()), ("standby_too_young", "too young"));
        let details = failure.details.map(|details| Value::Object(*details));
        assert_eq!(details, Some(json!({"request_id": "r", "earliest_activation": "2026"})));
        let busy = of_problem(br#"{"detail":"busy","code":"overloaded"}"#, Some(1_000));
        assert_eq!((busy.retry_after_ms, busy.details), (Some(1_000), None));
        assert_eq!(of_problem(b"nonsense", None).code, "internal");
    }
}
