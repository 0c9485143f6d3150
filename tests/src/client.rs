//! A client that sees everything of an answer.

use reqwest::{Method, blocking, header::HeaderMap};
use serde_json::Value;

/// Speaks to one node under one token.
#[derive(Clone)]
pub struct Client {
    http: blocking::Client,
    base: String,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub text: String,
}

impl Answer {
    /// Body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// Body as JSON, of an answer that must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A problem of this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        problem
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    /// A client of a node.
    #[must_use]
    pub fn new(base: String, token: Option<String>) -> Self {
        // It speaks plain http only, so it needs no roots of the machine, which may have none.
        let http = blocking::Client::builder().tls_certs_only([]);
        let http = http.timeout(std::time::Duration::from_secs(60)).build().unwrap();
        Self { http, base, token }
    }

    /// A client over TLS that shows a certificate (PEM, with its key) and trusts one authority (PEM).
    #[must_use]
    pub fn over_tls(base: String, trusted: &str, certificate: &str, token: Option<&str>) -> Self {
        let trusted = reqwest::Certificate::from_pem(trusted.as_bytes()).unwrap();
        let own = reqwest::Identity::from_pem(certificate.as_bytes()).unwrap();
        let http = blocking::Client::builder().tls_certs_only([trusted]).identity(own);
        let http = http.timeout(std::time::Duration::from_secs(60)).build().unwrap();
        Self { http, base, token: token.map(str::to_owned) }
    }

    /// The same client without, or with another, credential.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The credential.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Any request; `None` when the node went away.
    #[must_use]
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Answer { status, headers, text: response.text().ok()? })
    }

    /// Any request.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, body: Option<Vec<u8>>, headers: &[(&str, &str)]) -> Answer {
        self.try_send(method, path, body, headers).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// GET.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, &[])
    }

    /// POST of JSON.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body.to_string().into_bytes()), &[])
    }

    /// POST of JSON; `None` when the node went away.
    #[must_use]
    pub fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        self.try_send("POST", path, Some(body.to_string().into_bytes()), &[])
    }

    /// PATCH of JSON.
    #[must_use]
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(body.to_string().into_bytes()), &[])
    }

    /// DELETE.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, &[])
    }
}
