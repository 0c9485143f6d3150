//! Who may do what.
//!
//! A [`Permission`] is the right to one operation. Principals hold permissions by Cedar policies: the shipped ones give the shipped
//! roles their meaning, an operator's own add to them or forbid. [`Engine::permits`] is a pure function of (policies, principal,
//! permission, resource): no clock, no context, no I/O, so that callers may keep its answers for as long as the policies stand.
//!
//! Whatever can't be decided is denied: a policy that fails to evaluate, a resource that can't be described, a damaged policy set.

mod document;
mod engine;
mod entities;
mod permission;
mod schema;
#[cfg(test)]
mod tests;

pub use document::{PolicyDocument, PolicyError, TEXT_MAX_BYTES};
pub use engine::Engine;
pub use entities::{KeyFacts, PrincipalRef, ResourceRef};
pub use permission::{Permission, Target};
pub use schema::{ADMIN, SHIPPED_PREFIX, SHIPPED_ROLES, roles_text, schema_text};
