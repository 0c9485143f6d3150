//! OTLP/HTTP with JSON (OpenTelemetry protocol 1.x, `/v1/logs`): one request a group, answered before the next.

use std::{io, path::Path, time::Duration};

use claviger_actors::audit::Sink;
use reqwest::{Client, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::authorities;

/// A collector that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(super) struct Otlp {
    url: String,
    node: String,
    client: Client,
    runtime: Runtime,
}

impl Otlp {
    pub(super) fn new(to: &str, node: String, ca_file: Option<&Path>) -> io::Result<Self> {
        let client = authorities::client(ca_file)?.timeout(ANSWER_MAX).build().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { url: format!("{to}/v1/logs"), node, client, runtime })
    }
}

impl Sink for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let body = serde_json::to_vec(&request(&self.node, lines))?;
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body).send();
        let response =
            self.runtime.block_on(request).map_err(|error| io::Error::other(error.without_url()))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(io::Error::other(format!("the collector answered {}", response.status())))
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
