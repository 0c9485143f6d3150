//! How sessions end, and what is said of a failure.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Longest reason of a close frame, in bytes: with its code it must fit into a control frame (RFC 6455 §5.5).
const REASON_MAX_BYTES: usize = 120;

/// Close codes that are used here (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// Done.
    Normal,
    /// The protocol was broken, or there is none in common.
    Protocol,
    /// Binary data.
    Unsupported,
    /// A rule of this service.
    Policy,
    /// A frame that is too large.
    Size,
    /// The node is leaving; connect again.
    Restart,
}

impl CloseCode {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1_000,
            Self::Protocol => 1_002,
            Self::Unsupported => 1_003,
            Self::Policy => 1_008,
            Self::Size => 1_009,
            Self::Restart => 1_012,
        }
    }
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Why, as a number.
    pub code: CloseCode,
    reason: Cow<'static, str>,
}

impl Close {
    /// With its reason.
    #[must_use]
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A rule of this service was broken.
    #[must_use]
    pub fn policy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(CloseCode::Policy, reason)
    }

    /// The client does not take what it is sent.
    #[must_use]
    pub fn slow_consumer() -> Self {
        Self::policy("slow consumer")
    }

    /// The node is leaving.
    #[must_use]
    pub fn restart() -> Self {
        Self::new(CloseCode::Restart, "service restart")
    }

    /// The credential is not good any more.
    #[must_use]
    pub fn revoked() -> Self {
        Self::policy("credential revoked")
    }

    /// The reason as it fits into a close frame: cut between two characters.
    #[must_use]
    pub fn reason(&self) -> &str {
        let mut end = self.reason.len().min(REASON_MAX_BYTES);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        self.reason.get(..end).unwrap_or_default()
    }

    /// The whole reason, for the response before it.
    #[must_use]
    pub fn whole_reason(&self) -> &str {
        &self.reason
    }
}

/// `error` of a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Stable code, of the same table as over HTTP.
    pub code: Cow<'static, str>,
    /// One sentence.
    pub message: String,
    /// What else is known.
    pub details: Option<Box<Map<String, Value>>>,
    /// When to try again; `None` = not the same way.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// Without more to say.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: None, retry_after_ms: None }
    }

    /// The request breaks a rule.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid_request", message)
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// May be tried again.
    #[must_use]
    pub const fn after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// As JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code.as_ref().into());
        error.insert("message".to_owned(), self.message.as_str().into());
        if let Some(details) = &self.details {
            error.insert("details".to_owned(), Value::Object(Map::clone(details)));
        }
        if let Some(retry_after_ms) = self.retry_after_ms {
            error.insert("retryable".to_owned(), true.into());
            error.insert("retryAfterMs".to_owned(), retry_after_ms.into());
        }
        Value::Object(error)
    }
}

/// A handshake that failed: what the response says, and how the session ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// `error` of the response.
    pub failure: Failure,
    /// The close after it.
    pub close: Close,
}

impl Refusal {
    /// The response says what the close says.
    #[must_use]
    pub fn new(code: &'static str, close: Close) -> Self {
        Self { failure: Failure::new(code, close.whole_reason()), close }
    }

    /// `invalid_request`, closed as a broken rule.
    #[must_use]
    pub fn invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new("invalid_request", Close::policy(reason))
    }

    /// The credential is missing or wrong.
    #[must_use]
    pub fn unauthorized(why: &str) -> Self {
        Self::new("unauthorized", Close::policy(format!("unauthorized: {why}")))
    }

    /// There were too many wrong ones.
    #[must_use]
    pub fn locked_out(retry_after_ms: u64) -> Self {
        let mut refusal = Self::new("rate_limited", Close::policy("unauthorized: too many failed attempts"));
        refusal.failure = refusal.failure.after(retry_after_ms);
        refusal
    }

    /// An operator must approve the device first.
    #[must_use]
    pub fn pairing_required(request_id: &str) -> Self {
        let mut refusal = Self::new("pairing_required", Close::policy("pairing required"));
        refusal.failure = refusal.failure.with("requestId", request_id);
        refusal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the reason, its beginning fits, and nothing that would fit is lost.
        #[test]
        fn reasons_are_cut_between_characters(reason in "\\PC{0,200}") {
            let close = Close::policy(reason.clone());
            let cut = close.reason();
            prop_assert!(cut.len() <= 120 && reason.starts_with(cut));
            prop_assert!(cut.len() + 3 >= reason.len().min(120), "{}", cut.len());
            prop_assert_eq!(close.whole_reason(), reason);
        }
    }

    #[test]
    fn errors_have_the_members_of_the_protocol() {
        let refusal = Refusal::locked_out(299_000);
        assert_eq!(
            refusal.failure.value().to_string(),
            r#"{"code":"rate_limited","message":"unauthorized: too many failed attempts","retryable":true,"retryAfterMs":299000}"#
        );
        assert_eq!(
            Refusal::pairing_required("r").failure.value().to_string(),
            r#"{"code":"pairing_required","message":"pairing required","details":{"requestId":"r"}}"#
        );
    }
}
