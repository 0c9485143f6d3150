//! `claviger audit verify`: the audit log of a node, offline.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use claviger_actors::audit::verify::{self, Chain, Report, Trust};
use serde_json::{Value, json};

use super::super::{
    configuration::File,
    failure::Failure,
    input, output,
    progress::{Progress, Unit},
};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Folder of the log; that of the configuration unless named.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    file: File,
    /// File with the key that the log must be signed with: a JWK, a JWKS, or an Ed25519 public key in base64url; may be repeated.
    #[arg(long = "public-key", value_name = "FILE")]
    public_keys: Vec<PathBuf>,
    /// File with checkpoints that were kept elsewhere, one a line, which the log must hold.
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let (directory, trust) = self.inputs().map_err(Failure::unusable)?;
        let mut progress = Progress::of("verified", Unit::Bytes);
        let report = verify::verify(&directory, &trust, |done, total| progress.show(None, done, total));
        progress.end();
        let report = report.map_err(|error| {
            Failure::Unusable(format!("the audit log in {} can't be read ({error})", directory.display()))
        })?;
        if report.chains.is_empty() && report.is_whole() {
            return Err(Failure::Unusable(format!("there is no audit log in {}", directory.display())));
        }
        if self.json {
            output::json(&in_json(&report))?;
        } else {
            output::bytes(in_words(&report).as_bytes())?;
        }
        Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn inputs(&self) -> Result<(PathBuf, Trust), Failure> {
        let mut trust = Trust::default();
        for path in &self.public_keys {
            let text = input::text_file("--public-key", path)?;
            let pinned = trust.pin(&text);
            pinned.map_err(|error| Failure::Local(format!("--public-key names a file that is {error}")))?;
        }
        if let Some(path) = &self.anchors {
            let text = input::text_file("--anchors", path)?;
            trust.anchors_in(&text).map_err(|error| Failure::Local(format!("--anchors: {error}")))?;
        }
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => self.file.settings()?.audit.dir,
        };
        Ok((directory, trust))
    }
}

fn in_json(report: &Report) -> Value {
    json!({
        "whole": report.is_whole(),
        "first_bad": report.bad.first(),
        "bad": report.bad,
        "notes": report.notes,
        "chains": report.chains,
        "keys_pinned": report.pinned,
        "anchors": report.anchors,
    })
}

/// A report for people: chains, notes, and in the end the verdict.
fn in_words(report: &Report) -> String {
    let mut lines: Vec<String> = report.chains.iter().map(of_chain).collect();
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    let verify::Anchors { held, pruned, elsewhere } = report.anchors;
    if held + pruned + elsewhere > 0 {
        lines.push(format!(
            "checkpoints kept elsewhere: {held} are in the log, {pruned} were removed with their segments, {elsewhere} are of other chains"
        ));
    }
    lines.push(if report.pinned {
        "keys: every segment is signed with one of those given".to_owned()
    } else {
        "keys: taken from the log itself, not pinned; give --public-key to hold them against what you know"
            .to_owned()
    });
    match report.bad.split_first() {
        None => lines.push("the audit log is whole".to_owned()),
        Some((first, others)) => {
            lines.push("the audit log is NOT whole".to_owned());
            lines.push(format!("first bad record: {first}"));
            lines.extend(others.iter().map(|other| format!("also: {other}")));
        }
    }
    lines.join("\n") + "\n"
}

fn of_chain(chain: &Chain) -> String {
    let Chain { segments, records, .. } = chain;
    let number = |seq: Option<u64>| seq.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
    let at = chain.checkpoint_at.map(|at| format!(" of {}", at.to_rfc3339())).unwrap_or_default();
    format!(
        "chain {} ({}): {segments} segments, {records} records, seq {} to {}, last checkpoint seq {}{at}",
        chain.chain,
        chain.nodes.join(", "),
        number(chain.first_seq),
        number(chain.last_seq),
        number(chain.checkpoint_seq),
    )
}

#[cfg(test)]
mod tests {
    use claviger_actors::audit::verify::Finding;

    use super::*;

    #[test]
    fn a_report_names_the_first_bad_record_and_whose_keys_it_trusts() {
        let finding = |line, what: &str| Finding {
            file: "d/audit.log".to_owned(),
            line,
            seq: line,
            what: what.to_owned(),
        };
        let whole = Report { chains: vec![Chain::default()], ..Report::default() };
        let text = in_words(&whole);
        assert!(text.contains("not pinned") && text.ends_with("\nthe audit log is whole\n"), "{text}");
        assert_eq!(in_json(&whole)["whole"], true);
        let bad = vec![finding(Some(7), "it was changed"), finding(None, "so was this")];
        let broken = Report { bad, pinned: true, ..whole };
        let text = in_words(&broken);
        assert!(
            text.contains("first bad record: d/audit.log:7 (seq 7): it was changed\nalso: d/audit.log: so"),
            "{text}"
        );
        assert!(!text.contains("not pinned"));
        assert_eq!(
            (&in_json(&broken)["whole"], &in_json(&broken)["first_bad"]["line"]),
            (&json!(false), &json!(7))
        );
    }
}
