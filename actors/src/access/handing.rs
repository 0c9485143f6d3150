//! Credentials handed on by callers who are no administrators: never more than they hold themselves.

use claviger_policy::{Engine, PrincipalRef};

use super::PrincipalRecord;
use crate::keyring::record::Time;

/// Who hands something on.
#[derive(Debug, Clone, Copy)]
pub struct Giver<'a> {
    /// Who.
    pub principal: PrincipalRef<'a>,
    /// When their own credential ends.
    pub ends_at: Option<Time>,
}

/// The credential that a caller would have in hand.
#[derive(Debug, Clone, Copy)]
pub struct Handed<'a> {
    /// Whose it will be.
    pub principal: PrincipalRef<'a>,
    /// When it ends.
    pub expires_at: Option<Time>,
}

impl<'a> Giver<'a> {
    /// The holder of an API key, whose secret may be one that was replaced.
    #[must_use]
    pub fn of_api_key(record: &'a PrincipalRecord, replaced_until: Option<Time>) -> Self {
        let ends_at = record.expires_at.into_iter().chain(replaced_until).min();
        Self { principal: record.as_policy_ref(), ends_at }
    }
}

/// Judges whether the giver may have this credential: with it they can do what its holder can, for as long as it lasts.
///
/// # Errors
/// A sentence that says why not.
pub fn may_hand_on(engine: &Engine, giver: &Giver<'_>, handed: &Handed<'_>) -> Result<(), &'static str> {
    let own = &giver.principal;
    if own.is_admin() {
        return Ok(());
    }
    if !handed.principal.roles().iter().all(|role| own.roles().contains(role)) {
        return Err("only an administrator may give roles that the caller does not hold; see roles");
    }
    if giver.ends_at.is_some_and(|own| handed.expires_at.is_none_or(|given| given > own)) {
        return Err(
            "only an administrator may give a credential that outlives the caller's; an API key may expire at expires_at",
        );
    }
    if engine.favours(&handed.principal) {
        return Err(
            "a policy speaks of this API key or device by its id or name, so only an administrator may give its secret",
        );
    }
    if !engine.permits_as_much(&handed.principal, own) {
        return Err(
            "a policy permits devices what it does not permit the caller, so only an administrator may give it",
        );
    }
    if !engine.restrains_as_much(own, &handed.principal) {
        return Err(
            "a policy forbids the caller's roles something that these roles may do, so only an administrator may give them",
        );
    }
    if engine.restrains(own) {
        return Err(
            "a policy forbids the caller something by id or name, so only an administrator may give further credentials",
        );
    }
    Ok(())
}
