//! `CLAVIGER_UNAUDITED=1` builds a service that records nothing, to measure what its audit log costs. It is no feature of the package: nobody
//! gets it by asking for all of them.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

fn main() {
    const NAME: &str = "CLAVIGER_UNAUDITED";
    println!("cargo::rerun-if-env-changed={NAME}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(unaudited)");
    if std::env::var(NAME).is_ok_and(|value| value == "1") {
        println!("cargo::rustc-cfg=unaudited");
    }
}
