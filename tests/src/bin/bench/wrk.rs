//! The load generator: wrk, one thread, which takes little of the processor that the servers need.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use claviger_tests::proc;
use serde_json::Value;

use crate::target::{Request, Target};

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Answers in a second.
    pub(crate) rate: f64,
    /// Median latency in milliseconds.
    pub(crate) p50: f64,
    /// Latency that a hundredth exceeds, in milliseconds.
    pub(crate) p99: f64,
    /// Processor time of the server for an answer, in microseconds.
    pub(crate) cpu: f64,
}

/// Sends one request over and over, and fails unless each is answered with success.
pub(crate) fn load(target: &Target, request: &Request, connections: u16, seconds: u64) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("request.lua");
    fs::write(&script, lua(request, target.token())).unwrap();
    let before = proc::cpu_seconds(target.pid());
    let told = run(&script, target.address(), connections, seconds);
    let used = proc::cpu_seconds(target.pid()) - before;
    let figure = |name: &str| told[name].as_f64().unwrap();
    for error in ["connect", "read", "write", "status", "timeout"] {
        assert!(told[error] == 0, "{:?} failed at {}: {told}", target.kind, request.path);
    }
    let answers = figure("requests");
    assert!(answers > 0.0, "{:?} answered nothing at {}", target.kind, request.path);
    Sample {
        rate: answers / figure("us") * 1e6,
        p50: figure("p50") / 1e3,
        p99: figure("p99") / 1e3,
        cpu: used / answers * 1e6,
    }
}

/// wrk calls `done` at the end; whatever it prints itself is for people.
fn lua(request: &Request, token: Option<&str>) -> String {
    let mut script = format!("wrk.method = \"{}\"\nwrk.path = \"{}\"\n", request.method, request.path);
    if let Some(token) = token {
        script += &format!("wrk.headers[\"Authorization\"] = \"Bearer {token}\"\n");
    }
    if let Some(body) = &request.body {
        // JSON holds no `]==]`: a string with it would have its quotes before.
        script +=
            &format!("wrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[{body}]==]\n");
    }
    script
        + r#"
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"us":%d,"p50":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"#
}

fn run(script: &Path, address: &str, connections: u16, seconds: u64) -> Value {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--timeout", "30s"]).arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
    wrk.arg("-s").arg(script).arg(format!("http://{address}")).stdin(Stdio::null());
    let output =
        wrk.output().unwrap_or_else(|error| panic!("wrk can't be run ({error}); see `make bench-tools`"));
    let told = String::from_utf8_lossy(&output.stdout);
    let last = told.lines().rev().find(|line| line.starts_with('{'));
    let last =
        last.unwrap_or_else(|| panic!("wrk failed: {told}{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(last).unwrap()
}
