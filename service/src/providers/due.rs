//! When tokens are refreshed, and what becomes of them when they are. Pure: time is a parameter, in seconds since the epoch.

use chrono::{DateTime, TimeDelta, Utc};
use claviger_actors::stores::{AuthTokens, TokenPair};

use super::answer::{Granted, Lasts};

/// An access token that ends sooner than this is refreshed.
const AHEAD: i64 = 15 * 60;
/// How long an access token lives whose provider does not say so, or can't mean it, where the one before had an end.
const ASSUMED: u32 = 3_600;

/// What is to be done with tokens that somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Not,
    /// They are to be refreshed; whether the access token is of use until then.
    Refresh {
        /// It has not ended yet.
        usable: bool,
    },
    /// The access token ends and can't be refreshed, but it has not ended yet.
    Last,
    /// Both tokens are of no use any more.
    Dead,
}

/// Judges tokens.
pub(crate) fn judge(tokens: &AuthTokens, now: i64) -> Due {
    let Some(end) = tokens.access_expires_at.map(|at| at.timestamp()) else { return Due::Not };
    // By the word of the provider it lives so long; of what lives shorter than that, half is used, or each read would refresh it.
    let lifetime = tokens.pair.lifetime.map(|seconds| i64::from(seconds) / 2);
    let ahead = lifetime.map_or(AHEAD, |half| half.min(AHEAD));
    if end > now.saturating_add(ahead) {
        return Due::Not;
    }
    let usable = end > now;
    let refreshable = tokens.pair.refresh_token.is_some()
        && tokens.refresh_expires_at.is_none_or(|at| at.timestamp() > now);
    match (refreshable, usable) {
        (true, usable) => Due::Refresh { usable },
        (false, true) => Due::Last,
        (false, false) => Due::Dead,
    }
}

fn after(now: DateTime<Utc>, seconds: u32) -> Option<DateTime<Utc>> {
    now.checked_add_signed(TimeDelta::seconds(seconds.into()))
}

