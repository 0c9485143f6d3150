//! Key material: generated, imported, named.
//!
//! Symmetric material is kept as raw bytes, asymmetric as PKCS#8 DER. A `kid` never says anything about the material: it is random
//! or, for public keys, a thumbprint of the public half. An id that reveals its key is refused.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use claviger_entity::{KeyType, Kid};

pub use crate::error::MaterialError;
use crate::{base62, digest, jwk, random, secret::SecretBytes};

/// Bytes below which a legacy secret verifies and decrypts only.
const LEGACY_STRONG_BYTES: usize = 32;
/// Bytes of a random `kid`.
const KID_BYTES: usize = 16;
/// Longest raw symmetric key.
const RAW_MAX_BYTES: usize = 1_024;

/// Material of one version.
pub struct Material {
    /// Its identifier.
    pub kid: Kid,
    /// The secret: raw bytes, or PKCS#8 DER.
    pub secret: SecretBytes,
    /// Public half as SPKI DER, for asymmetric types.
    pub public_spki: Option<Vec<u8>>,
    /// RSA modulus length.
    pub bits: Option<u32>,
}

/// What became of a legacy text secret.
pub struct LegacyImport {
    /// The material, under a `kid` that reveals nothing.
    pub material: Material,
    /// Strong enough to sign and encrypt.
    pub may_produce: bool,
    /// The id that replaced systems use for this secret. It *is* the key of some types: hash it with a key before keeping it.
    pub alias: SecretBytes,
}

