//! Bodies that RFC 7009 and RFC 7662 send as forms, and everybody else as JSON.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Query};
use serde::de::DeserializeOwned;

use crate::http::{
    body::{self, typed, value},
    problem::Problem,
};

const FORM: &str = "application/x-www-form-urlencoded";

/// A body of either kind. What begins like a JSON object is one, whatever its `Content-Type` says: no form begins so.
pub struct FormOrJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest for FormOrJson<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = |body: &[u8]| {
            let is_json = body.trim_ascii_start().starts_with(b"{");
            if is_json || !is_form(request) { value(body).and_then(typed) } else { form(body) }
        };
        ready(body::of(request, read).map(Self))
    }
}

fn is_form(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next()).is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

fn form<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let wrong =
        || Problem::invalid("the form has an unknown, missing or doubled field, or one of the wrong form");
    let text = std::str::from_utf8(body).map_err(|_| wrong())?;
    Query::<T>::from_query(text.trim_ascii()).map(Query::into_inner).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        token: String,
        token_type_hint: Option<String>,
    }

    #[test]
    fn forms_are_read_strictly() {
        let asked = |token: &str| Asked { token: token.to_owned(), token_type_hint: None };
        assert_eq!(form::<Asked>(b"token=a.b%2Bc").ok(), Some(asked("a.b+c")));
        assert!(form::<Asked>(b"token=a&token_type_hint=refresh_token").is_ok());
        for bad in [&b""[..], b"token", b"x=1", b"token=a&token=b", b"token=a&x=1", b"\xff=1"] {
            assert!(form::<Asked>(bad).is_err() || bad == b"token", "{bad:?}");
        }
    }
}
