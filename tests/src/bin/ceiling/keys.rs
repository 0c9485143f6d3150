//! One key of each type.

use claviger_crypto::{material::Material, prepared::PreparedKey};
use claviger_entity::{KeyType, Kid};

/// A key ready for use.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kid: Kid,
    pub(crate) prepared: PreparedKey,
    /// As SPKI DER, of asymmetric types.
    pub(crate) public: Option<Vec<u8>>,
}

/// All of them.
pub(crate) struct Keys {
    pub(crate) aes: Key,
    pub(crate) mac: Key,
    signers: [Key; 3],
}

impl Keys {
    pub(crate) fn generate() -> Self {
        Self {
            aes: key("bench-aes", KeyType::Aes256Gcm),
            mac: key("bench-hs256", KeyType::Hs256),
            signers: [
                key("bench-es256", KeyType::Es256),
                key("bench-eddsa", KeyType::Eddsa),
                key("bench-rs256", KeyType::Rs256),
            ],
        }
    }

    pub(crate) fn signer(&self, name: &str) -> Option<&Key> {
        self.signers.iter().find(|key| key.name == name)
    }
}

fn key(name: &'static str, key_type: KeyType) -> Key {
    let material = Material::generate(key_type, None).unwrap();
    let prepared = PreparedKey::new(key_type, &material.secret).unwrap();
    Key { name, kid: material.kid, prepared, public: material.public_spki }
}
