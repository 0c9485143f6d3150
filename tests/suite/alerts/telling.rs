//! Who is told of alerts, really: webhooks that are signed, chats, receivers that are away, refuse or hang, nodes that die in the middle.

use std::time::Duration;

use claviger_tests::{Client, Cluster, Node, process};
use serde_json::{Value, json};

use super::{
    LONG, in_state,
    keeping::{SOON, ending},
    sink::{HANG, SECRET, Sink},
};

/// A channel that is a webhook.
fn hook(sink: &Sink, path: &str) -> Value {
    json!({"type": "webhook", "url": sink.url(path), "secret": SECRET})
}

fn with<'a>(channels: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut environment = SOON.to_vec();
    environment.push(("CLAVIGER_CHANNELS", channels));
    environment.extend_from_slice(more);
    environment
}

fn delete(client: &Client, id: &str) {
    client.send("DELETE", &format!("/v1/api-keys/{id}"), None, &[]).expect(204);
}

/// What is known of deliveries over a channel, newest first.
fn deliveries(client: &Client, channel: &str) -> Vec<Value> {
    let all = client.get("/v1/alerts/deliveries?limit=1000").expect(200);
    all["items"].as_array().unwrap().iter().filter(|one| one["channel"] == channel).cloned().collect()
}

#[track_caller]
fn delivered(client: &Client, channel: &str, kind: &str, state: &str) -> Value {
    let found =
        || deliveries(client, channel).into_iter().find(|one| one["kind"] == kind && one["state"] == state);
    process::until(LONG, found).unwrap_or_else(|| panic!("{:?}", deliveries(client, channel)))
}

/// Three nodes see it, and each channel is told once of its beginning and once of its end, beside one that hangs.
#[test]
fn each_channel_is_told_once_and_none_waits_for_another() {
    let (sink, chat, deaf) = (Sink::start(), Sink::start(), Sink::start());
    deaf.answer(HANG);
    let channels = json!({
        "ops": hook(&sink, "/hook?a=b"),
        "deaf": hook(&deaf, "/"),
        "chat": {"type": "slack", "url": chat.url("/services/T0/B0/secret")},
        "worst": {"type": "webhook", "url": sink.url("/worst"), "secret": SECRET, "least": "critical"},
    });
    let channels = channels.to_string();
    let cluster = Cluster::start(3, &with(&channels, &[]));
    let client = cluster.client(0);
    let (id, subject) = ending(&client);
    let alert = in_state(&client, ("key_expiry", &subject), "open");
    let raised = sink.wait("alert.raised", 1);
    let told = raised[0].json();
    assert!(raised[0].is_signed() && raised[0].path == "/hook?a=b", "{raised:?}");
    assert_eq!((&told["data"]["alert"], &told["data"]["subject"]), (&alert["id"], &json!(subject)));
    assert!(told["data"]["runbook_url"].as_str().unwrap().ends_with("#key-expiry"), "{told}");
    let said = chat.wait("", 1)[0].json()["text"].as_str().unwrap().to_owned();
    assert!(said.starts_with("[warning] key_expiry (api_key "), "{said}");
    delete(&client, &id);
    let cleared = sink.wait("alert.cleared", 1);
    assert!(cleared[0].is_signed() && cleared[0].json()["data"]["cleared_at"].is_string(), "{cleared:?}");
    chat.wait("", 2);
    process::pause(Duration::from_secs(3));
    let count = |sink: &Sink| sink.posted("").len();
    assert_eq!((count(&sink), count(&chat)), (2, 2));
    let done = delivered(&client, "ops", "raised", "done");
    assert_eq!((&done["attempts"], &done["about"]), (&json!(1), &alert["id"]));
    // The one that hangs is tried again, and known as such.
    let late = || {
        let late = deliveries(&client, "deaf");
        late.iter().find(|one| one["last_error"].is_string()).cloned()
    };
    let late = process::until(LONG, late).expect("it took too long");
    assert_eq!((&late["state"], &late["next_at"].is_string()), (&json!("pending"), &true), "{late}");
    // Where it goes is in no log.
    for node in &cluster.nodes {
        assert!(!node.log().contains("/services/T0") && !node.log().contains("whsec_"));
    }
}

