//! Keys parsed once and used many times.
//!
//! Parsing a private key costs more than most signatures (3.4 times as much for RSA), so the snapshot keeps prepared keys.
//! They implement jsonwebtoken's signer and verifier traits: the algorithm always comes from here, never from a token.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
        ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
    },
};
use claviger_entity::{Algorithm, KeyType};
use jsonwebtoken::{
    crypto::{JwtSigner, JwtVerifier},
    signature::{Error as SignatureError, Signer, Verifier},
};

pub use crate::public::SignatureEncoding;
use crate::{
    CryptoError, MaterialError,
    aead::Aead,
    fernet::FernetKey,
    public::{DER_IS_ECDSA, NO_PREHASH, NO_SIGNATURES, PublicKey, import_digest},
    secret::SecretBytes,
};

/// A key ready for use. No `Debug`: it is a secret.
pub struct PreparedKey {
    key_type: KeyType,
    inner: Inner,
}

enum Inner {
    Hmac(Box<hmac::Key>),
    Rsa { pair: RsaKeyPair, public: PublicKey, encoding: &'static dyn RsaEncoding },
    Ecdsa { pair: EcdsaKeyPair, public: PublicKey, curve: &'static Curve },
    Ed25519 { pair: Ed25519KeyPair, public: PublicKey },
    Aead(Box<Aead>),
    Fernet(FernetKey),
}

struct Curve {
    fixed: &'static EcdsaSigningAlgorithm,
    asn1: &'static EcdsaSigningAlgorithm,
}

static P256: Curve = Curve { fixed: &ECDSA_P256_SHA256_FIXED_SIGNING, asn1: &ECDSA_P256_SHA256_ASN1_SIGNING };
static P384: Curve = Curve { fixed: &ECDSA_P384_SHA384_FIXED_SIGNING, asn1: &ECDSA_P384_SHA384_ASN1_SIGNING };

const UNFIT: MaterialError = MaterialError::Unfit("material does not fit the key's type");

impl PreparedKey {
    /// Parses material of a type.
    ///
    /// # Errors
    /// It does not fit the type.
    pub fn new(key_type: KeyType, secret: &SecretBytes) -> Result<Self, MaterialError> {
        let inner = match key_type {
            KeyType::Hs256 | KeyType::HmacSha256 => {
                Inner::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.expose())))
            }
            KeyType::Hs384 => Inner::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA384, secret.expose()))),
            KeyType::Hs512 => Inner::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA512, secret.expose()))),
            KeyType::Rs256 => rsa(key_type, secret, &signature::RSA_PKCS1_SHA256)?,
            KeyType::Rs384 => rsa(key_type, secret, &signature::RSA_PKCS1_SHA384)?,
            KeyType::Rs512 => rsa(key_type, secret, &signature::RSA_PKCS1_SHA512)?,
            KeyType::Ps256 => rsa(key_type, secret, &signature::RSA_PSS_SHA256)?,
            KeyType::Ps384 => rsa(key_type, secret, &signature::RSA_PSS_SHA384)?,
            KeyType::Ps512 => rsa(key_type, secret, &signature::RSA_PSS_SHA512)?,
            KeyType::Es256 => ecdsa(key_type, secret, &P256)?,
            KeyType::Es384 => ecdsa(key_type, secret, &P384)?,
            KeyType::Eddsa => {
                let pair = Ed25519KeyPair::from_pkcs8(secret.expose()).map_err(|_| UNFIT)?;
                let public = public(key_type, pair.public_key())?;
                Inner::Ed25519 { pair, public }
            }
            KeyType::Aes256Gcm => Inner::Aead(Box::new(Aead::new(secret).map_err(|_| UNFIT)?)),
            KeyType::Fernet => Inner::Fernet(FernetKey::new(secret).map_err(|_| UNFIT)?),
        };
        Ok(Self { key_type, inner })
    }

    /// The type it was prepared for.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// A JWS signature or MAC.
    ///
    /// # Errors
    /// The type does not sign.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &self.inner {
            Inner::Hmac(key) => Ok(hmac::sign(key, input).as_ref().to_vec()),
            Inner::Rsa { pair, encoding, .. } => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(*encoding, &SystemRandom::new(), input, &mut signature);
                signed.map(|()| signature).map_err(|_| CryptoError::Primitive)
            }
            Inner::Ecdsa { pair, .. } => {
                let signature = pair.sign(&SystemRandom::new(), input).map_err(|_| CryptoError::Primitive)?;
                Ok(signature.as_ref().to_vec())
            }
            Inner::Ed25519 { pair, .. } => Ok(pair.sign(input).as_ref().to_vec()),
            Inner::Aead(_) | Inner::Fernet(_) => Err(NO_SIGNATURES),
        }
    }

    /// Whether a JWS signature or MAC fits. MACs are compared in constant time.
    #[must_use]
    pub fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.inner {
            Inner::Hmac(key) => hmac::verify(key, input, signature).is_ok(),
            Inner::Rsa { public, .. } | Inner::Ecdsa { public, .. } | Inner::Ed25519 { public, .. } => {
                public.verify(input, signature)
            }
            Inner::Aead(_) | Inner::Fernet(_) => false,
        }
    }

    /// A signature in a chosen encoding, over the input or its digest.
    ///
    /// # Errors
    /// The type does not know the encoding or digests, or the digest has another length than the algorithm's hash.
    pub fn sign_raw(
        &self,
        input: &[u8],
        prehashed: bool,
        encoding: SignatureEncoding,
    ) -> Result<Vec<u8>, CryptoError> {
        match (&self.inner, encoding) {
            (Inner::Hmac(_) | Inner::Aead(_) | Inner::Fernet(_), _) => Err(NO_SIGNATURES),
            (Inner::Rsa { .. } | Inner::Ed25519 { .. }, SignatureEncoding::Der) => Err(DER_IS_ECDSA),
            (Inner::Ecdsa { pair, curve, .. }, SignatureEncoding::Der) => {
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| CryptoError::Primitive)?;
                let pair = EcdsaKeyPair::from_pkcs8(curve.asn1, pkcs8.as_ref())
                    .map_err(|_| CryptoError::Primitive)?;
                self.sign_ecdsa(&pair, input, prehashed)
            }
            (Inner::Ecdsa { pair, .. }, SignatureEncoding::Jose) => self.sign_ecdsa(pair, input, prehashed),
            (Inner::Rsa { .. } | Inner::Ed25519 { .. }, SignatureEncoding::Jose) if !prehashed => {
                self.sign(input)
            }
            (Inner::Rsa { pair, encoding, .. }, SignatureEncoding::Jose) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed =
                    pair.sign_digest(*encoding, &import_digest(self.key_type, input)?, &mut signature);
                signed.map(|()| signature).map_err(|_| CryptoError::Primitive)
            }
            (Inner::Ed25519 { .. }, SignatureEncoding::Jose) => Err(NO_PREHASH),
        }
    }

    /// Whether a signature of [`Self::sign_raw`] fits.
    ///
    /// # Errors
    /// As there; a signature that does not fit is no error.
    pub fn verify_raw(
        &self,
        input: &[u8],
        signature: &[u8],
        prehashed: bool,
        encoding: SignatureEncoding,
    ) -> Result<bool, CryptoError> {
        match &self.inner {
            Inner::Hmac(_) | Inner::Aead(_) | Inner::Fernet(_) => Err(NO_SIGNATURES),
            Inner::Rsa { public, .. } | Inner::Ecdsa { public, .. } | Inner::Ed25519 { public, .. } => {
                public.verify_raw(input, signature, prehashed, encoding)
            }
        }
    }

    /// The AEAD of an aes256-gcm key.
    ///
    /// # Errors
    /// Another type.
    pub fn aead(&self) -> Result<&Aead, CryptoError> {
        match &self.inner {
            Inner::Aead(aead) => Ok(aead),
            Inner::Hmac(_)
            | Inner::Rsa { .. }
            | Inner::Ecdsa { .. }
            | Inner::Ed25519 { .. }
            | Inner::Fernet(_) => Err(CryptoError::Unsupported("only an aes256-gcm key does this")),
        }
    }

    /// The Fernet key of a fernet key.
    ///
    /// # Errors
    /// Another type.
    pub fn fernet(&self) -> Result<&FernetKey, CryptoError> {
        match &self.inner {
            Inner::Fernet(key) => Ok(key),
            Inner::Hmac(_)
            | Inner::Rsa { .. }
            | Inner::Ecdsa { .. }
            | Inner::Ed25519 { .. }
            | Inner::Aead(_) => Err(CryptoError::Unsupported("only a fernet key does this")),
        }
    }

    fn sign_ecdsa(&self, pair: &EcdsaKeyPair, input: &[u8], prehashed: bool) -> Result<Vec<u8>, CryptoError> {
        let signature = if prehashed {
            pair.sign_digest(&import_digest(self.key_type, input)?)
        } else {
            pair.sign(&SystemRandom::new(), input)
        };
        Ok(signature.map_err(|_| CryptoError::Primitive)?.as_ref().to_vec())
    }
}

