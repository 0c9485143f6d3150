//! Where records go beside the file: what need not have them holds nobody up, and without what must have them nothing succeeds.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, ChildStdout, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{
    Client, Node,
    cluster::at_once,
    node,
    process::{self, PATIENCE},
};
use serde_json::{Value, json};

use super::wait_until;

const REQUIRED: &str = "CLAVIGER_AUDIT__REQUIRED_SINKS";
const INTERNAL: (&str, &str) = ("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0");
const OPTIONAL: &str = "CLAVIGER_AUDIT__OPTIONAL_SINKS";
/// Whoever waits for a sink waits no longer than the logger's deadline and what is queued before it.
const AT_ONCE: Duration = Duration::from_secs(8);

/// What a receiver has taken.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<u8>>>);

impl Taken {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text)
    }
}

/// Something that takes records over TCP, syslog or HTTP, on a port that stays its own.
struct Receiver {
    address: SocketAddr,
    taken: Taken,
    mode: Arc<Mutex<Mode>>,
    open: Option<Arc<AtomicBool>>,
    /// Connections that it still has.
    connected: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Syslog,
    Http(u16),
    /// Accepts and never reads.
    Hangs,
}

impl Receiver {
    fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut receiver = Self {
            address,
            taken: Taken::default(),
            mode: Arc::new(Mutex::new(mode)),
            open: None,
            connected: Arc::default(),
        };
        receiver.serve(listener);
        receiver
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let open = Arc::new(AtomicBool::new(true));
        self.open = Some(Arc::clone(&open));
        let (taken, mode, connected) =
            (self.taken.clone(), Arc::clone(&self.mode), Arc::clone(&self.connected));
        thread::spawn(move || {
            while open.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (taken, mode, open) = (taken.clone(), Arc::clone(&mode), Arc::clone(&open));
                        let connected = Arc::clone(&connected);
                        connected.fetch_add(1, Ordering::SeqCst);
                        thread::spawn(move || {
                            receive(stream, &taken, &mode, &open);
                            connected.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                    Err(_) => process::pause(Duration::from_millis(5)),
                }
            }
        });
    }

    /// Nobody listens there any more, and what was connected is not.
    fn stop(&mut self) {
        if let Some(open) = self.open.take() {
            open.store(false, Ordering::Relaxed);
        }
        let refused = || {
            let is_over =
                TcpStream::connect(self.address).is_err() && self.connected.load(Ordering::SeqCst) == 0;
            is_over.then_some(())
        };
        process::until(PATIENCE, refused).expect("the receiver ends");
    }

    fn start_again(&mut self) {
        let listener = process::until(PATIENCE, || TcpListener::bind(self.address).ok()).unwrap();
        self.serve(listener);
    }

    fn become_one_that(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.store(false, Ordering::Relaxed);
        }
    }
}

/// Reads what comes, as long as it is one that reads.
fn receive(mut stream: TcpStream, taken: &Taken, mode: &Mutex<Mode>, open: &AtomicBool) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
    let mut bytes = vec![0; 64 << 10];
    let mut request = Vec::new();
    while open.load(Ordering::Relaxed) {
        let now = *mode.lock().unwrap();
        if now == Mode::Hangs {
            process::pause(Duration::from_millis(20));
            continue;
        }
        let read = match stream.read(&mut bytes) {
            Ok(0) => return None,
            Ok(read) => &bytes[..read],
            Err(_) => continue,
        };
        request.extend_from_slice(read);
        // It may have become another one while it waited.
        let status = match *mode.lock().unwrap() {
            Mode::Http(status) => status,
            Mode::Hangs => continue,
            Mode::Syslog => {
                taken.add(&request);
                request.clear();
                continue;
            }
        };
        let Some(body) = whole(&request) else { continue };
        if status == 200 {
            taken.add(body);
        }
        request.clear();
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).ok()?;
    }
    None
}

/// The body of a request that is all here.
fn whole(request: &[u8]) -> Option<&[u8]> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    request.get(end..end + length.trim().parse::<usize>().unwrap())
}

fn key(client: &Client) {
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
}

