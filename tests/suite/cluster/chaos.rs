//! Load on every node while something is always broken; a checker reads afterwards what clients saw.

#![expect(clippy::print_stderr, reason = "whoever reads a failure needs the order of the faults")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::DateTime;
use claviger_tests::{
    Answer, Client, Cluster, Node, Postgres, Proxy, cluster,
    cluster::at_once,
    history::{self, Change, End, History, Line, Operation, Outage, Outcome, Rule, Version},
    process,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::{Value, json};

const NODES: usize = 3;
const LONG: Duration = Duration::from_secs(60);
const TOKEN_KEYS: [&str; 2] = ["t0", "t1"];
const DATA_KEYS: [&str; 2] = ["d0", "d1"];
/// Things that are checked again and again, of all ages.
const KEPT: usize = 300;
/// The newest are looked at as often as all of these, and so are those whose version was compromised last.
const FRESH: usize = 10;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill(usize),
    Stop(usize),
    DatabaseKilled,
    DatabaseStopped,
    Cut(usize),
    CutAnswers(usize),
    Reset(usize),
    Delay(usize),
}

impl Fault {
    /// Each fault once, in random order, each on a random node.
    fn round(random: &mut StdRng) -> Vec<Self> {
        let mut node = || random.random_range(0..NODES);
        let mut faults = vec![
            Self::Kill(node()),
            Self::Stop(node()),
            Self::DatabaseKilled,
            Self::DatabaseStopped,
            Self::Cut(node()),
            Self::CutAnswers(node()),
            Self::Reset(node()),
            Self::Delay(node()),
        ];
        faults.shuffle(random);
        faults
    }

    /// Whom it is meant to hit.
    fn nodes(self) -> Vec<usize> {
        match self {
            Self::DatabaseKilled | Self::DatabaseStopped => (0..NODES).collect(),
            Self::Kill(node)
            | Self::Stop(node)
            | Self::Cut(node)
            | Self::CutAnswers(node)
            | Self::Reset(node)
            | Self::Delay(node) => vec![node],
        }
    }
}

/// Everything that can be broken.
struct Deployment {
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
    postgres: Postgres,
}

impl Deployment {
    fn start() -> Self {
        let postgres = Postgres::start();
        let proxies: Vec<Proxy> = (0..NODES).map(|_| Proxy::to(postgres.address())).collect();
        let environment = [("CLAVIGER_CLUSTER__MAX_STALENESS", "3s")];
        let nodes = at_once(NODES, |node| {
            cluster::settled_node(&postgres.url_via(proxies[node].port()), node, &environment)
        });
        Self { nodes, proxies, postgres }
    }

    fn suffer(&mut self, fault: Fault, held: Duration) {
        match fault {
            Fault::Kill(node) => {
                self.nodes[node].kill9();
                process::pause(held);
                self.nodes[node].restart();
            }
            Fault::Stop(node) => {
                self.nodes[node].stop();
                process::pause(held);
                self.nodes[node].resume();
            }
            Fault::DatabaseKilled => {
                self.postgres.kill();
                process::pause(held);
                self.postgres.restart();
            }
            Fault::DatabaseStopped => {
                self.postgres.stop();
                process::pause(held);
                self.postgres.resume();
            }
            Fault::Cut(node) => self.broken(node, Proxy::cut, held),
            Fault::CutAnswers(node) => self.broken(node, Proxy::cut_answers, held),
            Fault::Reset(node) => self.broken(node, Proxy::reset, held),
            Fault::Delay(node) => {
                self.proxies[node].delay(Duration::from_millis(100));
                process::pause(held);
                self.proxies[node].delay(Duration::ZERO);
            }
        }
    }

    fn broken(&self, node: usize, how: fn(&Proxy), held: Duration) {
        how(&self.proxies[node]);
        process::pause(held);
        self.proxies[node].heal();
    }

