//! Traces: the caller's is taken up, shown in the log, answered, and sent to a collector when it is to be recorded.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use claviger_tests::{
    Node,
    process::{PATIENCE, until},
};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A collector: it takes whatever is posted, and keeps it with the line it came under. It ends with the process.
#[derive(Clone)]
struct Collector {
    address: String,
    taken: Arc<Mutex<Vec<Taken>>>,
}

/// The first line of a request, and its body.
type Taken = (String, Vec<u8>);

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let taken = Arc::<Mutex<Vec<_>>>::default();
        let collector = Self { address, taken };
        let own = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream.unwrap()));
            }
        });
        collector
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let line = line.trim_end().to_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            self.taken.lock().unwrap().push((first.trim_end().to_owned(), body));
            writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Something that was sent holds these bytes.
    fn has(&self, bytes: &[u8]) -> bool {
        let taken = self.taken.lock().unwrap();
        taken.iter().any(|(_, body)| body.windows(bytes.len()).any(|window| window == bytes))
    }
}

fn parent(trace: &str, sampled: bool) -> String {
    format!("00-{trace}-{SPAN}-0{}", u8::from(sampled))
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// A recorded trace is continued, with a span of ours; one that is not recorded is only passed on.
#[test]
fn a_sampled_trace_is_exported_and_no_other() {
    let collector = Collector::start();
    let mut node = Node::with(&[
        ("CLAVIGER_TELEMETRY__OTLP_ENDPOINT", &collector.url()),
        ("CLAVIGER_TELEMETRY__SAMPLE_RATIO", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ]);
    let client = node.client();
    let body = json!({"plaintext": "YSBzZWNyZXQgcGxhaW50ZXh0"}).to_string().into_bytes();
    let send = |traceparent: &str, id: &str| {
        let headers = [("traceparent", traceparent), ("x-request-id", id)];
        client.send("POST", "/v1/keys/stores/encrypt", Some(body.clone()), &headers)
    };
    let quiet = "11111111111111111111111111111111";
    let passed_on = send(&parent(quiet, false), "quiet-1");
    assert_eq!(passed_on.header("traceparent"), parent(quiet, false));
    assert_eq!(send("nonsense", "nonsense-1").header("traceparent"), "");
    assert_eq!(client.get("/v1/keys").header("traceparent"), "");

    let answer = send(&parent(TRACE, true), "loud-1");
    assert_eq!(answer.status, 200);
    let answered = answer.header("traceparent").to_owned();
    let ours = answered.strip_prefix(&format!("00-{TRACE}-")).unwrap().strip_suffix("-01").unwrap();
    assert_ne!(ours, SPAN);
    let arrived = until(PATIENCE, || collector.has(&bytes(TRACE)).then_some(()));
    arrived.expect("the trace arrives at the collector");
    for wanted in [bytes(ours), bytes(SPAN), b"POST /v1/keys/{name}/encrypt".to_vec(), b"loud-1".to_vec()] {
        assert!(collector.has(&wanted), "{}", String::from_utf8_lossy(&wanted));
    }
    assert!(collector.taken.lock().unwrap().iter().all(|(line, _)| line == "POST /v1/traces HTTP/1.1"));
    let (none, loud) = (bytes(quiet), bytes("22222222222222222222222222222222"));
    // What is left is sent at the end.
    let _ended = send(&parent("22222222222222222222222222222222", true), "loud-2");
    assert!(node.terminate().success());
    assert!(collector.has(&loud));
    assert!(!collector.has(&none) && !collector.has(b"quiet-1") && !collector.has(b"nonsense-1"));
    assert!(!collector.has(b"stores") && !collector.has(b"YSBzZWNyZXQ") && !collector.has(b"a secret"));
}

/// Without word from the caller the share of the settings is recorded, and a collector that is away holds nothing up.
#[test]
fn without_a_collector_requests_are_answered_and_the_node_ends() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut node = Node::with(&[
        ("CLAVIGER_TELEMETRY__OTLP_ENDPOINT", &format!("http://{nowhere}")),
        ("CLAVIGER_TELEMETRY__SAMPLE_RATIO", "1"),
    ]);
    for _ in 0..100 {
        node.client().get("/v1/keys").expect(200);
    }
    let began = std::time::Instant::now();
    assert!(node.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Each line that a request logs names it, in either format.
#[test]
fn lines_of_a_request_name_it() {
    for format in ["json", "text"] {
        let node =
            Node::with(&[("CLAVIGER_LOG__FORMAT", format), ("CLAVIGER_LOG__FILTER", "info,claviger=debug")]);
        let headers = [("traceparent", parent(TRACE, true)), ("x-request-id", "named-1".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(node.client().send("GET", "/v1/keys/stores", None, &headers).status, 200);
        let log = until(PATIENCE, || Some(node.log()).filter(|log| log.contains("named-1"))).unwrap();
        let line = log.lines().find(|line| line.contains("named-1")).unwrap();
        if format == "json" {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["fields"]["message"], "answered");
            assert_eq!((&line["trace_id"], &line["route"]), (&TRACE.into(), &"/v1/keys/{name}".into()));
        } else {
            assert!(
                line.ends_with(&format!("request_id=named-1 trace_id={TRACE} route=/v1/keys/{{name}}")),
                "{line}"
            );
        }
        assert!(
            !log.lines()
                .filter(|line| !line.contains("answered"))
                .any(|line| line.contains("request_id=named"))
        );
    }
}