/// One use of a key, under a name by which its record is known.
fn used(client: &Client, name: &str) -> u16 {
    let body = json!({"plaintext": "aGVsbG8="}).to_string().into_bytes();
    let answer = client.send("POST", "/v1/keys/k/encrypt", Some(body), &[("X-Request-Id", name)]);
    let status = answer.status;
    if status != 200 {
        assert!(answer.header("retry-after").parse::<u64>().is_ok());
        answer.refused(503, "audit_unavailable");
    }
    status
}

/// A use that must be refused, and in time.
#[track_caller]
fn refused(client: &Client, name: &str) {
    let began = Instant::now();
    assert_eq!(used(client, name), 503, "{name}");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

/// On the listener that asks for no record.
fn metric(internal: &Client, name: &str) -> f64 {
    let text = internal.get("/metrics").text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    line.parse().unwrap()
}

fn lost(internal: &Client) -> f64 {
    metric(internal, "claviger_audit_not_copied_total")
}

/// Nothing is used without the sink, and what governs goes on.
#[track_caller]
fn is_missed((client, internal): (&Client, &Client), name: &str) {
    refused(client, &format!("{name}-1"));
    refused(client, &format!("{name}-2"));
    assert!(metric(internal, "claviger_audit_writable") < 0.5);
    assert_eq!(client.get("/health").status, 503);
    let began = Instant::now();
    client.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

/// A while after the sink is back everything goes on. Not with the first record that it takes: a connection that was full may be slow once
/// more, since the system waits long before it sends again what nobody had room for.
#[track_caller]
fn is_back((client, internal): (&Client, &Client), name: &str, has: impl Fn(&str) -> bool) {
    // What was refused may be there too: each has a name of its own.
    let mut names =
        std::iter::once(name.to_owned()).chain((2..).map(|count| format!("{name}-again-{count}")));
    let answered = || {
        wait_until(|| client.get("/health").status == 200);
        names.next().filter(|name| used(client, name) == 200)
    };
    let answered = process::until(PATIENCE, answered).expect("it is used again");
    assert!(has(&answered), "it was answered, so it is there");
    assert!(metric(internal, "claviger_audit_writable") > 0.5);
}

#[test]
fn p6_nothing_is_used_without_a_required_collector() {
    let mut receiver = Receiver::start(Mode::Http(200));
    let sink = format!("otlp+http://{}", receiver.address);
    let node = Node::with(&[(REQUIRED, &sink), INTERNAL]);
    let (client, internal) = (node.client(), node.internal());
    key(&client);
    assert_eq!(used(&client, "first"), 200);
    assert!(receiver.taken.has("\\\"request_id\\\":\\\"first\\\""));
    let has = |taken: Taken| move |name: &str| taken.has(name);
    receiver.stop();
    is_missed((&client, &internal), "away");
    receiver.start_again();
    is_back((&client, &internal), "back", has(receiver.taken.clone()));
    receiver.become_one_that(Mode::Http(500));
    is_missed((&client, &internal), "failing");
    receiver.become_one_that(Mode::Hangs);
    is_missed((&client, &internal), "hanging");
    assert!(!receiver.taken.has("hanging"));
    receiver.become_one_that(Mode::Http(200));
    is_back((&client, &internal), "again", has(receiver.taken.clone()));
    assert_eq!(whole_log(&node).iter().filter(|record| record["request_id"] == "again").count(), 1);
}

/// The log of a node that goes on, which must be whole, and says once each time that it could not be written.
fn whole_log(node: &Node) -> Vec<Value> {
    let records = node.records();
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record["seq"], index + 1, "{record}");
    }
    let resumed = records.iter().filter(|record| record["event"] == "audit_resumed").count();
    assert!(resumed < 10, "{resumed}");
    records
}