impl Material {
    /// Fresh material.
    ///
    /// # Errors
    /// `bits` does not fit, or the generator failed.
    pub fn generate(key_type: KeyType, bits: Option<u32>) -> Result<Self, MaterialError> {
        if !key_type.is_rsa() && bits.is_some() {
            return Err(MaterialError::Unfit("bits is for RSA keys only"));
        }
        match key_type {
            KeyType::Es256 => Self::elliptic(key_type, &ECDSA_P256_SHA256_FIXED_SIGNING),
            KeyType::Es384 => Self::elliptic(key_type, &ECDSA_P384_SHA384_FIXED_SIGNING),
            KeyType::Eddsa => {
                let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
                    .map_err(|_| MaterialError::Primitive)?;
                Self::from_pkcs8(key_type, document.as_ref(), None)
            }
            KeyType::Rs256
            | KeyType::Rs384
            | KeyType::Rs512
            | KeyType::Ps256
            | KeyType::Ps384
            | KeyType::Ps512 => {
                let pair = RsaKeyPair::generate(key_size(bits)?).map_err(|_| MaterialError::Primitive)?;
                let document =
                    AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| MaterialError::Primitive)?;
                Self::from_pkcs8(key_type, document.as_ref(), None)
            }
            KeyType::Hs256 | KeyType::Aes256Gcm | KeyType::HmacSha256 | KeyType::Fernet => Self::random(32),
            KeyType::Hs384 => Self::random(48),
            KeyType::Hs512 => Self::random(64),
        }
    }

    /// Symmetric material from raw bytes.
    ///
    /// # Errors
    /// The length does not fit, the type is asymmetric, or `kid` reveals the key.
    pub fn import_raw(
        key_type: KeyType,
        bytes: SecretBytes,
        kid: Option<Kid>,
    ) -> Result<Self, MaterialError> {
        let length = bytes.len();
        let fits = match key_type {
            KeyType::Aes256Gcm | KeyType::Fernet => length == 32,
            KeyType::HmacSha256 => length >= 16,
            KeyType::Hs256 => length >= 32,
            KeyType::Hs384 => length >= 48,
            KeyType::Hs512 => length >= 64,
            KeyType::Rs256
            | KeyType::Rs384
            | KeyType::Rs512
            | KeyType::Ps256
            | KeyType::Ps384
            | KeyType::Ps512 => false,
            KeyType::Es256 | KeyType::Es384 | KeyType::Eddsa => false,
        };
        if key_type.is_asymmetric() {
            return Err(MaterialError::Unfit("material of an asymmetric key must be PKCS#8 PEM"));
        }
        if !fits || length > RAW_MAX_BYTES {
            return Err(MaterialError::Unfit(
                "raw material must be 32 bytes for aes256-gcm and fernet, at least 16 for hmac-sha256 and at least the hash size for hs*",
            ));
        }
        let kid = match kid {
            Some(kid) => concealing(kid, &bytes)?,
            None => random_kid()?,
        };
        Ok(Self { kid, secret: bytes, public_spki: None, bits: None })
    }

    /// Asymmetric material from an unencrypted PKCS#8 PEM (RFC 7468 §10).
    ///
    /// # Errors
    /// It is none, does not fit the type, or `kid` reveals the key.
    pub fn import_pem(key_type: KeyType, text: &str, kid: Option<Kid>) -> Result<Self, MaterialError> {
        const UNFIT: MaterialError = MaterialError::Unfit(
            "material must be one unencrypted PKCS#8 PEM (PRIVATE KEY) of the key's type",
        );
        if !key_type.is_asymmetric() {
            return Err(MaterialError::Unfit("material of a symmetric key must be raw bytes in base64"));
        }
        // All of them are parsed: of two keys, another reader may take the other.
        let mut found = pem::parse_many(text).map_err(|_| UNFIT)?;
        let parsed = found.pop().filter(|parsed| parsed.tag() == "PRIVATE KEY").ok_or(UNFIT)?;
        let der = SecretBytes::new(parsed.into_contents());
        if !found.is_empty() || has_a_tail(key_type, der.expose()) {
            return Err(UNFIT);
        }
        let kid = kid.map(|kid| concealing(kid, &der)).transpose()?;
        Self::from_pkcs8(key_type, der.expose(), kid)
    }

    /// Material from the single text secret of a replaced system.
    ///
    /// # Errors
    /// The type is asymmetric, or the secret is empty.
    pub fn import_legacy(
        key_type: KeyType,
        secret: &SecretBytes,
        kid: Option<&Kid>,
    ) -> Result<LegacyImport, MaterialError> {
        let digest = SecretBytes::new(digest::sha256(secret.expose()).to_vec());
        let bytes = match key_type {
            KeyType::Hs256 | KeyType::Hs384 | KeyType::Hs512 => secret.clone(),
            KeyType::Aes256Gcm | KeyType::Fernet => digest.clone(),
            KeyType::HmacSha256 | KeyType::Eddsa | KeyType::Es256 | KeyType::Es384 => return Err(NO_LEGACY),
            KeyType::Rs256
            | KeyType::Rs384
            | KeyType::Rs512
            | KeyType::Ps256
            | KeyType::Ps384
            | KeyType::Ps512 => {
                return Err(NO_LEGACY);
            }
        };
        if secret.is_empty() || secret.len() > RAW_MAX_BYTES {
            return Err(MaterialError::Unfit("legacy_secret must be 1 to 1024 bytes"));
        }
        let reveals = |kid: &&Kid| kid_reveals(kid, secret.expose()) || kid_reveals(kid, digest.expose());
        let kid = match kid.filter(|kid| !reveals(kid)) {
            Some(kid) => kid.clone(),
            None => legacy_kid(key_type, &digest)?,
        };
        Ok(LegacyImport {
            material: Self { kid, secret: bytes, public_spki: None, bits: None },
            may_produce: secret.len() >= LEGACY_STRONG_BYTES,
            alias: SecretBytes::new(base62::encode(digest.expose()).into_bytes()),
        })
    }

    fn random(length: usize) -> Result<Self, MaterialError> {
        let secret = random::bytes(length).map_err(|_| MaterialError::Primitive)?;
        Ok(Self { kid: random_kid()?, secret: secret.into(), public_spki: None, bits: None })
    }

    fn elliptic(key_type: KeyType, algorithm: &'static EcdsaSigningAlgorithm) -> Result<Self, MaterialError> {
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .map_err(|_| MaterialError::Primitive)?;
        Self::from_pkcs8(key_type, document.as_ref(), None)
    }

    fn from_pkcs8(key_type: KeyType, der: &[u8], kid: Option<Kid>) -> Result<Self, MaterialError> {
        const UNFIT: MaterialError = MaterialError::Unfit("material is no private key of the key's type");
        let mut bits = None;
        let spki = match key_type {
            KeyType::Es256 | KeyType::Es384 => {
                let algorithm = if key_type == KeyType::Es256 {
                    &ECDSA_P256_SHA256_FIXED_SIGNING
                } else {
                    &ECDSA_P384_SHA384_FIXED_SIGNING
                };
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(|_| UNFIT)?;
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            }
            KeyType::Eddsa => {
                let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| UNFIT)?;
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            }
            KeyType::Rs256
            | KeyType::Rs384
            | KeyType::Rs512
            | KeyType::Ps256
            | KeyType::Ps384
            | KeyType::Ps512 => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| UNFIT)?;
                let size = u32::try_from(pair.public_modulus_len() * 8).map_err(|_| UNFIT)?;
                key_size(Some(size))?;
                bits = Some(size);
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            }
            KeyType::Hs256 | KeyType::Hs384 | KeyType::Hs512 => return Err(UNFIT),
            KeyType::Aes256Gcm | KeyType::HmacSha256 | KeyType::Fernet => return Err(UNFIT),
        };
        let spki = spki.map_err(|_| MaterialError::Primitive)?.as_ref().to_vec();
        let kid = match kid {
            Some(kid) => kid,
            None => jwk::thumbprint(key_type, &spki).map_err(|_| UNFIT)?,
        };
        Ok(Self { kid, secret: SecretBytes::new(der.to_vec()), public_spki: Some(spki), bits })
    }
}

