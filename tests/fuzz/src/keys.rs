//! Fixed keys, so that a token of the corpus fits today as it did when it was kept. Their secrets are those of the examples and RFCs.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{material::Material, prepared::PreparedKey, secret::SecretBytes};
use claviger_entity::{KeyType, Kid};

/// Every key, prepared once: that costs more than an execution may.
pub struct Keys {
    /// For tokens signed by a target itself.
    pub hs256: PreparedKey,
    /// RFC 7515 appendix A.3.
    pub es256: PreparedKey,
    /// RFC 8037 appendix A.1.
    pub eddsa: PreparedKey,
    /// For JWE and ciphertexts.
    pub aes: PreparedKey,
    /// For Fernet tokens.
    pub fernet: PreparedKey,
    /// The id that all of them go by.
    pub kid: Kid,
}

/// Secret of [`Keys::hs256`] and [`Keys::aes`].
pub const SECRET: &[u8] = b"test_secret_key_1";

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    hs256: legacy(KeyType::Hs256, SECRET),
    es256: pkcs8(
        KeyType::Es256,
        &[
            0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
            0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01,
            0x01, 0x04, 0x20,
        ],
        "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    ),
    eddsa: pkcs8(
        KeyType::Eddsa,
        &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20],
        "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    ),
    aes: legacy(KeyType::Aes256Gcm, SECRET),
    fernet: legacy(KeyType::Fernet, b"test_secret"),
    kid: "key1".parse().expect("a kid"),
});

/// Makes the keys, and draws the first random number, before an execution is measured: either may take as long as one may.
///
/// # Panics
/// The random generator fails.
pub fn prepare() {
    keys().es256.sign(b"m").expect("es256 signs");
}

/// The keys.
#[must_use]
pub fn keys() -> &'static Keys {
    &KEYS
}

fn legacy(key_type: KeyType, secret: &[u8]) -> PreparedKey {
    let imported = Material::import_legacy(key_type, &SecretBytes::new(secret.to_vec()), None)
        .expect("a secret of the examples");
    PreparedKey::new(key_type, &imported.material.secret).expect("what was imported")
}

/// A private number behind the head that PKCS#8 puts before it.
fn pkcs8(key_type: KeyType, head: &[u8], number: &str) -> PreparedKey {
    let number = URL_SAFE_NO_PAD.decode(number).expect("a number of the RFC");
    PreparedKey::new(key_type, &[head, &number].concat().into()).expect("a key of the RFC")
}