#[test]
fn p6_nothing_is_used_without_a_required_relay() {
    let mut receiver = Receiver::start(Mode::Syslog);
    let sink = format!("syslog+tcp://{}", receiver.address);
    let node = Node::with(&[(REQUIRED, &sink), INTERNAL]);
    let (client, internal) = (node.client(), node.internal());
    key(&client);
    assert_eq!(used(&client, "first"), 200);
    let taken = receiver.taken.clone();
    let has = |name: &str| process::until(PATIENCE, || taken.has(name).then_some(())).is_some();
    assert!(has("\"request_id\":\"first\""));
    receiver.stop();
    is_missed((&client, &internal), "away");
    receiver.start_again();
    is_back((&client, &internal), "back", has);
    // Syslog confirms nothing, so what the system takes counts; that is little, and then nothing succeeds any more.
    receiver.become_one_that(Mode::Hangs);
    let batch = json!({"batch": vec![json!({"plaintext": "aGk="}); 1]});
    let began = Instant::now();
    let full = at_once(8, |_| {
        let client = node.client();
        (0..4_000).any(|_| {
            let began = Instant::now();
            let status = client.post("/v1/keys/k/encrypt", &batch).status;
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
            status == 503
        })
    });
    assert_eq!(full, [true; 8], "{:?}", began.elapsed());
    is_missed((&client, &internal), "hanging");
    receiver.become_one_that(Mode::Syslog);
    is_back((&client, &internal), "again", has);
    let _whole = whole_log(&node);
}

#[test]
fn p6_nothing_is_used_without_a_required_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let bind = |path: &Path| {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket
    };
    let taken = Taken::default();
    let reading = |socket: UnixDatagram, taken: Taken| {
        let open = Arc::new(AtomicBool::new(true));
        let own = Arc::clone(&open);
        let thread = thread::spawn(move || {
            let mut bytes = vec![0; 64 << 10];
            while own.load(Ordering::Relaxed) {
                if let Ok(read) = socket.recv(&mut bytes) {
                    taken.add(&bytes[..read]);
                }
            }
            socket
        });
        move || {
            open.store(false, Ordering::Relaxed);
            thread.join().unwrap()
        }
    };
    let stop = reading(bind(&path), taken.clone());
    let sink = format!("syslog+unix://{}", path.display());
    let node = Node::with(&[(REQUIRED, &sink), INTERNAL]);
    let (client, internal) = (node.client(), node.internal());
    key(&client);
    assert_eq!(used(&client, "first"), 200);
    let has = |name: &str| process::until(PATIENCE, || taken.has(name).then_some(())).is_some();
    assert!(has("\"request_id\":\"first\""));
    // It is there and does not read: its queue is short.
    let socket = stop();
    wait_until(|| used(&client, "filling") == 503);
    is_missed((&client, &internal), "hanging");
    let stop = reading(socket, taken.clone());
    is_back((&client, &internal), "again", has);
    // It is gone.
    drop(stop());
    std::fs::remove_file(&path).unwrap();
    is_missed((&client, &internal), "away");
    let stop = reading(bind(&path), taken.clone());
    is_back((&client, &internal), "back", has);
    drop(stop());
    let _whole = whole_log(&node);
}

/// UDP tells nobody that nothing arrived.
#[test]
fn a_sink_that_confirms_nothing_can_not_be_required() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = node::refused_start(folder.path(), &[(REQUIRED, "stdout,syslog+udp://127.0.0.1:514")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(REQUIRED) && said.contains("syslog+udp"), "{said}");
}

/// A node whose output is read by the test.
struct Talking {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    client: Client,
    internal: Client,
    _folder: tempfile::TempDir,
}

impl Talking {
    fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = node::command(folder.path())
            .env("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0")
            .env("CLAVIGER_SEAL__MASTER_KEY", node::MASTER)
            .env("CLAVIGER_BOOTSTRAP_TOKEN", node::TOKEN)
            .envs([INTERNAL])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "it ended");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["event"] == "listening" {
                addresses.push(line["address"].as_str().unwrap().to_owned());
            }
        }
        let client = |index: usize, token| Client::new(format!("http://{}", addresses[index]), token);
        let (client, internal) = (client(0, Some(node::TOKEN.to_owned())), client(1, None));
        Self { child, output: Some(output), client, internal, _folder: folder }
    }

    /// Takes what it says, until the node ends.
    fn read_on(&mut self) -> Taken {
        let taken = Taken::default();
        let (own, mut output) = (taken.clone(), self.output.take().unwrap());
        thread::spawn(move || {
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                own.add(&line);
                line.clear();
            }
        });
        taken
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What fills a pipe that nobody reads, and more.
fn fill(client: &Client) -> usize {
    (0..2_000).filter(|number| used(client, &format!("filling-{number}")) == 503).count()
}

