//! A real OpenID provider as the issuer (npm `oidc-provider`), installed once at the versions that stand beside it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use claviger_tests::node;
use serde_json::json;

use super::issuers::{trusting, until_status};
use crate::python::run;

struct Provider {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    fn start() -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/issuer");
        let home = node::binary().parent().unwrap().join("interop/issuer");
        std::fs::create_dir_all(&home).unwrap();
        for file in ["package.json", "package-lock.json", "provider.mjs"] {
            std::fs::copy(from.join(file), home.join(file)).unwrap();
        }
        run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&home));
        let mut command = Command::new("node");
        command.arg("provider.mjs").current_dir(&home).stdin(Stdio::piped()).stdout(Stdio::piped());
        // It warns of each thing that is for development.
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut provider = Self { child, input, output: BufReader::new(output), issuer: String::new() };
        provider.issuer = provider.line();
        assert!(provider.issuer.starts_with("http://127.0.0.1:"), "{}", provider.issuer);
        provider
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// A token under the key of an algorithm, once keys of these are published.
    fn token(&mut self, published: &str, algorithm: &str) -> String {
        writeln!(self.input, "{published} {algorithm}").unwrap();
        let token = self.line();
        assert_eq!(token.matches('.').count(), 2, "{token}");
        token
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn tokens_of_a_real_provider_are_credentials_while_it_changes_its_keys() {
    let mut provider = Provider::start();
    let node = trusting(&provider.issuer, json!({"roles": {"job": ["verifier"]}}));
    let bearer = |token: &str| node.client().with_token(Some(token));
    let first = provider.token("RS256", "RS256");
    bearer(&first).get("/v1/keys").expect(200);
    // Its scope is a word.
    bearer(&first).get("/v1/policies").refused(403, "forbidden");
    for (published, algorithm) in [("RS256,ES256", "ES256"), ("RS256,PS256", "PS256"), ("EdDSA", "EdDSA")] {
        until_status(&bearer(&provider.token(published, algorithm)), 200);
    }
    bearer(&first).get("/v1/keys").refused(401, "unauthorized");
}
