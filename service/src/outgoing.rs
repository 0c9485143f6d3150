//! Requests to others over HTTP: what they answer is as hostile as what callers send, and they may not answer at all.
//!
//! TLS, or plain http on loopback. No redirects, no proxy, no cookies, no compression, a time for all of it, and no more of an answer than
//! is asked for. Nobody who can be served without asking others comes here.

use std::{io, net::IpAddr, path::Path, time::Duration};

use actix_web::web::Bytes;
use claviger_crypto::json;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderValue},
    redirect, retry,
};
use serde_json::{Map, Value};

use zeroize::Zeroizing;

use crate::authorities;

/// Longest time until there is a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest time for one request, its answer included.
const TOTAL: Duration = Duration::from_secs(5);
/// Longest answer.
const ANSWER_MAX_BYTES: usize = 256 * 1_024;
/// Deepest nesting of an answer.
const ANSWER_DEPTH: usize = 16;
/// Longest URL.
const URL_MAX_BYTES: usize = 2_048;

/// A place that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingUrl(Url);

impl OutgoingUrl {
    /// Judges a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).ok().filter(|_| text.len() <= URL_MAX_BYTES);
        let url = url.ok_or("is no URL")?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("holds a user, a password or a fragment");
        }
        match url.scheme() {
            "https" if url.host_str().is_some() => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            _ => Err("is neither https nor http on loopback"),
        }
    }

    /// It is spoken to in clear, on this machine.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

/// It is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why there is no answer that can be used. The texts are what the figures call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// No connection, or it broke.
    #[error("it can't be reached, or broke off")]
    Unreachable,
    /// It took too long.
    #[error("it took too long")]
    TimedOut,
    /// It says to go elsewhere.
    #[error("it redirects, which is not followed; name the place itself")]
    Redirected,
    /// It answers with another status.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It says too much.
    #[error("its answer is longer than 256 KiB")]
    TooLarge,
    /// It does not speak strict JSON.
    #[error("its answer is no strict JSON object")]
    Malformed,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its body.
    pub body: Map<String, Value>,
    /// How long it says that it holds.
    pub max_age: Option<Duration>,
}

/// An answer to what was posted, whatever its status; nobody has judged it.
pub struct Posted {
    /// Status.
    pub status: u16,
    /// What it says of its type.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Zeroizing<Vec<u8>>,
}

/// What is posted: a form, and who posts it where that goes by a header.
pub struct Form<'a> {
    /// Names and values.
    pub fields: &'a [(&'a str, &'a str)],
    /// User and password, encoded as RFC 6749 §2.3.1 wants them.
    pub basic: Option<(&'a str, &'a str)>,
    /// Longest time for all of it.
    pub within: Duration,
}

/// A name or value as forms have it (application/x-www-form-urlencoded), put behind a text.
pub fn form_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                into.push(char::from(byte))
            }
            b' ' => into.push('+'),
            byte => {
                let digit = |four: u8| char::from_digit(four.into(), 16).unwrap_or('0').to_ascii_uppercase();
                into.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
            }
        }
    }
}

fn encoded(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // Room for all of it, so that no part is left behind when it grows.
    let room: usize = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut body = Zeroizing::new(String::with_capacity(room));
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        form_encode(name, &mut body);
        body.push('=');
        form_encode(value, &mut body);
    }
    body
}

/// The way to others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outgoing(Client);

impl Outgoing {
    /// A client that believes the machine's authorities and those of the file. Who asks plain places only needs none.
    ///
    /// # Errors
    /// The file can't be read, or TLS can't be set up.
    pub fn new(ca_file: Option<&Path>, plain_only: bool) -> io::Result<Self> {
        Self::keeping(ca_file, plain_only, 1)
    }

