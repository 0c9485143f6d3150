//! How many connections there are, and what becomes of those beyond.
//!
//! The framework stops to accept when it has enough, and whoever comes then waits for nothing they can see. So it is given some more than
//! are served, and those are closed at once: a client that is refused goes to another node.

use std::{
    any::Any,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use rustix::net::{Shutdown, shutdown};

/// Connections of a worker, whatever the limit of files.
const OF_A_WORKER_MAX: usize = 25_000;

/// Files that are no connections, however few may be open.
const OTHERS: usize = 128;

/// Connections of all workers.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    of_a_worker: usize,
    open: AtomicUsize,
    refused: AtomicUsize,
}

/// One of them, for as long as it lasts.
struct Place(Arc<Connections>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    /// The last tenth of the files is for everything else: the database, Redis, the audit log. Half of it lends room to those that are refused.
    #[must_use]
    pub fn within(open_files: u64, workers: usize) -> Arc<Self> {
        let (files, workers) = (usize::try_from(open_files).unwrap_or(usize::MAX), workers.max(1));
        let most = (files / 10 * 9)
            .min(files.saturating_sub(OTHERS))
            .clamp(1, OF_A_WORKER_MAX.saturating_mul(workers));
        let room = most.saturating_add((files / 20).clamp(1, 1_000));
        // A worker may have more of them than another one.
        let of_a_worker = room.div_ceil(workers).clamp(2, OF_A_WORKER_MAX + 1_000);
        Arc::new(Self { most, of_a_worker, open: 0.into(), refused: 0.into() })
    }

    /// Those that the framework takes for a worker.
    #[must_use]
    pub const fn of_a_worker(&self) -> usize {
        self.of_a_worker
    }

    /// Those that are open, and how many were closed since there were too many.
    #[must_use]
    pub fn figures(&self) -> (usize, usize) {
        (self.open.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// A connection was made: it has a place, or is closed.
    pub fn enter(self: &Arc<Self>, connection: &dyn Any, data: &mut Extensions) {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        if before < self.most {
            data.insert(place);
            return;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(socket) = connection.downcast_ref::<TcpStream>() {
            close(socket);
        } else if let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() {
            close(stream.get_ref().0);
        }
    }
}

/// The framework reads the end of it, and lets it go.
fn close(socket: &impl AsFd) {
    if let Err(error) = shutdown(socket, Shutdown::Both) {
        tracing::debug!(%error, "a connection beyond the limit was gone already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_files_is_for_everything_else() {
        for (files, workers, most) in
            [(1_024, 2, 896), (65_536, 2, 50_000), (65_536, 8, 58_977), (4, 1, 1), (u64::MAX, 1, 25_000)]
        {
            let connections = Connections::within(files, workers);
            assert_eq!(connections.most, most, "{files} {workers}");
            assert!(connections.of_a_worker() * workers > most, "those beyond have room");
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let connections = Connections::within(146, 1);
        let mut open = Vec::new();
        for _ in 0..30 {
            let mut data = Extensions::new();
            connections.enter(&(), &mut data);
            open.push(data);
        }
        assert_eq!(connections.figures(), (18, 12));
        open.clear();
        connections.enter(&(), &mut Extensions::new());
        assert_eq!(connections.figures(), (0, 12));
    }
}