/// Tokens as they are stored that were given at a moment in the place of others, or of none.
pub(crate) fn renewed(before: Option<&AuthTokens>, granted: &Granted, now: DateTime<Utc>) -> AuthTokens {
    let had_end = before.is_some_and(|before| before.access_expires_at.is_some());
    let lifetime = match granted.access {
        Lasts::Seconds(seconds) if seconds > 0 => Some(seconds),
        Lasts::Unsaid if !had_end => None,
        Lasts::Unsaid | Lasts::Odd | Lasts::Seconds(_) => Some(ASSUMED),
    };
    let old = before.and_then(|before| before.pair.refresh_token.clone());
    let is_kept = granted.refresh_token.is_none() || granted.refresh_token == old;
    let old_end = before.filter(|_| is_kept).and_then(|before| before.refresh_expires_at);
    let refresh_expires_at = match granted.refresh {
        Lasts::Seconds(seconds) if seconds > 0 => after(now, seconds),
        // Zero is how some say that it does not end.
        Lasts::Seconds(_) => None,
        Lasts::Unsaid | Lasts::Odd => old_end,
    };
    AuthTokens {
        access_expires_at: lifetime.and_then(|seconds| after(now, seconds)),
        refresh_expires_at,
        pair: TokenPair {
            access_token: granted.access_token.clone(),
            refresh_token: granted.refresh_token.clone().or(old),
            lifetime,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn tokens(
        access: Option<i64>,
        refresh: Option<&str>,
        refresh_end: Option<i64>,
        lifetime: Option<u32>,
    ) -> AuthTokens {
        let at = |end: i64| DateTime::from_timestamp(NOW + end, 0).unwrap();
        AuthTokens {
            pair: TokenPair {
                access_token: "a".to_owned().into(),
                refresh_token: refresh.map(|text| text.to_owned().into()),
                lifetime,
            },
            access_expires_at: access.map(at),
            refresh_expires_at: refresh_end.map(at),
        }
    }

    #[test]
    fn when_tokens_are_due() {
        let usable = Due::Refresh { usable: true };
        let ended = Due::Refresh { usable: false };
        for (access, refresh, refresh_end, lifetime, due) in [
            (None, Some("r"), None, None, Due::Not),
            (None, None, Some(-1), None, Due::Not),
            (Some(901), Some("r"), None, None, Due::Not),
            (Some(900), Some("r"), None, None, usable),
            (Some(1), Some("r"), Some(1), None, usable),
            (Some(0), Some("r"), Some(1), None, ended),
            (Some(-1), Some("r"), None, None, ended),
            (Some(-1), Some("r"), Some(0), None, Due::Dead),
            (Some(-1), None, None, None, Due::Dead),
            (Some(0), None, Some(100), None, Due::Dead),
            (Some(1), None, None, None, Due::Last),
            (Some(900), Some("r"), Some(-5), None, Due::Last),
            (Some(901), None, None, None, Due::Not),
            // By the word of the provider.
            (Some(900), Some("r"), None, Some(3_600), usable),
            (Some(200), Some("r"), None, Some(300), Due::Not),
            (Some(150), Some("r"), None, Some(300), usable),
            (Some(0), Some("r"), None, Some(300), ended),
            (Some(1), Some("r"), None, Some(1), Due::Not),
        ] {
            assert_eq!(
                judge(&tokens(access, refresh, refresh_end, lifetime), NOW),
                due,
                "{access:?} {refresh:?} {refresh_end:?} {lifetime:?}"
            );
        }
    }

    fn granted(access: Lasts, refresh_token: Option<&str>, refresh: Lasts) -> Granted {
        let refresh_token = refresh_token.map(|text| text.to_owned().into());
        Granted { access_token: "b".to_owned().into(), refresh_token, access, refresh }
    }

    #[test]
    fn what_is_kept_of_tokens_that_are_renewed() {
        use Lasts::{Odd, Seconds, Unsaid};
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let before = tokens(Some(10), Some("r"), Some(500), None);
        let endless = tokens(None, Some("r"), None, None);
        for (before, given, access, refresh, refresh_end) in [
            (Some(&before), granted(Seconds(60), Some("s"), Unsaid), Some(60), Some("s"), None),
            (Some(&before), granted(Seconds(60), Some("s"), Seconds(9)), Some(60), Some("s"), Some(9)),
            (Some(&before), granted(Seconds(60), None, Unsaid), Some(60), Some("r"), Some(500)),
            (Some(&before), granted(Seconds(60), Some("r"), Unsaid), Some(60), Some("r"), Some(500)),
            (Some(&before), granted(Seconds(60), None, Seconds(0)), Some(60), Some("r"), None),
            (Some(&before), granted(Unsaid, None, Odd), Some(3_600), Some("r"), Some(500)),
            (Some(&before), granted(Odd, Some("s"), Odd), Some(3_600), Some("s"), None),
            (Some(&before), granted(Seconds(0), Some("s"), Unsaid), Some(3_600), Some("s"), None),
            (Some(&endless), granted(Unsaid, None, Unsaid), None, Some("r"), None),
            (None, granted(Unsaid, None, Unsaid), None, None, None),
            (None, granted(Seconds(60), Some("s"), Seconds(9)), Some(60), Some("s"), Some(9)),
        ] {
            let after = renewed(before, &given, now);
            let seconds = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp() - NOW);
            let kept = after.pair.refresh_token.as_ref().map(|token| token.as_str());
            assert_eq!(
                (seconds(after.access_expires_at), kept, seconds(after.refresh_expires_at)),
                (access, refresh, refresh_end)
            );
            assert_eq!(after.pair.access_token.as_str(), "b");
        }
    }

    proptest! {
        /// What was given a moment ago is not due, whatever the provider says of it: a reader never makes the next one refresh.
        #[test]
        fn what_is_new_is_not_due(seconds in 2..=u32::MAX, odd in any::<bool>()) {
            let now = DateTime::from_timestamp(NOW, 0).unwrap();
            let access = if odd { Lasts::Odd } else { Lasts::Seconds(seconds) };
            let before = tokens(Some(-1), Some("r"), None, None);
            let after = renewed(Some(&before), &granted(access, Some("s"), Lasts::Unsaid), now);
            prop_assert_eq!(judge(&after, NOW), Due::Not);
        }
    }
}
