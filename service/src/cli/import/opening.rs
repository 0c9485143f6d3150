//! What a legacy secret opens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use claviger_crypto::{
    CryptoError,
    material::Material,
    prepared::PreparedKey,
    secret::SecretBytes,
    stored::{self, Keys},
};
use claviger_entity::KeyType;
use zeroize::Zeroizing;

use super::sending::Outcome;
use crate::cli::failure::Failure;

/// The keys that legacy secrets stand for.
#[derive(Default)]
pub(super) struct LegacyKeys {
    aead: Vec<PreparedKey>,
    fernet: Vec<PreparedKey>,
}

impl LegacyKeys {
    /// Of secrets, one a line. What is a Fernet key by its form is taken for one as well.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn of_secrets(text: &str) -> Result<Self, Failure> {
        let unfit =
            || Failure::Local("--secret-file must hold a secret of 1 to 1024 bytes a line".to_owned());
        let mut keys = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let secret = SecretBytes::new(line.as_bytes().to_vec());
            let derived = |key_type| {
                let imported = Material::import_legacy(key_type, &secret, None).map_err(|_| unfit())?;
                PreparedKey::new(key_type, &imported.material.secret).map_err(|_| unfit())
            };
            keys.aead.push(derived(KeyType::Aes256Gcm)?);
            keys.fernet.push(derived(KeyType::Fernet)?);
            let raw = URL_SAFE.decode(line).ok().map(SecretBytes::new).filter(|raw| raw.len() == 32);
            keys.fernet.extend(raw.and_then(|raw| PreparedKey::new(KeyType::Fernet, &raw).ok()));
        }
        if keys.aead.is_empty() { Err(unfit()) } else { Ok(keys) }
    }

    /// The value in a text.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(super) fn open(&self, text: &str, is_clear: bool) -> Result<Zeroizing<String>, Outcome> {
        let error = |code: &str, detail: &str| Outcome::Error(code.to_owned(), detail.to_owned());
        if is_clear {
            return Ok(Zeroizing::new(text.to_owned()));
        }
        let (value, _) = stored::read(text, "", self).map_err(|cause| match cause {
            CryptoError::Malformed(_) | CryptoError::Unsupported(_) => error(
                "not_encrypted",
                "the value is in none of the formats; --clear if the table is not encrypted",
            ),
            CryptoError::Refused | CryptoError::Primitive | CryptoError::Spent | CryptoError::Uncounted => {
                error("decryption_failed", "no secret of --secret-file opens the value")
            }
        })?;
        let text = std::str::from_utf8(value.expose());
        text.map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| error("not_text", "the value is no UTF-8 text"))
    }
}

impl Keys for LegacyKeys {
    /// Whatever id the other system has given its one secret.
    fn by_kid(
        &self,
        _kid: &str,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError> {
        first(&self.aead, with)
    }

    fn fernet(
        &self,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError> {
        first(&self.fernet, with)
    }
}

/// What the first that fits gives; of the refusals, the one that says that a text was in form.
fn first(
    keys: &[PreparedKey],
    with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
) -> Result<SecretBytes, CryptoError> {
    let mut refusal = CryptoError::Refused;
    for key in keys {
        match with(key) {
            Ok(value) => return Ok(value),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
