//! Opens the folder of a log and goes on where it ended.

use std::{fs, io, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use uuid::Uuid;

use super::{
    about::{self, Anchor},
    directory::{self, Closed},
    line::LINE_MAX,
    log::{Current, Log, Options, Tail, inode},
    scan::{self, Scan},
    signed::Signer,
};

/// The chain that a folder goes on with, if it holds one.
#[must_use]
pub fn chain_in(directory: &Path) -> Option<Uuid> {
    let contents = directory::list(directory).ok()?;
    if let Some(path) = contents.current {
        let mut first = Vec::new();
        let mut lines = directory::read(&path).ok()?;
        let is_whole = scan::next_line(&mut *lines, &mut first).ok()?;
        return is_whole.and_then(|_| scan::header(&first)).map(|header| header.chain);
    }
    newest(&contents.closed).map(|closed| closed.chain)
}

/// A crash came between the making of a segment and the end of its first line: there is nothing in it that anybody was answered for.
fn is_not_begun(path: &Path) -> bool {
    let mut first = Vec::new();
    let read = directory::read(path).and_then(|mut lines| scan::next_line(&mut *lines, &mut first));
    read.is_ok_and(|is_whole| is_whole != Some(true) && first.len() <= LINE_MAX)
}

/// The one that was written last.
fn newest(closed: &[Closed]) -> Option<&Closed> {
    let written = |closed: &&Closed| fs::metadata(&closed.path).and_then(|file| file.modified()).ok();
    closed.iter().max_by_key(|closed| (written(closed), closed.segment))
}

impl Log {
    /// Opens a log. `known` is the last checkpoint of its chain that is kept elsewhere: where the folder does not hold it, a new chain
    /// begins, and the old one stays as it is, for whoever looks into it. Nothing is written yet.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn open(
        options: Options,
        signer: Arc<dyn Signer>,
        known: Option<Anchor>,
        now: DateTime<Utc>,
    ) -> io::Result<Self> {
        let directory = options.directory.clone();
        let mut contents = directory::list(&directory)?;
        if let Some(path) = contents.current.take_if(|path| is_not_begun(path)) {
            fs::remove_file(path)?;
        }
        let beside = directory::anchor(&directory);
        let is_anchor_damaged =
            beside.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData);
        let beside = if is_anchor_damaged { None } else { beside? };
        let anchors: Vec<Anchor> = [known, beside].into_iter().flatten().collect();
        let path = contents.current.as_ref().or(newest(&contents.closed).map(|closed| &closed.path));
        let scanned = path.map(|path| scan::scan(path, &anchors)).transpose()?;
        let is_open = contents.current.is_some();
        let mut log = Self {
            tail: Tail::new(Uuid::now_v7()),
            options,
            signer,
            current: None,
            unsigned: 0,
            checkpoint_at: now,
            notes: Vec::new(),
            copy: None,
            voucher: None,
            room: Vec::new(),
        };
        match scanned {
            None => {
                // An empty folder, though it may not always have been.
                if let Some(anchor) = anchors.first() {
                    log.break_off(Some(anchor.chain), "missing");
                }
            }
            Some(None) => {
                // Whatever this is: `begin` puts it aside.
                log.break_off(anchors.first().map(|anchor| anchor.chain), "unreadable");
            }
            Some(Some(scan)) if scan.broken || scan.anchor_differs || is_anchor_damaged => {
                let Tail { chain, segment, .. } = tail(&scan);
                if is_open {
                    fs::rename(
                        directory.join(directory::CURRENT),
                        directory::closed(&directory, chain, segment),
                    )?;
                }
                log.break_off(
                    Some(chain),
                    if scan.broken { "edited" } else { "shorter than its checkpoint" },
                );
            }
            Some(Some(scan)) => log.go_on(scan, is_open)?,
        }
        Ok(log)
    }

    fn go_on(&mut self, scan: Scan, is_open: bool) -> io::Result<()> {
        self.tail = tail(&scan);
        // Whether the last line was a checkpoint does not matter: one more does no harm.
        self.unsigned = 1;
        if !is_open {
            return Ok(());
        }
        let kid =
            scan.header.key.get("kid").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let file = directory::reopen(&self.options.directory)?;
        self.current = Some(Current {
            inode: inode(&file)?,
            path: self.options.directory.join(directory::CURRENT),
            file,
            length: scan.length,
            torn: scan.torn > 0,
            kid,
            level: scan.header.level,
        });
        if scan.torn > 0 {
            tracing::warn!(
                bytes = scan.torn,
                "the audit log ends in the middle of a line; nobody was answered for it"
            );
            self.note(about::RECOVERED, Map::from_iter([("dropped_bytes".to_owned(), json!(scan.torn))]));
        }
        Ok(())
    }

    fn break_off(&mut self, chain: Option<Uuid>, reason: &str) {
        tracing::error!(
            ?chain,
            reason,
            "the audit log is not what it was; a new chain begins, run claviger audit verify"
        );
        let members = [("broken_chain", json!(chain)), ("reason", json!(reason))];
        self.note(about::BROKEN, members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }
}

const fn tail(scan: &Scan) -> Tail {
    Tail { chain: scan.header.chain, segment: scan.header.segment, seq: scan.last_seq, head: scan.head }
}
