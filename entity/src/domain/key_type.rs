//! Types, usages and tiers of keys.

use super::{Algorithm, text_enum};

text_enum! {
    /// What the material of a key is and which algorithm it serves. One key, one algorithm (RFC 8725 §3.1).
    pub enum KeyType("type") {
        /// HMAC with SHA-256 (RFC 7518 §3.2).
        Hs256 = "hs256",
        /// HMAC with SHA-384.
        Hs384 = "hs384",
        /// HMAC with SHA-512.
        Hs512 = "hs512",
        /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
        Rs256 = "rs256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        Rs384 = "rs384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        Rs512 = "rs512",
        /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
        Ps256 = "ps256",
        /// RSASSA-PSS with SHA-384.
        Ps384 = "ps384",
        /// RSASSA-PSS with SHA-512.
        Ps512 = "ps512",
        /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
        Es256 = "es256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "es384",
        /// Ed25519 (RFC 8037).
        Eddsa = "eddsa",
        /// AES-256-GCM: encryption, data keys, JWE.
        Aes256Gcm = "aes256-gcm",
        /// HMAC-SHA-256 for sessions and plain MACs.
        HmacSha256 = "hmac-sha256",
        /// Fernet tokens, for compatibility.
        Fernet = "fernet",
    }
}

text_enum! {
    /// What a key may be used for; fixed at its creation.
    pub enum Usage("usage") {
        /// Issues and verifies tokens; its public halves are in the JWKS.
        Token = "token",
        /// Raw signatures.
        Sign = "sign",
        /// Encryption and data keys.
        Encrypt = "encrypt",
        /// Message authentication codes.
        Mac = "mac",
    }
}

text_enum! {
    /// Cryptoperiod class (NIST SP 800-57 part 1, §5.3).
    pub enum Tier("tier") {
        /// Wraps other material.
        Master = "master",
        /// Signs.
        Signing = "signing",
        /// Encrypts data.
        Data = "data",
        /// Authenticates sessions.
        Session = "session",
        /// Destroyed after use or at its end.
        Temporary = "temporary",
    }
}

impl KeyType {
    /// The signature algorithm, for types that sign or authenticate.
    #[must_use]
    pub const fn algorithm(self) -> Option<Algorithm> {
        Some(match self {
            Self::Hs256 | Self::HmacSha256 => Algorithm::Hs256,
            Self::Hs384 => Algorithm::Hs384,
            Self::Hs512 => Algorithm::Hs512,
            Self::Rs256 => Algorithm::Rs256,
            Self::Rs384 => Algorithm::Rs384,
            Self::Rs512 => Algorithm::Rs512,
            Self::Ps256 => Algorithm::Ps256,
            Self::Ps384 => Algorithm::Ps384,
            Self::Ps512 => Algorithm::Ps512,
            Self::Es256 => Algorithm::Es256,
            Self::Es384 => Algorithm::Es384,
            Self::Eddsa => Algorithm::EdDsa,
            Self::Aes256Gcm | Self::Fernet => return None,
        })
    }

    /// Has a public half.
    #[must_use]
    pub const fn is_asymmetric(self) -> bool {
        matches!(
            self,
            Self::Rs256
                | Self::Rs384
                | Self::Rs512
                | Self::Ps256
                | Self::Ps384
                | Self::Ps512
                | Self::Es256
                | Self::Es384
                | Self::Eddsa
        )
    }

    /// RSA of any padding and hash.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512)
    }

    /// Usage when the caller names none.
    #[must_use]
    pub const fn default_usage(self) -> Usage {
        match self {
            Self::Aes256Gcm | Self::Fernet => Usage::Encrypt,
            Self::HmacSha256 => Usage::Mac,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Usage::Token,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Usage::Token,
            Self::Es256 | Self::Es384 | Self::Eddsa => Usage::Token,
        }
    }

    /// Usages that make sense for the type.
    #[must_use]
    pub const fn allows(self, usage: Usage) -> bool {
        match usage {
            Usage::Token => {
                self.algorithm().is_some() && !matches!(self, Self::HmacSha256)
                    || matches!(self, Self::Aes256Gcm)
            }
            Usage::Sign => self.is_asymmetric(),
            Usage::Encrypt => matches!(self, Self::Aes256Gcm | Self::Fernet),
            Usage::Mac => matches!(self, Self::HmacSha256 | Self::Hs256 | Self::Hs384 | Self::Hs512),
        }
    }

    /// Tier when the caller names none.
    #[must_use]
    pub const fn default_tier(self) -> Tier {
        match self {
            Self::Aes256Gcm | Self::Fernet => Tier::Data,
            Self::HmacSha256 => Tier::Session,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Tier::Signing,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                Tier::Signing
            }
            Self::Es256 | Self::Es384 | Self::Eddsa => Tier::Signing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_usage_is_allowed_for_every_type() {
        for &key_type in KeyType::ALL {
            assert!(key_type.allows(key_type.default_usage()), "{key_type}");
        }
    }

    #[test]
    fn text_forms_round_trip() {
        for &key_type in KeyType::ALL {
            assert_eq!(key_type.as_str().parse(), Ok(key_type));
            assert_eq!(serde_json::to_value(key_type).unwrap(), key_type.as_str());
        }
        assert!("HS256".parse::<KeyType>().is_err());
    }
}