fn rsa(
    key_type: KeyType,
    secret: &SecretBytes,
    encoding: &'static dyn RsaEncoding,
) -> Result<Inner, MaterialError> {
    let pair = RsaKeyPair::from_pkcs8(secret.expose()).map_err(|_| UNFIT)?;
    let public = public(key_type, pair.public_key())?;
    Ok(Inner::Rsa { pair, public, encoding })
}

fn ecdsa(key_type: KeyType, secret: &SecretBytes, curve: &'static Curve) -> Result<Inner, MaterialError> {
    let pair = EcdsaKeyPair::from_pkcs8(curve.fixed, secret.expose()).map_err(|_| UNFIT)?;
    let public = public(key_type, pair.public_key())?;
    Ok(Inner::Ecdsa { pair, public, curve })
}

fn public(
    key_type: KeyType,
    half: &impl AsDer<PublicKeyX509Der<'static>>,
) -> Result<PublicKey, MaterialError> {
    let spki = half.as_der().map_err(|_| MaterialError::Primitive)?;
    PublicKey::from_spki(key_type, spki.as_ref())
}

impl Signer<Vec<u8>> for PreparedKey {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.sign(message).map_err(|_| SignatureError::new())
    }
}

impl Verifier<Vec<u8>> for PreparedKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        if Self::verify(self, message, signature) { Ok(()) } else { Err(SignatureError::new()) }
    }
}

