//! Issuers that lie, hang and flood, and tokens that are not what they seem.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{jwk::public_pem, prepared::PreparedKey, secret::SecretBytes};
use claviger_entity::KeyType;
use claviger_tests::{
    Answer, Client, Issuer, Node, issuer::DOCUMENT, issuer::ForeignKey, issuer::KEYS, issuer::Reply,
    issuer::signing_input, node,
};
use serde_json::{Value, json};

use super::issuers::{claims, node_with, trusting};

fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let key = PreparedKey::new(KeyType::Hs256, &SecretBytes::new(secret.to_vec())).unwrap();
    let input = signing_input(header, claims);
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()))
}

/// Two issuers, a key of each, and a node that trusts both.
struct Scene {
    key: ForeignKey,
    theirs: ForeignKey,
    issuer: Issuer,
    other: Issuer,
    node: Node,
}

impl Scene {
    fn new() -> Self {
        let (key, theirs) = (ForeignKey::new(KeyType::Rs256, "k"), ForeignKey::new(KeyType::Es256, "theirs"));
        let (issuer, other) = (Issuer::with(&[&key]), Issuer::with(&[&theirs]));
        let members = |issuer: &Issuer| json!({"issuer": issuer.url(), "audience": "kms", "roles": {"*": ["verifier"]}});
        let node = node_with(&json!({"a": members(&issuer), "b": members(&other)}), &[]);
        let scene = Self { key, theirs, issuer, other, node };
        scene.answer(&scene.key.token(&scene.good())).expect(200);
        scene.answer(&scene.theirs.token(&claims(&scene.other.url(), "s"))).expect(200);
        scene
    }

    fn good(&self) -> Value {
        claims(&self.issuer.url(), "s")
    }

    fn answer(&self, token: &str) -> Answer {
        self.node.client().with_token(Some(token)).get("/v1/keys")
    }

    fn asked(&self) -> (usize, usize) {
        (self.issuer.asked(KEYS), self.other.asked(KEYS))
    }
}

#[test]
fn p8_tokens_for_others_out_of_their_time_or_of_nobody_are_nobody() {
    let scene = Scene::new();
    let (good, asked) = (scene.good(), scene.asked());
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
        with("iss", json!(format!("{}/", scene.issuer.url()))),
        with("iss", json!([scene.issuer.url()])),
        with("cnf", json!({"jkt": "x"})),
    ]);
    for claims in bad {
        scene.answer(&scene.key.token(&claims)).refused(401, "unauthorized");
    }
    scene.answer(&scene.key.token(&with("exp", json!(1_700_000_001)))).refused(401, "token_expired");
    assert_eq!(asked, scene.asked(), "a bad token of a known key asks nobody");
    // Keys of one issuer are not those of another.
    scene.answer(&scene.theirs.token(&good)).refused(401, "unauthorized");
    scene.answer(&scene.key.token(&claims(&scene.other.url(), "s"))).refused(401, "unauthorized");
    scene.answer(&scene.key.token(&good)).expect(200);
}

#[test]
fn p8_forged_tokens_are_nobody() {
    let scene = Scene::new();
    let (good, asked) = (scene.good(), scene.asked());
    let key = &scene.key;
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
        scene.answer(&key.token_under(&header, &good)).refused(401, "unauthorized");
    }
    // The public key is known to all, and is no secret to sign with.
    let header = json!({"alg": "HS256", "kid": "k", "typ": "JWT"});
    let (pem, jwk) = (public_pem(&key.spki), key.jwk.to_string());
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), key.spki.as_slice(), jwk.as_bytes()] {
        scene.answer(&hmac(secret, &header, &good)).refused(401, "unauthorized");
    }
    let bare = signing_input(&json!({"alg": "none", "kid": "k"}), &good);
    scene.answer(&format!("{bare}.")).refused(401, "unauthorized");
    // A key that comes along is not even looked at.
    let same_kid = ForeignKey::new(KeyType::Rs256, "k");
    let own = json!({"alg": "RS256", "kid": "k", "jwk": same_kid.jwk, "jku": scene.other.at(KEYS)});
    scene.answer(&same_kid.token_under(&own, &good)).refused(401, "unauthorized");
    scene.answer(&same_kid.token(&good)).refused(401, "unauthorized");
    let token = key.token(&good);
    let (head, tail) = token.rsplit_once('.').unwrap();
    scene.answer(&format!("{head}.{}", &tail[..tail.len() - 4])).refused(401, "unauthorized");
    scene.answer(&format!("{token}=")).refused(401, "unauthorized");
    assert_eq!(asked, scene.asked(), "a bad token of a known key asks nobody");
    scene.answer(&token).expect(200);
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

