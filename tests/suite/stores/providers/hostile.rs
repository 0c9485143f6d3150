//! Providers that hang, lie, refuse and flood: whatever they do, the tokens that are stored are still there.

use std::time::{Duration, Instant};

use claviger_tests::{Client, Issuer, issuer::Reply, node as nodes, process};
use serde_json::{Value, json};

use super::{PATH, TOKEN, node, seed};

const HTML: &str = "Content-Type: text/html\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn lies() -> Vec<(&'static str, Reply)> {
    let json = |status, body: Value| Reply::Raw(status, JSON, body.to_string().into_bytes());
    vec![
        ("malformed", Reply::Raw(200, HTML, b"<html>access_token=a&invalid_grant</html>".to_vec())),
        ("status", Reply::Raw(400, HTML, b"<html>invalid_grant</html>".to_vec())),
        ("status", json(500, json!({"error": "invalid_grant"}))),
        ("status", json(503, json!({"error": "temporarily_unavailable"}))),
        ("status", json(429, json!({"error": "slow_down"}))),
        ("client", json(401, json!({"error": "invalid_client"}))),
        ("request", json(400, json!({"error": "invalid_scope"}))),
        ("request", json(200, json!({"error": "server_error"}))),
        ("malformed", json(200, json!({}))),
        ("malformed", json(200, json!({"access_token": ["a"], "refresh_token": "r"}))),
        ("malformed", json(200, json!({"access_token": "", "expires_in": 3600}))),
        ("malformed", json(200, json!({"access_token": "a\nb"}))),
        ("malformed", Reply::Raw(200, JSON, b"{\"access_token\":\"a\",\"access_token\":\"b\"}".to_vec())),
        ("malformed", Reply::Raw(200, JSON, vec![b'['; 200_000])),
        ("malformed", Reply::Raw(200, JSON, vec![0xff; 1_000])),
        ("too_large", Reply::Raw(200, JSON, vec![b' '; 10 << 20])),
        ("redirected", Reply::Raw(302, "Location: /elsewhere\r\n", Vec::new())),
        ("redirected", Reply::Raw(307, "Location: /elsewhere\r\n", Vec::new())),
        ("unreachable", Reply::Break),
    ]
}

#[test]
fn whatever_a_provider_says_the_tokens_are_still_there() {
    let issuer = Issuer::start();
    let good = json!({"access_token": "stolen", "refresh_token": "stolen", "expires_in": 3_600});
    issuer.reply("/elsewhere", Reply::Json(good));
    let node = node(&issuer, &json!({}));
    let client = node.client();
    let counted = |outcome: &str| {
        let text = node.internal().get("/metrics").text;
        let series = format!(
            "claviger_provider_calls_total{{provider=\"idp\",call=\"refresh\",outcome=\"{outcome}\"}} "
        );
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u32>().ok()).unwrap_or_default()
    };
    for (outcome, lie) in lies() {
        issuer.reply(TOKEN, lie.clone());
        let before = counted(outcome);
        // One that has not ended is handed out.
        seed(&client, PATH, 600).expect(201);
        let read = client.get(PATH).expect(200);
        assert_eq!((&read["access_token"], &read["version"]), (&json!("a0"), &json!(1)), "{lie:?}");
        // One that has is not, and stays for when the provider comes to its senses.
        seed(&client, PATH, -10).expect(200);
        client.get(PATH).refused(503, "provider_unavailable");
        assert_eq!(counted(outcome), before + 2, "{outcome} {lie:.200?}");
        issuer.reply(TOKEN, Reply::Json(json!({"access_token": "new", "expires_in": 3_600})));
        // The next reader may try at once.
        let read = client.get(PATH).expect(200);
        assert_eq!((&read["access_token"], &read["refresh_token"]), (&json!("new"), &json!("r0")), "{lie:?}");
        client.delete(PATH).expect(204);
    }
    assert_eq!(issuer.asked("/elsewhere"), 0, "a redirect was followed");
    assert!(issuer.posted("/elsewhere").is_empty(), "a redirect was followed");
}

