//! Pages of lists.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{problem::Problem, slice::Slice};

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

/// One page of those that are wanted, and the cursor of the next. Whether one is wanted may be a question to policies, and there may be
/// many to ask about, so that other requests of the worker have their turn in between.
pub(super) async fn page<T, V>(
    all: impl Iterator<Item = T>,
    is_wanted: impl Fn(&T) -> bool,
    limit: usize,
    view: impl Fn(&T) -> V,
    name: impl Fn(&T) -> String,
) -> (Vec<V>, Option<String>) {
    let (mut items, mut last) = (Vec::new(), None);
    let mut slice = Slice::begin();
    for item in all {
        slice.rest().await;
        if !is_wanted(&item) {
            continue;
        }
        if items.len() == limit {
            return (items, last);
        }
        items.push(view(&item));
        if items.len() == limit {
            last = Some(to_cursor(&name(&item)));
        }
    }
    (items, None)
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

pub(super) fn to_cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// Where a page begins.
pub(super) fn from_cursor<T: std::str::FromStr>(cursor: &str) -> Result<T, Problem> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let last = text.and_then(|text| text.parse().ok());
    last.ok_or_else(|| Problem::invalid("cursor must be the next_cursor of another page"))
}
