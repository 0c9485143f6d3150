//! An OpenBao server of its own, to compare with: raft storage, a file audit device, the transit engine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Client,
    process::{self, PATIENCE, Port, Server, until},
};

/// A running server in a folder of its own.
#[derive(Debug)]
pub struct OpenBao {
    server: Server,
    address: String,
    /// The root token. One with a policy of its own costs the server twice the processor time, so this is the harder comparison.
    pub token: String,
    _folder: TempDir,
    _ports: (Port, Port),
}

impl OpenBao {
    /// Its program, if `make bench-tools` could install it.
    #[must_use]
    pub fn program() -> Option<PathBuf> {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/bao");
        installed.is_file().then_some(installed)
    }

    /// What it calls itself.
    #[must_use]
    pub fn version(program: &Path) -> String {
        let told = process::run(process::command(program).arg("version"));
        told.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Starts a server with a key of each of these names and types.
    #[must_use]
    pub fn start(program: &Path, keys: &[(&str, &str)]) -> Self {
        let (folder, ports) = (tempfile::tempdir().unwrap(), (Port::free(), Port::free()));
        let file = folder.path().join("bao.hcl");
        fs::create_dir(folder.path().join("raft")).unwrap();
        fs::write(&file, configuration(folder.path(), ports.0.number(), ports.1.number())).unwrap();
        let mut command = process::command(program);
        command.arg("server").arg("-config").arg(&file).env("HOME", folder.path());
        let log = folder.path().join("log");
        let server = Server::spawn(&mut command, &log, folder.path());
        let address = format!("127.0.0.1:{}", ports.0.number());
        let token = set_up(&Client::new(format!("http://{address}"), None), keys).unwrap_or_else(|| {
            panic!("it can't be set up: {}", fs::read_to_string(&log).unwrap_or_default())
        });
        Self { server, address, token, _folder: folder, _ports: ports }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

fn configuration(folder: &Path, port: u16, cluster: u16) -> String {
    let folder = folder.display();
    format!(
        r#"
storage "raft" {{ path = "{folder}/raft" node_id = "n1" }}
listener "tcp" {{ address = "127.0.0.1:{port}" tls_disable = true }}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
audit "file" "main" {{ options {{ file_path = "{folder}/audit.log" }} }}
"#
    )
}

/// Unseals it, makes the keys and answers with the root token.
fn set_up(nobody: &Client, keys: &[(&str, &str)]) -> Option<String> {
    let put = |client: &Client, path: &str, body: Value| {
        client.try_send("PUT", path, Some(body.to_string().into_bytes()), &[])
    };
    // It may be asked before it listens, and before raft has elected it.
    let done = |client: &Client, path: &str, body: &Value| {
        until(PATIENCE, || put(client, path, body.clone()).filter(|answer| answer.status < 300))
    };
    let init = done(nobody, "/v1/sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}))?.json();
    done(nobody, "/v1/sys/unseal", &json!({"key": init["keys_base64"][0]}))?;
    let root = nobody.with_token(init["root_token"].as_str());
    done(&root, "/v1/sys/mounts/transit", &json!({"type": "transit"}))?;
    for (name, kind) in keys {
        done(&root, &format!("/v1/transit/keys/{name}"), &json!({ "type": kind }))?;
    }
    init["root_token"].as_str().map(str::to_owned)
}