    /// What is left when all is quiet.
    fn end(&self) -> End {
        let view = |node: &Node| {
            let keys = node.client().get("/v1/keys?limit=1000");
            format!("{} {}", keys.header("x-claviger-epoch"), keys.text)
        };
        let mut views = Vec::new();
        // Two polls are enough; if they are not, the checker says so.
        let _agreed = process::until(Duration::from_secs(5), || {
            views = self.nodes.iter().map(view).collect();
            views.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        });
        let versions = self.rows(
            "SELECT name, version, kid, state FROM key_versions JOIN keys ON keys.id = key_id \
             WHERE name NOT LIKE '~%' ORDER BY name, version",
        );
        let versions = versions.iter().map(|row| Version {
            key: row[0].clone(),
            version: row[1].parse().unwrap(),
            kid: row[2].clone(),
            state: row[3].clone(),
        });
        let log = self.rows(
            "SELECT epoch, kind, key_name, version, previous_version FROM changes WHERE kind IN \
             ('key.created', 'key.rotated', 'key.compromised') ORDER BY epoch, ordinal",
        );
        let log = log.iter().map(|row| Line {
            epoch: row[0].parse().unwrap(),
            kind: row[1].clone(),
            key: row[2].clone(),
            version: row[3].parse().unwrap(),
            previous: row[4].parse().ok(),
        });
        End { versions: versions.collect(), log: log.collect(), views }
    }

    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let text = self.postgres.psql(sql);
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }
}

/// Something that a node has made, to be accepted by every node.
#[derive(Clone)]
struct Made {
    kid: String,
    /// The key of a ciphertext; a token names its own.
    key: Option<&'static str>,
    text: String,
}

/// What the clients of all nodes share.
struct Load<'a> {
    history: &'a History,
    clients: Vec<Client>,
    /// The newest are at the back.
    made: Mutex<VecDeque<Made>>,
    /// What compromised versions have made; the newest are at the back.
    suspects: Mutex<VecDeque<Made>>,
    /// Versions that were primaries a moment ago, or still are.
    rotated: Mutex<VecDeque<(String, u64, String)>>,
    done: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The outcome of a request, by what a success says.
fn outcome(answer: Option<Answer>, success: impl FnOnce(&Value) -> Outcome) -> Outcome {
    match answer {
        None => Outcome::Silence,
        Some(answer) if answer.status < 300 => success(&answer.json()),
        // What the server itself refuses, before the service has seen it, has no body.
        Some(answer) => {
            let code = if answer.text.is_empty() { String::new() } else { word(&answer.json()["code"]) };
            Outcome::Refused { status: answer.status, code }
        }
    }
}

fn changed(answer: &Value) -> Outcome {
    let names = answer["acknowledged_by"].as_array().into_iter().flatten();
    let effective_by = DateTime::parse_from_rfc3339(answer["effective_by"].as_str().unwrap()).unwrap();
    Outcome::Changed(Change {
        version: answer["version"].as_u64().unwrap(),
        kid: word(&answer["kid"]),
        acknowledged_by: names.map(word).collect(),
        effective_by: effective_by.timestamp_micros(),
    })
}

