//! Public keys, which verify and do nothing else.
//!
//! [`PreparedKey`](crate::prepared::PreparedKey) verifies with one, and so does whoever has only somebody else's public half. An SPKI
//! may come from outside, so it is taken in its one DER form: no bare points, no PKCS#1, no other parameters, nothing after its end.

use aws_lc_rs::{
    digest::{self, Digest},
    encoding::{AsDer, PublicKeyX509Der},
    rsa,
    signature::{
        self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RsaParameters, VerificationAlgorithm,
    },
};
use claviger_entity::KeyType;

use crate::{CryptoError, MaterialError};

/// How an ECDSA signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// r ‖ s (RFC 7518 §3.4).
    #[default]
    Jose,
    /// ASN.1 DER.
    Der,
}

/// A public key ready for use.
pub struct PublicKey {
    key_type: KeyType,
    parsed: ParsedPublicKey,
}

const UNFIT: MaterialError = MaterialError::Unfit("the public key does not fit its type");
pub(crate) const NO_SIGNATURES: CryptoError = CryptoError::Unsupported("a key of this type does not sign");
pub(crate) const DER_IS_ECDSA: CryptoError = CryptoError::Unsupported("encoding der is for ECDSA keys");
pub(crate) const NO_PREHASH: CryptoError =
    CryptoError::Unsupported("a key of this type does not sign digests");

/// An Ed25519 signature (RFC 8032) under a raw public key, whatever its form: what is none does not verify.
#[must_use]
pub fn ed25519(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    signature::UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

impl PublicKey {
    /// Parses an SPKI (RFC 5280 §4.1.2.7, DER) of an asymmetric type. RSA keys have 2048 to 8192 bits and say `rsaEncryption`: a key
    /// bound to PSS by its own parameters is refused, since they would not be kept.
    ///
    /// # Errors
    /// It does not fit the type, is too small or too large, or is written in another form.
    pub fn from_spki(key_type: KeyType, der: &[u8]) -> Result<Self, MaterialError> {
        let parsed = match key_type {
            KeyType::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256, der),
            KeyType::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384, der),
            KeyType::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512, der),
            KeyType::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256, der),
            KeyType::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384, der),
            KeyType::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512, der),
            KeyType::Es256 => curve(&ECDSA_P256_SHA256_FIXED, der),
            KeyType::Es384 => curve(&ECDSA_P384_SHA384_FIXED, der),
            KeyType::Eddsa => curve(&ED25519, der),
            KeyType::Hs256 | KeyType::Hs384 | KeyType::Hs512 | KeyType::HmacSha256 => Err(UNFIT),
            KeyType::Aes256Gcm | KeyType::Fernet => Err(UNFIT),
        }?;
        Ok(Self { key_type, parsed })
    }

    /// The type it was parsed for.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Whether a JWS signature fits.
    #[must_use]
    pub fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(input, signature).is_ok()
    }

    /// Whether a signature in a chosen encoding fits the input or its digest.
    ///
    /// # Errors
    /// The type does not know the encoding or digests, or the digest has another length than the algorithm's hash; a signature that
    /// does not fit is no error.
    pub fn verify_raw(
        &self,
        input: &[u8],
        signature: &[u8],
        prehashed: bool,
        encoding: SignatureEncoding,
    ) -> Result<bool, CryptoError> {
        let verify = |public: &ParsedPublicKey| -> Result<bool, CryptoError> {
            Ok(if prehashed {
                public.verify_digest_sig(&import_digest(self.key_type, input)?, signature).is_ok()
            } else {
                public.verify_sig(input, signature).is_ok()
            })
        };
        match encoding {
            SignatureEncoding::Jose => verify(&self.parsed),
            SignatureEncoding::Der => verify(&self.for_der()?),
        }
    }

    /// The same key for signatures in DER.
    fn for_der(&self) -> Result<ParsedPublicKey, CryptoError> {
        let algorithm = match self.key_type {
            KeyType::Es256 => &ECDSA_P256_SHA256_ASN1,
            KeyType::Es384 => &ECDSA_P384_SHA384_ASN1,
            KeyType::Rs256 | KeyType::Rs384 | KeyType::Rs512 => return Err(DER_IS_ECDSA),
            KeyType::Ps256 | KeyType::Ps384 | KeyType::Ps512 | KeyType::Eddsa => return Err(DER_IS_ECDSA),
            KeyType::Hs256 | KeyType::Hs384 | KeyType::Hs512 | KeyType::HmacSha256 => {
                return Err(NO_SIGNATURES);
            }
            KeyType::Aes256Gcm | KeyType::Fernet => return Err(NO_SIGNATURES),
        };
        ParsedPublicKey::new(algorithm, &self.parsed).map_err(|_| CryptoError::Primitive)
    }
}

/// A digest made by the caller, of the length of the type's hash.
pub(crate) fn import_digest(key_type: KeyType, input: &[u8]) -> Result<Digest, CryptoError> {
    let algorithm = match key_type {
        KeyType::Rs256 | KeyType::Ps256 | KeyType::Es256 => &digest::SHA256,
        KeyType::Rs384 | KeyType::Ps384 | KeyType::Es384 => &digest::SHA384,
        KeyType::Rs512 | KeyType::Ps512 => &digest::SHA512,
        KeyType::Hs256 | KeyType::Hs384 | KeyType::Hs512 | KeyType::HmacSha256 => return Err(NO_PREHASH),
        KeyType::Eddsa | KeyType::Aes256Gcm | KeyType::Fernet => return Err(NO_PREHASH),
    };
    Digest::import_less_safe(input, algorithm)
        .map_err(|_| CryptoError::Malformed("a prehashed input has the length of the algorithm's hash"))
}

fn curve(
    algorithm: &'static dyn VerificationAlgorithm,
    der: &[u8],
) -> Result<ParsedPublicKey, MaterialError> {
    let parsed = ParsedPublicKey::new(algorithm, der).map_err(|_| UNFIT)?;
    canonical(&parsed, der)?;
    Ok(parsed)
}

/// The library judges the size of an RSA key at each signature; a key that can never verify is better refused at once.
fn rsa(parameters: &'static RsaParameters, der: &[u8]) -> Result<ParsedPublicKey, MaterialError> {
    let public = rsa::PublicKey::from_der(der).map_err(|_| UNFIT)?;
    canonical(&public, der)?;
    let bits = RsaParameters::public_modulus_len(public.as_ref()).map_err(|_| UNFIT)?;
    if !(parameters.min_modulus_len()..=parameters.max_modulus_len()).contains(&bits) {
        return Err(UNFIT);
    }
    ParsedPublicKey::new(parameters, der).map_err(|_| UNFIT)
}

/// The library also reads other forms, and stops at the end of the key; what it would write itself is the one form accepted.
fn canonical(key: &impl AsDer<PublicKeyX509Der<'static>>, der: &[u8]) -> Result<(), MaterialError> {
    let written = key.as_der().map_err(|_| UNFIT)?;
    if written.as_ref() == der { Ok(()) } else { Err(UNFIT) }
}
