//! What a caller wants to be so before anything is changed, out of headers and of items of a batch.

use actix_web::{HttpRequest, http::header};
use claviger_actors::stores::{Condition, Tags};

use crate::http::problem::Problem;

const TAGS: &str = "If-Match and If-None-Match hold * or entity tags, as ETag has them";

/// The condition of a request.
///
/// # Errors
/// `invalid_request`: both, or not in form.
pub(super) fn of_headers(request: &HttpRequest) -> Result<Condition, Problem> {
    let read = |name: &header::HeaderName| -> Result<Option<String>, Problem> {
        let mut values = Vec::new();
        for value in request.headers().get_all(name) {
            values.push(value.to_str().map_err(|_| Problem::invalid(TAGS))?);
        }
        Ok((!values.is_empty()).then(|| values.join(",")))
    };
    of_texts(read(&header::IF_MATCH)?.as_deref(), read(&header::IF_NONE_MATCH)?.as_deref())
}

/// The condition of an item.
///
/// # Errors
/// As [`of_headers`].
pub(super) fn of_texts(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Condition, Problem> {
    let tags = |text| Tags::parse(text).ok_or_else(|| Problem::invalid(TAGS));
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (Some(text), None) => tags(text).map(Condition::Match),
        (None, Some(text)) => tags(text).map(Condition::NoneMatch),
        (Some(_), Some(_)) => Err(Problem::invalid("If-Match and If-None-Match exclude each other")),
    }
}
