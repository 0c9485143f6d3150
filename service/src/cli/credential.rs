//! The caller's token: from the environment, never from an argument, which other users of the machine could read.

use std::{env, ffi::OsString};

use zeroize::Zeroizing;

use super::failure::Failure;

/// Reads `CLAVIGER_TOKEN`, or the file that `CLAVIGER_TOKEN_FILE` names.
///
/// # Errors
/// Both are given, none is, or it is no token.
pub(super) fn from_environment() -> Result<Zeroizing<String>, Failure> {
    read(env::var_os("CLAVIGER_TOKEN"), env::var_os("CLAVIGER_TOKEN_FILE"))
}

fn read(token: Option<OsString>, file: Option<OsString>) -> Result<Zeroizing<String>, Failure> {
    let local = |line: &str| Failure::Local(line.to_owned());
    let token = match (token, file) {
        (Some(_), Some(_)) => {
            return Err(local("CLAVIGER_TOKEN and CLAVIGER_TOKEN_FILE are both set; keep one of them"));
        }
        (None, None) => return Err(local("no token: set CLAVIGER_TOKEN_FILE or CLAVIGER_TOKEN")),
        (Some(token), None) => token.into_string().unwrap_or_default().into(),
        (None, Some(file)) => Zeroizing::new(
            std::fs::read_to_string(file).map_err(|error| Failure::file("CLAVIGER_TOKEN_FILE", &error))?,
        ),
    };
    let token = Zeroizing::new(token.trim().to_owned());
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(local("the token must be visible ASCII characters"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_and_nothing_but_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "clv_x_y\n").unwrap();
        let line = |token: Option<&str>, file: Option<&std::path::Path>| match read(
            token.map(Into::into),
            file.map(Into::into),
        ) {
            Ok(token) => token.to_string(),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(line(None, Some(&path)), "clv_x_y");
        assert_eq!(line(Some(" a "), None), "a");
        let both = line(Some("hunter2"), Some(&path));
        assert!(both.contains("CLAVIGER_TOKEN and CLAVIGER_TOKEN_FILE") && !both.contains("hunter2"));
        for (token, file) in
            [(None, None), (Some(""), None), (Some("a\nhunter2"), None), (None, Some(folder.path()))]
        {
            let line = line(token, file);
            assert!(line.contains(' ') && !line.contains("hunter2"), "{line}");
        }
    }
}
