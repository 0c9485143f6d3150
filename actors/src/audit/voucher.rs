//! Checkpoints that are vouched for elsewhere, once what they stand for is on the disk itself.
//!
//! To wait for the disk takes milliseconds, in which no record would be written and nobody answered; so it is done beside the writer. A
//! checkpoint is told of, beside the log and to whoever keeps it, only when it would outlast a loss of power.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use tokio::sync::watch;

use super::{about::Anchor, directory};

/// Asks for checkpoints to be vouched for. Cheap to clone.
#[derive(Clone)]
pub(super) struct Voucher {
    asks: Sender<Ask>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

enum Ask {
    Vouch(File, Anchor),
    /// Everything before has been dealt with.
    Settled(Sender<()>),
}

impl Voucher {
    /// Starts the thread, which lasts as long as somebody can ask.
    ///
    /// # Errors
    /// There can't be another thread.
    pub(super) fn start(directory: PathBuf, anchors: Arc<watch::Sender<Option<Anchor>>>) -> io::Result<Self> {
        let (asks, asked) = mpsc::channel();
        let failure = Arc::<Mutex<Option<io::Error>>>::default();
        let failed = Arc::clone(&failure);
        let keep = move |file: &File, anchor: Anchor| match file.sync_data() {
            Ok(()) => {
                tell(&directory, &anchor);
                anchors.send_replace(Some(anchor));
            }
            Err(error) => _ = failed.lock().unwrap_or_else(PoisonError::into_inner).insert(error),
        };
        thread::Builder::new().name("audit-voucher".to_owned()).spawn(move || work(&asked, keep))?;
        Ok(Self { asks, failure })
    }

    /// A checkpoint is in this file. Segments before it are on the disk.
    ///
    /// # Errors
    /// Nobody will vouch for it.
    pub(super) fn vouch(&self, file: File, anchor: Anchor) -> io::Result<()> {
        self.asks.send(Ask::Vouch(file, anchor)).map_err(|_| gone())
    }

    /// Waits until all checkpoints so far have been vouched for.
    ///
    /// # Errors
    /// One of them can't be.
    pub(super) fn settle(&self) -> io::Result<()> {
        let (settled, is_settled) = mpsc::channel();
        self.asks.send(Ask::Settled(settled)).map_err(|_| gone())?;
        is_settled.recv().map_err(|_| gone())?;
        self.judge()
    }

    /// Nothing has failed since the last time.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn judge(&self) -> io::Result<()> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Puts a checkpoint beside the log.
pub(super) fn tell(directory: &std::path::Path, anchor: &Anchor) {
    if let Err(error) = directory::put_anchor(directory, anchor) {
        tracing::warn!(%error, "the last checkpoint of the audit log could not be put beside it");
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that vouches for checkpoints is gone")
}

/// Of those that wait, only the last is vouched for: it stands for the others too.
fn work(asked: &Receiver<Ask>, keep: impl Fn(&File, Anchor)) {
    while let Ok(ask) = asked.recv() {
        let (mut last, mut settled) = (None, Vec::new());
        for ask in std::iter::once(ask).chain(asked.try_iter()) {
            match ask {
                Ask::Vouch(file, anchor) => last = Some((file, anchor)),
                Ask::Settled(told) => settled.push(told),
            }
        }
        if let Some((file, anchor)) = last {
            keep(&file, anchor);
        }
        for told in settled {
            // Whoever waited may have given up.
            let _gone = told.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::OwnedFd};

    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn anchor(seq: u64) -> Anchor {
        Anchor {
            chain: Uuid::nil(),
            segment: 1,
            seq,
            hash: [0; 32],
            kid: "k".to_owned(),
            at: DateTime::default(),
            line: format!("line {seq}"),
        }
    }

    fn started(folder: &tempfile::TempDir) -> (Voucher, watch::Receiver<Option<Anchor>>) {
        let (told, anchors) = watch::channel(None);
        (Voucher::start(folder.path().to_owned(), Arc::new(told)).unwrap(), anchors)
    }

    #[test]
    fn the_last_checkpoint_is_told_of_once_it_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (voucher, anchors) = started(&folder);
        for seq in 1..=20 {
            voucher.vouch(tempfile::tempfile().unwrap(), anchor(seq)).unwrap();
        }
        voucher.settle().unwrap();
        assert_eq!(anchors.borrow().as_ref().unwrap().seq, 20);
        assert_eq!(fs::read_to_string(folder.path().join(directory::ANCHOR)).unwrap(), "line 20\n");
    }

    #[test]
    fn what_the_disk_does_not_take_is_not_told_of_and_shows() {
        let folder = tempfile::tempdir().unwrap();
        let (voucher, anchors) = started(&folder);
        // A pipe can't be synced.
        let (_read, write) = io::pipe().unwrap();
        voucher.vouch(File::from(OwnedFd::from(write)), anchor(1)).unwrap();
        assert!(voucher.settle().is_err());
        assert!(anchors.borrow().is_none() && !folder.path().join(directory::ANCHOR).exists());
        voucher.judge().unwrap();
        voucher.vouch(tempfile::tempfile().unwrap(), anchor(2)).unwrap();
        voucher.settle().unwrap();
        assert_eq!(anchors.borrow().as_ref().unwrap().seq, 2);
    }
}
