//! Whoever replaces everything, keys and the checkpoint beside the log too, is found by what was kept elsewhere.

use std::fs;

use super::{Bench, Files, OwnKey, Trust, verified};
use crate::audit::{
    about::{self, Anchor, Checkpoint},
    directory,
    line::{self, Line},
};

fn trusting(bench: &Bench) -> Trust {
    let OwnKey(key) = &*bench.key;
    let mut trust = Trust::default();
    trust.pin(&key.jwk.to_string()).unwrap();
    trust
}

fn anchored(anchors: impl IntoIterator<Item = Anchor>) -> Trust {
    let mut trust = Trust::default();
    anchors.into_iter().for_each(|anchor| trust.anchor(anchor));
    trust
}

#[test]
fn a_log_under_another_key_is_found_by_the_pinned_one() {
    let bench = Bench::filled(300);
    let trust = trusting(&bench);
    let report = verified(bench.path(), &trust);
    assert!(report.is_whole() && report.pinned);
    let forged = Bench::filled(300);
    assert!(forged.verify().is_whole());
    let report = verified(forged.path(), &trust);
    assert!(report.bad[0].what.contains("which is none of those given"), "{report:#?}");
    assert_eq!(report.bad[0].line, Some(1));
    // Under the right one first, and under another from some point on.
    let mut bench = Bench::filled(300);
    let trust = trusting(&bench);
    bench.key = Default::default();
    bench.restart();
    bench.append(1);
    assert!(bench.verify().is_whole(), "{:#?}", bench.verify());
    assert!(bench.verify().notes.iter().any(|note| note.what.starts_with("the key changes")));
    assert!(!verified(bench.path(), &trust).is_whole());
    let mut both = trust;
    let OwnKey(key) = &*bench.key;
    both.pin(key.jwk["x"].as_str().unwrap()).unwrap();
    assert!(verified(bench.path(), &both).is_whole());
    // The key has changed, and the segment that names the new one was not begun.
    fs::remove_file(bench.path().join(directory::CURRENT)).unwrap();
    let report = bench.verify();
    assert!(
        report.is_whole() && report.notes.iter().any(|note| note.what.contains("which no segment names yet"))
    );
    assert!(verified(bench.path(), &both).is_whole());
}

#[test]
fn an_older_state_is_found_by_the_checkpoints_kept_elsewhere() {
    let mut bench = Bench::filled(300);
    let older = Files::of(bench.path());
    let first = older.checkpoints();
    bench.append(40);
    bench.checkpoint();
    let all = Files::of(bench.path()).checkpoints();
    assert!(bench.verify().is_whole());
    let report = verified(bench.path(), &anchored(all.clone()));
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(report.anchors.held, all.len() as u64);
    // Nothing in the older state says that it is one.
    assert!(older.verify(&Trust::default()).is_whole());
    assert!(older.verify(&anchored(first)).is_whole());
    let report = older.verify(&anchored(all.clone()));
    assert!(report.bad[0].what.contains("of those given is not in the log"), "{report:#?}");
    let report = older.verify(&anchored(all.last().cloned()));
    assert!(!report.is_whole());
}

#[test]
fn another_line_in_the_place_of_a_checkpoint_is_found() {
    let mut bench = Bench::new(16 << 10);
    bench.append(3);
    bench.checkpoint();
    let start = Files::of(bench.path());
    bench.append(30);
    let known = Files::of(bench.path()).checkpoints();
    // The same service writes another history on from there, with the right key.
    let copy = start.written();
    let mut other = Bench { folder: copy, ..Bench::new(16 << 10) };
    other.key = std::sync::Arc::clone(&bench.key);
    other.restart();
    other.append(29);
    other.append(5);
    other.checkpoint();
    assert!(other.verify().is_whole());
    let report = verified(other.path(), &anchored(known));
    assert!(report.bad[0].what.contains("it is not the checkpoint of those given"), "{report:#?}");
}

