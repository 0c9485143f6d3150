//! A folder may be verified while a service writes there.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::{Bench, Trust, verified};

/// Stops the writer, also when a look has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_log_that_is_being_written_is_whole_at_every_moment() {
    let mut bench = Bench::new(8 << 10);
    bench.append(1);
    let path = bench.path().to_owned();
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    let segment = AtomicU64::new(1);
    let segment = &segment;
    let looks = if std::env::var_os("TEST_FULL").is_some() { 300 } else { 30 };
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut round = 0;
            while !is_over.load(Ordering::Relaxed) {
                round += 1;
                bench.append(5);
                segment.store(bench.log().segment(), Ordering::Relaxed);
                // Whoever removes old segments works beside the writer.
                if round % 20 == 0 {
                    let closed = bench.closed();
                    let plain = closed.iter().find(|closed| !closed.is_compressed());
                    plain.into_iter().for_each(|closed| bench.pack(&closed.path));
                    if closed.len() > 6 {
                        bench.prune(3).into_iter().for_each(|path| fs::remove_file(path).unwrap());
                    }
                }
            }
        });
        let _over = Over(is_over);
        let mut look = 0;
        while look < looks || segment.load(Ordering::Relaxed) < looks {
            look += 1;
            let report = verified(&path, &Trust::default());
            assert!(report.is_whole() && report.chains.len() == 1, "look {look}: {report:#?}");
        }
        println!("{look} looks while {} segments were written", segment.load(Ordering::Relaxed));
    });
}
