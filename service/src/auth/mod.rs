//! Who calls, and what they may do.
//!
//! [`authenticate`] turns a request's credential into an [`Identity`], on what is in memory alone; only for a key
//! of an issuer elsewhere that is not known yet does the door wait ([`learn`]). [`Authorizer`] answers whether that identity
//! holds a permission, by the policies of the same snapshot, and remembers the answer until policies or labels change.

mod address;
mod authenticate;
mod authorize;
mod certificate;
mod identity;
mod issuers;
mod limiter;
mod mesh;
mod password;
mod sight;
mod standing;

pub use address::{Addresses, Whence};
pub use authenticate::{Known, Refusal, authenticate, credential, is_name, learn};
pub use authorize::{Authorizer, facts};
pub use certificate::{Peer, is_of_strange_page};
pub use identity::Identity;
pub use issuers::{IssuerFigures, Issuers, KeyFailure, Learned, ProviderKeys, reach};
pub use limiter::{LimitScope, Limiter, network_of};
pub use mesh::{MeshIdentity, Tailscale};
pub use password::Password;
pub use sight::sight;
pub use standing::{InSession, Standing};
