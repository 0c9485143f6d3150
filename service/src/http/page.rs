//! Pages of lists.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::problem::Problem;

const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// Which page of a list.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Items of a page: 100 unless given, at most 1,000.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// One page of what comes, and the cursor of the next.
pub(super) fn page<T, V>(
    found: impl Iterator<Item = T>,
    limit: usize,
    view: impl Fn(&T) -> V,
    name: impl Fn(&T) -> String,
) -> (Vec<V>, Option<String>) {
    let mut found = found.peekable();
    let (mut items, mut last) = (Vec::new(), None);
    while items.len() < limit
        && let Some(item) = found.next()
    {
        items.push(view(&item));
        last = Some(item);
    }
    let next_cursor = last.filter(|_| found.peek().is_some()).map(|item| to_cursor(&name(&item)));
    (items, next_cursor)
}

/// Items of a page.
pub(super) fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    if (1..=PAGE_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::invalid("limit must be from 1 to 1000"))
    }
}

fn to_cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// Where a page begins.
pub(super) fn from_cursor<T: std::str::FromStr>(cursor: &str) -> Result<T, Problem> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let last = text.and_then(|text| text.parse().ok());
    last.ok_or_else(|| Problem::invalid("cursor must be the next_cursor of another page"))
}
