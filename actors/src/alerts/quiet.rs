//! What is kept quiet, what is left to be told, and whether there is any use in telling it. Pure but for the clock that is handed in.

use serde::Serialize;
use uuid::Uuid;

use super::{courier::Fate, record::AlertRecord, routing::Kind, rule::Rule};
use crate::keyring::record::Time;

/// Alerts of which nobody is told for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Identity.
    pub id: Uuid,
    /// Of this rule; absent = of every rule.
    pub rule: Option<Rule>,
    /// About this; absent = about whatever.
    pub subject: Option<String>,
    /// Why.
    pub reason: String,
    /// Who wants it.
    pub made_by: String,
    /// Since when.
    pub made_at: Time,
    /// Until when.
    pub until: Time,
}

/// Why there is no silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// There are as many as there may be.
    #[error("there are 1000 silences; end some first")]
    TooMany,
}

/// Why a message is not told again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// There is none of this id.
    #[error("there is no such message; claviger alerts deliveries lists those that there are")]
    NotFound,
    /// It was not given up.
    #[error("there was no use in this message any more; only one that was given up (dead) can be told again")]
    Dropped,
    /// Nobody knows where it would go.
    #[error("this node has no channel {0}; configure it, or leave the message as it is")]
    NoChannel(String),
}

impl Silence {
    /// It keeps this one quiet.
    #[must_use]
    pub fn is_about(&self, alert: &AlertRecord) -> bool {
        self.rule.is_none_or(|rule| rule == alert.rule)
            && self.subject.as_ref().is_none_or(|subject| *subject == alert.subject)
    }
}

/// Until when an alert is kept quiet.
#[must_use]
pub fn silenced_until(silences: &[Silence], alert: &AlertRecord) -> Option<Time> {
    silences.iter().filter(|silence| silence.is_about(alert)).map(|silence| silence.until).max()
}

/// What is to be told over a channel, and how far that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Identity, which the receiver gets.
    pub id: Uuid,
    /// The alert or the incident.
    pub about: Uuid,
    /// Name of the channel.
    pub channel: String,
    /// What it is.
    pub kind: Kind,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u64,
    /// When it came up.
    pub made_at: Time,
    /// When it is tried again.
    pub next_at: Time,
    /// Why it was not taken.
    pub last_error: Option<String>,
    /// When there was nothing more to do.
    pub ended_at: Option<Time>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It is to be told.
    Pending,
    /// It was told.
    Done,
    /// There was no use in it any more.
    Dropped,
    /// It was given up.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Done, Self::Dropped, Self::Dead];

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What becomes of something untold; `None`: it is to be told. A parcel was put off when it was not tried although its time had come, and has
/// begun when the receiver knows of a beginning.
#[must_use]
pub(crate) fn relevance(
    (kind, was_put_off, has_begun): (Kind, bool, bool),
    alert: &AlertRecord,
    silences: &[Silence],
    now: Time,
) -> Option<Fate> {
    let quiet = silenced_until(silences, alert).and_then(|until| (until - now).to_std().ok());
    let is_over = !alert.is_open();
    match (kind, quiet) {
        (Kind::Incident, _) => None,
        // Whoever was not told of the beginning need not hear of the end.
        (Kind::Cleared, _) => (!has_begun).then_some(Fate::Dropped),
        (Kind::Raised, quiet) if is_over && (was_put_off || quiet.is_some()) => Some(Fate::Dropped),
        (Kind::Escalated, _) if is_over || alert.acknowledged.is_some() => Some(Fate::Dropped),
        (Kind::Raised | Kind::Escalated, Some(left)) => Some(Fate::Later(left, None)),
        (Kind::Raised | Kind::Escalated, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::{
        super::{record::Acknowledged, rule::Severity},
        *,
    };

    #[test]
    fn what_is_told_and_what_is_not() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let open = AlertRecord {
            id: Uuid::nil(),
            rule: Rule::Staleness,
            subject: "a".to_owned(),
            severity: Severity::Critical,
            summary: String::new(),
            value: 1,
            raised_by: "b".to_owned(),
            raised_at: now,
            acknowledged: None,
            escalated_at: None,
            cleared_at: None,
        };
        let over = AlertRecord { cleared_at: Some(now), ..open.clone() };
        let taken = Acknowledged { by: "me".to_owned(), at: now, comment: None };
        let taken = AlertRecord { acknowledged: Some(taken), ..open.clone() };
        let silence = |rule, subject: Option<&str>| Silence {
            id: Uuid::nil(),
            rule,
            subject: subject.map(str::to_owned),
            reason: String::new(),
            made_by: String::new(),
            made_at: now,
            until: now + TimeDelta::hours(1),
        };
        let later = Some(Fate::Later(std::time::Duration::from_secs(3_600), None));
        let (loud, quiet) = (&[] as &[Silence], &[silence(Some(Rule::Staleness), Some("a"))][..]);
        let dropped = Some(Fate::Dropped);
        for (parcel, alert, silences, expected) in [
            ((Kind::Raised, false, true), &open, loud, None),
            ((Kind::Raised, false, true), &over, loud, None),
            ((Kind::Raised, true, true), &open, loud, None),
            ((Kind::Raised, true, true), &over, loud, dropped.clone()),
            ((Kind::Raised, false, true), &open, quiet, later.clone()),
            ((Kind::Raised, false, true), &over, quiet, dropped.clone()),
            ((Kind::Escalated, false, true), &open, quiet, later),
            ((Kind::Escalated, false, true), &open, loud, None),
            ((Kind::Escalated, false, true), &taken, loud, dropped.clone()),
            ((Kind::Cleared, false, true), &over, quiet, None),
            ((Kind::Cleared, false, false), &over, loud, dropped),
            ((Kind::Incident, true, false), &open, quiet, None),
        ] {
            assert_eq!(relevance(parcel, alert, silences, now), expected, "{parcel:?}");
        }
        for (silence, is_about) in [
            (silence(None, None), true),
            (silence(None, Some("a")), true),
            (silence(Some(Rule::Staleness), None), true),
            (silence(Some(Rule::KeyExpiry), None), false),
            (silence(None, Some("b")), false),
        ] {
            assert_eq!(silence.is_about(&open), is_about, "{silence:?}");
        }
    }
}
