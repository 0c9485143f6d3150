//! Many readers on several nodes: the provider is asked once.

use std::time::{Duration, Instant};

use claviger_tests::{Answer, Cluster, Issuer, Redis, cluster::at_once, issuer::Reply, process};
use serde_json::json;

use super::{PATH, TOKEN, providers, seed};

const NODES: usize = 3;
const READERS: usize = 64;

struct Scene {
    issuer: Issuer,
    cluster: Cluster,
    _redis: Option<Redis>,
}

impl Scene {
    fn start(with_redis: bool) -> Self {
        let issuer = Issuer::start();
        issuer.reply(TOKEN, Reply::Rotate);
        let redis = with_redis.then(Redis::start);
        let url = redis.as_ref().map(Redis::url);
        let providers = providers(&issuer, &json!({}));
        let mut environment = vec![("CLAVIGER_PROVIDERS", providers.as_str())];
        environment.extend(url.as_deref().map(|url| ("CLAVIGER_REDIS__URL", url)));
        let cluster = Cluster::start(NODES, &environment);
        Self { issuer, cluster, _redis: redis }
    }

    /// What everybody gets who reads at once, and when; nothing where the node went away.
    fn read(&self) -> Vec<(Option<Answer>, Duration)> {
        at_once(READERS, |index| {
            let client = self.cluster.client(index % NODES);
            let began = Instant::now();
            (client.try_send("GET", PATH, None, &[]), began.elapsed())
        })
    }
}

/// The new token, or a clean 503; how many got the token.
fn judge(answers: Vec<(Option<Answer>, Duration)>, access: &str) -> (usize, usize) {
    let (mut fresh, mut lost) = (0, 0);
    for (answer, took) in answers {
        assert!(took < Duration::from_secs(20), "{took:?}");
        match answer {
            Some(answer) if answer.status == 200 => {
                assert_eq!(answer.json()["access_token"], access);
                fresh += 1;
            }
            Some(answer) => {
                assert!(!answer.header("retry-after").is_empty());
                answer.refused(503, "refresh_in_progress");
            }
            None => lost += 1,
        }
    }
    (fresh, lost)
}

fn asked_once(with_redis: bool) {
    let scene = Scene::start(with_redis);
    seed(&scene.cluster.client(0), PATH, -10).expect(201);
    scene.issuer.delay(TOKEN, Duration::from_secs(1));
    assert_eq!(judge(scene.read(), "a1"), (READERS, 0));
    assert_eq!(scene.issuer.posted(TOKEN).len(), 1);
    // A provider that takes longer than anybody waits: those who wait are told to come again, and find it done.
    seed_again(&scene, 1);
    scene.issuer.delay(TOKEN, Duration::from_secs(8));
    let (fresh, lost) = judge(scene.read(), "a2");
    assert!(fresh >= 1 && lost == 0, "{fresh}");
    assert_eq!(judge(scene.read(), "a2"), (READERS, 0));
    assert_eq!(scene.issuer.posted(TOKEN).len(), 2);
}

fn seed_again(scene: &Scene, given: usize) {
    let body = json!({"access_token": "old", "refresh_token": format!("r{given}"), "access_expires_at": super::at(-10)});
    super::put(&scene.cluster.client(0), PATH, &body).expect(200);
}

#[test]
fn of_64_readers_on_three_nodes_one_asks_the_provider() {
    asked_once(true);
}

#[test]
fn of_64_readers_on_three_nodes_one_asks_the_provider_without_redis() {
    asked_once(false);
}