impl Load<'_> {
    /// Makes and checks on one node until it is over.
    fn uses(&self, node: usize, mut random: StdRng) {
        while !self.done.load(Ordering::Relaxed) {
            let outcome = match random.random_range(0..12) {
                0 => self.issue(node, TOKEN_KEYS[random.random_range(0..2)], &mut random),
                1 => self.encrypt(node, DATA_KEYS[random.random_range(0..2)], &mut random),
                _ => {
                    let Some(made) = self.pick(&mut random) else { continue };
                    self.check(node, &made)
                }
            };
            self.rest(&outcome, Duration::from_millis(2));
        }
    }

    /// Changes keys on one node until it is over.
    fn changes(&self, node: usize, mut random: StdRng) {
        while !self.done.load(Ordering::Relaxed) {
            let outcome = match random.random_range(0..20) {
                0 => self.create(node, format!("n{:016x}", random.random::<u64>())),
                1..6 => {
                    let Some(version) = locked(&self.rotated).pop_front() else { continue };
                    self.compromise(node, version)
                }
                _ => {
                    let keys = if random.random() { TOKEN_KEYS } else { DATA_KEYS };
                    self.rotate(node, keys[random.random_range(0..2)], random.random())
                }
            };
            self.rest(&outcome, Duration::from_millis(random.random_range(50..300)));
        }
    }

    /// A node that answers nothing is not asked in a tight loop.
    fn rest(&self, outcome: &Outcome, pause: Duration) {
        let is_off = matches!(outcome, Outcome::Silence | Outcome::Refused { .. });
        process::pause(if is_off { pause.max(Duration::from_millis(50)) } else { pause });
    }

    fn issue(&self, node: usize, key: &'static str, random: &mut StdRng) -> Outcome {
        // They outlive the test.
        let body = json!({"key": key, "subject": "s", "expires_in": "2h"});
        let mut text = String::new();
        let outcome = self.history.note(node, Operation::Make { key: key.to_owned() }, || {
            outcome(self.clients[node].try_post("/v1/tokens", &body), |answer| {
                text = word(&answer["token"]);
                Outcome::Made { kid: word(&answer["kid"]) }
            })
        });
        self.keep(&outcome, None, text, random);
        outcome
    }

    fn encrypt(&self, node: usize, key: &'static str, random: &mut StdRng) -> Outcome {
        let path = format!("/v1/keys/{key}/encrypt");
        let mut text = String::new();
        let outcome = self.history.note(node, Operation::Make { key: key.to_owned() }, || {
            outcome(self.clients[node].try_post(&path, &json!({"plaintext": "aGVsbG8="})), |answer| {
                text = word(&answer["ciphertext"]);
                Outcome::Made { kid: word(&answer["kid"]) }
            })
        });
        self.keep(&outcome, Some(key), text, random);
        outcome
    }

    fn keep(&self, outcome: &Outcome, key: Option<&'static str>, text: String, random: &mut StdRng) {
        let Outcome::Made { kid } = outcome else { return };
        let mut made = locked(&self.made);
        made.push_back(Made { kid: kid.clone(), key, text });
        if made.len() > KEPT {
            // Any, so that some of those that stay are old.
            let one = random.random_range(0..made.len());
            made.remove(one);
        }
    }

    fn pick(&self, random: &mut StdRng) -> Option<Made> {
        let of = |made: &VecDeque<Made>, first: usize, random: &mut StdRng| {
            (first < made.len()).then(|| made[random.random_range(first..made.len())].clone())
        };
        let made = locked(&self.made);
        match random.random_range(0..3) {
            0 => of(&made, made.len().saturating_sub(FRESH), random),
            1 => of(&made, 0, random),
            _ => of(&locked(&self.suspects), 0, random),
        }
    }

    fn check(&self, node: usize, made: &Made) -> Outcome {
        let client = &self.clients[node];
        self.history.note(node, Operation::Check { kid: made.kid.clone() }, || {
            let Some(key) = made.key else {
                let answer = client.try_post("/v1/tokens/verify", &json!({"token": made.text}));
                return outcome(answer, |answer| Outcome::Verdict {
                    good: answer["valid"] == true && answer["kid"] == made.kid.as_str(),
                    code: word(&answer["code"]),
                });
            };
            let path = format!("/v1/keys/{key}/decrypt");
            let answer = client.try_post(&path, &json!({"ciphertext": made.text}));
            let opened = outcome(answer, |answer| Outcome::Verdict {
                good: answer["plaintext"] == "aGVsbG8=",
                code: String::new(),
            });
            // Here a *no* is a status.
            if let Outcome::Refused { status: 400 | 409, code } = &opened {
                return Outcome::Verdict { good: false, code: code.clone() };
            }
            opened
        })
    }

    fn create(&self, node: usize, key: String) -> Outcome {
        let body = json!({"name": key, "type": "aes256-gcm"});
        self.history.note(node, Operation::Create { key }, || {
            outcome(self.clients[node].try_post("/v1/keys", &body), |answer| {
                let versions = answer["versions"].as_array().unwrap();
                let first = versions.iter().find(|version| version["version"] == 1).unwrap();
                Outcome::Changed(Change { version: 1, kid: word(&first["kid"]), ..Change::default() })
            })
        })
    }

    fn rotate(&self, node: usize, key: &str, strong: bool) -> Outcome {
        let consistency = if strong { "strong" } else { "eventual" };
        let body = json!({"force": true, "reason": "drill", "consistency": consistency});
        let path = format!("/v1/keys/{key}/rotate");
        let outcome = self.history.note(node, Operation::Rotate { key: key.to_owned() }, || {
            outcome(self.clients[node].try_post(&path, &body), changed)
        });
        if let Outcome::Changed(change) = &outcome {
            let mut rotated = locked(&self.rotated);
            rotated.push_back((key.to_owned(), change.version, change.kid.clone()));
            if rotated.len() > FRESH {
                rotated.pop_front();
            }
        }
        outcome
    }

    fn compromise(&self, node: usize, (key, version, kid): (String, u64, String)) -> Outcome {
        // What it made is looked at often from now on: before, while and after the nodes learn of it.
        let theirs: Vec<Made> =
            locked(&self.made).iter().filter(|made| made.kid == kid).take(3).cloned().collect();
        let mut suspects = locked(&self.suspects);
        suspects.extend(theirs.iter().cloned());
        let excess = suspects.len().saturating_sub(FRESH);
        suspects.drain(..excess);
        drop(suspects);
        let path = format!("/v1/keys/{key}/versions/{version}/compromise");
        let operation = Operation::Compromise { key, version, kid: kid.clone() };
        let outcome = self.history.note(node, operation, || {
            outcome(self.clients[node].try_post(&path, &json!({"reason": "drill"})), changed)
        });
        // At once on those that have acknowledged it, and on the others when they have been given up.
        if let (Some(one), Outcome::Changed(change)) = (theirs.last(), &outcome) {
            let others = (0..NODES).map(|other| (node + other) % NODES);
            let (told, lagging): (Vec<usize>, Vec<usize>) =
                others.partition(|other| change.acknowledged_by.contains(&format!("node-{other}")));
            told.into_iter().for_each(|other| drop(self.check(other, one)));
            if !lagging.is_empty() {
                let rest = u64::try_from(change.effective_by - self.history.now()).unwrap_or_default();
                process::pause(Duration::from_micros(rest + 1_000));
            }
            lagging.into_iter().for_each(|other| drop(self.check(other, one)));
        }
        outcome
    }
}

