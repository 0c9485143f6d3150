//! What commands print on standard output.

use std::{io::Write as _, process::ExitCode};

use serde_json::Value;

use super::failure::Failure;

/// Bytes as they are.
///
/// # Errors
/// Standard output is gone.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|error| Failure::stream(&error))
}

/// A text and a newline.
///
/// # Errors
/// Standard output is gone.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// JSON for people.
///
/// # Errors
/// Standard output is gone.
pub(super) fn json(value: &Value) -> Result<(), Failure> {
    line(&format!("{value:#}"))
}

/// The answer of a call, which may be none at all (204).
///
/// # Errors
/// Standard output is gone.
pub(super) fn answer(answer: &Value) -> Result<(), Failure> {
    if answer.is_null() { Ok(()) } else { json(answer) }
}

/// JSON on one line, for programs that read line by line.
///
/// # Errors
/// Standard output is gone.
pub(super) fn event(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// JSON of a verification, and the exit code that goes with it: success for what is valid, and for nothing else.
///
/// # Errors
/// Standard output is gone.
pub(super) fn verdict(verdict: &Value) -> Result<ExitCode, Failure> {
    verdict_by("valid", verdict)
}

/// The same, where another member says it.
///
/// # Errors
/// Standard output is gone.
pub(super) fn verdict_by(member: &str, verdict: &Value) -> Result<ExitCode, Failure> {
    json(verdict)?;
    let valid = verdict.get(member) == Some(&Value::Bool(true));
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
