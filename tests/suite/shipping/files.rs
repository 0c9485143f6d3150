//! Dockerfile, compose and workflows, held against rules.

use std::process::Command;

use serde_json::{Value, json};

use super::{python, read, root, variables};

fn yaml(path: &str) -> Value {
    // Texts stay texts, `on` too; `<<` merges.
    let script = "
import json, sys, yaml
class Loader(yaml.SafeLoader): pass
of = yaml.SafeLoader.yaml_implicit_resolvers
Loader.yaml_implicit_resolvers = {at: [it for it in all if it[0].endswith(':merge')] for at, all in of.items()}
json.dump(yaml.load(sys.stdin, Loader), sys.stdout)";
    python(&["-c", script], &read(path))
}

/// Instructions with their arguments, continued lines joined.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

#[test]
fn the_image_is_small_and_nobody_is_root_in_it() {
    let instructions = instructions(&read("Dockerfile"));
    let all = |name: &str| -> Vec<&str> {
        instructions.iter().filter(|(it, _)| it == name).map(|(_, rest)| rest.as_str()).collect()
    };
    let bases = all("FROM");
    assert_eq!(bases.len(), 2);
    for base in &bases {
        let image = base.split(' ').next().unwrap();
        let (_, tag) = image.rsplit_once(':').expect("a tag");
        assert_ne!(tag, "latest");
    }
    assert!(bases[1].contains("distroless") && bases[1].ends_with(":nonroot"), "{bases:?}");
    let last = instructions.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let ends = &instructions[last..];
    assert!(ends.iter().all(|(name, _)| name != "RUN" && name != "ADD" && name != "SHELL"), "{ends:?}");
    assert_eq!(all("USER"), ["65532:65532"]);
    assert!(
        all("RUN")
            .iter()
            .all(|run| !run.contains("curl") && !run.contains("sudo") && !run.contains("apt-get"))
    );
    assert!(all("RUN").iter().any(|run| run.contains("cargo build --release --locked --bin claviger")));
    let health = all("HEALTHCHECK");
    assert_eq!(health.len(), 1);
    for part in ["--interval=30s", "--timeout=10s", "--retries=3", "\"healthcheck\""] {
        assert!(health[0].contains(part), "{part}: {}", health[0]);
    }
    // No shell: everything is run as a list.
    assert_eq!(all("ENTRYPOINT"), ["[\"/usr/local/bin/claviger\"]"]);
    assert_eq!(all("CMD"), ["[\"serve\"]"]);
    let variables = variables();
    for entry in all("ENV") {
        assert!(variables.contains(entry.split('=').next().unwrap()), "{entry} is no setting");
    }
    // What the build reads is sent to it, and nothing else: no data, no secrets.
    let ignored = read(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    assert!(ignored.contains("\n**/target\n"));
    // The toolchain of the image is the one that the workspace asks for.
    let rust =
        read("Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = ").map(str::to_owned));
    let rust = rust.unwrap();
    assert!(bases[0].starts_with(&format!("rust:{}-", rust.trim_matches('"'))), "{bases:?} {rust}");
}

#[test]
fn compose_gives_nobody_more_than_they_need() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().unwrap();
    let secrets = compose["secrets"].as_object().unwrap();
    let variables = variables();
    let mut users = Vec::new();
    for (name, service) in services {
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["read_only"], "true", "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["privileged"].is_null() && service["network_mode"].is_null(), "{name}");
        let user = service["user"].as_str().unwrap();
        assert!(user != "root" && !user.starts_with('0'), "{name}");
        assert!(!service["image"].as_str().unwrap().ends_with(":latest"), "{name}");
        for secret in service["secrets"].as_array().unwrap() {
            assert!(secrets.contains_key(secret.as_str().unwrap()), "{name} {secret}");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            assert!(
                !variable.starts_with("CLAVIGER") || variables.contains(variable),
                "{variable} is no setting"
            );
            let is_secret = ["PASSWORD", "MASTER_KEY", "TOKEN", "URL"].iter().any(|it| variable.contains(it));
            let is_allowed =
                !is_secret || variable.ends_with("_FILE") || variable.starts_with("CLAVIGER_TOKENS__");
            assert!(is_allowed, "{variable} is in the environment itself");
            if let Some(secret) = value.as_str().unwrap().strip_prefix("/run/secrets/") {
                assert!(service["secrets"].as_array().unwrap().contains(&json!(secret)), "{name} {secret}");
            }
        }
        if name.starts_with("claviger") {
            assert_eq!(service["ulimits"], json!({"nproc": "64", "nofile": "4096"}), "{name}");
            assert!(service["ports"][0].as_str().unwrap().starts_with("127.0.0.1:"), "{name}");
            users.push(user.to_owned());
        } else {
            assert!(service["ports"].is_null() && service["healthcheck"].is_object(), "{name}");
        }
    }
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 3, "a limit of processes is a user's, so each node needs one of its own");
    // The script makes what is asked for.
    let script = read("compose/secrets.sh");
    for (name, secret) in secrets {
        assert_eq!(secret["file"], format!("compose/secrets/{name}"));
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        assert!(script.contains(stem), "{name}");
    }
}

#[test]
fn workflows_may_read_and_call_the_targets_of_the_makefile() {
    let makefile = read("Makefile");
    let mut is_weekly = false;
    for entry in root().join(".github/workflows").read_dir().unwrap() {
        let path = format!(".github/workflows/{}", entry.unwrap().file_name().to_str().unwrap());
        let workflow = yaml(&path);
        assert_eq!(workflow["permissions"], json!({"contents": "read"}), "{path}");
        is_weekly |= workflow["on"]["schedule"][0]["cron"].is_string();
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["permissions"].is_null() && job["timeout-minutes"].is_string(), "{path} {name}");
            for step in job["steps"].as_array().unwrap() {
                if let Some(run) = step["run"].as_str() {
                    let (_, rest) = run.split_once("make ").unwrap_or_else(|| panic!("{path}: {run}"));
                    let target = rest.split(' ').next().unwrap();
                    assert!(
                        makefile.contains(&format!("\n{target}: ")),
                        "{path}: there is no target {target}"
                    );
                } else {
                    assert!(step["uses"].as_str().unwrap().starts_with("actions/"), "{path}");
                    assert_eq!(step["with"]["persist-credentials"], "false", "{path}");
                }
            }
        }
    }
    assert!(is_weekly);
}

/// What the security model says is attacked is attacked by tests of these names.
#[test]
fn the_security_model_names_tests_that_there_are() {
    let listed = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let model = read("docs/security.md");
    let rows = model.lines().skip_while(|line| !line.starts_with("|---|---|---|")).skip(1);
    let mut named = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(tests.iter().any(|test| test.starts_with(name)), "no test is named {name}…");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}
