//! Why a connection ended, or did not come about, and what follows from it. Pure.

use std::time::Duration;

/// Longest wait that a server can ask for.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Longest text of a server that is kept, in characters.
const TEXT_MAX: usize = 500;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// Nobody answers at the address.
    #[error("the server can't be reached ({0})")]
    Unreachable(String),
    /// Whoever answers is not who should.
    #[error("the server's certificate is not accepted ({0}); give the authority that signed it")]
    Untrusted(String),
    /// An answer over HTTP, and no session.
    #[error("the server answered with status {status} in place of a session; check the address")]
    NotUpgraded {
        /// Of the answer.
        status: u16,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The server said no to this client.
    #[error("{code}: {message}")]
    Refused {
        /// Stable code.
        code: String,
        /// One sentence.
        message: String,
        /// Of the request that an operator must approve, when the code is `pairing_required`.
        request_id: Option<String>,
        /// The server says that it is worth another try.
        retryable: bool,
        /// When.
        retry_after: Option<Duration>,
    },
    /// The connection was closed; 1006 when it broke without a word.
    #[error("the connection was closed ({code}{}{reason})", if reason.is_empty() { "" } else { ": " })]
    Closed {
        /// RFC 6455 §7.4.
        code: u16,
        /// As the server put it.
        reason: String,
    },
    /// The server has said nothing for twice its own interval.
    #[error("the server has gone silent")]
    Silent,
    /// The server took too long to let this client in.
    #[error("the server did not answer in time")]
    TimedOut,
    /// Whoever answers does not speak this protocol.
    #[error("the server does not speak the protocol: {0}")]
    Protocol(&'static str),
    /// The server speaks another version of the protocol.
    #[error("the server speaks another version of the protocol; use a client of its age")]
    Mismatch,
    /// A file of this device can't be used.
    #[error("{0}")]
    Device(String),
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No further attempt would end otherwise.
    Final,
    /// Another attempt, not before this time.
    Retry(Duration),
}

/// How far it had come when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// There has been no session at all so far.
    Nothing,
    /// This connection was no session yet, but there was one before.
    Before,
    /// This connection was a session.
    Session,
}

impl Ending {
    /// What follows.
    #[must_use]
    pub fn verdict(&self, reached: Reached) -> Verdict {
        let again = Verdict::Retry(Duration::ZERO);
        // What has worked before is broken for the moment; what never has is a mistake in the settings.
        let unless_new = if reached == Reached::Nothing { Verdict::Final } else { again };
        match self {
            Self::Mismatch | Self::Device(_) => Verdict::Final,
            Self::Untrusted(_) => unless_new,
            Self::NotUpgraded { status, retry_after } => match (retry_after, status) {
                (Some(wait), _) => Verdict::Retry((*wait).min(WAIT_MAX)),
                (None, 408 | 421 | 425 | 429) => again,
                (None, 300..=499) => unless_new,
                (None, _) => again,
            },
            Self::Refused { code, retryable, retry_after, .. } => {
                if *retryable || retry_after.is_some() {
                    return Verdict::Retry(retry_after.unwrap_or_default().min(WAIT_MAX));
                }
                if is_final(code) { Verdict::Final } else { again }
            }
            // Before hello the only thing that is wrong with the protocol is its version.
            Self::Closed { code: 1_002, .. } if reached != Reached::Session => Verdict::Final,
            Self::Closed { .. }
            | Self::Unreachable(_)
            | Self::Silent
            | Self::TimedOut
            | Self::Protocol(_) => again,
        }
    }

    /// What a server said in place of hello.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "unauthorized")
    }

    pub(crate) fn closed(code: u16, reason: &str) -> Self {
        Self::Closed { code, reason: one_line(reason) }
    }
}

/// Codes of refusals that stay what they are, whatever the node: something about this client must change first.
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "pairing_required" | "unauthorized" | "forbidden" | "invalid_request" | "unsupported_operation"
    ) || code.starts_with("token_")
}

/// Text of a server, as one line that moves no cursor.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, retryable: bool, retry_after: Option<u64>) -> Ending {
        Ending::Refused {
            code: code.to_owned(),
            message: "m".to_owned(),
            request_id: None,
            retryable,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn what_is_final_and_what_is_tried_again() {
        use Reached::{Before, Nothing, Session};
        let again = Some(0);
        let status = |status, wait: Option<u64>| Ending::NotUpgraded {
            status,
            retry_after: wait.map(Duration::from_secs),
        };
        let table = [
            (refused("pairing_required", false, None), Before, None),
            (refused("unauthorized", false, None), Before, None),
            (refused("forbidden", false, None), Before, None),
            (refused("invalid_request", false, None), Before, None),
            (refused("token_expired", false, None), Before, None),
            (Ending::Mismatch, Before, None),
            (Ending::Device("x".to_owned()), Before, None),
            (Ending::closed(1_002, "protocol mismatch"), Before, None),
            (Ending::closed(1_002, "invalid websocket frame"), Session, again),
            // The node can't tell, or nobody could leave a request: it says so.
            (refused("unauthorized", true, Some(1)), Nothing, Some(1)),
            (refused("pairing_required", true, Some(60)), Nothing, Some(60)),
            (refused("rate_limited", true, Some(299)), Nothing, Some(299)),
            (refused("rate_limited", true, Some(1_000_000)), Nothing, Some(600)),
            (refused("overloaded", false, None), Nothing, again),
            (refused("stale_node", true, None), Nothing, again),
            (Ending::closed(1_012, "service restart"), Session, again),
            (Ending::closed(1_006, ""), Session, again),
            (Ending::closed(1_008, "slow consumer"), Session, again),
            (Ending::closed(1_008, "credential revoked"), Session, again),
            (Ending::closed(1_008, "handshake timeout"), Nothing, again),
            (Ending::Unreachable("refused".to_owned()), Nothing, again),
            (Ending::Silent, Session, again),
            (Ending::TimedOut, Nothing, again),
            (Ending::Protocol("x"), Nothing, again),
            (Ending::Untrusted("x".to_owned()), Nothing, None),
            (Ending::Untrusted("x".to_owned()), Before, again),
            (status(404, None), Nothing, None),
            (status(302, None), Nothing, None),
            (status(404, None), Before, again),
            (status(429, Some(1)), Nothing, Some(1)),
            (status(429, None), Nothing, again),
            (status(503, None), Nothing, again),
            (status(200, None), Nothing, again),
        ];
        for (ending, reached, expected) in table {
            let expected = expected.map_or(Verdict::Final, |s| Verdict::Retry(Duration::from_secs(s)));
            assert_eq!(ending.verdict(reached), expected, "{ending} after {reached:?}");
        }
    }

    #[test]
    fn what_a_server_says_is_one_line() {
        let shown = Ending::closed(1_008, &format!("a\n\u{1b}[2J{}", "b".repeat(9_999))).to_string();
        assert!(!shown.contains(char::is_control) && shown.len() < 600, "{shown}");
        assert_eq!(Ending::closed(1_006, "").to_string(), "the connection was closed (1006)");
        assert_eq!(
            Ending::closed(1_012, "service restart").to_string(),
            "the connection was closed (1012: service restart)"
        );
    }
}
