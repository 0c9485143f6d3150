//! Validated names, numbers and enums. Parse at the door, then pass these types on.

mod algorithm;
pub mod claims;
mod device;
pub mod duration;
mod key_type;
mod names;
pub mod object;
mod owner;
pub mod rotation;
mod state;
pub mod temporary;

pub use algorithm::Algorithm;
pub use device::{DeviceId, DeviceRole, Scope};
pub use key_type::{KeyType, Tier, Usage};
pub use names::{ApiKeyName, KeyName, Kid, PolicyName, ProviderName, RoleName, SecretName, VersionNumber};
pub use owner::Owner;
pub use state::KeyState;

/// A value that is not one of its type: what it should be, never what was given (it may be a secret).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct InvalidValue {
    /// The kind of value, as the contract calls it.
    pub what: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Declares an enum with one stable text form a variant, used in JSON, in columns and in `Display`. The texts are tokens, not literals:
/// utoipa does not see through what a macro makes of a literal, and would document the names of the variants.
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident ($what:literal) { $($(#[$vmeta:meta])* $variant:ident = $text:tt,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        $vis enum $name {
            $($(#[$vmeta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every variant, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text form of the contract.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::domain::InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(crate::domain::InvalidValue {
                        what: $what,
                        rule: concat!("must be one of:", $(" ", $text),+),
                    }),
                }
            }
        }
    };
}
pub(crate) use text_enum;
