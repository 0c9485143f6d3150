//! The versions of one key, and what a command makes of them.

/// Rows at most: two at first, and each of three changes may add one.
const ROWS: usize = 5;

/// State of a version; `destroyed` is for this model the same as `compromised`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionState {
    /// Published ahead.
    Standby,
    /// Signs.
    Active,
    /// Verifies what it signed before.
    Deactivated,
    /// Refused until resumed.
    Suspended,
    /// Refused for ever: stolen.
    Compromised,
    /// Refused for ever: its last token has expired.
    Retired,
}

impl VersionState {
    /// Whether its tokens are valid.
    #[must_use]
    pub fn verifies(self) -> bool {
        match self {
            Self::Standby | Self::Active | Self::Deactivated => true,
            Self::Suspended | Self::Compromised | Self::Retired => false,
        }
    }
}

/// One version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// From 1.
    pub version: u8,
    /// Its state.
    pub state: VersionState,
}

/// A change as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// The scheduler found this primary due.
    Rotate {
        /// The primary that is due.
        due: u8,
    },
    /// Revoke a version for ever.
    Compromise(u8),
    /// Revoke a version for now.
    Suspend(u8),
    /// Take a suspension back.
    Resume(u8),
    /// End a version's grace.
    Retire(u8),
}

impl Command {
    /// The version that nobody may use afterwards.
    #[must_use]
    pub fn revokes(self) -> Option<u8> {
        match self {
            Self::Compromise(version) | Self::Suspend(version) => Some(version),
            Self::Rotate { .. } | Self::Resume(_) | Self::Retire(_) => None,
        }
    }
}

/// What a transaction writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writes {
    update: [Option<Row>; 2],
    insert: Option<u8>,
}

/// All versions at one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ring {
    rows: [Option<Row>; ROWS],
}

impl Ring {
    /// A new key: version 1 active, version 2 standby.
    #[must_use]
    pub fn first() -> Self {
        let mut rows = [None; ROWS];
        rows[0] = Some(Row { version: 1, state: VersionState::Active });
        rows[1] = Some(Row { version: 2, state: VersionState::Standby });
        Self { rows }
    }

    /// No versions; fills the history ahead of the epoch.
    #[must_use]
    pub fn empty() -> Self {
        Self { rows: [None; ROWS] }
    }

    /// Every row.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().flatten().copied()
    }

    /// State of a version that the ring has.
    #[must_use]
    pub fn state_of(&self, version: u8) -> Option<VersionState> {
        self.rows().find(|row| row.version == version).map(|row| row.state)
    }

    /// The version that signs.
    #[must_use]
    pub fn primary(&self) -> Option<u8> {
        self.rows().find(|row| row.state == VersionState::Active).map(|row| row.version)
    }

    /// Versions 1..n without gap or double, one of them at most active.
    #[must_use]
    pub fn is_one_line(&self) -> bool {
        let line = self.rows().zip(1..).all(|(row, n)| row.version == n);
        line && self.rows().filter(|row| row.state == VersionState::Active).count() <= 1
    }

    /// Decides on this ring; `None` refuses. `names_primary`: a rotation of another primary than the one that is due is refused.
    pub(crate) fn decide(&self, command: Command, names_primary: bool) -> Option<Writes> {
        match command {
            Command::Rotate { due } => {
                let primary = self.primary()?;
                if names_primary && primary != due {
                    return None;
                }
                Some(self.promote(Row { version: primary, state: VersionState::Deactivated }))
            }
            Command::Compromise(version) => self.revoke(version, VersionState::Compromised),
            Command::Suspend(version) => self.revoke(version, VersionState::Suspended),
            Command::Resume(version) => (self.state_of(version)? == VersionState::Suspended)
                .then_some(Writes::one(Row { version, state: VersionState::Deactivated })),
            Command::Retire(version) => (self.state_of(version)? == VersionState::Deactivated)
                .then_some(Writes::one(Row { version, state: VersionState::Retired })),
        }
    }

    fn revoke(&self, version: u8, state: VersionState) -> Option<Writes> {
        let row = Row { version, state };
        match self.state_of(version)? {
            VersionState::Active => Some(self.promote(row)),
            VersionState::Deactivated => Some(Writes::one(row)),
            VersionState::Suspended => (state == VersionState::Compromised).then_some(Writes::one(row)),
            VersionState::Standby | VersionState::Compromised | VersionState::Retired => None,
        }
    }

    /// The primary steps down, the standby takes over and gets a successor.
    fn promote(&self, primary: Row) -> Writes {
        let standby = self.rows().find(|row| row.state == VersionState::Standby);
        let next = self.rows().map(|row| row.version).max().unwrap_or(0) + 1;
        Writes {
            update: [Some(primary), standby.map(|row| Row { state: VersionState::Active, ..row })],
            insert: Some(next),
        }
    }

    /// The rows afterwards, as a database without constraints would have them.
    pub(crate) fn with(mut self, writes: Writes) -> Self {
        for row in self.rows.iter_mut().flatten() {
            if let Some(update) = writes.update.iter().flatten().find(|update| update.version == row.version)
            {
                row.state = update.state;
            }
        }
        if let (Some(version), Some(free)) = (writes.insert, self.rows.iter_mut().find(|row| row.is_none())) {
            *free = Some(Row { version, state: VersionState::Standby });
        }
        self
    }
}

impl Writes {
    fn one(row: Row) -> Self {
        Self { update: [Some(row), None], insert: None }
    }
}