/// A receiver that is away for a while gets it in the end; one that is gone for good is a dead letter.
#[test]
fn what_is_refused_is_tried_again_or_given_up() {
    let (away, gone) = (Sink::start(), Sink::start());
    away.answer(503);
    gone.answer(410);
    let channels = json!({"away": hook(&away, "/"), "gone": hook(&gone, "/")}).to_string();
    let node = Node::with(&with(&channels, &[]));
    let client = node.client();
    let (id, subject) = ending(&client);
    in_state(&client, ("key_expiry", &subject), "open");
    let first = away.wait("alert.raised", 1);
    let dead = delivered(&client, "gone", "raised", "dead");
    assert!(dead["last_error"].as_str().unwrap().contains("410"), "{dead}");
    let listed = client.get("/v1/alerts/deliveries?state=dead").expect(200);
    assert_eq!(listed["items"], json!([dead]));
    // Its end comes while the beginning is not told: they come in order.
    delete(&client, &id);
    in_state(&client, ("key_expiry", &subject), "cleared");
    away.answer(204);
    away.wait("alert.cleared", 1);
    let order: Vec<Value> = away.posted("").iter().map(|posted| posted.json()["type"].clone()).collect();
    let (end, beginnings) = order.split_last().unwrap();
    assert!(end == "alert.cleared" && beginnings.iter().all(|kind| kind == "alert.raised"), "{order:?}");
    // The same message, with the same id, so that whoever got it twice knows.
    let ids = |sink: &Sink| -> std::collections::BTreeSet<String> {
        sink.posted("alert.raised").iter().map(|posted| posted.headers["webhook-id"].clone()).collect()
    };
    assert_eq!((ids(&away).len(), ids(&away).contains(&first[0].headers["webhook-id"])), (1, true));
    // Who was never told of the beginning does not hear of the end.
    delivered(&client, "gone", "cleared", "dropped");
    client.get("/v1/alerts/deliveries?state=lost").refused(400, "invalid_request");
}

