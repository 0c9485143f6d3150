//! How fast a log is verified.

use rustix::time::{ClockId, clock_gettime};

use super::Bench;

/// A gigabyte in 15 seconds.
const BYTES_PER_SECOND: f64 = 1e9 / 15.0;

/// Of this thread alone: other tests run beside it.
fn seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

#[test]
fn a_gigabyte_takes_less_than_fifteen_seconds() {
    let wanted: u64 = if std::env::var_os("TEST_FULL").is_some() { 100 << 20 } else { 10 << 20 };
    let mut bench = Bench::new(8 << 20);
    while bench.count < wanted / 200 {
        bench.append(500);
    }
    let sizes = std::fs::read_dir(bench.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    let bytes: u64 = sizes.sum();
    let packed = bench.closed().remove(0).path;
    bench.pack(&packed);
    let before = seconds();
    let report = bench.verify();
    let seconds = seconds() - before;
    assert!(report.is_whole(), "{report:#?}");
    let records = report.chains[0].records;
    let speed = bytes as f64 / seconds;
    println!("{bytes} bytes, {records} records: {:.0} MB/s", speed / 1e6);
    // Without optimisation a fifth is enough.
    let wanted = if cfg!(debug_assertions) { BYTES_PER_SECOND / 5.0 } else { BYTES_PER_SECOND };
    assert!(speed > wanted, "{:.1} MB/s", speed / 1e6);
}
