//! To whom a token is told, and to whom it is not.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use claviger_tests::{Node, node};

use super::{on, run};

/// Answers one request with a text and returns what was asked; `None` when nobody came.
fn answer_once(listener: TcpListener, answer: String) -> std::thread::JoinHandle<Option<String>> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().ok()?;
        let mut asked = vec![0; 4_096];
        let length = stream.read(&mut asked).ok()?;
        stream.write_all(answer.as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&asked[..length]).into_owned())
    })
}

/// Nobody has knocked: a listener that does not wait finds nobody.
fn is_untouched(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_token_goes_to_this_machine_or_over_https_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    // On Linux this address leads to the listener, but it is not loopback.
    let url = format!("http://0.0.0.0:{}", listener.local_addr().unwrap().port());
    for line in [&["keys", "list"][..], &["tokens", "issue"], &["api-keys", "list"], &["policies", "list"]] {
        let ran = run(folder.path(), line, b"", &[("CLAVIGER_URL", &url), ("CLAVIGER_TOKEN", node::TOKEN)]);
        ran.refused("a token is sent over https only");
    }
    assert!(is_untouched(&listener));
}

#[test]
fn a_proxy_and_a_redirect_do_not_get_it_either() {
    let node = Node::start();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, at_proxy) =
        (format!("http://{}", node.address()), format!("http://{}", proxy.local_addr().unwrap()));
    let token = ("CLAVIGER_TOKEN", node::TOKEN);
    let environment =
        [("CLAVIGER_URL", url.as_str()), token, ("http_proxy", &at_proxy), ("ALL_PROXY", &at_proxy)];
    run(node.folder(), &["keys", "list"], b"", &environment).json();
    assert!(is_untouched(&proxy));

    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", first.local_addr().unwrap());
    let location = elsewhere.local_addr().unwrap();
    let asked = answer_once(
        first,
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{location}/\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    run(node.folder(), &["keys", "list", "--url", &url], b"", &[token]).refused("redirected: ");
    assert!(asked.join().unwrap().unwrap().contains(node::TOKEN));
    assert!(is_untouched(&elsewhere));
}

#[test]
fn a_private_authority_is_trusted_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    super::super::tls::write_pair(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let node = Node::with(&[("CLAVIGER_TLS__CERT", &cert), ("CLAVIGER_TLS__KEY", &key)]);
    let url = format!("https://localhost:{}", node.address().rsplit_once(':').unwrap().1);
    let base = [("CLAVIGER_URL", url.as_str()), ("CLAVIGER_TOKEN", node::TOKEN)];
    run(folder.path(), &["keys", "list", "--ca-file", &cert], b"", &base).json();
    let by_environment = [base[0], base[1], ("CLAVIGER_CA_FILE", &cert)];
    assert_eq!(run(folder.path(), &["healthcheck"], b"", &by_environment).text(), "ready\n");
    // Another authority, or none of the file's making.
    let other = tempfile::tempdir().unwrap();
    super::super::tls::write_pair(other.path());
    let other = other.path().join("cert.pem");
    run(folder.path(), &["keys", "list", "--ca-file", other.to_str().unwrap()], b"", &base)
        .refused("unreachable: ");
    run(folder.path(), &["keys", "list", "--ca-file", &key], b"", &base)
        .refused("--ca-file holds no PEM certificates");
    run(folder.path(), &["keys", "list", "--ca-file", "absent"], b"", &base)
        .refused("--ca-file names a file");
}

#[test]
fn the_token_comes_from_one_place() {
    let node = Node::start();
    std::fs::write(node.folder().join("token"), format!("{}\n", node::TOKEN)).unwrap();
    let url = format!("http://{}", node.address());
    let list = |environment: &[(&str, &str)]| {
        let environment: Vec<_> =
            environment.iter().copied().chain([("CLAVIGER_URL", url.as_str())]).collect();
        run(node.folder(), &["keys", "list"], b"", &environment)
    };
    list(&[("CLAVIGER_TOKEN_FILE", "token")]).json();
    let lines = [
        list(&[]).refused("no token: set CLAVIGER_TOKEN_FILE"),
        list(&[("CLAVIGER_TOKEN", node::TOKEN), ("CLAVIGER_TOKEN_FILE", "token")])
            .refused("CLAVIGER_TOKEN and CLAVIGER_TOKEN_FILE are both set"),
        list(&[("CLAVIGER_TOKEN_FILE", "absent")]).refused("CLAVIGER_TOKEN_FILE names a file"),
        list(&[("CLAVIGER_TOKEN", "hunter2 hunter2")]).refused("the token must be visible ASCII"),
        list(&[("CLAVIGER_TOKEN", "hunter2")]).refused("unauthorized: "),
    ];
    assert!(lines.iter().all(|line| !line.contains("hunter2") && !line.contains(node::TOKEN)), "{lines:?}");
}

#[test]
fn health_is_an_exit_code_within_five_seconds() {
    let node = Node::start();
    let ready = on(&node, "healthcheck", b"");
    assert_eq!((ready.code, ready.text(), ready.error.as_str()), (Some(0), "ready\n", ""));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let check = |address: &str| run(node.folder(), &["healthcheck", "--url", address], b"", &[]);
    check(&format!("http://{gone}")).refused("unreachable: 127.0.0.1");
    check("hunter2").refused("--url must be http(s)://host[:port]");
    assert!(!check("http://u:hunter2@localhost").refused("--url must be").contains("hunter2"));
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", busy.local_addr().unwrap());
    let problem = r#"{"code":"overloaded","detail":"the database does not answer"}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json";
    let asked = answer_once(busy, format!("{head}\r\nContent-Length: {}\r\n\r\n{problem}", problem.len()));
    check(&address).refused("overloaded: the database does not answer");
    let asked = asked.join().unwrap().unwrap();
    assert!(asked.starts_with("GET /readyz ") && !asked.to_lowercase().contains("authorization"), "{asked}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    check(&format!("http://{}", silent.local_addr().unwrap())).refused("unreachable: ");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn usage_errors_are_claps_own() {
    for line in [&["keys", "create", "k"][..], &["keys", "list", "--token", "x"], &["nonsense"], &[]] {
        let ran = run(Path::new("/"), line, b"", &[]);
        assert_eq!((ran.code, ran.output.len()), (Some(2), 0), "{line:?}");
    }
    let url = [("CLAVIGER_URL", "http://u:hunter2@h"), ("CLAVIGER_TOKEN", node::TOKEN)];
    for line in [
        &["--help"][..],
        &["keys", "--help"],
        &["keys", "create", "--help"],
        &["doctor", "--help"],
        &["--version"],
    ] {
        let ran = run(Path::new("/"), line, b"", &url);
        assert_eq!(ran.code, Some(0), "{line:?}");
        assert!(!ran.text().contains("hunter2") && !ran.text().contains(node::TOKEN), "{line:?}");
    }
}