/// How often each kind of answer came, by node; printed, so that a failure can be read.
fn counted(events: &[history::Event], outages: &[Outage]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        let operation = format!("{:?}", event.operation);
        let operation = operation.split(' ').next().unwrap();
        let outcome = match &event.outcome {
            Outcome::Silence => "silence".to_owned(),
            Outcome::Refused { status, code } => format!("{status} {code}"),
            Outcome::Made { .. } | Outcome::Changed(_) | Outcome::Verdict { good: true, .. } => {
                "ok".to_owned()
            }
            Outcome::Verdict { code, .. } => format!("no, {code}"),
        };
        let took = (event.end - event.start) / 1_000;
        let is_well = !outages.iter().any(|outage| outage.hits(event));
        if is_well && history::is_not_now(&event.outcome) {
            *counts
                .entry(format!("{operation}: {outcome} (from a node that nothing was done to)"))
                .or_default() += 1;
        }
        *counts.entry(format!("{operation}: {outcome}")).or_default() += 1;
        if is_well {
            let slowest = format!("{operation}: slowest of a node that nothing was done to, ms");
            let slowest = counts.entry(slowest).or_default();
            *slowest = usize::try_from(took).unwrap().max(*slowest);
        }
    }
    counts
}

/// It serves, and not only because what the fault kept it from learning is not yet old enough.
fn is_well(client: &Client, undone: Instant) -> bool {
    let answer = |path| client.try_send("GET", path, None, &[]).filter(|answer| answer.status == 200);
    let heard = || answer("/v1/cluster")?.json()["confirmed_ms_ago"].as_u64();
    answer("/readyz").is_some() && heard().is_some_and(|age| u128::from(age) < undone.elapsed().as_millis())
}

/// Breaks one thing after the other; every one is well again before the next.
fn break_things(deployment: &mut Deployment, load: &Load<'_>, random: &mut StdRng) -> Vec<Outage> {
    let is_full = std::env::var_os("TEST_FULL").is_some();
    let (held, total) = if is_full { (20, 300) } else { (5, 30) };
    let (began, mut outages) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(total) {
        for fault in Fault::round(random) {
            let start = load.history.now();
            deployment.suffer(fault, Duration::from_secs(held));
            let undone = Instant::now();
            for (node, client) in load.clients.iter().enumerate() {
                process::until(LONG, || is_well(client, undone).then_some(()))
                    .unwrap_or_else(|| panic!("node-{node} is not ready after {fault:?}"));
            }
            let stopped = matches!(fault, Fault::Stop(_));
            let outage = Outage { start, end: load.history.now(), nodes: fault.nodes(), stopped };
            let lasted = (outage.end - outage.start) / 1_000;
            eprintln!("{fault:?}: {lasted} ms, from {start} to {}", outage.end);
            outages.push(outage);
        }
    }
    outages
}

