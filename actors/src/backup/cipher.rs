//! To whom a backup is encrypted: the X25519 recipients of age, or a passphrase.
//!
//! age's own passphrase recipient is scrypt, which takes 128 MiB and more. This one is Argon2id (RFC 9106) in a stanza of its own, in a file
//! that is otherwise as any age file (docs/decisions/0023).

use std::{
    collections::HashSet,
    io::{BufRead, Write},
};

use age::{
    DecryptError, EncryptError, secrecy::ExposeSecret as _, stream::StreamReader, stream::StreamWriter,
    x25519,
};
use age_core::{
    format::{FILE_KEY_BYTES, FileKey, Stanza},
    primitives,
};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use claviger_crypto::{random, secret::SecretBytes};
use zeroize::Zeroizing;

use super::BackupError;

/// Of the stanza.
const TAG: &str = "claviger/argon2id";
/// Memory in KiB, passes, lanes. Three times the least that OWASP asks for, in as much memory as leaves room for the rest of a backup.
const COST: (u32, u32, u32) = (46 << 10, 3, 1);
/// What is asked for at most by a file of somebody else's making.
const COST_MAX: (u32, u32, u32) = (256 << 10, 16, 16);
const SALT_BYTES: usize = 16;
/// Shortest passphrase in bytes.
const PASSPHRASE_MIN: usize = 8;

/// To whom a backup is encrypted. No `Debug`: it may hold a passphrase.
#[derive(Clone)]
pub enum Lock {
    /// Whoever knows it.
    Passphrase(SecretBytes),
    /// Whoever has the secret key of one of these.
    Recipients(Vec<x25519::Recipient>),
}

/// What opens a backup. No `Debug`: it is a secret.
pub enum Opening {
    /// The passphrase.
    Passphrase(SecretBytes),
    /// Secret keys.
    Identities(Vec<x25519::Identity>),
}

impl Lock {
    /// A passphrase.
    ///
    /// # Errors
    /// It is too short to protect anything.
    pub fn passphrase(passphrase: SecretBytes) -> Result<Self, BackupError> {
        if passphrase.len() < PASSPHRASE_MIN {
            return Err(BackupError::Key("the passphrase must have at least 8 bytes"));
        }
        Ok(Self::Passphrase(passphrase))
    }

    /// Public keys, `age1…`.
    ///
    /// # Errors
    /// One of them is none, or there is none at all.
    pub fn recipients<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BackupError> {
        let parse = |text: &str| {
            text.trim()
                .parse()
                .map_err(|_| BackupError::Key("a recipient must be an age X25519 recipient (age1…)"))
        };
        let recipients: Vec<x25519::Recipient> = texts.into_iter().map(parse).collect::<Result<_, _>>()?;
        if recipients.is_empty() {
            return Err(BackupError::Key("a backup needs a passphrase or a recipient"));
        }
        Ok(Self::Recipients(recipients))
    }

    /// Encrypts what is written from now on.
    pub(super) fn wrap<W: Write>(&self, output: W) -> Result<StreamWriter<W>, BackupError> {
        let failed = |_| BackupError::Key("the file key can't be encrypted");
        let encryptor = match self {
            Self::Passphrase(passphrase) => {
                let recipient = Stretched(passphrase);
                age::Encryptor::with_recipients(std::iter::once::<&dyn age::Recipient>(&recipient))
                    .map_err(failed)?
            }
            Self::Recipients(recipients) => {
                let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
                age::Encryptor::with_recipients(recipients).map_err(failed)?
            }
        };
        Ok(encryptor.wrap_output(output)?)
    }
}

impl Opening {
    /// The secret keys of an identity file: one a line, `AGE-SECRET-KEY-1…`, comments begin with `#`.
    ///
    /// # Errors
    /// There is none.
    pub fn identities(text: &str) -> Result<Self, BackupError> {
        let none =
            BackupError::Key("the identity file must hold age secret keys (AGE-SECRET-KEY-1…), one a line");
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match lines.map(str::parse).collect::<Result<Vec<x25519::Identity>, _>>() {
            Ok(identities) if !identities.is_empty() => Ok(Self::Identities(identities)),
            Ok(_) | Err(_) => Err(none),
        }
    }

    /// Decrypts an input.
    pub(super) fn unwrap<R: BufRead>(&self, input: R) -> Result<StreamReader<R>, BackupError> {
        let decryptor = age::Decryptor::new_buffered(input).map_err(opened)?;
        match self {
            Self::Passphrase(passphrase) => {
                let identity = Stretched(passphrase);
                decryptor.decrypt(std::iter::once::<&dyn age::Identity>(&identity)).map_err(opened)
            }
            Self::Identities(identities) => {
                let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
                decryptor.decrypt(identities).map_err(opened)
            }
        }
    }
}

/// Whether it is the key or the file that does not fit can't be told.
fn opened(error: DecryptError) -> BackupError {
    if let DecryptError::Io(error) = error
        && !matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
    {
        return error.into();
    }
    BackupError::DoesNotOpen
}

/// A passphrase, as recipient and as identity.
struct Stretched<'a>(&'a SecretBytes);

