//! One server, spoken to under one token.

use std::{
    error::Error as _,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use reqwest::{
    Certificate, Method, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    credential,
    failure::Failure,
    target::{Address, Target},
};
use crate::hardening;

/// Longest time for an answer; the server's own limit is 30 s.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const LONGEST: usize = 64 << 20;
/// Pages that are followed at most; a server whose pages never end is not right.
const PAGES: usize = 100_000;

pub(super) struct Client {
    http: reqwest::Client,
    address: Address,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// A client with the token of the environment.
    ///
    /// # Errors
    /// There is no token, or the server must not be told it.
    pub(super) fn authenticated(target: &Target) -> Result<Self, Failure> {
        let mut client = Self::anonymous(target, ANSWER)?;
        client.address.may_be_told_a_secret()?;
        hardening::harden();
        let bearer = Zeroizing::new(format!("Bearer {}", *credential::from_environment()?));
        let authorization = HeaderValue::from_str(&bearer);
        let mut authorization = authorization
            .map_err(|_| Failure::Local("the token must be visible ASCII characters".to_owned()))?;
        authorization.set_sensitive(true);
        client.authorization = Some(authorization);
        Ok(client)
    }

    /// A client for what is public.
    ///
    /// # Errors
    /// The address or the CA file is not right.
    pub(super) fn anonymous(target: &Target, longest: Duration) -> Result<Self, Failure> {
        let address = target.address()?;
        // A redirect may lead anywhere, and the token would go along.
        let builder = reqwest::Client::builder().redirect(Policy::none());
        let mut builder = builder.timeout(longest).connect_timeout(CONNECT.min(longest));
        if address.url.scheme() == "http" {
            // A proxy would read the token, and a machine without certificates may still ask itself over http.
            builder = builder.no_proxy().tls_certs_only([]);
        } else if let Some(path) = &target.ca_file {
            let text = std::fs::read(path).map_err(|error| Failure::file("--ca-file", &error))?;
            let roots = Certificate::from_pem_bundle(&text).ok().filter(|roots| !roots.is_empty());
            let roots =
                roots.ok_or_else(|| Failure::Local("--ca-file holds no PEM certificates".to_owned()))?;
            builder = builder.tls_certs_only(roots);
        }
        if address.local {
            // Whatever the resolver says, this name is this machine.
            let addresses = [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
            builder = builder.resolve_to_addrs("localhost", &addresses);
        }
        let http = builder.build().map_err(|error| {
            Failure::Local(format!("TLS can't be set up ({}); give --ca-file", innermost(error)))
        })?;
        Ok(Self { http, address, authorization: None })
    }

    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.call(Method::GET, path, &[], None).await
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    /// As [`Self::post`], under an `Idempotency-Key`.
    pub(super) async fn post_once(
        &self,
        path: &[&str],
        body: &Value,
        key: Option<&str>,
    ) -> Result<Value, Failure> {
        let mut request = self.request(Method::POST, path, &[], Some(body));
        if let Some(key) = key {
            let key = HeaderValue::from_str(key);
            let rule = |_| Failure::Local("--idempotency-key must be visible ASCII characters".to_owned());
            request = request.header("idempotency-key", key.map_err(rule)?);
        }
        self.answer(request).await
    }

    /// All pages of a listing as one.
    pub(super) async fn pages(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.call(Method::GET, path, &query, None).await?;
            let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                Some(_) | None => return Err(Failure::answer("unexpected_answer", "the page has no items")),
            }
            if next.is_none() {
                return Ok(json!({ "items": items }));
            }
            if next == cursor {
                break;
            }
            cursor = next;
        }
        Err(Failure::answer("unexpected_answer", "the pages of the listing do not end"))
    }

    /// Sends a request; segments of the path are encoded here.
    ///
    /// # Errors
    /// No answer, or one that is no success.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.answer(self.request(method, path, query, body)).await
    }

    /// As [`Self::call`], on a condition; answers with the entity tag too.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        (body, condition): (Option<&Value>, Option<(HeaderName, &str)>),
    ) -> Result<(Value, Option<String>), Failure> {
        let mut request = self.request(method, path, query, body);
        if let Some((name, tag)) = condition {
            request = request.header(name, tag);
        }
        self.tagged(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> RequestBuilder {
        let mut request = self.http.request(method, self.url(path, query));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        request
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        self.tagged(request).await.map(|(answer, _)| answer)
    }

    async fn tagged(&self, request: RequestBuilder) -> Result<(Value, Option<String>), Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = self.body(response).await?;
        if !status.is_success() {
            return Err(Failure::refused(status.as_u16(), &body));
        }
        if body.is_empty() {
            return Ok((Value::Null, tag));
        }
        serde_json::from_slice(&body)
            .map(|answer| (answer, tag))
            .map_err(|_| Failure::answer("unexpected_answer", "the server's answer is no JSON"))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.address.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn body(&self, mut response: Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > LONGEST {
                return Err(Failure::answer(
                    "unexpected_answer",
                    "the server's answer is longer than 64 MiB",
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let host = self.address.url.host_str().unwrap_or_default();
        let port = self.address.url.port_or_known_default().unwrap_or_default();
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { innermost(error) };
        Failure::answer("unreachable", format!("{host}:{port} can't be spoken to ({why})"))
    }
}

/// The cause at the bottom: the layers above only say that something failed.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text.replace(char::is_control, " ")
}
