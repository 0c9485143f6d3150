//! HTTP/2 (RFC 9113) by bare frames: what a client may have, and what it is hung up on for.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use claviger_tests::{Authority, Node, proc};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::tls::{Connection, connect_for};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Most that a node may have grown by, in MiB.
const GROWTH: f64 = 64.0;

struct Deployment {
    trusted: CertificateDer<'static>,
    node: Node,
    _authority: Authority,
}

impl Deployment {
    fn start() -> Self {
        let authority = Authority::local();
        let tls = authority.tls();
        let node = Node::with(&[
            ("CLAVIGER_TLS__CERT", &tls.certificate.display().to_string()),
            ("CLAVIGER_TLS__KEY", &tls.key.display().to_string()),
        ]);
        let trusted = CertificateDer::from_pem_file(authority.file()).unwrap();
        Self { trusted, node, _authority: authority }
    }

    /// A connection on which a client has said its first frame, with these settings.
    fn connect(&self, settings: &[u8]) -> Session {
        let trusted = std::slice::from_ref(&self.trusted);
        let mut stream = connect_for(self.node.address(), trusted, None, &["h2"]).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
        stream.sock.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Session(stream)
    }

    fn is_well(&self) {
        let mut session = self.connect(&[]);
        session.0.write_all(&get(1, "/healthz")).unwrap();
        assert_eq!(session.answer(1), Some(200));
        assert!(!self.node.log().contains("panicked"));
    }
}

struct Session(Connection);

impl Session {
    /// The next frame: kind, flags, stream, payload; `None` = it is over.
    fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some((head[3], head[4], stream, payload))
    }

    /// The status of an answer, once all of it was read.
    fn answer(&mut self, wanted: u32) -> Option<u16> {
        let mut status = None;
        loop {
            let (kind, flags, stream, payload) = self.next()?;
            if kind == HEADERS && stream == wanted {
                // 200 has a byte of its own, perhaps behind the size of the table, which takes few.
                let table = if payload[0] & 0xe0 == 0x20 { 6 } else { 1 };
                status = Some(if payload[..table].contains(&0x88) { 200 } else { 0 });
            }
            if stream == wanted && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return status;
            }
        }
    }

    fn is_over(&mut self) -> bool {
        while let Some((kind, ..)) = self.next() {
            // GOAWAY, which says so.
            if kind == 7 {
                return true;
            }
        }
        let mut more = [0];
        !self.0.sock.read(&mut more).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields of a request: two of the static table, and two that are written out.
fn fields(path: &str) -> Vec<u8> {
    let mut fields = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend(path.as_bytes());
    fields.extend(b"\x41\x09localhost");
    fields
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(path))
}

#[test]
fn a_connection_is_told_how_much_it_may_have_and_has_it() {
    let all = Deployment::start();
    let mut session = all.connect(&[]);
    let (kind, flags, _, settings) = session.next().unwrap();
    assert_eq!((kind, flags), (SETTINGS, 0));
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 100]), "{settings:?}");
    assert!(settings.chunks(6).any(|setting| setting == [0, 6, 0, 1, 0, 0]), "{settings:?}");
    // One after the other, far more than at a time.
    let mut stream = 1;
    for _ in 0..600 {
        session.0.write_all(&get(stream, "/healthz")).unwrap();
        assert_eq!(session.answer(stream), Some(200));
        stream += 2;
    }
    // As many at a time as it was told.
    let many: Vec<u8> = (0..100).flat_map(|number| get(stream + 2 * number, "/healthz")).collect();
    session.0.write_all(&many).unwrap();
    let mut answered = 0;
    while answered < 100 {
        let (kind, flags, _, _) = session.next().expect("all are answered");
        answered += usize::from(matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0);
    }
}

