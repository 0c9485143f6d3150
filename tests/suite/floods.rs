//! Clients that do harm by how they speak, from one address, while others from the same address work.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{Node, node, process, spread::Times};
use serde_json::json;

const TRICKLES: usize = 1_000;
/// A head has five seconds; machines are noisy.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(25);
/// Others may take three times as long as they do alone, and machines are noisy.
const SLOWER: u32 = 3 * 5;
const FLOOR: Duration = Duration::from_millis(20);
const GROWTH_KIB: u64 = 64 << 10;

/// How long work takes, for as long as it is wanted.
fn work(node: &Node, is_over: impl Fn(usize) -> bool) -> Times {
    let client = node.client();
    let mut times = Times::default();
    for done in 0.. {
        if is_over(done) {
            break;
        }
        let began = Instant::now();
        client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
        times.0.push(began.elapsed());
    }
    times
}

/// Whether the node has ended a connection.
fn is_ended(socket: &mut TcpStream, trickle: &[u8]) -> bool {
    let mut answer = [0; 1_024];
    loop {
        match socket.read(&mut answer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return true,
        }
    }
    socket.write_all(trickle).is_err()
}

/// P10: heads that never end are cut off in their time, and nobody else feels them.
#[test]
fn p10_trickling_heads_are_cut_off_and_hold_up_nobody() {
    let node = Node::settled(&[]);
    node.client().post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let alone = work(&node, |done| done == 300).quantile(0.99);
    let before = node.resident_kib();
    let is_over = AtomicBool::new(false);
    let (meanwhile, ended) = thread::scope(|scope| {
        let working = scope.spawn(|| work(&node, |done| done >= 300 && is_over.load(Ordering::Relaxed)));
        let mut sockets: Vec<TcpStream> = (0..TRICKLES)
            .map(|_| {
                let mut socket = TcpStream::connect(node.address()).unwrap();
                socket.write_all(b"POST /v1/keys/k/encrypt HTTP/1.1\r\nHost: a\r\nX-A: ").unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            })
            .collect();
        let began = Instant::now();
        while !sockets.is_empty() && began.elapsed() < CUT_OFF_WITHIN {
            sockets.retain_mut(|socket| !is_ended(socket, b"a"));
            process::pause(Duration::from_millis(250));
        }
        is_over.store(true, Ordering::Relaxed);
        (working.join().unwrap().quantile(0.99), TRICKLES - sockets.len())
    });
    assert_eq!(ended, TRICKLES);
    let bound = (alone * SLOWER).max(FLOOR);
    assert!(meanwhile <= bound, "{meanwhile:?}, alone {alone:?}");
    let after = node.resident_kib();
    assert!(after < before + GROWTH_KIB, "{before} KiB, then {after} KiB");
}

/// P10: strangers who ask as fast as they are answered cost whoever has a credential little, from the same address too.
#[test]
fn p10_a_flood_of_strangers_slows_nobody_much() {
    flood("/v1/keys", Some("clvr_x_y"), &["401", "429"], 10_000);
}

/// P10: nor do those who show none.
#[test]
fn p10_a_flood_without_credentials_slows_nobody_much() {
    flood("/v1/keys", None, &["401"], 10_000);
    flood("/nothing", None, &["404"], 10_000);
}

/// P10: what is public is there for everybody, and not in place of the others.
#[test]
fn p10_a_flood_of_looks_slows_nobody_much() {
    flood("/healthz", None, &["200"], 20_000);
    flood("/.well-known/jwks.json", None, &["200"], 20_000);
}

