//! The rules: what is measured, from where on it is an alert, and from where on it is none any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($(#[$meta:meta])* $variant:ident = $text:literal,)+) => {
        /// What is watched.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$meta])* $variant,)+ }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

rules! {
    /// Tokens and signatures that are not valid, of all that were verified: hundredths of a percent.
    VerificationFailures = "verification_failures",
    /// The time that all but one in a hundred signatures and verifications do not exceed: microseconds.
    SlowOperations = "slow_operations",
    /// How far nodes are behind what was published: milliseconds.
    PublicationLag = "publication_lag",
    /// A key whose rotation is due and not done: seconds.
    RotationOverdue = "rotation_overdue",
    /// Rotations of a day that were done in time: hundredths of a percent.
    RotationFailures = "rotation_failures",
    /// A node that can't write its audit log: 1.
    AuditUnavailable = "audit_unavailable",
    /// A node without word from the database: percent of its patience.
    Staleness = "staleness",
    /// A certificate that ends: seconds left.
    CertificateExpiry = "certificate_expiry",
    /// A temporary key or an API key that ends: seconds left.
    KeyExpiry = "key_expiry",
    /// Requests that were refused for the lack of a right or a credential: how many.
    DeniedAttempts = "denied_attempts",
    /// A key that is used by somebody, or from somewhere, for the first time: how many of them.
    UnusualUse = "unusual_use",
    /// A key that is used more often than it usually is: percent.
    UnusualRate = "unusual_rate",
    /// A key that decrypts more often than it usually does: percent.
    DecryptStorm = "decrypt_storm",
    /// A key that has no standby and should have one: 1.
    StandbyMissing = "standby_missing",
    /// A backup that the schedule asks for and nobody has made: seconds.
    BackupOverdue = "backup_overdue",
    /// A node that has not made the backup that it had taken on, and nobody since: 1.
    BackupFailed = "backup_failed",
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should look.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Warning, Self::Critical].into_iter().find(|severity| severity.as_str() == text)
    }
}

/// On which side of its limits a figure is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// Above.
    Above,
    /// Below.
    Below,
}

/// From where on a figure is an alert, and from where on it is none any more. Between the two all stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Beyond this …
    pub raise: u64,
    /// … for so long, it is an alert.
    pub hold: Duration,
    /// Up to this …
    pub clear: u64,
    /// … for so long, it is none any more.
    pub calm: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// It is watched at all.
    pub is_on: bool,
}

/// What an operator wants otherwise; absent = as it is shipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Override {
    /// See [`Limits::raise`].
    pub raise: Option<u64>,
    /// See [`Limits::hold`].
    pub hold: Option<Duration>,
    /// See [`Limits::clear`].
    pub clear: Option<u64>,
    /// See [`Limits::calm`].
    pub calm: Option<Duration>,
    /// See [`Limits::severity`].
    pub severity: Option<Severity>,
    /// See [`Limits::is_on`].
    pub is_on: Option<bool>,
}

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

