//! Fernet tokens, for systems that have them: `0x80 | u64 BE seconds | 16-byte IV | AES-128-CBC(PKCS7) | HMAC-SHA-256`, base64url
//! with padding. Time to live is not judged: a ciphertext at rest does not expire.

use aes::Aes128;
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{CryptoError, digest, json, random, secret::SecretBytes};

const VERSION: u8 = 0x80;
const IV_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = 1 + 8 + IV_BYTES;
const PAYLOAD_DEPTH: usize = 64;

/// The two halves of a Fernet key.
pub struct FernetKey {
    signing: Zeroizing<[u8; 16]>,
    encryption: Zeroizing<[u8; 16]>,
}

impl FernetKey {
    /// From 32 bytes: signing half, encryption half.
    ///
    /// # Errors
    /// Another length.
    pub fn new(secret: &SecretBytes) -> Result<Self, CryptoError> {
        const UNFIT: CryptoError = CryptoError::Malformed("a Fernet key has 32 bytes");
        let (signing, encryption) = secret.expose().split_at_checked(16).ok_or(UNFIT)?;
        Ok(Self {
            signing: Zeroizing::new(signing.try_into().map_err(|_| UNFIT)?),
            encryption: Zeroizing::new(encryption.try_into().map_err(|_| UNFIT)?),
        })
    }

    /// Encrypts bytes, dated `now` (seconds since the epoch).
    ///
    /// # Errors
    /// The random generator failed.
    pub fn encrypt(&self, plaintext: &[u8], now: u64) -> Result<String, CryptoError> {
        let mut iv = [0; IV_BYTES];
        random::fill(&mut iv)?;
        self.encrypt_with(&iv, plaintext, now)
    }

    /// Encrypts bytes under a given IV, which must be unpredictable outside tests.
    ///
    /// # Errors
    /// A primitive failed.
    pub fn encrypt_with(
        &self,
        iv: &[u8; IV_BYTES],
        plaintext: &[u8],
        now: u64,
    ) -> Result<String, CryptoError> {
        let mut padded = vec![0; (plaintext.len() / BLOCK_BYTES + 1) * BLOCK_BYTES];
        let ciphertext = cbc::Encryptor::<Aes128>::new((&*self.encryption).into(), iv.into())
            .encrypt_padded_b2b::<Pkcs7>(plaintext, &mut padded)
            .map_err(|_| CryptoError::Primitive)?;
        let mut token = vec![VERSION];
        token.extend_from_slice(&now.to_be_bytes());
        token.extend_from_slice(iv);
        token.extend_from_slice(ciphertext);
        let mac = digest::hmac_sha256(&*self.signing, &[&token]);
        token.extend_from_slice(&mac);
        Ok(URL_SAFE.encode(token))
    }

    /// The bytes of a token. The MAC is checked, in constant time, before anything is decrypted.
    ///
    /// # Errors
    /// It is no token, or not of this key.
    pub fn decrypt(&self, token: &str) -> Result<SecretBytes, CryptoError> {
        const MALFORMED: CryptoError = CryptoError::Malformed("ciphertext must be a Fernet token");
        let bytes = URL_SAFE.decode(token).map_err(|_| MALFORMED)?;
        let (signed, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(MALFORMED)?;
        let (header, ciphertext) = signed.split_at_checked(HEADER_BYTES).ok_or(MALFORMED)?;
        if header.first() != Some(&VERSION)
            || ciphertext.is_empty()
            || !ciphertext.len().is_multiple_of(BLOCK_BYTES)
        {
            return Err(MALFORMED);
        }
        if !digest::ct_eq(&digest::hmac_sha256(&*self.signing, &[signed]), mac) {
            return Err(CryptoError::Refused);
        }
        let iv = header.last_chunk::<IV_BYTES>().ok_or(MALFORMED)?;
        let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
        let length = cbc::Decryptor::<Aes128>::new((&*self.encryption).into(), iv.into())
            .decrypt_padded_b2b::<Pkcs7>(ciphertext, &mut plaintext)
            .map_err(|_| CryptoError::Refused)?
            .len();
        plaintext.truncate(length);
        Ok(SecretBytes::new(std::mem::take(&mut *plaintext)))
    }

    /// As [`Self::decrypt`], also for tokens that were wrapped in base64 once more.
    ///
    /// # Errors
    /// As there.
    pub fn decrypt_lenient(&self, token: &str) -> Result<SecretBytes, CryptoError> {
        self.decrypt(token).or_else(|error| {
            let inner =
                URL_SAFE.decode(token).or_else(|_| base64::engine::general_purpose::STANDARD.decode(token));
            match inner.map(String::from_utf8) {
                Ok(Ok(inner)) => self.decrypt(&inner),
                Ok(Err(_)) | Err(_) => Err(error),
            }
        })
    }
}

/// Text → token.
///
/// # Errors
/// A primitive failed.
pub fn encrypt_text(key: &FernetKey, text: &str, now: u64) -> Result<String, CryptoError> {
    key.encrypt(text.as_bytes(), now)
}

/// Token → text.
///
/// # Errors
/// Not a token of this key, or not UTF-8.
pub fn decrypt_text(key: &FernetKey, token: &str) -> Result<String, CryptoError> {
    let plaintext = key.decrypt_lenient(token)?;
    String::from_utf8(plaintext.expose().to_vec())
        .map_err(|_| CryptoError::Malformed("the plaintext is not UTF-8"))
}

/// JSON payload → token.
///
/// # Errors
/// A primitive failed.
pub fn encrypt_json(key: &FernetKey, payload: &Value, now: u64) -> Result<String, CryptoError> {
    let text = Zeroizing::new(payload.to_string());
    key.encrypt(text.as_bytes(), now)
}

/// Token → JSON payload.
///
/// # Errors
/// Not a token of this key, or not strict JSON.
pub fn decrypt_json(key: &FernetKey, token: &str) -> Result<Value, CryptoError> {
    let plaintext = key.decrypt_lenient(token)?;
    json::parse(plaintext.expose(), PAYLOAD_DEPTH)
        .map_err(|_| CryptoError::Malformed("the plaintext is not JSON"))
}
