//! What may be done to a value in its present state: pure.

use serde::{Deserialize, Serialize};

use super::item::Revision;

/// Versions of a secret that are kept, the present one included.
pub const HISTORY: u64 = 10;

/// What a caller wants to be so before anything is changed (RFC 9110 §13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// `If-Match`: one of these entity tags, or any state at all.
    Match(Tags),
    /// `If-None-Match`: none of these, or no state at all.
    NoneMatch(Tags),
}

/// Entity tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// `*`.
    Any,
    /// Each quoted.
    These(Vec<String>),
}

impl Tags {
    /// Reads a list of entity tags. A weak one never fits a strong comparison, so it is kept as something that fits nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
        let is_tag = |tag: &String| {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"')
        };
        tags.iter().all(is_tag).then_some(Self::These(tags))
    }

    fn fit(&self, current: &Revision) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.contains(&current.tag()),
        }
    }
}

/// Why a change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The condition does not hold.
    #[error("it is not as the condition says; read it again")]
    Precondition,
    /// There is nothing to delete.
    #[error("there is nothing here")]
    Missing,
    /// Policies have changed since the caller was judged.
    #[error("policies do not permit this any more")]
    NotPermitted,
}

/// Judges a change of what is there now; a row that was edited from outside is there and has no state that anybody knows.
///
/// # Errors
/// The condition does not hold.
pub fn judge(condition: &Condition, is_there: bool, current: Option<&Revision>) -> Result<(), Refusal> {
    let holds = match condition {
        Condition::None => true,
        Condition::Match(Tags::Any) => is_there,
        Condition::Match(tags) => current.is_some_and(|current| tags.fit(current)),
        Condition::NoneMatch(Tags::Any) => !is_there,
        Condition::NoneMatch(tags) => !current.is_some_and(|current| tags.fit(current)),
    };
    if holds { Ok(()) } else { Err(Refusal::Precondition) }
}

/// The newest version that is forgotten once a version has been written.
#[must_use]
pub const fn forgotten(written: u64) -> u64 {
    written.saturating_sub(HISTORY)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn conditions_are_judged_by_the_state() {
        let now = Revision { id: Uuid::from_u128(1), version: 3 };
        let before = Revision { version: 2, ..now };
        let reborn = Revision { id: Uuid::from_u128(2), version: 3 };
        let list = |revisions: &[Revision]| {
            Tags::parse(&revisions.iter().map(Revision::tag).collect::<Vec<_>>().join(" , ")).unwrap()
        };
        let weak = Tags::parse(&format!("W/{}", now.tag())).unwrap();
        // Condition; holds of `now`, of nothing, of a row that can't be read.
        let table = [
            (Condition::None, [true, true, true]),
            (Condition::Match(Tags::Any), [true, false, true]),
            (Condition::Match(list(&[now])), [true, false, false]),
            (Condition::Match(list(&[before, now])), [true, false, false]),
            (Condition::Match(list(&[before])), [false, false, false]),
            (Condition::Match(list(&[reborn])), [false, false, false]),
            (Condition::Match(weak), [false, false, false]),
            (Condition::NoneMatch(Tags::Any), [false, true, false]),
            (Condition::NoneMatch(list(&[now])), [false, true, true]),
            (Condition::NoneMatch(list(&[before])), [true, true, true]),
        ];
        for (condition, expected) in table {
            let found = [(true, Some(&now)), (false, None), (true, None)]
                .map(|(is_there, current)| judge(&condition, is_there, current).is_ok());
            assert_eq!(found, expected, "{condition:?}");
        }
        for text in ["", "3", "\"", "\"3\", 4", ",", "* , \"3\""] {
            assert_eq!(Tags::parse(text), None, "{text}");
        }
    }

    #[test]
    fn so_many_versions_are_kept() {
        assert_eq!((forgotten(1), forgotten(10), forgotten(11)), (0, 0, 1));
    }
}
