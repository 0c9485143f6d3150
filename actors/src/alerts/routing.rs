//! Who is told of what. Pure.

use super::{record::AlertRecord, rule::Severity};

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An alert was raised.
    Raised,
    /// Nobody has taken it up.
    Escalated,
    /// It is over.
    Cleared,
    /// An incident is being dealt with.
    Incident,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Raised, Self::Escalated, Self::Cleared, Self::Incident];

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Cleared => "cleared",
            Self::Incident => "incident",
        }
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A way to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Name of the channel.
    pub channel: String,
    /// What is less bad is not told over it.
    pub least: Severity,
    /// It is used only for what nobody has taken up.
    pub escalations_only: bool,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing(pub Vec<Route>);

impl Routing {
    /// Names of the channels over which this is told of an alert. Whoever was told of a beginning is told of the end.
    pub fn of(&self, kind: Kind, alert: &AlertRecord) -> Vec<&str> {
        let is_told = |route: &&Route| {
            let has_begun = !route.escalations_only || alert.escalated_at.is_some();
            let is_wanted = match kind {
                Kind::Raised => !route.escalations_only,
                Kind::Escalated | Kind::Incident => true,
                Kind::Cleared => has_begun,
            };
            is_wanted && alert.severity >= route.least
        };
        self.0.iter().filter(is_told).map(|route| route.channel.as_str()).collect()
    }

    /// Names of all channels.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|route| route.channel.as_str())
    }
}
