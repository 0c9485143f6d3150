//! Credentials handed on by callers who are no administrators: never more than they hold themselves.

use claviger_policy::{Engine, PrincipalRef};

use super::PrincipalRecord;
use crate::keyring::record::Time;

/// The credential that a caller would have in hand.
#[derive(Debug, Clone, Copy)]
pub struct Handed<'a> {
    /// Whose it will be.
    pub principal: PrincipalRef<'a>,
    /// When it ends.
    pub expires_at: Option<Time>,
}

/// Judges whether the giver may have this credential: with it they can do what its holder can, for as long as it lasts.
///
/// # Errors
/// A sentence that says why not.
pub fn may_hand_on(
    engine: &Engine,
    giver: &PrincipalRecord,
    replaced_until: Option<Time>,
    handed: &Handed<'_>,
) -> Result<(), &'static str> {
    let own = giver.as_policy_ref();
    if own.is_admin() {
        return Ok(());
    }
    if !handed.principal.roles().iter().all(|role| giver.roles.contains(role)) {
        return Err("only an administrator may give roles that the caller does not hold");
    }
    let ends = giver.expires_at.into_iter().chain(replaced_until).min();
    if ends.is_some_and(|own| handed.expires_at.is_none_or(|given| given > own)) {
        return Err("only an administrator may give an API key that outlives the caller's; see expires_at");
    }
    if engine.favours(&handed.principal) {
        return Err(
            "a policy speaks of this API key by its id or name, so only an administrator may give its secret",
        );
    }
    if !engine.restrains_as_much(&own, &handed.principal) {
        return Err(
            "a policy forbids the caller's roles something that these roles may do, so only an administrator may give them",
        );
    }
    if engine.restrains(&own) {
        return Err(
            "a policy forbids the caller something by id or name, so only an administrator may give further API keys",
        );
    }
    Ok(())
}
