//! Issuers that lie, hang and flood, and tokens that are not what they seem.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{jwk::public_pem, prepared::PreparedKey, secret::SecretBytes};
use claviger_entity::KeyType;
use claviger_tests::{
    Client, Issuer, Node, issuer::DOCUMENT, issuer::ForeignKey, issuer::KEYS, issuer::Reply,
    issuer::signing_input, node,
};
use serde_json::{Value, json};

use super::issuers::{claims, node_with, trusting};

fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let key = PreparedKey::new(KeyType::Hs256, &SecretBytes::new(secret.to_vec())).unwrap();
    let input = signing_input(header, claims);
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()))
}

#[test]
fn p8_forged_and_foreign_tokens_are_nobody() {
    let (key, theirs) = (ForeignKey::new(KeyType::Rs256, "k"), ForeignKey::new(KeyType::Es256, "theirs"));
    let same_kid = ForeignKey::new(KeyType::Rs256, "k");
    let (issuer, other) = (Issuer::with(&[&key]), Issuer::with(&[&theirs]));
    let members =
        |issuer: &Issuer| json!({"issuer": issuer.url(), "audience": "kms", "roles": {"*": ["verifier"]}});
    let node = node_with(&json!({"a": members(&issuer), "b": members(&other)}), &[]);
    let admin = node.client();
    let good = claims(&issuer.url(), "s");
    let status = |token: &str| admin.with_token(Some(token)).get("/v1/keys");
    status(&key.token(&good)).expect(200);
    status(&theirs.token(&claims(&other.url(), "s"))).expect(200);
    let asked = (issuer.asked(KEYS), other.asked(KEYS));

    let with = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        claims
    };
    let without = |member: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(member);
        claims
    };
    let mut bad: Vec<Value> = ["aud", "sub", "exp", "iss"].map(without).into();
    bad.extend([
        with("aud", json!("claviger")),
        with("aud", json!(["kms", 1])),
        with("aud", json!("kms ")),
        with("exp", json!("4000000000")),
        with("nbf", json!(3_999_999_999_u64)),
        with("iat", json!(3_999_999_999_u64)),
        with("sub", json!("")),
        with("sub", json!(7)),
        with("sub", json!("s\nadmin")),
        with("sub", json!("s".repeat(256))),
        with("iss", json!(format!("{}/", issuer.url()))),
        with("iss", json!([issuer.url()])),
        with("cnf", json!({"jkt": "x"})),
        with("iss", json!(other.url())),
    ]);
    for claims in bad {
        status(&key.token(&claims)).refused(401, "unauthorized");
    }
    status(&key.token(&with("exp", json!(1_700_000_001)))).refused(401, "token_expired");

    let under = |header: Value| key.token_under(&header, &good);
    for header in [
        json!({"alg": "RS256"}),
        json!({"alg": "RS384", "kid": "k"}),
        json!({"alg": "PS256", "kid": "k"}),
        json!({"alg": "rs256", "kid": "k"}),
        json!({"alg": "none", "kid": "k"}),
        json!({"alg": "RS256", "kid": "k", "crit": ["x"], "x": 1}),
        json!({"alg": "RS256", "kid": "k", "b64": true}),
        json!({"alg": "RS256", "kid": "k", "zip": "DEF"}),
        json!({"alg": "RS256", "kid": "k", "typ": "logout+jwt"}),
    ] {
        status(&under(header)).refused(401, "unauthorized");
    }
    // The public key is known to all, and is no secret to sign with.
    let header = json!({"alg": "HS256", "kid": "k", "typ": "JWT"});
    let pem = public_pem(&key.spki);
    for secret in
        [pem.as_bytes(), pem.trim_end().as_bytes(), key.spki.as_slice(), key.jwk.to_string().as_bytes()]
    {
        status(&hmac(secret, &header, &good)).refused(401, "unauthorized");
    }
    let bare = signing_input(&json!({"alg": "none", "kid": "k"}), &good);
    status(&format!("{bare}.")).refused(401, "unauthorized");
    // A key that comes along is not even looked at.
    let own = json!({"alg": "RS256", "kid": "k", "jwk": same_kid.jwk, "jku": other.at(KEYS)});
    status(&same_kid.token_under(&own, &good)).refused(401, "unauthorized");
    status(&same_kid.token(&good)).refused(401, "unauthorized");
    let token = key.token(&good);
    let (head, tail) = token.rsplit_once('.').unwrap();
    status(&format!("{head}.{}", &tail[..tail.len() - 4])).refused(401, "unauthorized");
    status(&format!("{token}=")).refused(401, "unauthorized");
    assert_eq!(asked, (issuer.asked(KEYS), other.asked(KEYS)), "a bad token of a known key asks nobody");
    // Keys of one issuer are not those of another.
    status(&theirs.token(&good)).refused(401, "unauthorized");
    status(&key.token(&claims(&other.url(), "s"))).refused(401, "unauthorized");
    status(&key.token(&good)).expect(200);
}

