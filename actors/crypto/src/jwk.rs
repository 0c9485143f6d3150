//! Public halves as JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037) and PEM.

use aws_lc_rs::{rsa, signature::RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_entity::{Algorithm, KeyType, Kid};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType,
    Jwk, KeyAlgorithm, OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType,
    ThumbprintHash,
};

use crate::CryptoError;

const UNFIT: CryptoError = CryptoError::Malformed("the public key does not fit its type");

/// The JWK of a public half, with `kid`, `use` and `alg`.
///
/// # Errors
/// The SPKI does not fit the type.
pub fn public_jwk(key_type: KeyType, spki: &[u8], kid: &Kid) -> Result<serde_json::Value, CryptoError> {
    let mut jwk = bare(key_type, spki)?;
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    jwk.common.key_algorithm = key_type.algorithm().map(key_algorithm);
    jwk.common.key_id = Some(kid.as_str().to_owned());
    serde_json::to_value(&jwk).map_err(|_| UNFIT)
}

/// RFC 7638 thumbprint (SHA-256, base64url): the `kid` of a public half.
///
/// # Errors
/// The SPKI does not fit the type.
pub fn thumbprint(key_type: KeyType, spki: &[u8]) -> Result<Kid, CryptoError> {
    bare(key_type, spki)?.thumbprint(ThumbprintHash::SHA256).map_err(|_| UNFIT)?.parse().map_err(|_| UNFIT)
}

/// `PUBLIC KEY` PEM (RFC 7468 §13).
#[must_use]
pub fn public_pem(spki: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("PUBLIC KEY", spki),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

fn bare(key_type: KeyType, spki: &[u8]) -> Result<Jwk, CryptoError> {
    let algorithm = match key_type {
        KeyType::Es256 => elliptic(EllipticCurve::P256, spki, 32)?,
        KeyType::Es384 => elliptic(EllipticCurve::P384, spki, 48)?,
        KeyType::Eddsa => {
            let x = spki.last_chunk::<32>().ok_or(UNFIT)?;
            AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: URL_SAFE_NO_PAD.encode(x),
            })
        }
        KeyType::Rs256
        | KeyType::Rs384
        | KeyType::Rs512
        | KeyType::Ps256
        | KeyType::Ps384
        | KeyType::Ps512 => {
            let public = rsa::PublicKey::from_der(spki).map_err(|_| UNFIT)?;
            let components = RsaPublicKeyComponents::<Vec<u8>>::from(&public);
            AlgorithmParameters::RSA(RSAKeyParameters {
                key_type: RSAKeyType::RSA,
                n: URL_SAFE_NO_PAD.encode(components.n),
                e: URL_SAFE_NO_PAD.encode(components.e),
            })
        }
        KeyType::Hs256
        | KeyType::Hs384
        | KeyType::Hs512
        | KeyType::Aes256Gcm
        | KeyType::HmacSha256
        | KeyType::Fernet => {
            return Err(CryptoError::Unsupported("a symmetric key has no public half"));
        }
    };
    Ok(Jwk { common: CommonParameters::default(), algorithm })
}

/// The SPKI of these curves ends in the uncompressed point `04 ‖ x ‖ y`.
fn elliptic(curve: EllipticCurve, spki: &[u8], width: usize) -> Result<AlgorithmParameters, CryptoError> {
    let point = spki.len().checked_sub(2 * width + 1).and_then(|start| spki.get(start..)).ok_or(UNFIT)?;
    let (form, coordinates) = point.split_first().ok_or(UNFIT)?;
    if *form != 4 {
        return Err(UNFIT);
    }
    let (x, y) = coordinates.split_at_checked(width).ok_or(UNFIT)?;
    Ok(AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
        key_type: EllipticCurveKeyType::EC,
        curve,
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
    }))
}

const fn key_algorithm(algorithm: Algorithm) -> KeyAlgorithm {
    match algorithm {
        Algorithm::Hs256 => KeyAlgorithm::HS256,
        Algorithm::Hs384 => KeyAlgorithm::HS384,
        Algorithm::Hs512 => KeyAlgorithm::HS512,
        Algorithm::Rs256 => KeyAlgorithm::RS256,
        Algorithm::Rs384 => KeyAlgorithm::RS384,
        Algorithm::Rs512 => KeyAlgorithm::RS512,
        Algorithm::Ps256 => KeyAlgorithm::PS256,
        Algorithm::Ps384 => KeyAlgorithm::PS384,
        Algorithm::Ps512 => KeyAlgorithm::PS512,
        Algorithm::Es256 => KeyAlgorithm::ES256,
        Algorithm::Es384 => KeyAlgorithm::ES384,
        Algorithm::EdDsa => KeyAlgorithm::EdDSA,
    }
}