impl Stretched<'_> {
    fn key(&self, salt: &[u8], (memory, passes, lanes): (u32, u32, u32)) -> Option<Zeroizing<[u8; 32]>> {
        let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(self.0.expose(), salt, &mut *key).ok()?;
        Some(key)
    }
}

impl age::Recipient for Stretched<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let failed = || EncryptError::Io(std::io::Error::other("the passphrase can't be stretched"));
        let salt = random::bytes(SALT_BYTES).map_err(|_| failed())?;
        let key = self.key(&salt, COST).ok_or_else(failed)?;
        let body = primitives::aead_encrypt(&key, file_key.expose_secret());
        let args =
            vec![BASE64_STANDARD_NO_PAD.encode(&salt), format!("m={},t={},p={}", COST.0, COST.1, COST.2)];
        Ok((vec![Stanza { tag: TAG.to_owned(), args, body }], HashSet::new()))
    }
}

impl age::Identity for Stretched<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != TAG {
            return None;
        }
        let [salt, cost] = stanza.args.as_slice() else { return Some(Err(DecryptError::InvalidHeader)) };
        let (Ok(salt), Some(cost)) = (BASE64_STANDARD_NO_PAD.decode(salt), cost_of(cost)) else {
            return Some(Err(DecryptError::InvalidHeader));
        };
        if salt.len() != SALT_BYTES {
            return Some(Err(DecryptError::InvalidHeader));
        }
        let Some(key) = self.key(&salt, cost) else { return Some(Err(DecryptError::InvalidHeader)) };
        let Ok(found) = primitives::aead_decrypt(&key, FILE_KEY_BYTES, &stanza.body) else {
            return Some(Err(DecryptError::DecryptionFailed));
        };
        let found = Zeroizing::new(found);
        Some(FileKey::try_init_with_mut(|place| {
            if place.len() != found.len() {
                return Err(DecryptError::DecryptionFailed);
            }
            place.copy_from_slice(&found);
            Ok(())
        }))
    }
}

/// Within bounds, so that no file takes more memory or time than this to be refused.
fn cost_of(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(',');
    let mut part = |name: &str, most: u32| {
        let number: u32 = parts.next()?.strip_prefix(name)?.parse().ok()?;
        (1..=most).contains(&number).then_some(number)
    };
    let cost = (part("m=", COST_MAX.0)?, part("t=", COST_MAX.1)?, part("p=", COST_MAX.2)?);
    parts.next().is_none().then_some(cost)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn sealed(lock: &Lock) -> Vec<u8> {
        let mut writer = lock.wrap(Vec::new()).unwrap();
        writer.write_all(b"content").unwrap();
        writer.finish().unwrap()
    }

    fn open(bytes: &[u8], opening: &Opening) -> Result<Vec<u8>, BackupError> {
        let mut content = Vec::new();
        opening.unwrap(bytes)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn a_passphrase_opens_what_it_closed_and_no_other_does() {
        let passphrase = |text: &str| SecretBytes::new(text.as_bytes().to_vec());
        let bytes = sealed(&Lock::passphrase(passphrase("correct horse")).unwrap());
        assert!(bytes.starts_with(b"age-encryption.org/v1\n-> claviger/argon2id "));
        assert_eq!(open(&bytes, &Opening::Passphrase(passphrase("correct horse"))).unwrap(), b"content");
        for wrong in ["correct hors", "", "Correct horse"] {
            let opened = open(&bytes, &Opening::Passphrase(passphrase(wrong)));
            assert!(matches!(opened, Err(BackupError::DoesNotOpen)), "{wrong}");
        }
        let identity = x25519::Identity::generate();
        assert!(matches!(open(&bytes, &Opening::Identities(vec![identity])), Err(BackupError::DoesNotOpen)));
        assert!(Lock::passphrase(passphrase("short")).is_err());
    }

    #[test]
    fn a_recipient_opens_with_its_secret_key_and_so_does_age() {
        let (one, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let bytes = sealed(&Lock::recipients([one.to_public().to_string().as_str()]).unwrap());
        let text = format!("# made today\n{}\n", one.to_string().expose_secret());
        assert_eq!(open(&bytes, &Opening::identities(&text).unwrap()).unwrap(), b"content");
        assert!(open(&bytes, &Opening::Identities(vec![other])).is_err());
        assert_eq!(age::decrypt(&one, &bytes).unwrap(), b"content");
        for none in ["", "# nothing\n", "age1xyz"] {
            assert!(Opening::identities(none).is_err() && Lock::recipients([none]).is_err());
        }
        assert!(Lock::recipients([]).is_err());
    }

    #[test]
    fn nobody_is_made_to_work_for_a_file_of_others() {
        assert_eq!(cost_of("m=47104,t=3,p=1"), Some(COST));
        for greedy in [
            "m=4194304,t=3,p=4",
            "m=65536,t=999,p=4",
            "m=65536,t=3,p=0",
            "m=65536,t=3",
            "m=1,t=1,p=1,x=1",
            "",
        ] {
            assert_eq!(cost_of(greedy), None, "{greedy}");
        }
    }
}
