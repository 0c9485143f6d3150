//! TLS of the listener.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use claviger_tests::{Node, process};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// Writes a fresh self-signed pair and returns the certificate.
pub(crate) fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// A node behind a certificate, and what its clients trust.
fn behind_tls(folder: &Path, more: &[(&str, &str)]) -> (Node, CertificateDer<'static>) {
    let trusted = write_pair(folder);
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut environment =
        vec![("CLAVIGER_TLS__CERT", cert.to_str().unwrap()), ("CLAVIGER_TLS__KEY", key.to_str().unwrap())];
    environment.extend(more);
    (Node::with(&environment), trusted)
}

/// The status line of `GET /healthz`, for a client that trusts one certificate.
fn health(node: &Node, trusted: &CertificateDer<'static>) -> Option<String> {
    ask(node.address(), trusted, None)?.lines().next().map(str::to_owned)
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (node, first) = behind_tls(folder.path(), &[]);
    assert_eq!(health(&node, &first).as_deref(), Some("HTTP/1.1 200 OK"));
    let second = write_pair(folder.path());
    super::keys::wait_until(|| health(&node, &second).is_some());
    assert_eq!(health(&node, &first), None);
}

#[test]
fn a_client_without_a_certificate_is_turned_away_where_one_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let cert = folder.path().join("cert.pem");
    let (node, first) = behind_tls(folder.path(), &[("CLAVIGER_TLS__CLIENT_CA", cert.to_str().unwrap())]);
    assert_eq!(health(&node, &first), None);
    // Clients that would show one of the named authorities only show theirs too when those have been replaced.
    let said = handshake(&node, &[]);
    assert!(said.contains("No client certificate CA names sent"), "{said}");
}

/// What a handshake of OpenSSL comes to, which would speak anything.
fn handshake(node: &Node, options: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", node.address(), "-servername", "localhost"]).args(options);
    let output = command.stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The client is willing, so whatever fails is refused by the node.
#[test]
fn old_protocols_and_weak_suites_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = behind_tls(folder.path(), &[]);
    let willing = "ALL:COMPLEMENTOFALL@SECLEVEL=0";
    for version in ["-tls1", "-tls1_1"] {
        let said = handshake(&node, &[version, "-cipher", willing]);
        assert!(said.contains("SSL alert number") && said.contains("Cipher is (NONE)"), "{version}: {said}");
    }
    for suite in [
        "NULL",
        "RC4",
        "3DES",
        "aNULL",
        "kRSA",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES128-CCM",
        "DHE",
    ] {
        let said = handshake(&node, &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]);
        // What this OpenSSL does not have either, it can't offer.
        let was_refused = said.contains("SSL alert number") || said.contains("no ciphers available");
        assert!(was_refused || said.contains("no cipher match"), "{suite}: {said}");
        assert!(!said.contains("Cipher is ECDHE"), "{suite}: {said}");
    }
    for suite in
        ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    {
        let said = handshake(&node, &["-tls1_2", "-cipher", suite]);
        assert!(said.contains(&format!("Cipher is {suite}")), "{said}");
        assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    }
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let said = handshake(&node, &["-tls1_3", "-ciphersuites", suite]);
        assert!(said.contains(&format!("Cipher is {suite}")), "{said}");
    }
    for protocol in ["h2", "http/1.1"] {
        let said = handshake(&node, &["-alpn", protocol]);
        assert!(said.contains(&format!("ALPN protocol: {protocol}")), "{said}");
    }
}

/// A request over TLS, with a certificate if there is one.
fn ask(
    address: &str,
    trusted: &CertificateDer<'static>,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> Option<String> {
    let mut stream = connect(address, std::slice::from_ref(trusted), own)?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A connection of a client.
pub(crate) type Connection = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect(
    address: &str,
    trusted: &[CertificateDer<'static>],
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> Option<Connection> {
    connect_for(address, trusted, own, &[])
}

/// A connection for one of these protocols.
pub(crate) fn connect_for(
    address: &str,
    trusted: &[CertificateDer<'static>],
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    protocols: &[&str],
) -> Option<Connection> {
    let mut roots = RootCertStore::empty();
    for trusted in trusted {
        roots.add(trusted.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let mut config = match own {
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    Some(StreamOwned::new(connection, socket))
}

#[test]
fn browsers_are_told_to_come_over_tls_only() {
    let folder = tempfile::tempdir().unwrap();
    let (node, trusted) = behind_tls(folder.path(), &[]);
    // A handshake has its time too, and a machine that is busy may not keep to it.
    let answer = process::until(Duration::from_secs(30), || ask(node.address(), &trusted, None)).unwrap();
    let answer = answer.to_ascii_lowercase();
    assert!(
        answer.contains("strict-transport-security: max-age=31536000; includesubdomains\r\n"),
        "{answer}"
    );
    // In clear nothing is answered, and nobody is sent on: what was said in clear was said to everybody.
    let mut plain = TcpStream::connect(node.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _cut_off = plain.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/"), "{said:?}");
}

#[test]
fn only_certificates_of_the_named_authority_that_are_in_force_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        CertifiedIssuer::self_signed(params, key).unwrap()
    };
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let leaf = |issuer: &CertifiedIssuer<'static, KeyPair>, year: i32| {
        let mut params = CertificateParams::new(vec!["workload.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    };
    let file = folder.path().join("clients.pem");
    std::fs::write(&file, ours.pem()).unwrap();
    let (node, trusted) = behind_tls(folder.path(), &[("CLAVIGER_TLS__CLIENT_CA", file.to_str().unwrap())]);
    let ask = |own| ask(node.address(), &trusted, own).filter(|answer| answer.starts_with("HTTP/1.1 200"));
    assert!(ask(Some(leaf(&ours, 2100))).is_some());
    assert!(ask(Some(leaf(&ours, 2021))).is_none(), "expired");
    assert!(ask(Some(leaf(&theirs, 2100))).is_none(), "of another authority");
    assert!(ask(None).is_none(), "none at all");
}

/// Connections that are open, and those that come, go on while certificates change every moment.
#[test]
fn a_reload_under_load_drops_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (node, first) = behind_tls(folder.path(), &[]);
    let known = Arc::new(Mutex::new(vec![first]));
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (address, known, over) = (node.address().to_owned(), Arc::clone(&known), Arc::clone(&over));
            std::thread::spawn(move || {
                let (mut kept, mut count) = (None, 0_u32);
                while !over.load(Ordering::Relaxed) {
                    // Half of them keep their connection, the others come anew each time.
                    let mut stream = kept.take().unwrap_or_else(|| {
                        // Until they have shaken hands no other certificate becomes known.
                        let known = known.lock().unwrap();
                        let mut stream = connect(&address, &known, None).unwrap();
                        stream.conn.complete_io(&mut stream.sock).unwrap();
                        stream
                    });
                    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                    let mut answer = [0; 4_096];
                    let read = stream.read(&mut answer).unwrap();
                    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
                    count += 1;
                    kept = (number % 2 == 0).then_some(stream);
                }
                count
            })
        })
        .collect();
    for _ in 0..2 {
        // Known before it is served.
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        known.lock().unwrap().push(made.cert.der().clone());
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        let now = made.cert.der().clone();
        super::keys::wait_until(|| health(&node, &now).is_some());
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 10);
    }
}
