//! The key of a device and its token: files that only their owner may read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use crate::connect::{Role, Signer};

/// Bits of a file's mode that let others read or change it. A group may read: where secrets are mounted, that is how.
const OPEN_TO_OTHERS: u32 = 0o027;
/// Longest file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 16_384;
/// Letters of a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// A device: an Ed25519 key (PKCS#8, PEM) in a file. No `Debug`: it is a secret.
pub struct Identity {
    pair: Ed25519KeyPair,
    id: String,
    public_key: String,
}

impl Identity {
    /// Reads the key, or makes one. The file is written whole and linked into place: of two processes that try at once one wins, and both
    /// have the same key.
    ///
    /// # Errors
    /// The file can't be read or made, others may read it, or it holds no Ed25519 key.
    pub fn open(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path)?;
                Self::read(path)
            }
            read => read,
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let text = private(path)?;
        let unusable = || invalid("holds no Ed25519 private key (PKCS#8, PEM)");
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| unusable())?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        let pair = pair.map_err(|_| unusable())?;
        let public_key = pair.public_key().as_ref();
        let id = hex::encode(digest(&SHA256, public_key));
        let public_key = BASE64_URL_SAFE_NO_PAD.encode(public_key);
        Ok(Self { pair, id, public_key })
    }
}

impl Signer for Identity {
    fn id(&self) -> &str {
        &self.id
    }

    fn public_key(&self) -> &str {
        &self.public_key
    }

    fn sign(&self, text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(text.as_bytes()))
    }
}

impl Identity {
    /// Lowercase hex of the SHA-256 of the public key: what operators see.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn make(path: &Path) -> io::Result<()> {
    let fault = |_| io::Error::other("there is no randomness for a key");
    let key = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(fault)?;
    let letters = Zeroizing::new(BASE64_STANDARD.encode(key.as_ref()));
    let mut text = Zeroizing::new(String::with_capacity(letters.len() + 80));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    for (count, letter) in letters.chars().enumerate() {
        if count > 0 && count % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path))?;
    let temporary = written(path, &text)?;
    // Refuses to replace a file that somebody else has made in the meantime.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => File::open(directory(path))?.sync_all(),
    }
}

/// Where the token of a device is kept, beside its key.
#[derive(Debug, Clone)]
pub(crate) struct TokenFile(PathBuf);

impl TokenFile {
    pub(crate) fn beside(identity: &Path, role: Role) -> Self {
        let mut name = identity.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.token", role.as_str()));
        Self(identity.with_file_name(name))
    }

    /// The token, if there is one.
    pub(crate) fn read(&self) -> io::Result<Option<Zeroizing<String>>> {
        match private(&self.0) {
            Ok(text) => {
                let token = text.trim();
                let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_token {
                    return Err(invalid("holds no token"));
                }
                Ok(Some(Zeroizing::new(token.to_owned())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a token, which the server gives once: whole, or the one before stays.
    pub(crate) fn keep(&self, token: &str) -> io::Result<()> {
        let temporary = written(&self.0, &Zeroizing::new(format!("{token}\n")))?;
        fs::rename(&temporary, &self.0).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        File::open(directory(&self.0))?.sync_all()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// A temporary file beside the real one, synced.
fn written(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut suffix = [0; 8];
    rand::fill(&mut suffix).map_err(|_| io::Error::other("there is no randomness for a name"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", hex::encode(suffix)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    match file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(temporary),
        Err(error) => {
            fs::remove_file(&temporary)?;
            Err(error)
        }
    }
}

fn private(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let facts = file.metadata()?;
    if facts.mode() & OPEN_TO_OTHERS != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "may be read or changed by others; take it for burnt, or chmod 600 it",
        ));
    }
    if facts.len() > FILE_MAX_BYTES {
        return Err(invalid("is longer than 16 KiB"));
    }
    io::read_to_string(file).map(Zeroizing::new)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn invalid(rule: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// The vector of the protocol: seed 00..1f.
    #[test]
    fn a_key_that_other_tools_have_made_is_the_same_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.pem");
        let seed: Vec<u8> = (0..32).collect();
        let prefix = hex::decode("302e020100300506032b657004220420").unwrap();
        let key = BASE64_STANDARD.encode([prefix, seed].concat());
        fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let identity = Identity::open(&path).unwrap();
        assert_eq!(identity.id(), "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c");
        assert_eq!(identity.public_key(), "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
        let payload = format!(
            "v2|{}|cli|cli|operator|operator.read,operator.write|1700000000000|secret|6f1d2c3b-0000-4000-8000-000000000001",
            identity.id()
        );
        assert_eq!(
            identity.sign(&payload),
            "gKKR6M858mnNyHpjAiZP5wuDc86R9NwanTC-uqaCxJL7I4DymmXof_Z_chaoVAswqAbZRIKdiViO77VmrlqCBg"
        );
    }

    #[test]
    fn a_device_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner/device.pem");
        let first = Identity::open(&path).unwrap();
        assert_eq!((mode(&path), Identity::open(&path).unwrap().id() == first.id()), (0o600, true));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let ids: Vec<String> = std::thread::scope(|scope| {
            let path = folder.path().join("raced.pem");
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn({
                        let path = path.clone();
                        move || Identity::open(&path).unwrap().id().to_owned()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn files_that_others_may_read_and_files_that_are_no_keys_are_refused_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.pem");
        let _made = Identity::open(&path).unwrap();
        for (bits, is_fine) in [(0o644, false), (0o660, false), (0o440, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(Identity::open(&path).is_ok(), is_fine, "{bits:o}");
        }
        let other = folder.path().join("other.pem");
        for text in [
            "",
            "hunter2",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            &"a".repeat(20_000),
        ] {
            fs::write(&other, text).unwrap();
            fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
            let error = Identity::open(&other).err().unwrap().to_string();
            assert!(!error.contains("hunter2") && fs::read_to_string(&other).unwrap() == text, "{error}");
        }
    }

    #[test]
    fn a_token_is_kept_whole_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::beside(&folder.path().join("device.pem"), Role::Node);
        assert!(file.path().ends_with("device.pem.node.token") && file.read().unwrap().is_none());
        for token in ["clvd_a", "clvd_b"] {
            file.keep(token).unwrap();
            assert_eq!(file.read().unwrap().unwrap().as_str(), token);
            assert_eq!(mode(file.path()), 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(file.path(), "two words").unwrap();
        assert!(file.read().is_err());
    }
}
