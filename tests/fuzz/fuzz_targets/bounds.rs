//! No parser: bodies that break a bound or only seem to, so that the suite sees each bound fail.

#![no_main]

use claviger_fuzz::{
    bounded,
    bounds::{CPU_LIMIT, MEMORY_LIMIT, thread_cpu_time},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    match data {
        b"slow" => {
            let start = thread_cpu_time();
            while thread_cpu_time() - start < CPU_LIMIT * 2 {}
        }
        b"greedy" => drop(std::hint::black_box(vec![1_u8; MEMORY_LIMIT + 1])),
        b"idle" => std::thread::park_timeout(CPU_LIMIT * 2),
        _ => {}
    }
}