/// Whoever has mended a receiver has what was given up told again, once, its end after its beginning.
#[test]
fn a_dead_letter_is_told_again() {
    let sink = Sink::start();
    sink.answer(410);
    let channels = json!({"ops": hook(&sink, "/")}).to_string();
    let cluster = Cluster::start(2, &with(&channels, &[]));
    let client = cluster.client(0);
    let (id, subject) = ending(&client);
    let dead = delivered(&client, "ops", "raised", "dead");
    delete(&client, &id);
    in_state(&client, ("key_expiry", &subject), "cleared");
    let dropped = delivered(&client, "ops", "cleared", "dropped");
    let path = |one: &Value| format!("/v1/alerts/deliveries/{}/retry", one["id"].as_str().unwrap());
    let retry = |node: usize, one: &Value| cluster.client(node).send("POST", &path(one), None, &[]);
    retry(0, &dropped).refused(409, "key_state_conflict");
    retry(0, &json!({"id": "00000000-0000-7000-8000-000000000000"})).refused(404, "not_found");
    retry(0, &json!({"id": "x"})).refused(404, "not_found");
    // It still does not want it.
    let again = retry(1, &dead).expect(200);
    assert_eq!((&again["id"], &again["channel"]), (&dead["id"], &json!("ops")), "{again}");
    sink.wait("alert.raised", 2);
    let is_dead = || (delivered(&client, "ops", "raised", "dead")["attempts"] == 1).then_some(());
    process::until(LONG, is_dead).expect("it is given up again");
    delivered(&client, "ops", "cleared", "dropped");
    sink.answer(200);
    std::thread::scope(|scope| {
        let retry = &retry;
        let dead = &dead;
        for node in 0..2 {
            scope.spawn(move || retry(node, dead).expect(200));
        }
    });
    let done = delivered(&client, "ops", "raised", "done");
    sink.wait("alert.cleared", 1);
    delivered(&client, "ops", "cleared", "done");
    assert_eq!(retry(0, &done).expect(200), done);
    let ids: std::collections::BTreeSet<String> =
        sink.posted("alert.raised").iter().map(|posted| posted.headers["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), sink.posted("").len()), (1, 4));
    let records = client.get("/v1/audit?event=alert_told_again").expect(200)["items"].clone();
    assert_eq!(records.as_array().unwrap().len(), 2, "{records}");
    assert_eq!((&records[0]["delivery"], &records[0]["about"]), (&done["id"], &done["about"]));
}

/// The node that tells dies while the receiver hangs: another one tells.
#[test]
fn a_node_that_dies_in_the_middle_leaves_it_to_another() {
    let sink = Sink::start();
    sink.answer(HANG);
    let channels = json!({"ops": hook(&sink, "/")}).to_string();
    let mut cluster = Cluster::start(2, &with(&channels, &[]));
    let (_, subject) = ending(&cluster.client(0));
    in_state(&cluster.client(0), ("key_expiry", &subject), "open");
    sink.wait("alert.raised", 1);
    let holder = cluster.postgres.psql("SELECT holder FROM alert_deliveries");
    let victim = usize::from(holder.starts_with("node-1"));
    cluster.nodes[victim].kill9();
    sink.answer(200);
    delivered(&cluster.client(1 - victim), "ops", "raised", "done");
    let told = sink.posted("alert.raised");
    assert!(told.len() >= 2 && told[0].headers["webhook-id"] == told[1].headers["webhook-id"], "{told:?}");
}

/// What is kept quiet is raised and told to nobody, until the silence ends.
#[test]
fn a_silence_keeps_quiet_and_its_end_tells() {
    let sink = Sink::start();
    let channels = json!({"ops": hook(&sink, "/")}).to_string();
    let node = Node::with(&with(&channels, &[("CLAVIGER_ALERTS__ESCALATE_AFTER", "1s")]));
    let client = node.client();
    let make = |body: Value| client.post("/v1/alerts/silences", &body);
    let silence = make(json!({"rule": "key_expiry", "for": "1h", "reason": "renewal"})).expect(201);
    for wrong in [
        json!({"rule": "no_rule", "for": "1h", "reason": "x"}),
        json!({"for": "31d", "reason": "x"}),
        json!({"for": "0s", "reason": "x"}),
        json!({"for": "1h", "reason": " "}),
        json!({"for": "1h"}),
    ] {
        make(wrong).refused(400, "invalid_request");
    }
    let (id, subject) = ending(&client);
    let alert = in_state(&client, ("key_expiry", &subject), "open");
    let quiet = || {
        let alert = client.get(&format!("/v1/alerts/{}", alert["id"].as_str().unwrap())).expect(200);
        (alert["silenced_until"] == silence["until"]).then_some(alert)
    };
    process::until(LONG, quiet).expect("it is shown as kept quiet");
    process::pause(Duration::from_secs(4));
    assert!(sink.posted("").is_empty());
    // One that begins and ends in silence is told to nobody, ever.
    delete(&client, &id);
    in_state(&client, ("key_expiry", &subject), "cleared");
    let (id, other) = ending(&client);
    in_state(&client, ("key_expiry", &other), "open");
    let path = format!("/v1/alerts/silences/{}", silence["id"].as_str().unwrap());
    client.send("DELETE", &path, None, &[]).expect(204);
    client.send("DELETE", &path, None, &[]).refused(404, "not_found");
    assert_eq!(client.get("/v1/alerts/silences").expect(200)["items"], json!([]));
    let told = sink.wait("alert.raised", 1);
    assert_eq!(told[0].json()["data"]["subject"], json!(other));
    delete(&client, &id);
    sink.wait("alert.cleared", 1);
    process::pause(Duration::from_secs(2));
    let subjects: Vec<Value> =
        sink.posted("").iter().map(|one| one.json()["data"]["subject"].clone()).collect();
    assert!(subjects.iter().all(|subject| *subject == json!(other)), "{subjects:?}");
    for event in ["alert_silenced", "alert_silence_ended"] {
        let records = client.get(&format!("/v1/audit?event={event}&outcome=ok")).expect(200);
        assert_eq!(records["items"].as_array().unwrap().len(), 1, "{event}");
    }
}

/// What nobody takes up is told to others too, once; what somebody has is not.
#[test]
fn what_nobody_takes_up_is_escalated_once() {
    let (sink, boss) = (Sink::start(), Sink::start());
    let mut above = hook(&boss, "/");
    above["escalations_only"] = json!(true);
    let channels = json!({"ops": hook(&sink, "/"), "boss": above}).to_string();
    let cluster = Cluster::start(2, &with(&channels, &[("CLAVIGER_ALERTS__ESCALATE_AFTER", "6s")]));
    let client = cluster.client(1);
    let (taken, subject) = ending(&client);
    let alert = in_state(&client, ("key_expiry", &subject), "open");
    client.post(&format!("/v1/alerts/{}/ack", alert["id"].as_str().unwrap()), &json!({})).expect(200);
    let (id, left) = ending(&client);
    in_state(&client, ("key_expiry", &left), "open");
    let escalated = boss.wait("alert.escalated", 1);
    assert_eq!(escalated[0].json()["data"]["subject"], json!(left));
    sink.wait("alert.escalated", 1);
    process::pause(Duration::from_secs(3));
    assert_eq!((boss.posted("").len(), sink.posted("alert.escalated").len()), (1, 1));
    delete(&client, &id);
    delete(&client, &taken);
    let cleared = boss.wait("alert.cleared", 1);
    assert_eq!(cleared[0].json()["data"]["subject"], json!(left));
    sink.wait("alert.cleared", 2);
    assert_eq!(boss.posted("").len(), 2);
}

/// The playbook of an incident tells people over the same channels.
#[test]
fn an_incident_is_told() {
    let sink = Sink::start();
    let channels = json!({"ops": hook(&sink, "/")}).to_string();
    let node = Node::with(&with(&channels, &[]));
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "leaked", "type": "es256"})).expect(201);
    let incident = client.post("/v1/incidents", &json!({"key": "leaked", "reason": "drill"})).expect(201);
    let told = sink.wait("incident.notice", 1);
    assert!(told[0].is_signed());
    assert_eq!(told[0].json()["data"]["incident"], incident["id"]);
    let steps = || {
        let incident = client.get(&format!("/v1/incidents/{}", incident["id"].as_str().unwrap())).expect(200);
        let steps = incident["steps"].as_array().unwrap().clone();
        steps.into_iter().find(|step| step["step"] == "notify" && step["state"] == "done")
    };
    let step = process::until(LONG, steps).expect("it is told");
    assert_eq!(step["outcome"]["channels"], 1);
}

