//! Configuration: a TOML file and an environment, apart by a line of dashes. Lines of the environment are `NAME=value`.

#![no_main]

use std::{io, path::Path};

use claviger_config::{Settings, survey};
use claviger_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

const MARK: &str = "hunter2hunter2";

fuzz_target!(|data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, environment) = text.split_once("\n---\n").unwrap_or((text, ""));
    let environment = || {
        environment
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let file = (!file.is_empty()).then_some(file);
    let found = survey(file, environment(), read);
    match Settings::load(file, environment(), read) {
        Ok(_) => assert!(found.problems.is_empty(), "what starts has no problem"),
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n') || error.setting.contains('\n'), "more than one line");
            assert!(!found.problems.is_empty(), "what does not start has a problem");
            // A name may be anything; a value is never repeated.
            assert!(!error.rule.contains(MARK), "a value is in the message");
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/secret") => Ok("0123456789abcdefghijklmnopqrstuvwxyz\n".to_owned()),
        Some("/mark") => Ok(format!("{MARK}\n")),
        Some(_) | None => Err(io::ErrorKind::NotFound.into()),
    }
}