#[test]
fn a_flood_of_made_up_keys_is_no_flood_at_the_issuer() {
    let key = ForeignKey::new(KeyType::Es256, "k");
    let issuer = Issuer::with(&[&key]);
    let node = trusting(&issuer.url(), json!({"cooldown": "30s", "roles": {"*": ["verifier"]}}));
    let good = claims(&issuer.url(), "s");
    let bearer = node.client().with_token(Some(&key.token(&good)));
    bearer.get("/v1/keys").expect(200);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (client, key, good) = (node.client(), &key, &good);
            scope.spawn(move || {
                for number in 0..50 {
                    let header = json!({"alg": "ES256", "kid": format!("made-up-{thread}-{number}")});
                    let token = key.token_under(&header, good);
                    client.with_token(Some(&token)).get("/v1/keys").refused(401, "unauthorized");
                }
            });
        }
    });
    bearer.get("/v1/keys").expect(200);
    let most = 2 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    assert!(issuer.asked(KEYS) <= most, "{} times in {:?}", issuer.asked(KEYS), began.elapsed());
}

/// Hundreds wait at most, none for longer than a look-up takes, and nobody else waits at all.
#[test]
fn an_issuer_that_hangs_holds_up_nobody_else() {
    let (key, other) = (ForeignKey::new(KeyType::Es256, "k"), ForeignKey::new(KeyType::Es256, "k"));
    let (good, hanging, dripping) = (Issuer::with(&[&other]), Issuer::start(), Issuer::with(&[&key]));
    hanging.reply(DOCUMENT, Reply::Hang);
    dripping.reply(KEYS, Reply::Drip);
    let members = |issuer: &Issuer| json!({"issuer": issuer.url(), "audience": "kms", "cooldown": "1s", "roles": {"*": ["verifier"]}});
    let issuers =
        json!({"good": members(&good), "hanging": members(&hanging), "dripping": members(&dripping)});
    let node = node_with(&issuers, &[("CLAVIGER_SERVER__WORKERS", "1")]);
    let admin = node.client();
    let bearer =
        |key: &ForeignKey, issuer: &Issuer| admin.with_token(Some(&key.token(&claims(&issuer.url(), "s"))));
    bearer(&other, &good).get("/v1/keys").expect(200);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = [&hanging, &dripping]
            .into_iter()
            .cycle()
            .take(20)
            .map(|issuer| {
                let client = bearer(&key, issuer);
                scope.spawn(move || {
                    let began = Instant::now();
                    client.get("/v1/keys").refused(503, "issuer_unavailable");
                    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
                })
            })
            .collect();
        let quick = |client: &Client| {
            let began = Instant::now();
            client.get("/v1/keys").expect(200);
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        };
        while !waiting.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            quick(&admin);
            quick(&bearer(&other, &good));
        }
    });
}