impl JwtSigner for PreparedKey {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jwt_algorithm(self.key_type)
    }
}

impl JwtVerifier for PreparedKey {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jwt_algorithm(self.key_type)
    }
}

/// jsonwebtoken's name of a type's algorithm. Types that do not sign fall on one whose signature they can't make.
fn jwt_algorithm(key_type: KeyType) -> jsonwebtoken::Algorithm {
    match key_type.algorithm() {
        Some(Algorithm::Hs384) => jsonwebtoken::Algorithm::HS384,
        Some(Algorithm::Hs512) => jsonwebtoken::Algorithm::HS512,
        Some(Algorithm::Rs256) => jsonwebtoken::Algorithm::RS256,
        Some(Algorithm::Rs384) => jsonwebtoken::Algorithm::RS384,
        Some(Algorithm::Rs512) => jsonwebtoken::Algorithm::RS512,
        Some(Algorithm::Ps256) => jsonwebtoken::Algorithm::PS256,
        Some(Algorithm::Ps384) => jsonwebtoken::Algorithm::PS384,
        Some(Algorithm::Ps512) => jsonwebtoken::Algorithm::PS512,
        Some(Algorithm::Es256) => jsonwebtoken::Algorithm::ES256,
        Some(Algorithm::Es384) => jsonwebtoken::Algorithm::ES384,
        Some(Algorithm::EdDsa) => jsonwebtoken::Algorithm::EdDSA,
        Some(Algorithm::Hs256) | None => jsonwebtoken::Algorithm::HS256,
    }
}