#[test]
fn p6_nothing_is_used_while_a_required_output_is_not_read() {
    let mut node = Talking::start(&[(REQUIRED, "stdout")]);
    let (client, internal) = (node.client.clone(), node.internal.clone());
    key(&client);
    assert_eq!(used(&client, "first"), 200);
    wait_until(|| (0..100).any(|_| used(&client, "filling") == 503));
    is_missed((&client, &internal), "hanging");
    let taken = node.read_on();
    let has = |name: &str| process::until(PATIENCE, || taken.has(name).then_some(())).is_some();
    is_back((&client, &internal), "again", has);
    assert!(taken.has("\"request_id\":\"first\""));
}

#[test]
fn an_optional_output_that_is_not_read_holds_nobody_up() {
    let mut node = Talking::start(&[(OPTIONAL, "stdout")]);
    let (client, internal) = (node.client.clone(), node.internal.clone());
    key(&client);
    assert_eq!(fill(&client), 0);
    assert!(lost(&internal) > 0.0);
    assert_eq!(client.get("/health").status, 200);
    let taken = node.read_on();
    wait_until(|| used(&client, "again") == 200 && taken.has("again"));
}

/// Each of them gets the records while it is there; while it is away, or hangs, the service goes on and counts what was lost.
#[test]
fn an_optional_sink_that_is_away_holds_nobody_up() {
    let (mut collector, mut relay) = (Receiver::start(Mode::Http(200)), Receiver::start(Mode::Syslog));
    let folder = tempfile::tempdir().unwrap();
    let (path, udp) = (folder.path().join("log"), UdpSocket::bind("127.0.0.1:0").unwrap());
    let unix = UnixDatagram::bind(&path).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let sinks = format!(
        "otlp+http://{},syslog+tcp://{},syslog+udp://{},syslog+unix://{}",
        collector.address,
        relay.address,
        udp.local_addr().unwrap(),
        path.display()
    );
    let node = Node::with(&[(OPTIONAL, &sinks), INTERNAL]);
    let (client, internal) = (node.client(), node.internal());
    key(&client);
    assert_eq!(used(&client, "first"), 200);
    wait_until(|| collector.taken.has("first") && relay.taken.has("first"));
    let mut bytes = vec![0; 64 << 10];
    let until_first = |receive: &mut dyn FnMut(&mut [u8]) -> usize, bytes: &mut [u8]| {
        loop {
            let read = receive(bytes);
            let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
            assert!(text.starts_with("<110>1 - "), "{text}");
            if text.contains("\"request_id\":\"first\"") {
                return;
            }
        }
    };
    until_first(&mut |bytes| udp.recv(bytes).unwrap(), &mut bytes);
    until_first(&mut |bytes| unix.recv(bytes).unwrap(), &mut bytes);
    let before = lost(&internal);
    collector.stop();
    relay.stop();
    drop((udp, unix));
    assert_eq!((0..100).map(|n| used(&client, &format!("away-{n}"))).max(), Some(200));
    wait_until(|| lost(&internal) > before);
    assert_eq!(client.get("/health").status, 200);
    assert!(metric(&internal, "claviger_audit_writable") > 0.5);
    collector.start_again();
    relay.start_again();
    wait_until(|| {
        assert_eq!(used(&client, "back"), 200);
        collector.taken.has("back") && relay.taken.has("back")
    });
    collector.become_one_that(Mode::Hangs);
    relay.become_one_that(Mode::Hangs);
    let began = Instant::now();
    assert_eq!((0..100).map(|n| used(&client, &format!("hanging-{n}"))).max(), Some(200));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(whole_log(&node).iter().filter(|record| record["request_id"] == "hanging-99").count(), 1);
}
