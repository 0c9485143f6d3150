//! OTLP/HTTP with JSON (OpenTelemetry protocol 1.x, `/v1/logs`): one request a group, answered before the next.
//!
//! A sink is asked in the logger's own turn, on a thread that has a runtime already, which must not be entered twice. So the client has a
//! thread of its own, and whoever writes waits for its word.

use std::{
    io,
    path::Path,
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use claviger_actors::audit::Sink;
use reqwest::{Client, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::authorities;

/// A collector that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(super) struct Otlp {
    node: String,
    bodies: UnboundedSender<Body>,
}

/// A request, and who waits for what becomes of it.
struct Body {
    json: Vec<u8>,
    sent: Sender<io::Result<()>>,
}

impl Otlp {
    pub(super) fn new(to: &str, node: String, ca_file: Option<&Path>) -> io::Result<Self> {
        let client = authorities::client(ca_file)?.timeout(ANSWER_MAX).build().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (bodies, mut queue) = unbounded_channel::<Body>();
        let url = format!("{to}/v1/logs");
        let work = async move {
            while let Some(Body { json, sent }) = queue.recv().await {
                // Whoever asked may be gone with the service.
                let _gone = sent.send(post(&client, &url, json).await);
            }
        };
        thread::Builder::new().name("audit-otlp".to_owned()).spawn(move || runtime.block_on(work))?;
        Ok(Self { node, bodies })
    }
}

async fn post(client: &Client, url: &str, json: Vec<u8>) -> io::Result<()> {
    let request = client.post(url).header(CONTENT_TYPE, "application/json").body(json).send();
    let response = request.await.map_err(|error| io::Error::other(error.without_url()))?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(io::Error::other(format!("the collector answered {}", response.status())))
}

impl Sink for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (sent, outcome) = channel();
        let body = Body { json: serde_json::to_vec(&request(&self.node, lines))?, sent };
        self.bodies.send(body).map_err(|_| io::ErrorKind::BrokenPipe)?;
        outcome.recv().map_err(io::Error::other)?
    }
}

/// An `ExportLogsServiceRequest`: the body of each log record is the line as it is in the file, so that its hash can still be checked.
fn request(node: &str, lines: &[u8]) -> Value {
    let text = |text: &str| json!({ "stringValue": text });
    let records: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let members: Value = serde_json::from_slice(line).unwrap_or_default();
            let of = |name: &str| members.get(name).and_then(Value::as_str);
            let at = of("ts").and_then(|at| at.parse::<chrono::DateTime<chrono::Utc>>().ok());
            let at = at.and_then(|at| at.timestamp_nanos_opt()).unwrap_or(0);
            json!({
                "timeUnixNano": at.to_string(),
                "severityNumber": 9,
                "severityText": "INFO",
                "eventName": of("event").unwrap_or_default(),
                "body": text(&String::from_utf8_lossy(line)),
            })
        })
        .collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": text("claviger") },
            { "key": "service.instance.id", "value": text(node) },
        ]},
        "scopeLogs": [{ "scope": { "name": "claviger.audit" }, "logRecords": records }],
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_a_log_record_with_its_line() {
        let line = r#"{"seq":1,"ts":"2026-11-25T12:00:00.5Z","event":"encrypt","hash":"x"}"#;
        let request = request("n1", format!("{line}\n{line}\n").as_bytes());
        let records = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        assert_eq!(records.as_array().unwrap().len(), 2);
        assert_eq!(records[1]["timeUnixNano"], "1795608000500000000");
        assert_eq!(records[1]["eventName"], "encrypt");
        assert_eq!(records[1]["body"]["stringValue"], line);
    }
}
