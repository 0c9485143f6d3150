//! `claviger scan`: credentials that lie about.
//!
//! Files are read as streams of words, so that memory is bounded however long they or their lines are. What looks like a credential of this
//! service is shown to the server, which it was made for; secrets of replaced systems have no looks, so they are known by keyed fingerprints
//! that the server gives, and never leave. What is printed is masked.

mod files;
mod legacy;
mod words;

use std::{
    collections::HashMap,
    io::{self, BufReader, Read},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use claviger_crypto::digest;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::{
    files::{Opened, Skipped},
    legacy::Fingerprints,
    words::{Looks, Words},
};
use super::{body::member, client::Client, failure::Failure, output, target::Target};

/// Candidates of one question to the server.
const BATCH: usize = 200;
/// Different candidates whose answers are remembered.
const REMEMBERED: usize = 100_000;

/// Looks for credentials of this deployment in files, folders and standard input.
#[derive(Debug, Args)]
pub(super) struct Scan {
    /// Files and folders; - is standard input, for `git log -p --all | claviger scan -` and `env | claviger scan -`.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One JSON object with all findings, in place of a line each.
    #[arg(long)]
    json: bool,
    /// Look into files that hold zero bytes too.
    #[arg(long)]
    binary: bool,
    #[command(flatten)]
    target: Target,
}

/// Something that was found, before anybody was asked.
struct Candidate {
    place: Place,
    hash: [u8; 32],
    masked: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    line: u64,
}

/// What has come of it so far.
#[derive(Default)]
struct Found {
    /// Answers by the hash of the candidate.
    known: HashMap<[u8; 32], Value>,
    waiting: Vec<Candidate>,
    asked: Vec<Zeroizing<String>>,
    findings: Vec<Value>,
    files: u64,
    skipped: u64,
    is_live: bool,
}

impl Scan {
    /// Runs the command: exit code 1 when something live was found, 2 when the looking failed.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        self.look().await.map_err(Failure::unusable)
    }

    async fn look(&self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let fingerprints = Fingerprints::read(&client.get(&["v1", "scan"]).await?)?;
        let mut found = Found::default();
        for path in &self.paths {
            if path.as_os_str() == "-" {
                let place = Place { file: "-".to_owned(), line: 1 };
                self.stream(io::stdin().lock(), place, (&client, &fingerprints), &mut found).await?;
                found.files += 1;
                continue;
            }
            for entry in files::walk(path) {
                let path = entry.map_err(|error| Failure::Local(error.to_string()))?;
                match files::open(&path, self.binary) {
                    Ok(Opened::File(file)) => {
                        let place = Place { file: shown(&path.display().to_string()), line: 1 };
                        self.stream(BufReader::new(file), place, (&client, &fingerprints), &mut found)
                            .await?;
                        found.files += 1;
                    }
                    Ok(Opened::Skipped(Skipped::Binary)) => found.skipped += 1,
                    Err(error) => {
                        return Err(Failure::Local(format!(
                            "{} can't be read ({})",
                            shown(&path.display().to_string()),
                            error.kind()
                        )));
                    }
                }
            }
        }
        self.ask(&client, &mut found).await?;
        if self.json {
            let answer =
                json!({ "findings": found.findings, "files": found.files, "skipped": found.skipped });
            output::json(&answer)?;
        }
        Ok(if found.is_live { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn stream(
        &self,
        reader: impl Read,
        place: Place,
        (client, fingerprints): (&Client, &Fingerprints),
        found: &mut Found,
    ) -> Result<(), Failure> {
        let mut words = Words::new(reader, !fingerprints.is_empty());
        while let Some(word) = words.next_word().map_err(|error| Failure::stream(&error))? {
            let place = Place { line: word.line, ..place.clone() };
            match word.looks {
                Looks::Credential => {
                    let text = String::from_utf8_lossy(&word.text).into_owned();
                    let (hash, masked) = (digest::sha256(text.as_bytes()), mask(&text));
                    if !found.known.contains_key(&hash)
                        && !found.waiting.iter().any(|waiting| waiting.hash == hash)
                    {
                        found.asked.push(Zeroizing::new(text));
                    }
                    found.waiting.push(Candidate { place, hash, masked });
                    if found.asked.len() >= BATCH || found.waiting.len() >= BATCH * 10 {
                        self.ask(client, found).await?;
                    }
                }
                Looks::Value => {
                    if let Some(known) = fingerprints.find(&word.text) {
                        let masked = format!("… ({} bytes)", word.text.len());
                        self.tell(found, &place, &masked, &known)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks about what waits, and tells what came of it.
    async fn ask(&self, client: &Client, found: &mut Found) -> Result<(), Failure> {
        let asked = std::mem::take(&mut found.asked);
        if !asked.is_empty() {
            let candidates: Vec<&str> = asked.iter().map(|text| text.as_str()).collect();
            let answer = client.post(&["v1", "scan"], &json!({ "candidates": candidates })).await?;
            let results = answer.get("results").and_then(Value::as_array).cloned().unwrap_or_default();
            if results.len() != asked.len() {
                return Err(Failure::answer("unexpected_answer", "the server did not judge every candidate"));
            }
            if found.known.len() >= REMEMBERED {
                found.known.clear();
            }
            for (text, result) in asked.iter().zip(results) {
                found.known.insert(digest::sha256(text.as_bytes()), result);
            }
        }
        for candidate in std::mem::take(&mut found.waiting) {
            let Some(known) = found.known.get(&candidate.hash).cloned() else { continue };
            if member(&known, "kind").as_str() != Some("unknown") {
                self.tell(found, &candidate.place, &candidate.masked, &known)?;
            }
        }
        Ok(())
    }

    fn tell(&self, found: &mut Found, place: &Place, masked: &str, known: &Value) -> Result<(), Failure> {
        let is_live = member(known, "live").as_bool() == Some(true);
        found.is_live |= is_live;
        let text = |member: &str| known.get(member).and_then(Value::as_str).map(shown);
        if !self.json {
            let live = if is_live { "LIVE" } else { "not live" };
            let kind = text("kind").unwrap_or_default().replace('_', " ");
            let mut line = format!("{}:{}: {kind} {masked}: {live}", place.file, place.line);
            for (before, member) in [(", ", "why"), ("; of ", "name"), ("; key ", "key"), ("; ", "revoke")] {
                if let Some(text) = text(member) {
                    line.push_str(before);
                    line.push_str(&text);
                }
            }
            return output::line(&line);
        }
        let mut finding = known.clone();
        if let Some(members) = finding.as_object_mut() {
            members.insert("file".to_owned(), place.file.clone().into());
            members.insert("line".to_owned(), place.line.into());
            members.insert("masked".to_owned(), masked.into());
        }
        found.findings.push(finding);
        Ok(())
    }
}

/// Enough to find it again, and of no use to anybody else.
fn mask(text: &str) -> String {
    let length = text.len();
    let head = match text.split_once('_') {
        // The id is no secret.
        Some((prefix @ ("clv" | "clvr"), rest)) => {
            let id: String = rest.chars().take(8).collect();
            format!("{prefix}_{id}")
        }
        Some(("clvd", _)) => "clvd_".to_owned(),
        Some(_) | None => text.chars().take(3).collect(),
    };
    format!("{head}… ({length} bytes)")
}

/// Names and answers move no cursor.
fn shown(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let id = "0197f00000000000000000000000abcd";
        for (text, masked) in [
            (format!("clv_{id}_SECRETSECRET"), "clv_0197f000… (49 bytes)"),
            (format!("clvr_{id}_SECRETSECRET"), "clvr_0197f000… (50 bytes)"),
            ("clvd_SECRETSECRET".to_owned(), "clvd_… (17 bytes)"),
            ("eyJhbGciOi.SECRET.SECRET".to_owned(), "eyJ… (24 bytes)"),
            ("clv".to_owned(), "clv… (3 bytes)"),
        ] {
            assert_eq!(mask(&text), masked);
            assert!(!mask(&text).contains("SECRET"));
        }
        assert_eq!(shown("a\u{1b}[2Jb"), "a?[2Jb");
    }
}
