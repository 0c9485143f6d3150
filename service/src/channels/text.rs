//! What is told, as JSON for programs and as sentences for people. Pure.

use chrono::SecondsFormat;
use claviger_actors::alerts::{Kind, Parcel};
use serde_json::{Map, Value, json};

/// Longest text of a member in a sentence.
const SHOWN: usize = 500;
/// Letters of a short message.
const SHORT: usize = 150;

/// The body of a webhook: type, time, data.
pub(super) fn event(parcel: &Parcel) -> String {
    let kind = match parcel.kind {
        Kind::Raised => "alert.raised",
        Kind::Escalated => "alert.escalated",
        Kind::Cleared => "alert.cleared",
        Kind::Incident => "incident.notice",
    };
    let timestamp = parcel.made_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({ "type": kind, "timestamp": timestamp, "data": data(parcel) }).to_string()
}

/// What happened, in one line, and what to do.
pub(super) fn sentence(parcel: &Parcel) -> String {
    let (subject, what) = (subject(parcel), data(parcel));
    let runbook = text(&what, "runbook_url");
    let mut lines = vec![subject];
    let summary = text(&what, "summary");
    if parcel.kind != Kind::Incident && !summary.is_empty() {
        lines.push(summary);
    }
    if !runbook.is_empty() && parcel.kind != Kind::Cleared {
        lines.push(format!("What to do: {runbook}"));
    }
    lines.push(format!("Alert {}", parcel.about));
    if parcel.kind == Kind::Incident {
        lines.pop();
        lines.push(format!("Incident {}", parcel.about));
    }
    lines.join("\n")
}

/// What fits into a short message.
pub(super) fn short(parcel: &Parcel) -> String {
    let (mut text, summary) = (subject(parcel), text(&data(parcel), "summary"));
    if parcel.kind != Kind::Cleared && !summary.is_empty() {
        text = format!("{text}: {summary}");
    }
    if text.chars().count() > SHORT {
        text = text.chars().take(SHORT - 1).chain(['…']).collect();
    }
    text
}

/// The first line.
pub(super) fn subject(parcel: &Parcel) -> String {
    let data = data(parcel);
    let (name, subject) = (text(&data, "name"), text(&data, "subject"));
    let about = if subject.is_empty() { name } else { format!("{name} ({subject})") };
    match parcel.kind {
        Kind::Raised => format!("[{}] {about}", text(&data, "severity")),
        Kind::Escalated => format!("[{}, not taken up] {about}", text(&data, "severity")),
        Kind::Cleared => format!("[cleared] {about}"),
        Kind::Incident => {
            let target = data.get("target").map(Value::to_string).unwrap_or_default();
            format!("[incident, {}] {}: {}", text(&data, "level"), shown(&target), text(&data, "reason"))
        }
    }
}

fn data(parcel: &Parcel) -> Map<String, Value> {
    serde_json::from_str(&parcel.body).unwrap_or_default()
}

fn text(data: &Map<String, Value>, member: &str) -> String {
    data.get(member).and_then(Value::as_str).map(shown).unwrap_or_default()
}

/// In one line, and no longer than somebody reads. Slack takes `<`, `>` and `&` for its own.
fn shown(text: &str) -> String {
    let letters = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    letters.filter(|letter| !matches!(letter, '<' | '>' | '&')).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn parcel(kind: Kind, body: &str) -> Parcel {
        let made_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Parcel { id: Uuid::nil(), about: Uuid::max(), kind, made_at, body: body.to_owned(), attempts: 0 }
    }

    #[test]
    fn what_programs_and_people_get() {
        let body = r#"{"name":"staleness","subject":"node-1","severity":"critical","summary":"a\nb <!channel>","runbook_url":"https://r#x"}"#;
        let event: Value = serde_json::from_str(&event(&parcel(Kind::Raised, body))).unwrap();
        assert_eq!((&event["type"], &event["data"]["subject"]), (&json!("alert.raised"), &json!("node-1")));
        let told = sentence(&parcel(Kind::Raised, body));
        assert!(
            told.starts_with("[critical] staleness (node-1)\na b !channel\nWhat to do: https://r#x\n"),
            "{told}"
        );
        let told = sentence(&parcel(Kind::Cleared, body));
        assert!(told.starts_with("[cleared] staleness (node-1)\n") && !told.contains("https"), "{told}");
        let incident = r#"{"name":"incident","target":{"key":"k"},"level":"high","reason":"leaked"}"#;
        let told = sentence(&parcel(Kind::Incident, incident));
        assert!(told.starts_with("[incident, high] {\"key\":\"k\"}: leaked\nIncident "), "{told}");
        // Whatever stands in the row, something is told.
        assert!(!sentence(&parcel(Kind::Raised, "nonsense")).is_empty());
    }
}
