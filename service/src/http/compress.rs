//! Compression: of the key set, of the document of the interface and of the figures, and of nothing else. Where a caller's text and a secret
//! stand in one answer, its length would tell of the secret (BREACH).

use std::{io::Write as _, sync::OnceLock};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderMap},
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};

/// A text that does not change.
pub struct Document {
    plain: Bytes,
    gzip: OnceLock<Option<Bytes>>,
}

impl Document {
    /// Of a text.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { plain: Bytes::from_static(text.as_bytes()), gzip: OnceLock::new() }
    }

    /// The answer, in the form that the caller takes.
    pub(super) fn answer(&self, asked: &HeaderMap, answer: &mut HttpResponseBuilder) -> HttpResponse {
        let gzip = || self.gzip.get_or_init(|| gzip(&self.plain)).clone();
        either(asked, answer, self.plain.clone(), gzip)
    }
}

/// The answer, in the form that the caller takes.
pub(super) fn either(
    asked: &HeaderMap,
    answer: &mut HttpResponseBuilder,
    plain: Bytes,
    gzip: impl FnOnce() -> Option<Bytes>,
) -> HttpResponse {
    answer.insert_header((header::VARY, "Accept-Encoding"));
    match takes_gzip(asked).then(gzip).flatten() {
        Some(gzip) => answer.insert_header((header::CONTENT_ENCODING, "gzip")).body(gzip),
        None => answer.body(plain),
    }
}

/// A text, compressed.
pub(super) fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::default());
    // Writing to memory does not fail.
    encoder.write_all(plain).and_then(|()| encoder.finish()).ok().map(Bytes::from)
}

/// The caller has named gzip, or anything, and not refused it (RFC 9110, 12.5.3).
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut named, mut any) = (None, None);
    let texts = headers.get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    for item in texts.flat_map(|text| text.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let is_wanted =
            weight.is_none_or(|weight| weight.trim().parse().is_ok_and(|weight: f32| weight > 0.0));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            named = Some(is_wanted);
        } else if coding == "*" {
            any = Some(is_wanted);
        }
    }
    named.or(any).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (text, takes) in [
            ("gzip", true),
            ("GZIP", true),
            ("br, gzip;q=0.5", true),
            ("*", true),
            ("identity;q=0, *", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, *", false),
            ("*;q=0", false),
            ("br", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(text).unwrap());
            assert_eq!(takes_gzip(&headers), takes, "{text}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
