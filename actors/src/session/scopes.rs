//! Roles and scopes: they narrow what a principal's policies give, and never widen it.

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A person, or an application that operates.
    Operator,
    /// A workload that mirrors public key state.
    Node,
}

impl Role {
    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Operator, Self::Node].into_iter().find(|role| role.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }
}

/// What a session may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look.
    Read,
    /// Use keys.
    Write,
    /// Change what exists.
    Admin,
    /// Approve devices.
    Pairing,
    /// Mirror public key state.
    Sync,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Admin, Self::Pairing, Self::Sync];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "operator.read",
            Self::Write => "operator.write",
            Self::Admin => "operator.admin",
            Self::Pairing => "operator.pairing",
            Self::Sync => "node.sync",
        }
    }

    /// Scopes are of one role.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Read | Self::Write | Self::Admin | Self::Pairing => Role::Operator,
            Self::Sync => Role::Node,
        }
    }

    /// Scopes that have what this one needs: `operator.write` adds to `operator.read`, `operator.admin` to both.
    const fn is_in(self) -> &'static [Self] {
        match self {
            Self::Read => &[Self::Read, Self::Write, Self::Admin],
            Self::Write => &[Self::Write, Self::Admin],
            Self::Admin => &[Self::Admin],
            Self::Pairing => &[Self::Pairing],
            Self::Sync => &[Self::Sync],
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Those of a role.
    #[must_use]
    pub fn of_role(role: Role) -> Self {
        Scope::ALL.into_iter().filter(|scope| scope.role() == role).collect()
    }

    /// Those that are known, of a list of names. What is not known can't be granted.
    #[must_use]
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let find = |name: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        names.into_iter().filter_map(find).collect()
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
        scope.is_in().iter().any(|held| self.holds(*held))
    }

    /// Those that it holds.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.holds(*scope))
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
        assert_eq!(granted.iter().map(Scope::as_str).collect::<Vec<_>>(), ["operator.read", "operator.admin"]);
        assert!(Scopes::of_role(Role::Operator).and(Scopes::named([])).is_empty(), "none requested, none granted");
        assert!(Scopes::of_role(Role::Node).and(Scopes::named(["operator.read"])).is_empty());
    }

    #[test]
    fn greater_scopes_add_to_lesser_ones() {
        let covers = |name: &str| {
            let scopes = Scopes::named([name]);
            Scope::ALL.map(|scope| scopes.covers(scope))
        };
        assert_eq!(covers("operator.read"), [true, false, false, false, false]);
        assert_eq!(covers("operator.write"), [true, true, false, false, false]);
        assert_eq!(covers("operator.admin"), [true, true, true, false, false]);
        assert_eq!(covers("operator.pairing"), [false, false, false, true, false]);
        assert_eq!(covers("node.sync"), [false, false, false, false, true]);
    }
}
