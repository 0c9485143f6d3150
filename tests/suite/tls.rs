//! TLS of the listener.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use claviger_tests::Node;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};

/// Writes a fresh self-signed pair and returns the certificate.
pub(crate) fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// The status line of `GET /healthz`, for a client that trusts one certificate.
fn health(node: &Node, trusted: &CertificateDer<'static>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(node.address()).unwrap());
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_pair(folder.path());
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let files =
        [("CLAVIGER_TLS__CERT", cert.to_str().unwrap()), ("CLAVIGER_TLS__KEY", key.to_str().unwrap())];
    let node = Node::with(&files);
    assert_eq!(health(&node, &first).as_deref(), Some("HTTP/1.1 200 OK"));
    let second = write_pair(folder.path());
    super::keys::wait_until(|| health(&node, &second).is_some());
    assert_eq!(health(&node, &first), None);
}

#[test]
fn a_client_without_a_certificate_is_turned_away_where_one_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_pair(folder.path());
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let node = Node::with(&[
        ("CLAVIGER_TLS__CERT", cert.to_str().unwrap()),
        ("CLAVIGER_TLS__KEY", key.to_str().unwrap()),
        ("CLAVIGER_TLS__CLIENT_CA", cert.to_str().unwrap()),
    ]);
    assert_eq!(health(&node, &first), None);
}