/// What it is called, where the issuer says it, and what it says.
type Lie = (&'static str, &'static str, fn(&Issuer) -> Reply);

fn document(issuer: &str, jwks_uri: &str) -> Reply {
    Reply::Json(json!({"issuer": issuer, "jwks_uri": jwks_uri}))
}

const LIES: &[Lie] = &[
    ("other_issuer", DOCUMENT, |it| document(&format!("{}/", it.url()), &it.at(KEYS))),
    ("other_issuer", DOCUMENT, |_| Reply::Json(json!({}))),
    ("no_jwks_uri", DOCUMENT, |it| document(&it.url(), "file:///etc/passwd")),
    ("no_jwks_uri", DOCUMENT, |it| document(&it.url(), "http://10.0.0.1/keys")),
    ("malformed", DOCUMENT, |_| {
        Reply::Raw(200, "Content-Type: text/html\r\n", b"<html>hello</html>".to_vec())
    }),
    ("malformed", KEYS, |_| Reply::Raw(200, "", vec![b'['; 200_000])),
    ("malformed", KEYS, |_| Reply::Raw(200, "", b"{\"keys\":[],\"keys\":[]}".to_vec())),
    ("malformed", KEYS, |_| Reply::Raw(200, "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08".to_vec())),
    ("too_large", KEYS, |_| Reply::Raw(200, "", vec![b' '; 10 << 20])),
    ("too_large", DOCUMENT, |_| Reply::Raw(200, "", vec![b'{'; 300_000])),
    ("redirected", DOCUMENT, |_| Reply::Raw(302, "Location: /elsewhere\r\n", Vec::new())),
    ("redirected", KEYS, |_| Reply::Raw(307, "Location: /elsewhere\r\n", Vec::new())),
    ("status", KEYS, |_| Reply::Raw(500, "", b"{}".to_vec())),
    ("status", DOCUMENT, |_| Reply::Raw(401, "", b"{}".to_vec())),
    ("unreachable", DOCUMENT, |_| Reply::Break),
    ("key_set", KEYS, |_| Reply::Json(json!({"keys": "none"}))),
    ("key_set", KEYS, |_| {
        let twice = ForeignKey::new(KeyType::Es256, "k").jwk;
        Reply::Json(json!({"keys": [twice, twice]}))
    }),
];

#[test]
fn what_is_no_key_set_of_the_issuer_is_refused_and_named() {
    let key = ForeignKey::new(KeyType::Es256, "k");
    let (mut issuers, mut expected) = (serde_json::Map::new(), Vec::new());
    for (number, (outcome, path, lie)) in LIES.iter().enumerate() {
        let (name, issuer) = (format!("i{number}"), Issuer::with(&[&key]));
        let good = json!({"keys": [key.jwk], "issuer": issuer.url(), "jwks_uri": issuer.at(KEYS)});
        issuer.reply("/elsewhere", Reply::Json(good));
        issuer.reply(path, lie(&issuer));
        issuers.insert(name.clone(), json!({"issuer": issuer.url(), "audience": "kms"}));
        expected.push((name, outcome, issuer));
    }
    let node = node_with(&Value::Object(issuers), &[("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0")]);
    for (name, outcome, issuer) in &expected {
        let bearer = node.internal().with_token(Some(&key.token(&claims(&issuer.url(), "s"))));
        let answer = bearer.get("/v1/keys");
        assert_eq!(answer.status, 503, "{name} {outcome}: {}", answer.text);
        answer.refused(503, "issuer_unavailable");
        let metrics = node.internal().get("/metrics").text;
        let series = format!("claviger_issuer_lookups_total{{issuer=\"{name}\",outcome=\"{outcome}\"}} 1");
        assert!(metrics.lines().any(|line| line == series), "{series}");
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
