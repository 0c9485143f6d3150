//! Every rule of configuration, without a process environment.

use std::{io, path::Path};

use proptest::prelude::*;

use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load(file, environment, |path: &Path| match path.to_str() {
        Some("/secret") => Ok("0123456789abcdefghijklmnopqrstuvwxyz\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = load(None, &[("PATH", "/bin"), ("CLAVIGER_URL", "http://x")])
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7420");
    assert_eq!(settings.database.file(), Some(Path::new("data/claviger.db")));
    assert_eq!(settings.audit.dir, Path::new("data/audit"));
    assert_eq!(settings.signing_key.as_str(), "default-signing");
    assert!(settings.masters.is_none() && settings.bootstrap_token.is_none());
}

#[test]
fn environment_wins_over_file_and_file_over_default() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nbody_limit = 4096\n";
    let settings = load(Some(file), &[("CLAVIGER_SERVER__LISTEN", "127.0.0.1:2")])
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((settings.listen.port(), settings.body_limit), (2, 4_096));
    assert!(
        load(None, &[("CLAVIGER_SEAL__MASTER_KEY_FILE", "/secret")])
            .is_ok_and(|settings| settings.masters.is_some())
    );
}

/// File, environment, the setting that is named.
type Bad<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn bad_configuration_names_the_setting_and_never_the_value() {
    let secret = "hunter2hunter2";
    let table: &[Bad<'_>] = &[
        (None, &[("CLAVIGER_SERVER__LISTN", secret)], "CLAVIGER_SERVER__LISTN"),
        (None, &[("CLAVIGER_", secret)], "CLAVIGER_"),
        (None, &[("CLAVIGER_SERVER__LISTEN", secret)], "CLAVIGER_SERVER__LISTEN"),
        (None, &[("CLAVIGER_SERVER__LISTEN_FILE", "/secret")], "CLAVIGER_SERVER__LISTEN_FILE"),
        (None, &[("CLAVIGER_SEAL__MASTER_KEY", secret)], "CLAVIGER_SEAL__MASTER_KEY"),
        (
            None,
            &[("CLAVIGER_SEAL__MASTER_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")],
            "CLAVIGER_SEAL__MASTER_KEY",
        ),
        (
            None,
            &[("CLAVIGER_SEAL__MASTER_KEY", "changeme-changeme-changeme-1234567890-xyz")],
            "CLAVIGER_SEAL__MASTER_KEY",
        ),
        (None, &[("CLAVIGER_SEAL__MASTER_KEY_FILE", "/absent")], "CLAVIGER_SEAL__MASTER_KEY_FILE"),
        (
            None,
            &[
                ("CLAVIGER_BOOTSTRAP_TOKEN", "hunter2hunter2hunter2"),
                ("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "/secret"),
            ],
            "CLAVIGER_BOOTSTRAP_TOKEN_FILE",
        ),
        (None, &[("CLAVIGER_BOOTSTRAP_TOKEN", "short")], "CLAVIGER_BOOTSTRAP_TOKEN"),
        (None, &[("CLAVIGER_DATABASE__URL", "postgres://u:hunter2@h/d")], "CLAVIGER_DATABASE__URL"),
        (
            None,
            &[("CLAVIGER_SERVER__DEVELOPMENT", "true"), ("CLAVIGER_SERVER__LISTEN", "0.0.0.0:1")],
            "server.development",
        ),
        (
            None,
            &[("CLAVIGER_SERVER__DEVELOPMENT", "true"), ("CLAVIGER_SERVER__INTERNAL_LISTEN", "0.0.0.0:1")],
            "server.development",
        ),
        (None, &[("CLAVIGER_SERVER__LISTEN", "0.0.0.0:1")], "server.listen"),
        (None, &[("CLAVIGER_SERVER__PLAIN_HTTP", "yes")], "CLAVIGER_SERVER__PLAIN_HTTP"),
        (None, &[("CLAVIGER_SERVER__INTERNAL_LISTEN", secret)], "CLAVIGER_SERVER__INTERNAL_LISTEN"),
        (
            None,
            &[("CLAVIGER_TELEMETRY__OTLP_ENDPOINT", "http://hunter2.example:4318")],
            "CLAVIGER_TELEMETRY__OTLP_ENDPOINT",
        ),
        (None, &[("CLAVIGER_TELEMETRY__SAMPLE_RATIO", "1.5")], "CLAVIGER_TELEMETRY__SAMPLE_RATIO"),
        (None, &[("CLAVIGER_TELEMETRY__SAMPLE_RATIO", "NaN")], "CLAVIGER_TELEMETRY__SAMPLE_RATIO"),
        (None, &[("CLAVIGER_METRICS__KEYS", "10001")], "CLAVIGER_METRICS__KEYS"),
        (None, &[("CLAVIGER_TOKENS__ISSUER", "http://example.com")], "CLAVIGER_TOKENS__ISSUER"),
        (None, &[("CLAVIGER_TLS__CERT", "c.pem")], "tls.key"),
        (Some("[server]\nlistn = 1"), &[], "server.listn"),
        (Some("[seal]\nmaster_key = \"hunter2\""), &[], "seal.master_key"),
        (Some("= nonsense hunter2"), &[], "the configuration file"),
        (Some("[server]\nlisten = [1]"), &[], "server.listen"),
    ];
    for (file, environment, setting) in table {
        let error = match load(*file, environment) {
            Err(error) => error,
            Ok(_) => panic!("{setting} was accepted"),
        };
        assert_eq!(error.setting, *setting);
        let line = error.to_string();
        assert!(!line.contains("hunter2") && !line.contains('\n'), "{line}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(file in ".{0,80}", name in "CLAVIGER_[A-Z_]{0,20}", value in ".{0,40}") {
        let _ = load(Some(&file), &[(&name, &value)]);
    }
}

#[test]
fn a_survey_names_every_mistake_and_keeps_what_was_given() {
    let file = "nonsense = 1\n[server]\nlisten = [1]\nworkers = 0\n[seal]\nmaster_key = \"in the file\"\n";
    let environment = [
        ("CLAVIGER_NONSENSE", "1"),
        ("CLAVIGER_DATABASE__URL", "postgres://h/d"),
        ("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "/secret"),
        ("CLAVIGER_LOG__FORMAT", "xml"),
        ("CLAVIGER_TLS__KEY", "k.pem"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let Survey { layers, problems, outline } = survey(Some(file), environment, |path| match path.to_str() {
        Some("/secret") => Ok("0123456789abcdefghijklmnopqrstuvwxyz\r\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    });
    let mut named: Vec<&str> = problems.iter().map(|problem| problem.setting.as_str()).collect();
    named.sort_unstable();
    let expected = [
        "CLAVIGER_DATABASE__URL",
        "CLAVIGER_LOG__FORMAT",
        "CLAVIGER_NONSENSE",
        "nonsense",
        "seal.master_key",
        "seal.master_key",
        "server.listen",
        "server.workers",
        "tls.cert",
    ];
    assert_eq!(named, expected);
    assert!(outline.listen.ip().is_loopback() && !outline.tls);
    assert_eq!(outline.database.as_deref(), Some(Path::new("data/claviger.db")));
    let token = layers.get("bootstrap_token").unwrap();
    assert_eq!(token.text.as_str(), "0123456789abcdefghijklmnopqrstuvwxyz");
    assert_eq!(token.file.as_deref(), Some(Path::new("/secret")));
    assert!(layers.get("seal.master_key").is_some() && layers.get("server.listen").is_none());
    let survey = survey(Some("= nonsense"), [("CLAVIGER_X".to_owned(), String::new())], |_| {
        Err(io::ErrorKind::NotFound.into())
    });
    assert_eq!(survey.problems.len(), 2);
}

#[test]
fn masters_are_lines_newest_first() {
    let (old, new) = ("0123456789abcdefghijklmnopqrstuvwxyz-old", "0123456789abcdefghijklmnopqrstuvwxyz-new");
    let text = format!("{new}  \n\n{old}\n");
    let settings = load(None, &[("CLAVIGER_SEAL__MASTER_KEY", &text)]).unwrap();
    let masters = settings.masters.unwrap();
    let texts: Vec<&[u8]> = masters.as_slice().iter().map(|secret| secret.expose()).collect();
    assert_eq!(texts, [new.as_bytes(), old.as_bytes()]);
    assert_eq!(lines_of_secret(&text).map(|(number, _)| number).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn authorities_need_no_certificate_of_ones_own_and_reach_the_database() {
    let environment = [
        ("CLAVIGER_DATABASE__URL", "postgres://u:p@db/d?sslmode=verify-full"),
        ("CLAVIGER_DATABASE__MIGRATION_URL", "postgres://m:p@db/d?sslmode=verify-full&sslrootcert=own.pem"),
        ("CLAVIGER_SEAL__MASTER_KEY_FILE", "/secret"),
        ("CLAVIGER_TLS__CA_FILE", "/etc/ca.pem"),
    ];
    let settings = load(None, &environment).unwrap_or_else(|error| panic!("{error}"));
    assert!(settings.tls.is_none());
    assert_eq!(settings.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    let url = "postgres://u:p@db/d?sslmode=verify-full&sslrootcert=/etc/ca.pem";
    assert!(settings.database == DatabaseUrl::Postgres(url.to_owned().into()));
    let own = settings.migration_url.is_some_and(|url| url.ends_with("sslrootcert=own.pem"));
    assert!(own);
}