#[test]
fn checkpoints_of_removed_segments_and_other_nodes_are_counted() {
    let mut bench = Bench::new(4 << 10);
    for _ in 0..20 {
        bench.append(9);
    }
    let all = Files::of(bench.path()).checkpoints();
    bench.prune(2).into_iter().for_each(|path| fs::remove_file(path).unwrap());
    let elsewhere = Files::of(Bench::filled(300).path()).checkpoints();
    let count = elsewhere.len() as u64;
    let mut trust = anchored(all.iter().cloned().chain(elsewhere));
    let report = verified(bench.path(), &trust);
    assert!(report.is_whole(), "{report:#?}");
    assert!(report.anchors.pruned > 0 && report.anchors.held > 0);
    assert_eq!(report.anchors.pruned + report.anchors.held, all.len() as u64);
    assert_eq!(report.anchors.elsewhere, count);
    trust.require_all();
    assert!(verified(bench.path(), &trust).bad[0].what.contains("is missing, of which a checkpoint"));
}

#[test]
fn keys_and_checkpoints_are_read_in_the_forms_they_have() {
    let bench = Bench::filled(300);
    let OwnKey(key) = &*bench.key;
    let jwk = &key.jwk;
    let jwks = serde_json::json!({ "keys": [jwk] });
    for text in [jwk.to_string(), jwks.to_string(), format!("{}\n", jwk["x"].as_str().unwrap())] {
        let mut trust = Trust::default();
        trust.pin(&text).unwrap();
        assert!(verified(bench.path(), &trust).is_whole());
    }
    for text in [
        "",
        "x",
        "{}",
        "{\"keys\":[]}",
        "{\"keys\":[{}]}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}",
    ] {
        assert!(Trust::default().pin(text).is_err(), "{text}");
    }
    let lines: Vec<_> =
        Files::of(bench.path()).checkpoints().into_iter().map(|anchor| anchor.line + "\n").collect();
    let mut trust = Trust::default();
    trust.anchors_in(&lines.concat()).unwrap();
    assert_eq!(verified(bench.path(), &trust).anchors.held, lines.len() as u64);
    assert_eq!(trust.anchors_in("\n{}\n").unwrap_err().0, 2);
}

#[test]
fn a_key_that_changes_twice_around_a_crash_is_no_damage_and_a_forged_change_is() {
    let mut bench = Bench::new(16 << 10);
    bench.append(3);
    for _ in 0..2 {
        bench.key = Default::default();
        bench.restart();
        bench.append(1);
        // Closed under the new key and not put aside yet.
        let closed = bench.closed().pop().unwrap().path;
        fs::rename(closed, bench.path().join(directory::CURRENT)).unwrap();
    }
    bench.restart();
    bench.append(30);
    let report = bench.verify();
    assert!(report.is_whole(), "{report:#?}");
    assert!(report.notes.iter().any(|note| note.what.ends_with("which no segment names")), "{report:#?}");
    // The checkpoint that closes a segment is the next one's key's or its own, and nobody else's.
    let mut files = Files::of(bench.path());
    let closed = files.segments()[0].clone();
    files.edit(&closed, |lines| {
        let OwnKey(key) = OwnKey::default();
        let last = Anchor::read(lines.pop().unwrap().trim_end()).unwrap();
        let head = Line::read(lines.last().unwrap().trim_end().as_bytes()).unwrap().hash;
        let said = Checkpoint {
            chain: last.chain,
            segment: last.segment,
            head: line::text(&head),
            epoch: 1,
            closing: true,
            kid: key.kid.to_string(),
        };
        let mut forged = Vec::new();
        about::write((last.seq, &head), (last.at, about::CHECKPOINT, said), Some(&key), &mut forged).unwrap();
        lines.push(String::from_utf8(forged).unwrap());
    });
    let report = files.verify(&Trust::default());
    assert_eq!(report.bad[0].line, Some(1), "the next segment follows another line: {report:#?}");
}
