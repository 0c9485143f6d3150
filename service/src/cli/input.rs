//! What commands read: standard input, or a file. Never an argument, which other users of the machine could see.

use std::{fs::File, io::Read, path::Path};

use clap::Args;
use claviger_config::without_newline;
use zeroize::Zeroizing;

use super::failure::Failure;

/// Longest input, in bytes: the longest body that a server may be set to take.
const LONGEST: u64 = 64 << 20;

/// Where the input of a command comes from.
#[derive(Debug, Clone, Args)]
pub(super) struct Input {
    /// Read this file in place of standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
}

impl Input {
    /// Every byte.
    ///
    /// # Errors
    /// It can't be read or is too long.
    pub(super) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.file.as_deref().map_or_else(standard_input, |path| file("--file", path))
    }

    /// A text on its own, or a member of the JSON object that the command before has printed.
    ///
    /// # Errors
    /// As [`Input::bytes`]; or it is neither.
    pub(super) fn text_or_member(&self, member: &str) -> Result<Zeroizing<String>, Failure> {
        text_or_member(self.bytes()?, member)
    }
}

/// A file by the option that names it; `-` is standard input.
///
/// # Errors
/// It can't be read or is too long.
pub(super) fn file(option: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if path.as_os_str() == "-" {
        return standard_input();
    }
    let file = File::open(path).map_err(|error| Failure::file(option, &error))?;
    all(file).map_err(|error| Failure::file(option, &error))?.ok_or_else(too_long)
}

/// A text in a file, without its final newline.
///
/// # Errors
/// As [`file`]; or it is no text.
pub(super) fn text_file(option: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    unended(&file(option, path)?).ok_or_else(|| Failure::Local(format!("{option} holds no UTF-8 text")))
}

/// A text that was read, without its final newline.
///
/// # Errors
/// It is no text.
pub(super) fn text(bytes: &[u8]) -> Result<Zeroizing<String>, Failure> {
    unended(bytes).ok_or_else(|| Failure::Local("the input is no UTF-8 text".to_owned()))
}

fn unended(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(Zeroizing::new(without_newline(text).to_owned()))
}

fn standard_input() -> Result<Zeroizing<Vec<u8>>, Failure> {
    all(std::io::stdin().lock()).map_err(|error| Failure::stream(&error))?.ok_or_else(too_long)
}

fn all(source: impl Read) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = source.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok((u64::try_from(read).unwrap_or(u64::MAX) <= LONGEST).then_some(bytes))
}

fn too_long() -> Failure {
    Failure::Local("the input is longer than 64 MiB".to_owned())
}

fn text_or_member(bytes: Zeroizing<Vec<u8>>, member: &str) -> Result<Zeroizing<String>, Failure> {
    let neither = || Failure::Local(format!("the input must be a {member}, or a JSON object that holds one"));
    let text = std::str::from_utf8(&bytes).map_err(|_| neither())?.trim();
    if text.is_empty() {
        return Err(neither());
    }
    if !text.starts_with('{') {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    let answer: serde_json::Value = serde_json::from_str(text).map_err(|_| neither())?;
    let text = answer.get(member).and_then(serde_json::Value::as_str).ok_or_else(neither)?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_printed_is_input_for_the_next() {
        let read = |text: &str| {
            let read = text_or_member(Zeroizing::new(text.as_bytes().to_vec()), "token");
            read.map(|text| text.to_string()).map_err(|failure| failure.to_string())
        };
        assert_eq!(read("e30.e30.x\n").as_deref(), Ok("e30.e30.x"));
        assert_eq!(read("{\"token\": \"e30.e30.x\", \"kid\": \"1\"}\n").as_deref(), Ok("e30.e30.x"));
        for text in ["", " \n", "{", "{\"token\": 1}", "{\"ciphertext\": \"hunter2\"}"] {
            assert!(read(text).is_err_and(|line| !line.contains("hunter2")), "{text}");
        }
    }
}