/// P1 to P4: whatever is broken, nothing good is refused, nothing revoked is used, and no change is lost or happens twice.
#[test]
fn p3_no_fault_makes_a_token_fail() {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("CHAOS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut deployment = Deployment::start();
    let history = History::default();
    let load = Load {
        history: &history,
        clients: deployment.nodes.iter().map(Node::client).collect(),
        made: Mutex::default(),
        suspects: Mutex::default(),
        rotated: Mutex::default(),
        done: AtomicBool::new(false),
    };
    for (keys, kind) in [(TOKEN_KEYS, "es256"), (DATA_KEYS, "aes256-gcm")] {
        for key in keys {
            load.clients[0].post("/v1/keys", &json!({"name": key, "type": kind})).expect(201);
        }
    }
    let outages = thread::scope(|scope| {
        // Ends the clients however this ends: a scope waits for its threads before it goes on panicking.
        let _done = Done(&load.done);
        for node in 0..NODES {
            let (uses, load) = (StdRng::seed_from_u64(random.random()), &load);
            scope.spawn(move || load.uses(node, uses));
            // A strong change waits for a second while a node is away.
            for _ in 0..2 {
                let changes = StdRng::seed_from_u64(random.random());
                scope.spawn(move || load.changes(node, changes));
            }
        }
        break_things(&mut deployment, &load, &mut random)
    });
    let (events, end) = (history.events(), deployment.end());
    let counts = counted(&events, &outages);
    eprintln!("{counts:#?}");
    let violations = history::check(&events, &outages, &end);
    let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let said = || -> Vec<String> {
        let of_node = |node: &Node| {
            let log = node.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("INFO")).collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        deployment.nodes.iter().map(of_node).collect()
    };
    assert!(
        all.is_empty(),
        "CHAOS_SEED={seed}: {} violations\n{}\n{}",
        all.len(),
        all.join("\n"),
        said().join("\n\n")
    );
    // A history in which nothing happened would be a good one too.
    let count = |what: &str| counts.get(what).copied().unwrap_or_default();
    assert!(count("Check: ok") > 1_000 && count("Make: ok") > 100, "{counts:?}");
    assert!(count("Rotate: ok") > 50 && count("Compromise: ok") > 5 && count("Create: ok") > 0, "{counts:?}");
    assert!(count("Check: no, key_not_usable") + count("Check: no, key_state_conflict") > 10, "{counts:?}");
    assert!(count("Check: 503 stale_node") > 10 && count("Check: silence") > 0, "{counts:?}");
}

/// P4: `effective_by` of a strong answer is no earlier than the moment at which the last node has stopped.
#[test]
fn p4_a_strong_answer_names_no_moment_too_early() {
    let cluster = Cluster::start(NODES, &[]);
    let history = History::default();
    for round in 0..5 {
        let load = Load {
            history: &history,
            clients: (0..NODES).map(|node| cluster.client(node)).collect(),
            made: Mutex::default(),
            suspects: Mutex::default(),
            rotated: Mutex::default(),
            done: AtomicBool::new(false),
        };
        let key = format!("k{round}");
        load.clients[0].post("/v1/keys", &json!({"name": key, "type": "es256"})).expect(201);
        let token = load.clients[0].post("/v1/tokens", &json!({"key": key, "subject": "s"})).expect(201);
        let (kid, text) = (word(&token["kid"]), word(&token["token"]));
        let made = Made { kid: kid.clone(), key: None, text };
        // All know the key before, or they would learn of its end by asking for it.
        (0..NODES).for_each(|node| drop(load.check(node, &made)));
        thread::scope(|scope| {
            let _done = Done(&load.done);
            for node in 0..NODES {
                let (load, made) = (&load, &made);
                scope.spawn(move || {
                    while !load.done.load(Ordering::Relaxed) {
                        load.check(node, made);
                    }
                });
            }
            let outcome = load.compromise(0, (key, 1, kid));
            assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
        });
    }
    let violations = history::check(&history.events(), &[], &End::default());
    // What was acknowledged is looked at elsewhere.
    let found: Vec<String> =
        violations.iter().filter(|violation| violation.rule != Rule::Lost).map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} violations, the first is {}", found.len(), found[0]);
}

/// Says that it is over.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