#[test]
fn what_is_no_key_set_of_the_issuer_is_refused_and_named() {
    let key = ForeignKey::new(KeyType::Es256, "k");
    let document = |issuer: &Issuer, name: &str, uri: &str| {
        issuer.reply(DOCUMENT, Reply::Json(json!({"issuer": name, "jwks_uri": uri})));
    };
    let cases: Vec<(&str, Issuer, Box<dyn Fn(&Issuer)>)> = [
        (
            "other_issuer",
            Box::new(|it: &Issuer| document(it, &format!("{}/", it.url()), &it.at(KEYS)))
                as Box<dyn Fn(&Issuer)>,
        ),
        ("other_issuer", Box::new(|it| it.reply(DOCUMENT, Reply::Json(json!({}))))),
        ("no_jwks_uri", Box::new(|it| document(it, &it.url(), "file:///etc/passwd"))),
        ("no_jwks_uri", Box::new(|it| document(it, &it.url(), "http://10.0.0.1/keys"))),
        (
            "malformed",
            Box::new(|it| {
                it.reply(
                    DOCUMENT,
                    Reply::Raw(200, "Content-Type: text/html\r\n", b"<html>hello</html>".to_vec()),
                )
            }),
        ),
        ("malformed", Box::new(|it| it.reply(KEYS, Reply::Raw(200, "", vec![b'['; 200_000])))),
        (
            "malformed",
            Box::new(|it| it.reply(KEYS, Reply::Raw(200, "", b"{\"keys\":[],\"keys\":[]}".to_vec()))),
        ),
        ("too_large", Box::new(|it| it.reply(KEYS, Reply::Raw(200, "", vec![b' '; 10 << 20])))),
        ("too_large", Box::new(|it| it.reply(DOCUMENT, Reply::Raw(200, "", vec![b'{'; 300_000])))),
        (
            "redirected",
            Box::new(|it| it.reply(DOCUMENT, Reply::Raw(302, "Location: /elsewhere\r\n", Vec::new()))),
        ),
        (
            "redirected",
            Box::new(|it| it.reply(KEYS, Reply::Raw(307, "Location: /elsewhere\r\n", Vec::new()))),
        ),
        ("status", Box::new(|it| it.reply(KEYS, Reply::Raw(500, "", b"{}".to_vec())))),
        ("status", Box::new(|it| it.reply(DOCUMENT, Reply::Raw(401, "", b"{}".to_vec())))),
        ("unreachable", Box::new(|it| it.reply(DOCUMENT, Reply::Break))),
        (
            "malformed",
            Box::new(|it| {
                it.reply(KEYS, Reply::Raw(200, "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08".to_vec()))
            }),
        ),
        ("key_set", Box::new(|it| it.reply(KEYS, Reply::Json(json!({"keys": "none"}))))),
    ]
    .into_iter()
    .map(|(outcome, spoil)| (outcome, Issuer::with(&[&key]), spoil))
    .collect();
    let twice = Issuer::with(&[&key, &key]);
    let mut issuers = serde_json::Map::new();
    let mut expected = Vec::new();
    for (number, (outcome, issuer, spoil)) in cases.iter().enumerate() {
        issuer.reply(
            "/elsewhere",
            Reply::Json(json!({"keys": [key.jwk], "issuer": issuer.url(), "jwks_uri": issuer.at(KEYS)})),
        );
        spoil(issuer);
        expected.push((format!("i{number}"), *outcome, issuer));
    }
    expected.push(("twice".to_owned(), "key_set", &twice));
    for (name, _, issuer) in &expected {
        let members = json!({"issuer": issuer.url(), "audience": "kms", "roles": {"*": ["admin2"]}});
        issuers.insert(name.clone(), members);
    }
    let node = node_with(&Value::Object(issuers), &[("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0")]);
    for (name, outcome, issuer) in &expected {
        let bearer = node.internal().with_token(Some(&key.token(&claims(&issuer.url(), "s"))));
        let answer = bearer.get("/v1/keys");
        assert_eq!(answer.status, 503, "{name} {outcome}: {}", answer.text);
        answer.refused(503, "issuer_unavailable");
        let metrics = node.internal().get("/metrics").text;
        let series = format!("claviger_issuer_lookups_total{{issuer=\"{name}\",outcome=\"{outcome}\"}} 1");
        let found: Vec<_> =
            metrics.lines().filter(|line| line.contains(&format!("issuer=\"{name}\""))).collect();
        assert!(metrics.contains(&series), "{series} in {found:?}");
        assert!(issuer.asked("/elsewhere") == 0, "a redirect was followed");
    }
    node.client().get("/v1/keys").expect(200);
}

#[test]
fn an_issuer_that_nobody_may_trust_stops_the_start() {
    let good = json!({"issuer": "https://id.example", "audience": "kms"});
    let own = json!({"issuer": "https://kms.example/", "audience": "kms"});
    let with = |member: &str, value: Value| {
        let mut members = good.clone();
        members[member] = value;
        json!({"a": members})
    };
    for (issuers, named) in [
        (json!({"a": good, "b": good}), "b.issuer"),
        (json!({"a": own}), "a.issuer"),
        (json!({"a": {"issuer": "https://id.example"}}), "a.audience"),
        (with("issuer", json!("http://hunter2.example")), "a.issuer"),
        (with("jwks_uri", json!("http://hunter2.example")), "a.jwks_uri"),
        (with("jwks_uri", json!("https://[hunter2]/")), "a.jwks_uri"),
        (with("roles", json!({"pay*": ["signer"]})), "a.roles"),
        (with("roles", json!({"*": ["admin"]})), "a.roles"),
        (with("token_file", json!("/t")), "a.token_file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let issuers = issuers.to_string();
        let environment = [
            ("CLAVIGER_ISSUERS", issuers.as_str()),
            ("CLAVIGER_TOKENS__ISSUER", "https://kms.example"),
            ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER),
        ];
        let (code, log) = node::refused_start(folder.path(), &environment);
        assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
        assert!(
            log.to_lowercase().contains("issuers") && log.contains(named) && !log.contains("hunter2"),
            "{log}"
        );
    }
    // The issuer of a deployment that does not name itself is known only later, and is its own all the same.
    let node = Node::settled(&[]);
    let url = node.client().get("/.well-known/openid-configuration").expect(200)["issuer"].clone();
    let folder = node.into_folder();
    let issuers = json!({"a": {"issuer": url, "audience": "kms"}}).to_string();
    let environment = [("CLAVIGER_ISSUERS", issuers.as_str()), ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER)];
    let (code, log) = node::refused_start(folder.path(), &environment);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("issuers: a.issuer"), "{log}");
}
