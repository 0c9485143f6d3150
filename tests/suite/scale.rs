//! A big ring starts soon. The exact figures come from `make bench`.

use std::time::{Duration, Instant, SystemTime};

use claviger_tests::{Node, seed, volume};
use serde_json::json;

/// Bound of the full ring, with five times slack for a noisy machine and an unoptimised build.
const START: Duration = Duration::from_secs(25);

#[test]
fn a_ring_of_thousands_of_keys_starts_soon() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let keys = volume(10_000);
    #[expect(
        clippy::disallowed_methods,
        reason = "the seeded keys must not be due for rotation by the node's own clock"
    )]
    let now = SystemTime::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(seed::seed(&data.join("claviger.db"), keys, now.into()));
    let began = Instant::now();
    let node = Node::within(folder, &[]);
    let took = began.elapsed();
    assert!(took < START, "{keys} keys took {took:?}");
    let client = node.client();
    for index in [0, 8, 15, 19, keys - 1] {
        let name = format!("seed-{index:05}");
        let key = client.get(&format!("/v1/keys/{name}")).expect(200);
        assert_eq!(key["primary_version"], 2);
        match key["usage"].as_str() {
            Some("token") => drop(client.post("/v1/tokens", &json!({"key": name})).expect(201)),
            _ => drop(
                client
                    .post(&format!("/v1/keys/{name}/encrypt"), &json!({"plaintext": "aGVsbG8="}))
                    .expect(200),
            ),
        }
    }
    assert_eq!(client.get("/health").expect(200)["status"], "healthy");
}

/// The bounds of a decision, 1 us remembered and 2 ms not under 2,000 policies, with five times their room; an unoptimised build has more.
#[test]
fn decisions_are_fast_under_thousands_of_policies() {
    use claviger::auth::Authorizer;
    use claviger_tests::authorization::{About, World};
    let room = if cfg!(debug_assertions) { 50 } else { 5 };
    for about in [About::Roles, About::Anybody] {
        let world = World::new(20, 2_000, about);
        let cold = world.cold(&Authorizer::default());
        let warm = world.warm(&Authorizer::default(), 1_000);
        assert!(
            cold.as_micros() < 2_000 * room && warm.as_nanos() < 1_000 * room,
            "{about:?}: cold {cold:?}, warm {warm:?}"
        );
    }
}