    /// As [`Self::new`], with a new connection for each request: what was sent on one that had been closed meanwhile may have arrived, and
    /// nobody could tell.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn afresh(ca_file: Option<&Path>, plain_only: bool) -> io::Result<Self> {
        Self::keeping(ca_file, plain_only, 0)
    }

    fn keeping(ca_file: Option<&Path>, plain_only: bool, idle: usize) -> io::Result<Self> {
        let builder = authorities::client(ca_file)?;
        let builder = if plain_only { builder.tls_certs_only([]) } else { builder };
        let client = builder
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .pool_max_idle_per_host(idle)
            .user_agent(concat!("claviger/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(Self).map_err(io::Error::other)
    }

    /// Asks for a JSON object, with a bearer token if there is one.
    ///
    /// # Errors
    /// See [`OutgoingError`].
    pub async fn get(&self, url: &OutgoingUrl, bearer: Option<&str>) -> Result<Answer, OutgoingError> {
        let mut request =
            self.0.get(url.0.clone()).header(header::ACCEPT, "application/json, application/jwk-set+json");
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(OutgoingError::Redirected);
        }
        if status != StatusCode::OK {
            return Err(OutgoingError::Status(status.as_u16()));
        }
        let max_age = max_age(response.headers());
        let body = read(response).await?;
        // What it says of its type means nothing: what is no JSON shows.
        let body = json::parse_object(&body, ANSWER_DEPTH).map_err(|_| OutgoingError::Malformed)?;
        Ok(Answer { body, max_age })
    }

    /// Posts a form. It is sent once.
    ///
    /// # Errors
    /// No answer, one that redirects, or one that is too long.
    pub async fn post(&self, url: &OutgoingUrl, form: &Form<'_>) -> Result<Posted, OutgoingError> {
        let body = encoded(form.fields);
        let mut request = self
            .0
            .post(url.0.clone())
            .timeout(form.within)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            // Not copied: it is wiped when it was sent.
            .body(Bytes::from_owner(body));
        if let Some((user, password)) = form.basic {
            let [user, password] = [user, password].map(|text| {
                let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
                form_encode(text, &mut encoded);
                encoded
            });
            request = request.basic_auth(user.as_str(), Some(password.as_str()));
        }
        let response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(OutgoingError::Redirected);
        }
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = Zeroizing::new(read(response).await?);
        Ok(Posted { status: status.as_u16(), content_type, body })
    }
}

impl Outgoing {
    /// Posts a text with further headers, and answers with the status; what is said beside it is nobody's business. It is sent once.
    ///
    /// # Errors
    /// No answer.
    pub async fn post_text(
        &self,
        url: &OutgoingUrl,
        (content_type, body): (&str, String),
        headers: &[(&str, &str)],
        within: Duration,
    ) -> Result<u16, OutgoingError> {
        let mut request =
            self.0.post(url.0.clone()).timeout(within).header(header::CONTENT_TYPE, content_type).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.map_err(|error| fault(&error))?;
        Ok(response.status().as_u16())
    }
}

/// As much as is accepted, and no byte is waited for beyond it.
async fn read(mut response: Response) -> Result<Vec<u8>, OutgoingError> {
    let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
    if declared.is_some_and(|length| length > ANSWER_MAX_BYTES) {
        return Err(OutgoingError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(OutgoingError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn fault(error: &reqwest::Error) -> OutgoingError {
    if error.is_timeout() { OutgoingError::TimedOut } else { OutgoingError::Unreachable }
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1); nothing is kept that must not be.
fn max_age(headers: &HeaderMap<HeaderValue>) -> Option<Duration> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = text.split(',').map(str::trim);
    if directives.clone().any(|directive| matches!(directive, "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_may_be_asked() {
        for good in [
            "https://a.example/x?y",
            "http://127.0.0.1:1/x",
            "http://localhost",
            "http://[::1]:9/",
            "https://10.0.0.1:6443/openid/v1/jwks",
        ] {
            assert!(OutgoingUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "x",
            "http://a.example",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://127.0.0.1@a.example",
            "http://10.0.0.1",
            "https://u@a.example",
            "https://:p@a.example",
            "https://a.example/#x",
            "file:///etc/passwd",
            "ftp://127.0.0.1",
            "data:text/plain,x",
            "https://",
        ] {
            assert!(OutgoingUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(OutgoingUrl::parse(&format!("https://a/{}", "a".repeat(URL_MAX_BYTES))).is_err());
    }

    #[test]
    fn forms_are_encoded() {
        let body = encoded(&[("a b", "x&y=z+1"), ("é", "~*-._"), ("", "")]);
        assert_eq!(body.as_str(), "a+b=x%26y%3Dz%2B1&%C3%A9=%7E*-._&=");
        assert_eq!(encoded(&[]).as_str(), "");
    }

    #[test]
    fn how_long_an_answer_holds() {
        let table = [
            (None, None),
            (Some("public, max-age=300, must-revalidate"), Some(300)),
            (Some("MAX-AGE=\"60\""), Some(60)),
            (Some("max-age=300, no-cache"), Some(0)),
            (Some("no-store"), Some(0)),
            (Some("max-age=-1"), None),
            (Some("max-age=99999999999999999999999"), None),
            (Some("s-maxage=9"), None),
        ];
        for (given, seconds) in table {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(given));
            }
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{given:?}");
        }
    }
}
