//! Connections over TLS in numbers: those beyond the limit, and those that do not come to be.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use claviger_tests::{Authority, Client, Node, node, process, spread::Times};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::tls::{Connection, connect};

fn start(authority: &Authority, more: &[(&str, &str)]) -> Node {
    let tls = authority.tls();
    let (certificate, key) = (tls.certificate.display().to_string(), tls.key.display().to_string());
    let mut environment = vec![("CLAVIGER_TLS__CERT", certificate.as_str()), ("CLAVIGER_TLS__KEY", &key)];
    environment.extend(more);
    Node::with(&environment)
}

/// What comes of a request; `None` = the connection is closed.
fn ask(stream: &mut Connection) -> Option<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = [0; 4_096];
    match stream.read(&mut answer) {
        Ok(0) => None,
        Ok(read) => Some(String::from_utf8_lossy(&answer[..read]).into_owned()),
        Err(error) => {
            assert!(
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "it is left waiting"
            );
            None
        }
    }
}

/// Those within are served for as long as they like, and those beyond are closed at once and not left waiting.
#[test]
fn connections_beyond_the_limit_are_closed_and_those_within_served() {
    /// Of these 128 are for everything else.
    const FILES: usize = 200;
    const WITHIN: usize = FILES - 128;
    const BEYOND: usize = 40;
    let authority = Authority::local();
    let node = start(&authority, &[(node::FILES, &FILES.to_string())]);
    let trusted = CertificateDer::from_pem_file(authority.file()).unwrap();
    let trusted = std::slice::from_ref(&trusted);
    let come = || {
        let mut stream = connect(node.address(), trusted, None).unwrap();
        ask(&mut stream).map(|answer| (stream, answer))
    };
    let mut served = Vec::new();
    for number in 0..WITHIN {
        let (stream, answer) = come().unwrap_or_else(|| panic!("{number} is within"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        served.push(stream);
    }
    for number in 0..BEYOND {
        assert!(come().is_none(), "{number} is beyond");
    }
    for stream in &mut served {
        assert!(ask(stream).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    }
    drop(served);
    // There is room again, and it is known how many were turned away.
    let ca = std::fs::read_to_string(authority.file()).unwrap();
    let own = authority.client(&[], 1, Duration::from_secs(3_600));
    let client = Client::over_tls(format!("https://{}", node.address()), &ca, &own, Some(node::TOKEN));
    let figures = || client.try_send("GET", "/metrics", None, &[]).map(|answer| answer.text);
    let text = process::until(process::PATIENCE, figures).expect("there is room again");
    let counted = format!("claviger_connections_refused_total {BEYOND}");
    assert!(text.lines().any(|line| line == counted), "{text}");
}

/// Whoever begins to shake hands and says no more holds up nobody who goes on.
#[test]
#[expect(clippy::print_stderr, reason = "the figures are of interest, and the runner keeps them")]
fn handshakes_that_are_not_finished_hold_up_nobody() {
    const MANY: usize = 1_000;
    let authority = Authority::local();
    let node = start(&authority, &[]);
    let trusted = CertificateDer::from_pem_file(authority.file()).unwrap();
    let trusted = std::slice::from_ref(&trusted);
    let begun: Vec<_> = (0..MANY)
        .map(|_| {
            let mut socket = TcpStream::connect(node.address()).unwrap();
            // A record of a handshake that never comes.
            socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
            socket
        })
        .collect();
    let times = (0..10).map(|_| {
        let began = Instant::now();
        let mut stream = connect(node.address(), trusted, None).unwrap();
        assert!(ask(&mut stream).is_some());
        began.elapsed()
    });
    let times = Times(times.collect());
    let (half, all) = (times.quantile(0.5), times.quantile(1.0));
    eprintln!("half within {half:?}, all within {all:?}");
    // Those who say nothing are given three seconds: nobody has waited for their end.
    assert!(all < Duration::from_secs(2), "{all:?}");
    // And then they are let go.
    let mut last = begun.into_iter().next_back().unwrap();
    last.set_read_timeout(Some(process::PATIENCE)).unwrap();
    let ended = last.read(&mut [0; 64]);
    assert!(!ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)));
}
