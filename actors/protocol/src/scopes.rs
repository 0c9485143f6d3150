//! Roles and scopes of a session: they narrow what a principal's policies give, and never widen it.

use std::collections::BTreeSet;

pub use claviger_entity::{DeviceRole as Role, Scope};

/// Scopes that have what this one needs: `operator.write` adds to `operator.read`, `operator.admin` to both.
const fn held_by(scope: Scope) -> &'static [Scope] {
    match scope {
        Scope::OperatorRead => &[Scope::OperatorRead, Scope::OperatorWrite, Scope::OperatorAdmin],
        Scope::OperatorWrite => &[Scope::OperatorWrite, Scope::OperatorAdmin],
        Scope::OperatorAdmin => &[Scope::OperatorAdmin],
        Scope::OperatorPairing => &[Scope::OperatorPairing],
        Scope::NodeSync => &[Scope::NodeSync],
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);

    /// Those of a role.
    #[must_use]
    pub fn of_role(role: Role) -> Self {
        Scope::ALL.iter().copied().filter(|scope| scope.role() == role).collect()
    }

    /// Those that are known, of a list of names. What is not known can't be granted.
    #[must_use]
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(|name| name.parse::<Scope>().ok()).collect()
    }

    /// Granted = approved ∩ requested.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Holds this very scope.
    #[must_use]
    pub const fn holds(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// May do what needs this scope.
    #[must_use]
    pub fn covers(self, scope: Scope) -> bool {
        held_by(scope).iter().any(|held| self.holds(*held))
    }

    /// These, and the lesser ones that they have.
    #[must_use]
    pub fn with_lesser(self) -> Self {
        Scope::ALL.iter().copied().filter(|scope| self.covers(*scope)).collect()
    }

    /// Holds all of them itself.
    #[must_use]
    pub const fn holds_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whoever is held to these may let others have this scope. No operator holds that of nodes, which see of keys what
    /// `operator.read` shows.
    #[must_use]
    pub fn may_give(self, scope: Scope) -> bool {
        match scope {
            Scope::NodeSync => self.covers(Scope::NodeSync) || self.covers(Scope::OperatorRead),
            Scope::OperatorRead | Scope::OperatorWrite | Scope::OperatorAdmin | Scope::OperatorPairing => {
                self.covers(scope)
            }
        }
    }

    /// Those that it holds.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.holds(*scope))
    }

    /// The same as a set.
    #[must_use]
    pub fn set(self) -> BTreeSet<Scope> {
        self.iter().collect()
    }

    /// Holds none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_was_approved_and_requested() {
        let requested = Scopes::named(["operator.read", "operator.admin", "node.sync", "root"]);
        let granted = Scopes::of_role(Role::Operator).and(requested);
        assert_eq!(
            granted.iter().map(Scope::as_str).collect::<Vec<_>>(),
            ["operator.read", "operator.admin"]
        );
        assert_eq!(granted.set().len(), 2);
        assert!(
            Scopes::of_role(Role::Operator).and(Scopes::named([])).is_empty(),
            "none requested, none granted"
        );
        assert!(Scopes::of_role(Role::Node).and(Scopes::named(["operator.read"])).is_empty());
    }

    #[test]
    fn greater_scopes_add_to_lesser_ones() {
        let covers = |name: &str| -> Vec<bool> {
            let scopes = Scopes::named([name]);
            Scope::ALL.iter().map(|scope| scopes.covers(*scope)).collect()
        };
        assert_eq!(covers("operator.read"), [true, false, false, false, false]);
        assert_eq!(covers("operator.write"), [true, true, false, false, false]);
        assert_eq!(covers("operator.admin"), [true, true, true, false, false]);
        assert_eq!(covers("operator.pairing"), [false, false, false, true, false]);
        assert_eq!(covers("node.sync"), [false, false, false, false, true]);
    }

    /// Over all sets: what is given never reaches further than the giver, who may do with it what they could do before.
    #[test]
    fn nobody_gives_more_than_they_are_held_to() {
        for set in 0..1_u8 << Scope::ALL.len() {
            let held = Scopes(set);
            let all = held.with_lesser();
            assert!(all.holds_all(held) && all.with_lesser() == all);
            for scope in Scope::ALL.iter().copied() {
                assert_eq!(all.holds(scope), held.covers(scope));
                let is_reader = scope == Scope::NodeSync && held.covers(Scope::OperatorRead);
                assert_eq!(held.may_give(scope), held.covers(scope) || is_reader, "{held:?} {scope:?}");
            }
        }
        assert!(!Scopes::named(["operator.pairing"]).may_give(Scope::OperatorRead));
        assert!(!Scopes::named(["operator.read"]).holds_all(Scopes::named(["operator.write"])));
    }
}
