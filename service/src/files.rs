//! Secret files: made once, readable by their owner only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use claviger_crypto::{random, secret::SecretBytes};

/// Random bytes of a generated secret.
const SECRET_BYTES: usize = 32;

/// Makes a directory that only its owner may enter.
///
/// # Errors
/// It can't be made.
pub fn private_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file that only its owner may read, empty, if it is absent.
///
/// # Errors
/// It can't be made.
pub fn private_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Reads a secret file, or makes one with a fresh secret; also tells whether it was made.
///
/// The secret is written to a temporary file, synced and linked into place, so that a crash leaves either no file or a whole one,
/// and of two processes that try at once one wins and both read the same.
///
/// # Errors
/// It can't be read or made.
pub fn secret_file(path: &Path, prefix: &str) -> io::Result<(SecretBytes, bool)> {
    match read(path) {
        Ok(secret) => return Ok((secret, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    private_directory(directory)?;
    let fresh = random::text(SECRET_BYTES).map_err(io::Error::other)?;
    let temporary = temporary(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = writeln!(file, "{prefix}{fresh}").and_then(|()| file.sync_all());
    // `hard_link` refuses to replace a file that somebody else made in the meantime.
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()?;
    Ok((read(path)?, true))
}

/// Puts a fresh secret on the first line of a secret file, before the one that is to stay beside it; answers with the fresh one.
///
/// Both are written to a temporary file, synced and renamed into place: a crash leaves the file of before, or the whole new one.
///
/// # Errors
/// It can't be written.
pub fn renew_secret(path: &Path, kept: &SecretBytes) -> io::Result<SecretBytes> {
    let fresh = SecretBytes::new(random::text(SECRET_BYTES).map_err(io::Error::other)?.into_bytes());
    let temporary = temporary(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let lines = [fresh.expose(), b"\n", kept.expose(), b"\n"];
    let written = lines.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        fs::remove_file(&temporary)?;
        return Err(error);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(fresh)
}

fn read(path: &Path) -> io::Result<SecretBytes> {
    let text = zeroize::Zeroizing::new(fs::read(path)?);
    let text = text.trim_ascii_end();
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(SecretBytes::new(text.to_vec()))
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let suffix = random::text(8).map_err(io::Error::other)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{suffix}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_made_once_and_only_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inner").join("secret");
        let (first, made) = secret_file(&path, "p_").unwrap();
        assert!(made && first.expose().starts_with(b"p_") && first.len() > 40);
        let (second, made) = secret_file(&path, "p_").unwrap();
        assert!(!made && second.ct_eq(first.expose()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_fresh_secret_goes_before_the_one_that_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let (first, _) = secret_file(&path, "").unwrap();
        let second = renew_secret(&path, &first).unwrap();
        let lines = |one: &SecretBytes, other: &SecretBytes| {
            [one.expose(), b"\n", other.expose(), b"\n"].concat() == fs::read(&path).unwrap()
        };
        assert!(!second.ct_eq(first.expose()) && lines(&second, &first));
        // Only two stay.
        let third = renew_secret(&path, &second).unwrap();
        assert!(lines(&third, &second));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(renew_secret(&directory.path().join("no/secret"), &first).is_err());
    }

    #[test]
    fn an_empty_file_is_refused_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "\n").unwrap();
        assert!(secret_file(&path, "").is_err());
    }
}