/// P9: each byte stands for a field, half a million of them in each head.
#[test]
fn p9_heads_that_unfold_are_refused() {
    let all = Deployment::start();
    all.is_well();
    proc::forget_peak(all.node.pid());
    let before = proc::peak(all.node.pid());
    for _ in 0..10 {
        let mut session = all.connect(&[]);
        let mut block = fields("/v1/keys");
        block.extend(b"\x40\x01a\x00");
        block.extend(std::iter::repeat_n(0xbe, 500_000));
        let parts = block.chunks(16_000);
        let last = parts.len() - 1;
        for (number, part) in parts.enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let flags = if number == last { END_HEADERS } else { 0 } | u8::from(number == 0);
            // It may hang up in the middle.
            if session.0.write_all(&frame(kind, flags, 1, part)).is_err() {
                break;
            }
        }
        assert_ne!(session.answer(1), Some(200));
    }
    all.is_well();
    let after = proc::peak(all.node.pid());
    assert!(after < before + GROWTH, "{before} MiB, then {after} MiB");
}

/// P10: answers that nobody takes are no more than there may be requests at a time.
#[test]
fn p10_requests_without_end_are_hung_up_on() {
    let all = Deployment::start();
    all.is_well();
    proc::forget_peak(all.node.pid());
    let before = proc::peak(all.node.pid());
    for _ in 0..4 {
        // A window of nothing: no answer can be sent.
        let mut session = all.connect(&[0, 4, 0, 0, 0, 0]);
        for number in 0..20_000 {
            if session.0.write_all(&get(2 * number + 1, "/openapi.json")).is_err() {
                break;
            }
        }
        assert!(session.is_over());
    }
    all.is_well();
    let after = proc::peak(all.node.pid());
    assert!(after < before + GROWTH, "{before} MiB, then {after} MiB");
}

/// P10: what costs a client nearly nothing, and is no request that is open.
#[test]
fn p10_what_is_cheap_to_ask_for_is_hung_up_on() {
    let all = Deployment::start();
    // As large a table as browsers ask for, and a larger one.
    let mut session = all.connect(&[0, 1, 0, 1, 0, 0]);
    session.0.write_all(&get(1, "/healthz")).unwrap();
    assert_eq!(session.answer(1), Some(200));
    assert!(all.connect(&[0, 1, 0, 1, 0, 1]).is_over());
    // Frames with nothing in them.
    let mut session = all.connect(&[]);
    let mut frames = frame(HEADERS, END_HEADERS, 1, &fields("/healthz"));
    frames.extend(frame(DATA, 0, 1, &[]).repeat(5_000));
    let _cut_off = session.0.write_all(&frames);
    assert!(session.is_over());
    // Requests that are taken back at once.
    let mut session = all.connect(&[]);
    let pairs = (0..5_000).map(|number| 2 * number + 1);
    let pairs =
        pairs.flat_map(|stream| [get(stream, "/openapi.json"), frame(RESET, 0, stream, &[0, 0, 0, 8])]);
    let _cut_off = session.0.write_all(&pairs.flatten().collect::<Vec<u8>>());
    assert!(session.is_over());
    // One field after the other that was sent before.
    let mut session = all.connect(&[]);
    let mut block = fields("/healthz");
    block.extend([0xbe; 300]);
    session.0.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).unwrap();
    assert!(session.is_over());
    all.is_well();
}

/// A head that is as long as HTTP/1.1 would take it ends nobody's connection.
#[test]
fn a_long_head_is_taken() {
    let all = Deployment::start();
    let mut session = all.connect(&[]);
    let mut block = fields("/healthz");
    // 40,000 bytes of x.
    block.extend(b"\x00\x01a\x7f\xc1\xb7\x02");
    block.extend([b'x'; 40_000]);
    let parts = block.chunks(16_000);
    let last = parts.len() - 1;
    for (number, part) in parts.enumerate() {
        let (kind, flags) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let flags = flags | if number == last { END_HEADERS } else { 0 };
        session.0.write_all(&frame(kind, flags, 1, part)).unwrap();
    }
    assert_eq!(session.answer(1), Some(200));
    session.0.write_all(&get(3, "/healthz")).unwrap();
    assert_eq!(session.answer(3), Some(200));
}

#[test]
fn a_connection_without_requests_does_not_hold_up_a_stop() {
    let mut all = Deployment::start();
    let mut session = all.connect(&[]);
    session.0.write_all(&get(1, "/healthz")).unwrap();
    assert_eq!(session.answer(1), Some(200));
    let since = Instant::now();
    assert!(all.node.terminate().success());
    // Otherwise it would wait for ten.
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    assert!(session.is_over());
}
