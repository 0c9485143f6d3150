//! Who calls, and what they may do.
//!
//! [`authenticate`] turns a request's credential into an [`Identity`], on the snapshot alone. [`Authorizer`] answers whether that identity
//! holds a permission, by the policies of the same snapshot, and remembers the answer until policies or labels change.

mod authenticate;
mod authorize;
mod identity;

pub use authenticate::{Refusal, authenticate};
pub use authorize::{Authorizer, facts};
pub use identity::Identity;
