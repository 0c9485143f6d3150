//! What the service leaves is whole, whatever it went through.

use std::{fs, sync::Arc};

use chrono::TimeDelta;
use proptest::prelude::*;

use super::{Bench, Files, Trust};
use crate::audit::directory;

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Checkpoint,
    Wait,
    Restart,
    /// The last group was cut off in the middle, or never reached the disk; so many bytes are lost.
    Crash(usize),
    /// Between writing a checkpoint and putting it beside the log.
    CrashBeforeAnchor,
    /// Between closing a segment and beginning the next: before it was put aside, after that, or within the first line of the next.
    CrashBetween(usize),
    Pack(usize),
    /// Between packing and removing what was packed.
    HalfPack(usize),
    Prune(usize),
    /// Between saying what is removed and removing all of it.
    HalfPrune(usize, usize),
    NewKey,
    Level,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u64..30).prop_map(Step::Append),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Wait),
        1 => Just(Step::Restart),
        1 => (0_usize..600).prop_map(Step::Crash),
        1 => Just(Step::CrashBeforeAnchor),
        1 => (0_usize..3).prop_map(Step::CrashBetween),
        1 => (0_usize..9).prop_map(Step::Pack),
        1 => (0_usize..9).prop_map(Step::HalfPack),
        1 => (1_usize..4).prop_map(Step::Prune),
        1 => (1_usize..4, 0_usize..4).prop_map(|(said, done)| Step::HalfPrune(said, done)),
        1 => Just(Step::NewKey),
        1 => Just(Step::Level),
    ]
}

impl Bench {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(records) => self.append(*records),
            Step::Checkpoint => self.checkpoint(),
            Step::Wait => self.now += TimeDelta::seconds(7),
            Step::Restart => self.restart(),
            Step::Crash(bytes) => self.crash(*bytes),
            Step::CrashBeforeAnchor => {
                let anchor = self.path().join(directory::ANCHOR);
                let before = fs::read(&anchor).ok();
                self.append(1);
                self.append(0);
                let then = fs::read(&anchor).ok();
                self.checkpoint();
                match then.or(before) {
                    Some(bytes) => fs::write(anchor, bytes).unwrap(),
                    None => drop(fs::remove_file(anchor)),
                }
                assert!(self.verify().is_whole(), "{:#?}", self.verify());
                self.restart();
                self.checkpoint();
            }
            Step::CrashBetween(moment) => self.crash_between(*moment),
            Step::Pack(which) | Step::HalfPack(which) => {
                let closed = self.closed();
                let Some(closed) = closed.get(*which).filter(|closed| !closed.is_compressed()) else {
                    return;
                };
                if matches!(step, Step::HalfPack(_)) {
                    self.pack_beside(&closed.path);
                    fs::write(self.path().join("audit-x.log.zst.tmp"), b"half").unwrap();
                } else {
                    self.pack(&closed.path);
                }
            }
            Step::Prune(segments) => {
                self.prune(*segments).into_iter().for_each(|path| drop(fs::remove_file(path)))
            }
            Step::HalfPrune(said, done) => {
                self.prune(*said).into_iter().take(*done).for_each(|path| drop(fs::remove_file(path)));
            }
            Step::NewKey => {
                self.key = Arc::default();
                self.restart();
                self.append(1);
            }
            Step::Level => {
                self.level = if self.level == "full" { "control" } else { "full" };
                self.restart();
            }
        }
    }

    fn crash_between(&mut self, moment: usize) {
        let current = self.path().join(directory::CURRENT);
        let closed = self.closed().pop().filter(|closed| !closed.is_compressed());
        // Another crash may have left none.
        let is_signed = fs::read_to_string(&current).is_ok_and(|text| text.contains("audit_checkpoint"));
        let Some(closed) = closed.filter(|_| !is_signed) else { return };
        self.log = None;
        match moment {
            0 => fs::rename(closed.path, current).unwrap(),
            1 => drop(fs::remove_file(current)),
            _ => {
                fs::write(&current, b"{\"seq\":").unwrap();
                let report = self.verify();
                assert!(report.is_whole(), "{report:#?}");
                fs::remove_file(current).unwrap();
            }
        }
        let report = self.verify();
        assert!(report.is_whole(), "{report:#?}");
        self.restart();
    }

    /// What came after the last checkpoint need not be on the disk after a loss of power.
    fn crash(&mut self, bytes: usize) {
        let file = self.path().join(directory::CURRENT);
        let Ok(mut text) = fs::read(&file) else { return };
        let lines = Files::of(self.path()).lines(directory::CURRENT);
        let signed = lines.iter().rposition(|line| line.contains("audit_checkpoint")).map_or(1, |at| at + 1);
        let kept: usize = lines[..signed].iter().map(String::len).sum();
        text.truncate(text.len().saturating_sub(bytes).max(kept));
        fs::write(&file, text).unwrap();
        let report = self.verify();
        assert!(report.is_whole(), "{report:#?}");
        self.restart();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("TEST_FULL").is_some() { 400 } else { 40 }))]

    #[test]
    fn what_the_service_leaves_is_whole(steps in prop::collection::vec(step(), 1..40)) {
        let mut bench = Bench::new(4 << 10);
        bench.append(1);
        for (index, step) in steps.iter().enumerate() {
            bench.step(step);
            let report = bench.verify();
            prop_assert!(report.is_whole(), "after step {} {:?}: {:#?}", index, step, report);
            prop_assert_eq!(report.chains.len(), 1);
        }
    }
}

#[test]
fn what_is_not_signed_yet_is_said() {
    let mut bench = Bench::new(1 << 20);
    bench.append(10);
    let report = bench.verify();
    assert!(report.is_whole(), "nothing was signed yet: {report:#?}");
    bench.checkpoint();
    bench.append(4);
    let report = bench.verify();
    assert_eq!((report.is_whole(), report.chains[0].unvouched), (true, 4));
    assert!(report.notes.iter().any(|note| note.what.starts_with("4 records after the last checkpoint")));
    let file = bench.path().join(directory::CURRENT);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], b"{\"seq\":"].concat()).unwrap();
    let report = bench.verify();
    assert!(report.is_whole() && report.notes.iter().any(|note| note.what.contains("the last 7 bytes")));
    // Only at the end of the open segment.
    let mut files = Files::of(bench.path());
    files.put(directory::CURRENT, &[String::from_utf8(whole).unwrap(), "{\"seq\":\n".to_owned()]);
    assert!(!files.verify(&Trust::default()).is_whole());
    files.put(directory::CURRENT, &["{\"seq\":".to_owned()]);
    assert!(!files.verify(&Trust::default()).is_whole(), "the checkpoint beside it knows better");
}