/// The command says what the API says.
#[test]
fn the_command_line() {
    let gone = Sink::start();
    gone.answer(410);
    let channels = json!({"gone": hook(&gone, "/")}).to_string();
    let node = Node::with(&with(&channels, &[]));
    let client = node.client();
    let (_, subject) = ending(&client);
    let alert = in_state(&client, ("key_expiry", &subject), "open");
    let id = alert["id"].as_str().unwrap();
    let run = |arguments: &[&str]| -> Value {
        let mut command = std::process::Command::new(claviger_tests::node::binary());
        command.arg("alerts").args(arguments).args(["--url", &format!("http://{}", node.address())]);
        let output = command.env("CLAVIGER_TOKEN", claviger_tests::node::TOKEN).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).unwrap() }
    };
    assert_eq!(run(&["list", "--state", "open"])["items"][0]["id"], json!(id));
    assert_eq!(run(&["ack", id, "--comment", "mine"])["comment"], "mine");
    assert_eq!(run(&["show", id])["comment"], "mine");
    let silence = run(&["silence", "--rule", "key_expiry", "--for", "1h", "--reason", "renewal"]);
    assert_eq!(run(&["silences"])["items"][0]["id"], silence["id"]);
    assert_eq!(run(&["unsilence", silence["id"].as_str().unwrap()]), Value::Null);
    let dead = delivered(&client, "gone", "raised", "dead");
    assert_eq!(run(&["deliveries", "--state", "dead"])["items"], json!([dead]));
    gone.answer(200);
    assert_eq!(run(&["retry", dead["id"].as_str().unwrap()])["id"], dead["id"]);
    delivered(&client, "gone", "raised", "done");
}

/// The database is gone: every node says by itself that it is cut off, and that it is back.
#[test]
fn nodes_that_are_cut_off_tell_without_the_database() {
    let sink = Sink::start();
    let channels = json!({"ops": hook(&sink, "/")}).to_string();
    let cluster = Cluster::start(2, &with(&channels, &[("CLAVIGER_CLUSTER__MAX_STALENESS", "16s")]));
    cluster.postgres.stop();
    let told = sink.wait("alert.raised", 2);
    let about = |told: &[super::sink::Posted]| {
        let mut subjects: Vec<String> =
            told.iter().map(|one| one.json()["data"]["subject"].as_str().unwrap().to_owned()).collect();
        subjects.sort();
        subjects
    };
    assert!(told.iter().all(|one| one.is_signed() && one.json()["data"]["name"] == "staleness"), "{told:?}");
    assert_eq!(about(&told), ["node-0", "node-1"]);
    cluster.postgres.resume();
    let told = sink.wait("alert.cleared", 2);
    assert_eq!(about(&told), ["node-0", "node-1"]);
}
