//! One weakness at a time, all of them together, and none.

use std::{collections::BTreeMap, io, path::PathBuf};

use super::*;

const MASTER: &str = "q7Lw2ZtV9xKcR4mB8nHs1JyPf6GdU3oE0aTi5XbC";
const TOKEN: &str = "clv_bootstrap_5xI55dTltIUPCSb1M0hoJt6IjOtgyvHMiFh4O6Pg52Hp";

/// Path → mode and text.
#[derive(Default, Clone)]
struct Planted(BTreeMap<PathBuf, (u32, String)>);

impl Planted {
    fn with(mut self, path: &str, mode: u32, text: &str) -> Self {
        self.0.insert(path.into(), (mode, text.to_owned()));
        self
    }
}

impl Files for Planted {
    fn mode(&self, path: &Path) -> io::Result<u32> {
        self.0.get(path).map(|(mode, _)| *mode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).map(|(_, text)| text.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A deployment as `serve` leaves it, the bootstrap token taken away.
fn sound() -> Planted {
    Planted::default()
        .with("data", 0o40700, "")
        .with("data/claviger.db", 0o100600, "")
        .with("data/claviger.db-wal", 0o100600, "")
        .with("data/master.key", 0o100600, MASTER)
        .with("data/audit", 0o40700, "")
        .with("c.toml", 0o100644, "[node]\nname = \"n1\"\n")
        .with("/run/token", 0o100400, TOKEN)
}

fn examined(files: &Planted, config: Option<&str>, environment: &[(&str, &str)]) -> Vec<Finding> {
    let deployment = Deployment {
        config: config.map(Path::new),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        broken: Vec::new(),
    };
    examine(&deployment, files)
}

/// `code setting` of each finding, in order.
fn named(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {}", finding.code, finding.setting)).collect()
}

#[test]
fn a_sound_deployment_has_no_findings() {
    assert_eq!(named(&examined(&sound(), None, &[])), Vec::<String>::new());
    let environment = [
        ("CLAVIGER_SEAL__MASTER_KEY", MASTER),
        ("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "/run/token"),
        ("CLAVIGER_TOKEN", TOKEN),
        ("CLAVIGER_URL", "http://127.0.0.1:7420"),
        ("CLAVIGER_CA_FILE", "ca.pem"),
        ("CLAVIGER_SERVER__LISTEN", "0.0.0.0:7420"),
        ("CLAVIGER_TLS__CERT", "cert.pem"),
        ("CLAVIGER_TLS__KEY", "key.pem"),
        ("CLAVIGER_DATABASE__URL", "sqlite://data/claviger.db"),
    ];
    let files = sound().with("cert.pem", 0o100644, "").with("key.pem", 0o100600, "");
    assert_eq!(named(&examined(&files, Some("c.toml"), &environment)), Vec::<String>::new());
}

/// Environment, and what is found in it.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn each_variable_is_judged() {
    let lines = format!("{MASTER}\nshort-hunter2\n\nchangeme-hunter2-changeme-hunter2-hunter2\n");
    let table: &[Case<'_>] = &[
        (&[("CLAVIGER_NONSENSE", "hunter2")], &["invalid-setting CLAVIGER_NONSENSE"]),
        (&[("CLAVIGER_SERVER__WORKERS", "hunter2")], &["invalid-setting CLAVIGER_SERVER__WORKERS"]),
        (&[("CLAVIGER_TLS__CERT", "c.pem")], &["invalid-setting tls.key"]),
        (&[("CLAVIGER_SEAL__MASTER_KEY", "hunter2")], &["master-secret-short CLAVIGER_SEAL__MASTER_KEY"]),
        (&[("CLAVIGER_SEAL__MASTER_KEY", "")], &["invalid-setting CLAVIGER_SEAL__MASTER_KEY"]),
        (
            &[("CLAVIGER_SEAL__MASTER_KEY", &lines)],
            &[
                "master-secret-short CLAVIGER_SEAL__MASTER_KEY",
                "master-secret-weak CLAVIGER_SEAL__MASTER_KEY",
            ],
        ),
        (
            &[("CLAVIGER_SEAL__MASTER_KEY", "secret-secret-secret-secret-secret-hunter2")],
            &["master-secret-weak CLAVIGER_SEAL__MASTER_KEY"],
        ),
        (&[("CLAVIGER_SERVER__LISTEN", "0.0.0.0:7420")], &["invalid-setting server.listen"]),
        (
            &[("CLAVIGER_SERVER__INTERNAL_LISTEN", "0.0.0.0:7421")],
            &["internal-listener-in-clear server.internal_listen"],
        ),
        (&[("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:7421")], &[]),
        (
            &[(
                "CLAVIGER_ISSUERS",
                r#"{"a": {"issuer": "https://a", "audience": "x", "roles": {"*": ["signer"]}}}"#,
            )],
            &["issuer-of-everybody issuers.a"],
        ),
        (
            &[(
                "CLAVIGER_ISSUERS",
                r#"{"a": {"issuer": "https://a", "audience": "x", "roles": {"s": ["signer"]}}}"#,
            )],
            &[],
        ),
        (
            &[("CLAVIGER_ISSUERS", r#"{"a": {"issuer": "http://hunter2", "audience": "x"}}"#)],
            &["invalid-setting CLAVIGER_ISSUERS"],
        ),
        (
            &[("CLAVIGER_SERVER__LISTEN", "[::]:7420"), ("CLAVIGER_SERVER__PLAIN_HTTP", "true")],
            &["listen-without-tls server.plain_http"],
        ),
        (&[("CLAVIGER_BOOTSTRAP_TOKEN", "admin-token-1234567890")], &["token-weak CLAVIGER_BOOTSTRAP_TOKEN"]),
        (
            &[("CLAVIGER_BOOTSTRAP_TOKEN", "changeme")],
            &["token-weak CLAVIGER_BOOTSTRAP_TOKEN", "invalid-setting CLAVIGER_BOOTSTRAP_TOKEN"],
        ),
        (&[("CLAVIGER_BOOTSTRAP_TOKEN", "kJ8vQ2pX7rT4wZ1nB6mC")], &["token-short CLAVIGER_BOOTSTRAP_TOKEN"]),
        (&[("CLAVIGER_TOKEN", "xyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxy")], &["token-weak CLAVIGER_TOKEN"]),
        (
            &[("CLAVIGER_TOKEN", TOKEN), ("CLAVIGER_TOKEN_FILE", "/run/token")],
            &["invalid-setting CLAVIGER_TOKEN_FILE"],
        ),
        (&[("CLAVIGER_TOKEN_FILE", "/absent")], &["invalid-setting CLAVIGER_TOKEN_FILE"]),
    ];
    for (environment, expected) in table {
        let findings = examined(&sound(), None, environment);
        assert_eq!(named(&findings), *expected);
        for finding in findings {
            let line = finding.to_string();
            assert!(!line.contains("hunter2") && !line.contains('\n'), "{line}");
        }
    }
}

#[test]
fn each_file_is_judged() {
    let environment = [
        ("CLAVIGER_SEAL__MASTER_KEY_FILE", "/run/master"),
        ("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "/run/token"),
        ("CLAVIGER_TOKEN_FILE", "/run/client"),
        ("CLAVIGER_TLS__CERT", "cert.pem"),
        ("CLAVIGER_TLS__KEY", "key.pem"),
        ("CLAVIGER_AUDIT__DIR", "/var/audit"),
        ("CLAVIGER_DATABASE__URL", "sqlite:///var/lib/c.db"),
    ];
    let sound = sound()
        .with("/run/master", 0o100400, MASTER)
        .with("/run/client", 0o100400, TOKEN)
        .with("cert.pem", 0o100644, "")
        .with("key.pem", 0o100600, "")
        .with("/var/audit", 0o40700, "")
        .with("/var/lib", 0o40700, "")
        .with("/var/lib/c.db", 0o100600, "");
    assert_eq!(named(&examined(&sound, Some("c.toml"), &environment)), Vec::<String>::new());
    for (path, mode, setting) in [
        ("/run/master", 0o100440, "CLAVIGER_SEAL__MASTER_KEY_FILE"),
        ("/run/token", 0o100604, "CLAVIGER_BOOTSTRAP_TOKEN_FILE"),
        ("/run/client", 0o100644, "CLAVIGER_TOKEN_FILE"),
        ("key.pem", 0o100640, "CLAVIGER_TLS__KEY"),
        ("/var/audit", 0o40755, "audit.dir"),
        ("/var/lib", 0o40750, "database.url"),
        ("/var/lib/c.db", 0o100644, "database.url"),
        ("/var/lib/c.db-wal", 0o100644, "database.url"),
        ("c.toml", 0o100664, "--config"),
    ] {
        let text = sound.read(Path::new(path)).unwrap_or_default();
        let findings = examined(&sound.clone().with(path, mode, &text), Some("c.toml"), &environment);
        assert_eq!(named(&findings), [format!("loose-file-mode {setting}")]);
        assert!(findings[0].detail.contains(path), "{}", findings[0]);
    }
}

#[test]
fn what_lies_in_the_data_folder_is_found_by_itself() {
    let left =
        sound().with("data/bootstrap.token", 0o100644, TOKEN).with("data/master.key", 0o100644, "short");
    let expected = [
        "master-secret-short seal.master_key",
        "loose-file-mode seal.master_key",
        "loose-file-mode bootstrap_token",
        "bootstrap-token-left bootstrap_token",
    ];
    assert_eq!(named(&examined(&left, None, &[])), expected);
    let weak = sound().with("data/bootstrap.token", 0o100600, "letmein\n");
    let expected = ["token-weak bootstrap_token", "bootstrap-token-left bootstrap_token"];
    assert_eq!(named(&examined(&weak, None, &[])), expected);
}

#[test]
fn what_can_not_be_looked_at_is_said() {
    struct Closed;
    impl Files for Closed {
        fn mode(&self, path: &Path) -> io::Result<u32> {
            if path == Path::new("data") { Ok(0o40700) } else { Err(io::ErrorKind::PermissionDenied.into()) }
        }

        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let mut found = named(&examine(&Deployment::default(), &Closed));
    found.sort_unstable();
    found.dedup();
    let expected = [
        "not-examined audit.dir",
        "not-examined bootstrap_token",
        "not-examined database.url",
        "not-examined seal.master_key",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_configuration_file_with_a_secret_is_for_its_owner() {
    let url = "[database]\nurl = \"postgres://u:kJ8vQ2pX7rT4wZ1n@127.0.0.1/d\"\n";
    for (text, mode, loose) in [
        (url, 0o100644, true),
        (url, 0o100600, false),
        ("[seal]\nmaster_key = \"q7Lw2ZtV9xKcR4mB8nHs1JyPf6GdU3oE0aTi5XbC\"\n", 0o100640, true),
        ("[database]\nurl = \"postgres://u@127.0.0.1/d\"\n", 0o100644, false),
    ] {
        let findings = examined(&sound().with("c.toml", mode, text), Some("c.toml"), &[]);
        assert_eq!(findings.iter().any(|finding| finding.code == "loose-file-mode"), loose, "{text}");
    }
    let findings = examined(&sound(), Some("absent.toml"), &[("CLAVIGER_NONSENSE", "1")]);
    assert_eq!(named(&findings), ["invalid-setting --config", "invalid-setting CLAVIGER_NONSENSE"]);
}

#[test]
fn the_password_of_the_database_is_judged() {
    for (url, expected) in [
        ("postgres://u:kJ8vQ2pX7rT4@h/d?sslmode=verify-full", &[][..]),
        ("postgres://u:kJ8v%402pX7rT4@127.0.0.1/d?sslmode=disable", &[]),
        ("postgres://u:kJ8vQ2pX7rT4@[::1]:5432/d?sslmode=disable", &[]),
        ("postgres://u@%2Frun%2Fpostgresql/d", &[]),
        ("postgresql:///d?host=/run/postgresql", &[]),
        ("postgres://u@h/d", &["database-password-missing"]),
        ("postgres://u:@h/d", &["database-password-missing"]),
        ("postgres://h", &["database-password-missing"]),
        ("postgres://u:kJ8vQ2pX7rT@h/d", &["database-password-weak"]),
        ("postgres://keeper-of-keys:Keeper-of-keys@h/d", &["database-password-weak"]),
        ("postgres://u:warehouse-x9@h/warehouse-x9", &["database-password-weak"]),
        ("postgres://u:postgres@h/d", &["database-password-weak"]),
        ("postgres://u:password%31234567@h/d", &["database-password-weak"]),
        ("postgres://u:xyxyxyxyxyxyxyx@h/d", &["database-password-weak"]),
        ("postgres://h/d?user=u&password=hunter2", &["database-password-weak"]),
        ("postgres://u:a@b@h/d", &["database-password-weak"]),
        ("postgres://u:kJ8vQ2pX7rT4@h/d?sslmode=disable", &["database-without-tls"]),
        ("postgres://u:kJ8vQ2pX7rT4@127.0.0.1,h:5433/d?sslmode=prefer", &["database-without-tls"]),
        ("postgres://u:x@h/d?sslmode=disable", &["database-password-weak", "database-without-tls"]),
    ] {
        let findings = examined(&sound(), None, &[("CLAVIGER_DATABASE__URL", url)]);
        // This release serves no PostgreSQL, and says so beside.
        let codes: Vec<_> =
            findings.iter().map(|finding| finding.code).filter(|code| *code != "invalid-setting").collect();
        assert_eq!(codes, expected, "{url}");
        assert_eq!(findings.len(), expected.len() + 1, "{url}");
        assert!(findings.iter().all(|finding| !finding.detail.contains("hunter2")), "{url}");
    }
}

#[test]
fn no_weakness_hides_another() {
    let files = sound()
        .with("data", 0o40755, "")
        .with("data/claviger.db", 0o100644, "")
        .with("data/audit", 0o40755, "")
        .with("data/bootstrap.token", 0o100644, TOKEN)
        .with("c.toml", 0o100666, "nonsense = 1\n[database]\nurl = \"postgres://u:u@h/d?sslmode=disable\"\n")
        .with("/run/master", 0o100644, "changeme\n");
    let environment = [
        ("CLAVIGER_SEAL__MASTER_KEY_FILE", "/run/master"),
        ("CLAVIGER_SERVER__LISTEN", "0.0.0.0:1"),
        ("CLAVIGER_SERVER__PLAIN_HTTP", "true"),
        ("CLAVIGER_TOKEN", "admin"),
        ("CLAVIGER_NONSENSE", "1"),
    ];
    let mut found = named(&examined(&files, Some("c.toml"), &environment));
    found.sort_unstable();
    let expected = [
        "bootstrap-token-left bootstrap_token",
        "database-password-weak database.url",
        "database-without-tls database.url",
        "invalid-setting CLAVIGER_NONSENSE",
        "invalid-setting database.url",
        "invalid-setting nonsense",
        "listen-without-tls server.plain_http",
        "loose-file-mode --config",
        "loose-file-mode CLAVIGER_SEAL__MASTER_KEY_FILE",
        "loose-file-mode audit.dir",
        "loose-file-mode bootstrap_token",
        "loose-file-mode database.url",
        "loose-file-mode database.url",
        "master-secret-short CLAVIGER_SEAL__MASTER_KEY_FILE",
        "token-weak CLAVIGER_TOKEN",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_of_authorities_must_hold_some() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let pem = made.map(|made| made.cert.pem()).unwrap_or_default();
    let files = sound().with("/ca.pem", 0o100644, &pem).with("/none.pem", 0o100644, "hunter2");
    for (path, said) in
        [("/ca.pem", None), ("/none.pem", Some("holds no")), ("/nowhere.pem", Some("can't be read"))]
    {
        let environment = [("CLAVIGER_TLS__CA_FILE", path), ("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "/run/token")];
        let found = examined(&files, Some("c.toml"), &environment);
        let named: Vec<_> =
            found.iter().filter(|finding| finding.setting == "CLAVIGER_TLS__CA_FILE").collect();
        assert_eq!(named.len(), usize::from(said.is_some()), "{found:?}");
        let right = |finding: &&&Finding| said.is_some_and(|said| finding.detail.contains(said));
        assert!(
            named.iter().all(|finding| right(&finding) && !finding.detail.contains("hunter2")),
            "{found:?}"
        );
    }
}

#[test]
fn swap_is_told_of_where_memory_can_not_be_locked() {
    const HEADING: &str = "Filename\tType\tSize\tUsed\tPriority\n";
    let found = |swaps: &str, limit: &str, capabilities: &str| {
        let files = sound()
            .with("/proc/swaps", 0o100444, &format!("{HEADING}{swaps}"))
            .with("/proc/self/limits", 0o100444, &format!("Max locked memory  {limit}  {limit}  bytes\n"))
            .with("/proc/self/status", 0o100444, &format!("CapEff:\t{capabilities}\n"));
        named(&examined(&files, Some("c.toml"), &[("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "/run/token")]))
    };
    let (swap, none) = ("/swapfile file 1 0 -2\n", "0000000000000000");
    assert_eq!(found(swap, "8388608", none), ["memory-not-locked RLIMIT_MEMLOCK"]);
    for (swaps, limit, capabilities) in
        [("", "8388608", none), (swap, "unlimited", none), (swap, "8388608", "0000000000004000")]
    {
        assert_eq!(found(swaps, limit, capabilities), Vec::<String>::new(), "{swaps} {limit} {capabilities}");
    }
}
