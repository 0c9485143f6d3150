//! The chart, linted and rendered by Helm.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use claviger_tests::node;
use serde_json::{Value, json};

use super::{python, read, variables};

const CHART: &str = "helm/claviger";

/// What Helm and Kubernetes' schemas say to each set of values.
fn rendered(values: &[Value]) -> Vec<Value> {
    let input = serde_json::to_string(values).unwrap();
    let answers = python(&["tests/suite/shipping/chart.py", CHART], &input);
    answers.as_array().unwrap().clone()
}

/// The least that PostgreSQL needs.
fn least() -> Value {
    json!({"secrets": {"existing": "keys"}, "tls": {"existingSecret": "certificate"}})
}

/// `least` with more on it, member by member.
fn with(more: &Value) -> Value {
    let mut values = least();
    merge(&mut values, more);
    values
}

fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            more.iter().for_each(|(name, more)| merge(values.entry(name).or_insert(Value::Null), more));
        }
        (values, more) => *values = more.clone(),
    }
}

/// Everything that can be turned on, one at a time.
fn options() -> Vec<Value> {
    let secrets = json!({"masterKey": "m".repeat(32), "bootstrapToken": "t".repeat(16),
        "databaseUrl": "postgres://c@db/c?sslmode=verify-full", "redisUrl": "rediss://redis:6379", "migrationUrl": "postgres://o@db/c?sslmode=verify-full"});
    let peer = json!([{"podSelector": {"matchLabels": {"app": "prometheus"}}}]);
    let egress =
        json!([{"ports": [{"port": 5432, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]);
    vec![
        json!({"secrets": {"source": "values", "values": secrets, "migrationUrl": true}, "redis": {"enabled": true}}),
        json!({"secrets": {"source": "external", "external": {"store": "vault", "remoteKey": "claviger"}}}),
        json!({"secrets": {"bootstrapToken": false}, "fullnameOverride": "kms", "issuer": "https://keys.example.org"}),
        json!({"tls": {"existingSecret": ""}, "certManager": {"enabled": true, "issuer": "ca", "dnsNames": ["keys.example.org"]}}),
        json!({"tls": {"caConfigMap": "ca", "clientCaConfigMap": "clients"}}),
        json!({"tls": {"enabled": false, "existingSecret": ""}}),
        json!({"persistence": {"enabled": false}, "audit": {"requiredSinks": ["stdout", "otlp+https://collector:4318"], "fsync": true}}),
        json!({"autoscaling": {"enabled": true, "minReplicas": 2}}),
        json!({"replicas": 1}),
        json!({"networkPolicy": {"clients": peer, "monitoring": peer, "egress": egress}}),
        json!({"networkPolicy": {"enabled": false}, "migrations": {"enabled": false}}),
        json!({"ingress": {"enabled": true, "host": "keys.example.org", "tlsSecret": "public", "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "600"}}}),
        json!({"gateway": {"enabled": true, "name": "edge", "namespace": "edge", "host": "keys.example.org"}}),
        json!({"serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}}}),
        json!({"prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}}),
        json!({"backup": {"enabled": true, "recipient": "age1qqqq", "existingClaim": "backups"}}),
        json!({"settings": {"CLAVIGER_METRICS__KEYS": "50"}, "image": {"pullSecrets": ["registry"], "digest": format!("sha256:{}", "0".repeat(64))}}),
        channels(),
        json!({"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high", "podAnnotations": {"a": "b"}, "persistence": {"storageClass": "fast"}}),
    ]
}

/// Each kind of channel; what is secret is in a Secret.
fn channels() -> Value {
    let mail = json!({"type": "email", "host": "mail.example.org", "tls": "starttls", "username": "us", "from": "us@example.org", "to": "ops@example.org"});
    json!({"alerts": {
        "channels": {
            "ops.hook": {"type": "webhook", "url": "https://ops.example.org:8443/claviger"},
            "chat": {"type": "slack"},
            "mail": mail,
            "boss": {"type": "sms", "url": "https://sms.example.org/send", "body": "{\"text\": \"{text}\"}", "least": "critical", "escalations_only": true},
        },
        "existingSecret": "channels",
        "secretKeys": ["ops.hook.secret", "chat.url", "mail.password", "boss.authorization"],
    }})
}

/// The development values, each option by itself, and each two of them together.
fn matrix() -> Vec<Value> {
    let options = options();
    let mut values = vec![json!("dev"), least()];
    for (number, one) in options.iter().enumerate() {
        values.push(with(one));
        for other in options.get(number + 1..).unwrap_or_default() {
            let mut both = with(one);
            merge(&mut both, other);
            // One certificate is enough, and none is none.
            let is_clear = both["tls"]["enabled"] == false;
            if !(is_clear
                && (both["certManager"]["enabled"] == true || both["tls"]["clientCaConfigMap"].is_string()))
            {
                values.push(both);
            }
        }
    }
    values
}

fn of_kind<'a>(answer: &'a Value, kinds: &[&str]) -> Vec<&'a Value> {
    let documents = answer["documents"].as_array().unwrap();
    documents.iter().filter(|document| kinds.contains(&document["kind"].as_str().unwrap())).collect()
}

/// The pods of everything that makes some.
fn pods(answer: &Value) -> Vec<&Value> {
    let owners = of_kind(answer, &["Deployment", "StatefulSet", "Job", "CronJob"]);
    let spec = |owner: &'static str| move |document: &&Value| document["kind"] == owner;
    let (cron, others): (Vec<&Value>, Vec<&Value>) = owners.into_iter().partition(spec("CronJob"));
    let cron = cron.into_iter().map(|document| &document["spec"]["jobTemplate"]["spec"]["template"]["spec"]);
    others.into_iter().map(|document| &document["spec"]["template"]["spec"]).chain(cron).collect()
}

#[test]
fn every_combination_renders_is_valid_and_restricted() {
    let variables = variables();
    let matrix = matrix();
    assert!(matrix.len() > 150, "{}", matrix.len());
    for (values, answer) in matrix.iter().zip(rendered(&matrix)) {
        assert_eq!(answer["error"], Value::Null, "{values}");
        assert_eq!((&answer["lint"], &answer["invalid"]), (&json!([]), &json!([])), "{values}");
        let pods = pods(&answer);
        assert!(!pods.is_empty(), "{values}");
        for pod in pods {
            restricted(pod);
            for entry in pod["containers"][0]["env"].as_array().unwrap() {
                let name = entry["name"].as_str().unwrap();
                let is_channel = name.starts_with("CLAVIGER_CHANNELS__") && name.ends_with("_FILE");
                assert!(variables.contains(name) || is_channel || name == "POD_NAME", "{name} is no setting");
            }
        }
        // No secret stands anywhere but in a Secret.
        for document in answer["documents"].as_array().unwrap().iter().filter(|it| it["kind"] != "Secret") {
            let text = document.to_string();
            assert!(!text.contains(&"m".repeat(32)) && !text.contains(&"t".repeat(16)), "{text}");
        }
    }
}

/// What the development values give a node is enough for it.
#[test]
fn a_node_of_the_development_values_starts() {
    starts(&rendered(&[json!("dev")])[0], tempfile::tempdir().unwrap());
}

/// A node takes the channels as the chart gives them, with what is secret from files; a policy with egress rules lets it reach them and no more.
#[test]
fn a_node_with_channels_starts_and_reaches_them() {
    let mut values = json!({
        "replicas": 1, "database": {"kind": "sqlite"}, "secrets": {"source": "generated"}, "tls": {"enabled": false},
    });
    merge(&mut values, &channels());
    let peers = json!([{"ipBlock": {"cidr": "203.0.113.0/24"}}]);
    let egress = json!([{"ports": [{"port": 5432, "protocol": "TCP"}]}]);
    let mut narrow = with(&channels());
    merge(&mut narrow, &json!({"networkPolicy": {"egress": egress, "channels": peers}}));
    let answers = rendered(&[values, narrow, with(&json!({"networkPolicy": {"egress": egress}}))]);
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("ops.hook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("chat.url", "https://chat.example.org/services/T0/B0/x"),
        ("mail.password", "p"),
        ("boss.authorization", "Bearer b"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    starts(&answers[0], folder);
    let rules =
        |answer: &Value| of_kind(answer, &["NetworkPolicy"])[0]["spec"]["egress"].as_array().unwrap().clone();
    let ports = [443, 587, 8443].map(|port| json!({"port": port, "protocol": "TCP"}));
    assert_eq!(rules(&answers[0]), [json!({})]);
    assert_eq!(rules(&answers[1])[2], json!({"ports": ports, "to": peers}));
    assert_eq!(rules(&answers[2]).len(), 2);
    let pod = &of_kind(&answers[1], &["StatefulSet"])[0]["spec"]["template"]["spec"];
    let items: Vec<&str> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|volume| volume["secret"]["secretName"] == "channels")
        .flat_map(|volume| volume["secret"]["items"].as_array().unwrap())
        .map(|item| item["path"].as_str().unwrap())
        .collect();
    assert_eq!(items, ["ops.hook.secret", "chat.url", "mail.password", "boss.authorization"]);
}

/// A node with the environment that the chart gives it, volumes in a folder.
#[track_caller]
fn starts(answer: &Value, folder: tempfile::TempDir) {
    let here = folder.path().display().to_string();
    let container = &of_kind(answer, &["StatefulSet"])[0]["spec"]["template"]["spec"]["containers"][0];
    let mut environment = vec![("POD_NAME".to_owned(), "claviger-0".to_owned())];
    for entry in container["env"].as_array().unwrap() {
        if let Some(value) = entry["value"].as_str() {
            let value = value.replace("/var/lib/claviger", &here).replace("/run/secrets/channels", &here);
            let value = value.replace(":7420", ":0").replace(":7421", ":0");
            environment.push((entry["name"].as_str().unwrap().to_owned(), value));
        }
    }
    let mut child = Command::new(node::binary())
        .args(container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()))
        .current_dir(folder.path())
        .env_clear()
        .envs(environment)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listening = lines.find(|line| line.contains("\"listening\""));
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(listening.is_some(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Pod security standard `restricted`, and a root file system that can't be written.
fn restricted(pod: &Value) {
    let (security, container) = (&pod["securityContext"], &pod["containers"][0]["securityContext"]);
    assert_eq!((&security["runAsUser"], &security["runAsNonRoot"]), (&json!(65532), &json!(true)));
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["privileged"], false);
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(
        (&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    assert!(pod["containers"][0]["resources"]["limits"]["memory"].is_string());
    for name in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[name].is_null(), "{name}");
    }
}

#[test]
fn a_node_is_probed_drained_and_spread() {
    let answers = rendered(&[
        least(),
        with(&json!({"persistence": {"enabled": false}, "audit": {"requiredSinks": ["stdout"]}})),
        with(&json!({"replicas": 2})),
        with(&json!({"replicas": 1})),
        json!("dev"),
    ]);
    let stateful = of_kind(&answers[0], &["StatefulSet"])[0];
    let pod = &stateful["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "internal"}));
    }
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 5);
    assert_eq!(pod["terminationGracePeriodSeconds"], 40);
    assert_eq!(pod["topologySpreadConstraints"].as_array().unwrap().len(), 2);
    assert_eq!(stateful["spec"]["volumeClaimTemplates"].as_array().unwrap().len(), 1);
    let budget = |answer: &Value| {
        of_kind(answer, &["PodDisruptionBudget"]).first().map(|it| it["spec"]["minAvailable"].clone())
    };
    assert_eq!(budget(&answers[0]), Some(json!(2)));
    assert_eq!(budget(&answers[2]), Some(json!(1)));
    assert_eq!(budget(&answers[3]), None);
    let job = of_kind(&answers[0], &["Job"])[0];
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"], json!(["migrate"]));
    // Whoever has no volume is told what that costs.
    assert_eq!(of_kind(&answers[1], &["Deployment"]).len(), 1);
    assert!(answers[1]["notes"].as_str().unwrap().contains("a pod takes its audit log with it"));
    assert!(!answers[0]["notes"].as_str().unwrap().contains("audit log"));
    assert!(of_kind(&answers[4], &["Job", "PodDisruptionBudget"]).is_empty());
}

#[test]
fn doors_let_sessions_last() {
    let answers = rendered(&[
        with(&json!({"ingress": {"enabled": true, "host": "h", "tlsSecret": "s"}})),
        with(&json!({"gateway": {"enabled": true, "name": "g", "host": "h"}})),
        with(&json!({"prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}})),
    ]);
    let annotations = &of_kind(&answers[0], &["Ingress"])[0]["metadata"]["annotations"];
    assert_eq!(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"], "3600");
    assert_eq!(annotations["nginx.ingress.kubernetes.io/backend-protocol"], "HTTPS");
    assert_eq!(of_kind(&answers[1], &["HTTPRoute"])[0]["spec"]["rules"][0]["timeouts"]["request"], "0s");
    // What Prometheus and Grafana are given is what the tests of metrics judge.
    let rules = &of_kind(&answers[2], &["PrometheusRule"])[0]["spec"]["groups"][0]["rules"];
    let alerts = read("helm/claviger/alerts/claviger.rules.yaml").matches("- alert:").count();
    assert_eq!(rules.as_array().unwrap().len(), alerts);
    let shown = of_kind(&answers[2], &["ConfigMap"])[0]["data"]["claviger.json"].as_str().unwrap();
    assert_eq!(shown, read("helm/claviger/dashboards/claviger.json"));
}

#[test]
fn what_can_not_work_is_refused_with_a_sentence() {
    let sqlite = json!({"database": {"kind": "sqlite"}, "replicas": 1});
    let and = |more: Value| {
        let mut values = with(&sqlite);
        merge(&mut values, &more);
        values
    };
    let cases = [
        (with(&json!({"database": {"kind": "sqlite"}})), "SQLite serves one node"),
        (and(json!({"autoscaling": {"enabled": true}})), "SQLite serves one node"),
        (and(json!({"persistence": {"enabled": false}})), "SQLite without persistence loses every key"),
        (and(json!({"backup": {"enabled": true}})), "The backup job needs PostgreSQL"),
        (
            and(json!({"secrets": {"source": "generated"}, "redis": {"enabled": true}})),
            "redis.enabled needs a Secret",
        ),
        (with(&json!({"secrets": {"existing": ""}})), "There is no seal secret"),
        (with(&json!({"secrets": {"source": "generated"}})), "There is no seal secret"),
        (with(&json!({"secrets": {"source": "values"}})), "There is no seal secret"),
        (with(&json!({"secrets": {"source": "external"}})), "secrets.external.store"),
        (with(&json!({"tls": {"existingSecret": ""}})), "TLS has no certificate"),
        (
            with(&json!({"tls": {"enabled": false}, "certManager": {"enabled": true}})),
            "mean nothing without it",
        ),
        (with(&json!({"certManager": {"enabled": true}})), "certManager.issuer is missing"),
        (with(&json!({"persistence": {"enabled": false}})), "put stdout into audit.requiredSinks"),
        (with(&json!({"autoscaling": {"enabled": true, "minReplicas": 9, "maxReplicas": 3}})), "exceeds"),
        (with(&json!({"ingress": {"enabled": true}})), "ingress.host is missing"),
        (with(&json!({"ingress": {"enabled": true, "host": "h"}})), "The Ingress has no certificate"),
        (with(&json!({"gateway": {"enabled": true}})), "gateway.name and gateway.host"),
        (with(&json!({"backup": {"enabled": true}})), "backup.recipient and backup.existingClaim"),
        (with(&json!({"settings": {"CLAVIGER_SEAL__MASTER_KEY": "x"}})), "the chart has a value of its own"),
        (
            with(&json!({"alerts": {"channels": {"ops": {"type": "slack"}}, "secretKeys": ["ops.url"]}})),
            "alerts.existingSecret is missing",
        ),
        (
            with(&json!({"alerts": {"existingSecret": "s", "secretKeys": ["ops.url"]}})),
            "ops.url is of a channel that is not in alerts.channels",
        ),
        (
            with(&json!({"settings": {"CLAVIGER_CHANNELS__OPS__URL": "https://x"}})),
            "channels belong into alerts.channels",
        ),
        // By the schema.
        (
            with(&json!({"alerts": {"channels": {"ops": {"type": "webhook", "secret": "whsec_x"}}}})),
            "additional properties 'secret' not allowed",
        ),
        (with(&json!({"alerts": {"secretKeys": ["ops.type"]}})), "/alerts/secretKeys/0"),
        (with(&json!({"replica": 3})), "additional properties 'replica' not allowed"),
        (with(&json!({"tls": {"enable": true}})), "additional properties 'enable' not allowed"),
        (with(&json!({"replicas": "3"})), "want integer"),
        (with(&json!({"replicas": 0})), "/replicas"),
        (with(&json!({"database": {"kind": "mysql"}})), "/database/kind"),
        (with(&json!({"service": {"type": "External"}})), "/service/type"),
        (with(&json!({"audit": {"requiredSinks": ["syslog"]}})), "/audit/requiredSinks/0"),
        (with(&json!({"issuer": "http://keys.example.org"})), "/issuer"),
        (with(&json!({"settings": {"PATH": "x"}})), "'PATH' does not match pattern"),
        (with(&json!({"image": {"repository": null}})), "repository"),
    ];
    let values: Vec<Value> = cases.iter().map(|(values, _)| values.clone()).collect();
    for ((values, sentence), answer) in cases.iter().zip(rendered(&values)) {
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{values} was rendered"));
        assert!(error.contains(sentence), "{values}: {error}");
    }
}

/// `make chart-docs` keeps the table of values.
#[test]
fn the_table_of_values_is_that_of_the_values() {
    let script = "import json, subprocess, sys; print(json.dumps(subprocess.check_output([sys.executable, *sys.argv[1:]], text=True)))";
    let made = python(&["-c", script, "helm/scripts/values_readme.py", "helm/claviger/values.yaml"], "");
    assert_eq!(made.as_str().unwrap(), read("helm/claviger/README.md"));
}
