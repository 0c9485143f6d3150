//! Checkpoints that are kept beside the log and elsewhere, held against it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    super::{
        about::{Anchor, Pruned},
        directory,
        line::Head,
    },
    folder::{Beside, Folder},
    report::{Anchors, Finding, Report},
    trust::Trust,
};

/// Whoever crashes between writing a checkpoint and putting it beside the log leaves the one before there.
const BEHIND: u64 = 1;

const GIVEN: &str = "those given";

/// Checkpoints of one chain, while it is followed.
pub(super) struct Held<'a> {
    /// By number, with where they are kept.
    anchors: Vec<(&'a Anchor, &'static str)>,
    next: usize,
    /// Those whose number was in a segment that is missing.
    jumped: Vec<(&'a Anchor, &'static str)>,
    /// Number of the one beside the log.
    beside: u64,
    /// Checkpoints after that.
    pub(super) behind: u64,
    pub(super) counted: Anchors,
}

/// What there is to hold a chain against.
pub(super) fn held<'a>(folder: &'a Folder, trust: &'a Trust, chain: Uuid) -> Held<'a> {
    let beside = match &folder.beside {
        Beside::Is(anchor) if anchor.chain == chain => Some(anchor),
        Beside::Is(_) | Beside::Missing | Beside::Damaged => None,
    };
    let given = trust.anchors().iter().filter(|anchor| anchor.chain == chain);
    let given = given.map(|anchor| (anchor, GIVEN));
    let mut anchors: Vec<_> = given.chain(beside.map(|anchor| (anchor, directory::ANCHOR))).collect();
    anchors.sort_by_key(|(anchor, _)| anchor.seq);
    Held {
        anchors,
        next: 0,
        jumped: Vec::new(),
        beside: beside.map_or(0, |anchor| anchor.seq),
        behind: 0,
        counted: Anchors::default(),
    }
}

impl Held<'_> {
    /// Whose checkpoint with this number another line is.
    pub(super) fn differs(&mut self, seq: u64, hash: &Head) -> Option<&'static str> {
        while let Some((anchor, whose)) = self.anchors.get(self.next).filter(|(anchor, _)| anchor.seq <= seq)
        {
            self.next += 1;
            if anchor.seq < seq {
                self.jumped.push((*anchor, *whose));
            } else if anchor.hash != *hash {
                return Some(whose);
            } else if *whose == GIVEN {
                self.counted.held += 1;
            }
        }
        None
    }

    /// The log has a checkpoint with this number.
    pub(super) const fn passed(&mut self, seq: u64) {
        if seq > self.beside {
            self.behind += 1;
        }
    }

    /// One whose number the log does not reach.
    pub(super) fn beyond(&self) -> Option<(u64, &'static str)> {
        self.anchors
            .last()
            .filter(|_| self.next < self.anchors.len())
            .map(|(anchor, whose)| (anchor.seq, *whose))
    }

    /// One whose segment is missing, though nobody removed it. Everything up to `pruned` was removed.
    pub(super) fn missing(&mut self, pruned: u64) -> Option<(u64, &'static str)> {
        for (anchor, whose) in &self.jumped {
            if anchor.seq > pruned {
                return Some((anchor.seq, whose));
            }
            self.counted.pruned += u64::from(*whose == GIVEN);
        }
        None
    }
}

/// A chain that has been followed.
pub(super) struct Standing {
    pub(super) checkpoints: u64,
    pub(super) from_start: bool,
    pub(super) behind: u64,
    pub(super) is_bad: bool,
}

/// Judges the checkpoint beside the log.
pub(super) fn judge(folder: &Folder, chains: &BTreeMap<Uuid, Standing>, report: &mut Report) {
    let path = folder.path.join(directory::ANCHOR);
    // Where a chain is not sound, what would be its last checkpoint is not known.
    let is_sound = chains.values().all(|chain| !chain.is_bad);
    let signed = |chain: &Standing| chain.checkpoints > BEHIND || !chain.from_start;
    let what = match &folder.beside {
        Beside::Damaged => "this is no checkpoint".to_owned(),
        Beside::Missing if is_sound && chains.values().any(signed) => {
            "the last checkpoint, anchor.json, is missing".to_owned()
        }
        Beside::Missing => return,
        Beside::Is(anchor) => {
            let written = folder.written.filter(|chain| *chain != anchor.chain);
            let is_older = written
                .and_then(|chain| chains.get(&chain))
                .is_some_and(|chain| !chain.is_bad && signed(chain));
            match chains.get(&anchor.chain) {
                None => format!("it is a checkpoint of chain {}, which is not in the folder", anchor.chain),
                Some(_) if is_older => {
                    "it is a checkpoint of an older chain than the one that is written".to_owned()
                }
                Some(chain) if chain.is_bad || chain.behind == 0 => return,
                Some(chain) if chain.behind > BEHIND => {
                    format!("it is not the last checkpoint: {} came after seq {}", chain.behind, anchor.seq)
                }
                Some(_) => {
                    let what =
                        "one checkpoint came after it: the service has crashed, or writes at this moment";
                    report.notes.push(Finding::about(&path, what));
                    return;
                }
            }
        }
    };
    report.bad.push(Finding::about(&path, what));
}

/// Counts what was given for chains that are not here.
pub(super) fn elsewhere(folder: &Folder, trust: &Trust, pruned: &[(Pruned, Finding)], report: &mut Report) {
    for anchor in trust.anchors().iter().filter(|anchor| !folder.chains.contains_key(&anchor.chain)) {
        let covers = |pruned: &Pruned| pruned.chain == anchor.chain && pruned.last_seq >= anchor.seq;
        if pruned.iter().any(|(pruned, _)| covers(pruned)) {
            report.anchors.pruned += 1;
            continue;
        }
        report.anchors.elsewhere += 1;
        if trust.requires_all() {
            let what = format!(
                "chain {} is missing, of which a checkpoint with seq {} was given",
                anchor.chain, anchor.seq
            );
            report.bad.push(Finding { seq: Some(anchor.seq), ..Finding::about(&folder.path, what) });
        }
    }
}