impl Rule {
    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.as_str() == text)
    }

    /// Section of the runbook.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::VerificationFailures => "verification-failures",
            Self::SlowOperations => "slow",
            Self::PublicationLag => "publication-lag",
            Self::RotationOverdue => "rotation-overdue",
            Self::RotationFailures => "rotation-failures",
            Self::AuditUnavailable => "audit-unavailable",
            Self::Staleness => "stale-node",
            Self::CertificateExpiry => "certificate-expiry",
            Self::KeyExpiry => "key-expiry",
            Self::DeniedAttempts => "denied-attempts",
            Self::UnusualUse | Self::UnusualRate => "unusual-use",
            Self::DecryptStorm => "decrypt-storm",
            Self::StandbyMissing => "standby-missing",
            Self::BackupOverdue | Self::BackupFailed => "backups",
        }
    }

    /// On which side its figure is bad.
    #[must_use]
    pub const fn sense(self) -> Sense {
        match self {
            Self::RotationFailures | Self::CertificateExpiry | Self::KeyExpiry => Sense::Below,
            Self::VerificationFailures
            | Self::SlowOperations
            | Self::PublicationLag
            | Self::RotationOverdue
            | Self::AuditUnavailable
            | Self::Staleness
            | Self::DeniedAttempts
            | Self::UnusualUse
            | Self::UnusualRate
            | Self::DecryptStorm
            | Self::StandbyMissing
            | Self::BackupOverdue
            | Self::BackupFailed => Sense::Above,
        }
    }

    /// What it is about are nodes.
    #[must_use]
    pub const fn is_of_nodes(self) -> bool {
        match self {
            Self::AuditUnavailable | Self::Staleness | Self::BackupFailed => true,
            Self::VerificationFailures
            | Self::SlowOperations
            | Self::PublicationLag
            | Self::RotationOverdue
            | Self::RotationFailures
            | Self::CertificateExpiry
            | Self::KeyExpiry
            | Self::DeniedAttempts
            | Self::UnusualUse
            | Self::UnusualRate
            | Self::DecryptStorm
            | Self::StandbyMissing
            | Self::BackupOverdue => false,
        }
    }

    /// As it is shipped.
    #[must_use]
    pub const fn shipped(self) -> Limits {
        use Severity::{Critical, Warning};
        let (raise, clear, hold, calm, severity) = match self {
            Self::VerificationFailures => (100, 50, 0, 60, Warning),
            Self::SlowOperations => (100_000, 50_000, 0, 60, Critical),
            Self::PublicationLag => (5_000, 2_000, 0, 15, Warning),
            Self::RotationOverdue => (300, 0, 0, 0, Critical),
            Self::RotationFailures => (9_500, 9_700, 0, 0, Critical),
            Self::AuditUnavailable => (0, 0, 0, 15, Critical),
            Self::Staleness => (50, 25, 0, 15, Critical),
            Self::CertificateExpiry => (14 * DAY, 15 * DAY, 0, 0, Warning),
            Self::KeyExpiry => (7 * DAY, 8 * DAY, 0, 0, Warning),
            Self::DeniedAttempts => (100, 50, 0, 60, Warning),
            Self::UnusualUse => (0, 0, 0, 0, Warning),
            Self::UnusualRate => (1_000, 300, 0, 60, Warning),
            Self::DecryptStorm => (1_000, 300, 0, 60, Critical),
            Self::StandbyMissing => (0, 0, 60, 0, Warning),
            Self::BackupOverdue => (HOUR, 0, 300, 0, Critical),
            Self::BackupFailed => (0, 0, 0, 0, Warning),
        };
        let (hold, calm) = (Duration::from_secs(hold), Duration::from_secs(calm));
        Limits { raise, hold, clear, calm, severity, is_on: true }
    }

    /// A figure is beyond a limit.
    pub(super) const fn is_beyond(self, value: u64, limit: u64) -> bool {
        match self.sense() {
            Sense::Above => value > limit,
            Sense::Below => value < limit,
        }
    }
}

/// The rules as an operator wants them.
#[derive(Debug, Clone)]
pub struct Rules(Vec<(Rule, Limits)>);

impl Rules {
    /// As shipped, but for these.
    ///
    /// # Errors
    /// The rule whose limits contradict each other: what clears it would raise it.
    pub fn new(overrides: &[(Rule, Override)]) -> Result<Self, Rule> {
        let all = Rule::ALL.iter().map(|rule| {
            let mut limits = rule.shipped();
            for (_, wanted) in overrides.iter().filter(|(of, _)| of == rule) {
                limits = Limits {
                    raise: wanted.raise.unwrap_or(limits.raise),
                    hold: wanted.hold.unwrap_or(limits.hold),
                    clear: wanted.clear.unwrap_or(limits.clear),
                    calm: wanted.calm.unwrap_or(limits.calm),
                    severity: wanted.severity.unwrap_or(limits.severity),
                    is_on: wanted.is_on.unwrap_or(limits.is_on),
                };
            }
            if rule.is_beyond(limits.clear, limits.raise) { Err(*rule) } else { Ok((*rule, limits)) }
        });
        Ok(Self(all.collect::<Result<_, _>>()?))
    }

    /// Limits of a rule.
    #[must_use]
    pub fn of(&self, rule: Rule) -> Limits {
        self.0.iter().find(|(of, _)| *of == rule).map_or_else(|| rule.shipped(), |(_, limits)| *limits)
    }
}