/// The node that has asked is killed before it hears: the others are told to come again, and the lease keeps them from asking twice.
#[test]
fn a_node_that_is_killed_in_the_middle_of_a_refresh_leaves_a_clean_503() {
    let mut scene = Scene::start(false);
    seed(&scene.cluster.client(0), PATH, -10).expect(201);
    scene.issuer.delay(TOKEN, Duration::from_secs(4));
    let pid = scene.cluster.nodes[0].pid();
    let first = scene.cluster.client(0);
    let (answers, killed) = std::thread::scope(|scope| {
        let refreshing = scope.spawn(move || first.try_send("GET", PATH, None, &[]));
        let asked = || (scene.issuer.posted(TOKEN).len() == 1).then_some(());
        process::until(Duration::from_secs(10), asked).expect("a question to the provider");
        let killer = scope.spawn(move || {
            process::pause(Duration::from_secs(1));
            let kill = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            assert!(kill.unwrap().success());
            Instant::now()
        });
        let answers = scene.read();
        assert!(refreshing.join().unwrap().is_none());
        (answers, killer.join().unwrap())
    });
    let (fresh, lost) = judge(answers, "none");
    assert!(fresh == 0 && lost <= READERS / NODES + 1, "{fresh} {lost}");
    assert_eq!(scene.issuer.posted(TOKEN).len(), 1);
    // The pair that it was given is lost with it; who reads once the lease is over is told to log in, or is refreshed by a provider that takes
    // the old token once more.
    scene.cluster.nodes[0].restart();
    scene.issuer.delay(TOKEN, Duration::ZERO);
    let over = || {
        let answer = scene.cluster.client(1).get(PATH);
        (answer.status != 503).then_some(answer)
    };
    let answer = process::until(Duration::from_secs(40), over).expect("an answer");
    answer.refused(409, "reauth_required");
    assert!(killed.elapsed() < Duration::from_secs(40), "{:?}", killed.elapsed());
    assert_eq!(scene.issuer.posted(TOKEN).len(), 2);
    scene.cluster.client(2).get(PATH).refused(404, "not_found");
}

/// Whoever was late, and has lost their lease to another one: of what was given for the same tokens the first is stored, and nothing that comes
/// after it writes over it or deletes it.
#[test]
fn of_what_was_given_for_the_same_tokens_the_first_is_stored() {
    let scene = Scene::start(false);
    let says = |text: Option<&str>, delay: u64| {
        let given =
            text.map(|text| json!({"access_token": text, "refresh_token": text, "expires_in": 3_600}));
        let refused = || Reply::Raw(400, "", br#"{"error":"invalid_grant"}"#.to_vec());
        scene.issuer.reply(TOKEN, given.map_or_else(refused, Reply::Json));
        scene.issuer.delay(TOKEN, Duration::from_secs(delay));
    };
    let asked = |times: usize| {
        let done = || (scene.issuer.posted(TOKEN).len() == times).then_some(());
        process::until(Duration::from_secs(10), done).expect("a question to the provider");
    };
    // The second answer comes after, then before the first one; then it is no.
    for (round, late, (newer, after), kept) in
        [(0, 5, (Some("newer"), 9), "late"), (2, 6, (Some("newer"), 1), "newer"), (4, 4, (None, 7), "late")]
    {
        seed(&scene.cluster.client(0), PATH, -10);
        let version = scene.cluster.postgres.psql("SELECT version FROM auth_tokens");
        says(Some("late"), late);
        let clients = [scene.cluster.client(0), scene.cluster.client(1)];
        std::thread::scope(|scope| {
            let first = scope.spawn(|| clients[0].get(PATH));
            asked(round + 1);
            // As if it had slept for so long.
            let _none = scene.cluster.postgres.psql("UPDATE refresh_leases SET held_until = 0");
            says(newer, after);
            let second = scope.spawn(|| clients[1].get(PATH));
            asked(round + 2);
            assert_eq!(second.join().unwrap().expect(200)["access_token"], kept);
            let first = first.join().unwrap();
            assert!(first.status == 503 || first.json()["access_token"] == kept, "{}", first.text);
        });
        process::pause(Duration::from_secs(1));
        let read = scene.cluster.client(2).get(PATH).expect(200);
        let version = version.trim().parse::<u64>().unwrap();
        assert_eq!((&read["access_token"], &read["version"]), (&json!(kept), &json!(version + 1)));
    }
    // Whoever takes over a lease that nobody has ended gives the one before a moment.
    seed(&scene.cluster.client(0), PATH, -10);
    says(Some("late"), 1);
    let clients = [scene.cluster.client(0), scene.cluster.client(1)];
    std::thread::scope(|scope| {
        let first = scope.spawn(|| clients[0].get(PATH));
        asked(7);
        let _none = scene.cluster.postgres.psql("UPDATE refresh_leases SET held_until = 1");
        assert_eq!(clients[1].get(PATH).expect(200)["access_token"], "late");
        assert_eq!(first.join().unwrap().expect(200)["access_token"], "late");
    });
    assert_eq!(scene.issuer.posted(TOKEN).len(), 7);
}