/// A time that can't be does not cost the tokens beside it.
#[test]
fn absurd_times_are_not_believed() {
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({}));
    let client = node.client();
    for absurd in
        [json!(-1), json!(0), json!("soon"), json!(1e300), json!(9_999_999_999_u64), json!({}), Value::Null]
    {
        let given = json!({"access_token": "a1", "refresh_token": "r1", "expires_in": absurd});
        issuer.reply(TOKEN, Reply::Json(given));
        seed(&client, PATH, 60).expect(201);
        let read = client.get(PATH).expect(200);
        assert_eq!((&read["access_token"], &read["refresh_token"]), (&json!("a1"), &json!("r1")), "{absurd}");
        let asked = issuer.posted(TOKEN).len();
        client.get(PATH).expect(200);
        assert_eq!(issuer.posted(TOKEN).len(), asked, "{absurd}");
        client.delete(PATH).expect(204);
    }
}

fn timed(client: &Client, path: &str) -> (claviger_tests::Answer, Duration) {
    let began = Instant::now();
    (client.get(path), began.elapsed())
}

/// Nobody waits longer than they must, nobody else waits, and one that fails again and again is asked less and less.
#[test]
fn a_provider_that_hangs_is_given_up() {
    let issuer = Issuer::start();
    issuer.reply(TOKEN, Reply::Hang);
    let node = node(&issuer, &json!({}));
    let client = node.client();
    let ended = "/v1/auth-tokens/bob/idp";
    seed(&client, PATH, 600).expect(201);
    seed(&client, ended, -10).expect(201);
    std::thread::scope(|scope| {
        let usable = scope.spawn(|| timed(&client, PATH));
        let own = scope.spawn(|| timed(&client, ended));
        process::until(Duration::from_secs(5), || (issuer.posted(TOKEN).len() == 2).then_some(())).unwrap();
        let (other, took) = timed(&client, ended);
        other.refused(503, "refresh_in_progress");
        assert!((4..8).contains(&took.as_secs()), "{took:?}");
        let (usable, took) = usable.join().unwrap();
        assert_eq!(usable.expect(200)["access_token"], "a0");
        assert!(took < Duration::from_secs(8), "{took:?}");
        let (own, took) = own.join().unwrap();
        own.refused(503, "provider_unavailable");
        assert!((14..20).contains(&took.as_secs()), "{took:?}");
    });
    assert_eq!(issuer.posted(TOKEN).len(), 2);
    issuer.reply(TOKEN, Reply::Raw(503, "", Vec::new()));
    let began = Instant::now();
    for _ in 0..100 {
        client.get(ended).refused(503, "provider_unavailable");
    }
    let most = 4 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(issuer.posted(TOKEN).len() <= 2 + most, "{} times", issuer.posted(TOKEN).len());
    // Whoever writes others need not wait for that.
    issuer.reply(TOKEN, Reply::Rotate);
    seed(&client, ended, -10).expect(200);
    assert_eq!(client.get(ended).expect(200)["access_token"], "a1");
}

#[test]
fn a_provider_that_nobody_may_ask_stops_the_start() {
    let good =
        json!({"token_endpoint": "https://id.example/token", "client_id": "us", "client_secret": "hunter2"});
    let with = |member: &str, value: Value| {
        let mut members = good.clone();
        members[member] = value;
        json!({"a": members}).to_string()
    };
    for (providers, named) in [
        (with("token_endpoint", json!("http://hunter2.example/token")), "a.token_endpoint"),
        (with("token_endpoint", json!("https://[hunter2]/")), "a.token_endpoint"),
        (with("revocation_endpoint", json!("http://10.0.0.1/hunter2")), "a.revocation_endpoint"),
        (with("introspection_endpoint", json!("ftp://hunter2")), "a.introspection_endpoint"),
        (with("jwks_uri", json!("http://hunter2.example")), "a.jwks_uri"),
        (with("auth_style", json!("hunter2")), "a.auth_style"),
        (with("client_secret", json!("")), "a.client_secret"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let environment =
            [("CLAVIGER_PROVIDERS", providers.as_str()), ("CLAVIGER_SEAL__MASTER_KEY", nodes::MASTER)];
        let (code, log) = nodes::refused_start(folder.path(), &environment);
        assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
        assert!(
            log.to_lowercase().contains("providers") && log.contains(named) && !log.contains("hunter2"),
            "{log}"
        );
    }
}