/// The library stops at the end of a key. What is still a key without its last byte had something behind it.
fn has_a_tail(key_type: KeyType, der: &[u8]) -> bool {
    der.split_last().is_some_and(|(_, shorter)| Material::from_pkcs8(key_type, shorter, None).is_ok())
}

const NO_LEGACY: MaterialError =
    MaterialError::Unfit("legacy_secret is for hs256, hs384, hs512, aes256-gcm and fernet keys");

/// The id is an encoding of the secret: whoever sees a token has the key.
#[must_use]
pub fn kid_reveals(kid: &Kid, secret: &[u8]) -> bool {
    let text = kid.as_str();
    let is = |bytes: &[u8]| !bytes.is_empty() && digest::ct_eq(bytes, secret);
    let hex = || -> Option<Vec<u8>> {
        let digits = text.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    is(text.as_bytes())
        || base62::decode(text).is_ok_and(|bytes| is(&bytes))
        || [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .any(|engine| engine.decode(text).is_ok_and(|bytes| is(&bytes)))
        || (text.len().is_multiple_of(2) && hex().is_some_and(|bytes| is(&bytes)))
}

fn concealing(kid: Kid, secret: &SecretBytes) -> Result<Kid, MaterialError> {
    if kid_reveals(&kid, secret.expose()) || kid_reveals(&kid, &digest::sha256(secret.expose())) {
        return Err(MaterialError::Unfit("kid must not be an encoding of the key or its hash; leave it out"));
    }
    Ok(kid)
}

/// Equal on every node, different per type, and no key byte can be read from it.
fn legacy_kid(key_type: KeyType, digest: &SecretBytes) -> Result<Kid, MaterialError> {
    let mac = digest::hmac_sha256(digest.expose(), &[b"claviger kid v1:", key_type.as_str().as_bytes()]);
    base62::encode(&mac).parse().map_err(|_| MaterialError::Primitive)
}

fn random_kid() -> Result<Kid, MaterialError> {
    random::text(KID_BYTES)
        .map_err(|_| MaterialError::Primitive)?
        .parse()
        .map_err(|_| MaterialError::Primitive)
}

const fn key_size(bits: Option<u32>) -> Result<KeySize, MaterialError> {
    match bits {
        None | Some(2_048) => Ok(KeySize::Rsa2048),
        Some(3_072) => Ok(KeySize::Rsa3072),
        Some(4_096) => Ok(KeySize::Rsa4096),
        Some(_) => Err(MaterialError::Unfit("an RSA key has 2048, 3072 or 4096 bits")),
    }
}
