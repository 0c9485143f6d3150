//! Alerts as they are kept, told and put on record.

use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::{
    core::About,
    quiet::{Delivery, Silence},
    routing::Routing,
    rule::{Rule, Severity},
};
use crate::{audit::event_of, keyring::record::Time};

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRecord {
    /// Identity.
    pub id: Uuid,
    /// What is watched.
    pub rule: Rule,
    /// What it is about; empty = the deployment.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// A sentence for people.
    pub summary: String,
    /// What was measured when it was raised, in the unit of the rule.
    pub value: u64,
    /// The node that saw it first.
    pub raised_by: String,
    /// When.
    pub raised_at: Time,
    /// Who has taken it up.
    pub acknowledged: Option<Acknowledged>,
    /// When further people were told, since nobody had.
    pub escalated_at: Option<Time>,
    /// When no node saw it any more.
    pub cleared_at: Option<Time>,
}

/// Somebody has taken an alert up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// What they said.
    pub comment: Option<String>,
}

impl AlertRecord {
    /// What it is about.
    #[must_use]
    pub fn about(&self) -> About {
        (self.rule, self.subject.clone())
    }

    /// Nobody has taken it up, and further people have not been told, although it was raised before a moment.
    #[must_use]
    pub fn waits(&self, raised_before: Time) -> bool {
        self.is_open()
            && self.acknowledged.is_none()
            && self.escalated_at.is_none()
            && self.raised_at <= raised_before
    }

    /// It is not over.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.cleared_at.is_none()
    }
}

/// What alerts are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// All of them.
    Any,
    /// Those about a key.
    Key(String),
    /// Those about a node.
    Node(String),
    /// Those about an API key, or that name it as one who uses what it never did.
    ApiKey(Uuid),
}

/// An alert as it is told, to whoever listens to events and over channels.
#[derive(Debug, Clone, Serialize)]
pub struct Told<'a> {
    /// The rule.
    pub name: &'static str,
    /// The alert.
    pub alert: Uuid,
    /// What it is about; empty = the deployment.
    pub subject: &'a str,
    /// How bad it is.
    pub severity: Severity,
    /// A sentence for people.
    pub summary: &'a str,
    /// The node that saw it first.
    pub node: &'a str,
    /// When.
    pub raised_at: Time,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<Time>,
    /// What to do.
    pub runbook_url: String,
}

/// What every change of alerts is made with.
#[derive(Clone)]
pub(crate) struct Scribe {
    /// This node.
    pub(crate) node: String,
    /// Where the runbook is.
    pub(crate) runbook: Arc<str>,
    /// Who is told of what.
    pub(crate) routing: Arc<Routing>,
}

/// A record of what happened to an alert, a silence or a message.
#[derive(Serialize)]
struct OnRecord<'a, T> {
    ts: Time,
    event: &'static str,
    operation: &'a str,
    actor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<&'a str>,
    outcome: &'static str,
    request_id: &'a str,
    node: &'a str,
    epoch: u64,
    #[serde(flatten)]
    about: T,
}

/// To an alert.
#[derive(Serialize)]
struct OfAlert<'a> {
    alert: Uuid,
    rule: &'static str,
    subject: &'a str,
    severity: Severity,
    value: u64,
}

/// To a silence.
#[derive(Serialize)]
struct OfSilence<'a> {
    silence: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    until: Time,
    reason: &'a str,
}

/// To a message; `about` is the alert or the incident.
#[derive(Serialize)]
struct OfMessage<'a> {
    delivery: Uuid,
    about: Uuid,
    channel: &'a str,
    kind: &'static str,
}

/// Who does something to alerts.
#[derive(Debug, Clone)]
pub(crate) struct Doer {
    pub(crate) actor: String,
    pub(crate) actor_id: Option<String>,
    pub(crate) request_id: String,
    pub(crate) epoch: u64,
}

impl Doer {
    /// The monitor itself.
    pub(crate) fn monitor(epoch: u64) -> Self {
        Self { actor: "system".to_owned(), actor_id: None, request_id: "alerts".to_owned(), epoch }
    }
}

impl Scribe {
    /// As it is told.
    pub(crate) fn told<'a>(&self, alert: &'a AlertRecord) -> Told<'a> {
        Told {
            name: alert.rule.as_str(),
            alert: alert.id,
            subject: &alert.subject,
            severity: alert.severity,
            summary: &alert.summary,
            node: &alert.raised_by,
            raised_at: alert.raised_at,
            cleared_at: alert.cleared_at,
            runbook_url: self.runbook_url(alert.rule),
        }
    }

    /// Where it says what to do.
    pub(crate) fn runbook_url(&self, rule: Rule) -> String {
        format!("{}#{}", self.runbook, rule.section())
    }

    /// The text of a record about an alert.
    pub(crate) fn record(&self, operation: &str, doer: &Doer, alert: &AlertRecord, now: Time) -> String {
        let about = OfAlert {
            alert: alert.id,
            rule: alert.rule.as_str(),
            subject: &alert.subject,
            severity: alert.severity,
            value: alert.value,
        };
        self.text(operation, doer, about, now)
    }

    /// The text of a record about a silence.
    pub(crate) fn silence_record(
        &self,
        operation: &str,
        doer: &Doer,
        silence: &Silence,
        now: Time,
    ) -> String {
        let about = OfSilence {
            silence: silence.id,
            rule: silence.rule.map(Rule::as_str),
            subject: silence.subject.as_deref(),
            until: silence.until,
            reason: &silence.reason,
        };
        self.text(operation, doer, about, now)
    }

    /// The text of a record about a message that is told again.
    pub(crate) fn retry_record(&self, doer: &Doer, delivery: &Delivery, now: Time) -> String {
        let about = OfMessage {
            delivery: delivery.id,
            about: delivery.about,
            channel: &delivery.channel,
            kind: delivery.kind.as_str(),
        };
        self.text("alert.retry", doer, about, now)
    }

    fn text(&self, operation: &str, doer: &Doer, about: impl Serialize, now: Time) -> String {
        let record = OnRecord {
            ts: now,
            event: event_of(operation),
            operation,
            actor: &doer.actor,
            actor_id: doer.actor_id.as_deref(),
            outcome: "ok",
            request_id: &doer.request_id,
            node: &self.node,
            epoch: doer.epoch,
            about,
        };
        // It consists of texts and numbers, and those can be written.
        serde_json::to_string(&record).unwrap_or_default()
    }
}