/// Others ask for the same all the time while somebody works, and are answered at most so often.
#[expect(clippy::print_stderr, reason = "the figures are of interest, and the runner keeps them")]
fn flood(path: &str, credential: Option<&str>, statuses: &[&str], most: usize) {
    let node = Node::settled(&[]);
    node.client().post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let alone = work(&node, |done| done == 300).quantile(0.99);
    let before = node.resident_kib();
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let credential = credential.map(|it| format!("Authorization: Bearer {it}\r\n")).unwrap_or_default();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{credential}\r\n");
    let ask_on = || {
        let (mut socket, mut answer) = (TcpStream::connect(node.address()).unwrap(), [0; 16 << 10]);
        while !is_over.load(Ordering::Relaxed) {
            socket.write_all(ask.as_bytes()).unwrap();
            let length = socket.read(&mut answer).unwrap();
            let text = String::from_utf8_lossy(&answer[..length]);
            assert!(statuses.contains(&text.get(9..12).unwrap_or_default()), "{text}");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let meanwhile = thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(ask_on);
        }
        let began = Instant::now();
        let times = work(&node, |done| done >= 300 && began.elapsed() > Duration::from_secs(5));
        is_over.store(true, Ordering::Relaxed);
        times.quantile(0.99)
    });
    let answered = answered.into_inner();
    eprintln!("{path}: p99 {alone:?} alone, {meanwhile:?} beside {answered} others");
    // Beyond those that are answered at once, each waits a while: they would be many more otherwise.
    assert!((200..most).contains(&answered), "{answered}");
    let bound = (alone * SLOWER).max(FLOOR);
    assert!(meanwhile <= bound, "{path}: {meanwhile:?}, alone {alone:?}, beside {answered} others");
    let after = node.resident_kib();
    assert!(after < before + GROWTH_KIB, "{before} KiB, then {after} KiB");
}

/// P10: bodies that come to all but their end take room from each other, and from none that is small.
#[test]
fn p10_bodies_that_are_held_back_have_bounded_room() {
    const LENGTH: usize = 2 << 20;
    let node = Node::settled(&[]);
    node.client().post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let part = vec![b' '; LENGTH - 1];
    let held_back = || {
        let mut socket = TcpStream::connect(node.address()).unwrap();
        let head = format!(
            "POST /v1/keys/k/encrypt HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {LENGTH}\r\n\r\n",
            node::TOKEN
        );
        socket.write_all(head.as_bytes()).unwrap();
        // One that is refused is hung up on.
        let _sent = socket.write_all(&part);
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let mut answer = [0; 1_024];
    let mut refusal = |socket: &mut TcpStream| {
        let length = socket.read(&mut answer).ok().filter(|length| *length > 0)?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    // There is room for 66.
    let mut sockets: Vec<TcpStream> = Vec::new();
    let refused = process::until(Duration::from_secs(8), || {
        sockets.push(held_back());
        sockets.iter_mut().find_map(&mut refusal)
    });
    let refused = refused.expect("there is no room for all of them");
    let is_expected = refused.starts_with("HTTP/1.1 503 ") && refused.to_lowercase().contains("retry-after");
    assert!(is_expected && (60..200).contains(&sockets.len()), "{} {refused}", sockets.len());
    let client = node.client();
    client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
    sockets.clear();
    let whole = json!({"plaintext": "aGVs".repeat(100_000)});
    let served = || (client.try_post("/v1/keys/k/encrypt", &whole)?.status == 200).then_some(());
    process::until(Duration::from_secs(15), served).expect("there is room again");
}

/// P9: a head of any size and number of members is refused, and costs no memory.
#[test]
fn p9_giant_heads_are_refused() {
    let node = Node::settled(&[]);
    let before = node.resident_kib();
    let long = format!("X-A: {}\r\n", "a".repeat(1 << 20));
    let many: String = (0..10_000).map(|number| format!("X-{number}: a\r\n")).collect();
    for _ in 0..20 {
        for bomb in [&long, &many] {
            let mut socket = TcpStream::connect(node.address()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let head = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{bomb}\r\n");
            // It may hang up in the middle.
            let _sent = socket.write_all(head.as_bytes());
            let mut answer = Vec::new();
            let _cut_off = socket.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
    node.client().get("/v1/keys").expect(200);
    let after = node.resident_kib();
    assert!(after < before + GROWTH_KIB, "{before} KiB, then {after} KiB");
    assert!(!node.log().contains("panicked"));
}
