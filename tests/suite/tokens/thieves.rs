//! P5: whoever has the database, Redis and the logs has no token.

use claviger_tests::{Cluster, Redis, needles::Needles};
use serde_json::{Value, json};

use super::{
    pairs::{pair, refresh, refresh_under},
    revocation::revoke,
};

fn plant(needles: &mut Needles, pair: &Value) {
    let text = |member: &str| pair[member].as_str().unwrap();
    needles.add("access token", text("token").as_bytes());
    needles.add("refresh token", text("refresh_token").as_bytes());
    needles.add("secret of a refresh token", text("refresh_token").rsplit('_').next().unwrap().as_bytes());
}

#[test]
fn p5_no_pair_is_in_the_database_redis_or_a_log() {
    let redis = Redis::start();
    let url = redis.url();
    let mut cluster =
        Cluster::start(2, &[("CLAVIGER_REDIS__URL", &url), ("CLAVIGER_TOKENS__REUSE_LEEWAY", "30s")]);
    let [a, b] = [cluster.client(0), cluster.client(1)];
    let mut needles = Needles::default();
    needles.add("subject", b"grace.the.subject@example.com");
    needles.add("claim", b"the very private claim of grace");
    let claims = json!({"note": "the very private claim of grace"});
    for format in ["jws", "jwe"] {
        let body = json!({"format": format, "subject": "grace.the.subject@example.com", "claims": claims});
        let first = pair(&a, body);
        let second = refresh(&b, &first).expect(200);
        let third = refresh_under(&a, &second, format).expect(200);
        assert_eq!(refresh(&a, &second).expect(200), third);
        for made in [&first, &second, &third] {
            plant(&mut needles, made);
            for member in ["token", "refresh_token"] {
                let token = json!({"token": made[member]});
                a.post("/v1/tokens/introspect", &token).expect(200);
                // In every wrong place.
                b.post("/v1/tokens/refresh", &json!({"refresh_token": format!("{}x", made[member])}))
                    .refused(401, "token_invalid");
                b.post("/v1/tokens/revoke", &json!({"family": made[member]})).refused(400, "invalid_request");
                let wrong = b.post("/v1/tokens/revoke", &json!({"kid": made[member]}));
                assert!(matches!(wrong.status, 400 | 404), "{}", wrong.text);
                assert_eq!(b.with_token(made[member].as_str()).get("/v1/keys").status, 401);
            }
        }
        revoke(&a, json!({"token": third["token"]}));
        revoke(&a, json!({"token": third["refresh_token"]}));
        revoke(&b, json!({"subject": "grace.the.subject@example.com"}));
    }
    let mut places: Vec<(String, Vec<u8>)> = vec![
        ("the database".to_owned(), cluster.postgres.dump().into_bytes()),
        ("Redis".to_owned(), redis.dump()),
    ];
    for node in &mut cluster.nodes {
        assert!(node.terminate().success());
        for file in ["data/audit/audit.log", "data/audit/security.log", "stderr"] {
            places.push((file.to_owned(), std::fs::read(node.folder().join(file)).unwrap()));
        }
    }
    assert!(places[0].1.windows(14).any(|bytes| bytes == b"refresh_tokens") && places[1].1.len() > 100);
    for (place, haystack) in &places {
        assert_eq!(needles.found_in(haystack), Vec::<&str>::new(), "in {place}");
    }
}
