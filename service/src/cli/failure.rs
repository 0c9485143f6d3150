//! Why a command failed: one line for whoever ran it.

use std::process::ExitCode;

use serde_json::Value;

/// Longest detail of a server that is shown.
const DETAIL: usize = 1_000;

/// A failed command. Never holds a credential or what was to be protected.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server said no.
    #[error("{code}: {detail}")]
    Problem {
        /// Its code.
        code: String,
        /// Its sentence.
        detail: String,
    },
    /// Something on this side.
    #[error("{0}")]
    Local(String),
    /// What was asked about can't be looked at, so there is no answer.
    #[error("{0}")]
    Unusable(String),
}

impl Failure {
    /// Where exit code 1 is an answer, a failure is none.
    pub(super) fn unusable(self) -> Self {
        Self::Unusable(self.to_string())
    }

    /// The exit code of the command: 2 as for what makes no sense, where 1 would be an answer.
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Problem { .. } | Self::Local(_) => ExitCode::FAILURE,
            Self::Unusable(_) => ExitCode::from(2),
        }
    }

    /// A file that can't be used, by the option that names it.
    pub(super) fn file(option: &str, error: &std::io::Error) -> Self {
        Self::Local(format!("{option} names a file that can't be read ({})", error.kind()))
    }

    /// Standard output or input is gone.
    pub(super) fn stream(error: &std::io::Error) -> Self {
        Self::Local(error.to_string())
    }

    /// A problem of ours about the server's answer.
    pub(super) fn answer(code: &str, detail: impl Into<String>) -> Self {
        Self::Problem { code: code.to_owned(), detail: detail.into() }
    }

    /// What a server answered that is no success.
    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        let problem: Option<Value> = serde_json::from_slice(body).ok();
        let member = |name: &str| problem.as_ref()?.get(name)?.as_str().map(one_line);
        match (member("code"), member("detail")) {
            (Some(code), Some(detail)) => Self::Problem { code, detail },
            (_, _) if (300..400).contains(&status) => Self::answer(
                "redirected",
                "the server answers with a redirect, which is not followed; give --url the address it leads to",
            ),
            (_, _) => {
                Self::answer("unexpected_answer", format!("the server answered {status} without a reason"))
            }
        }
    }
}

/// Text of a server is shown as one line that moves no cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_whatever_the_server_says() {
        let table: [(u16, &str, &str); 5] = [
            (
                404,
                r#"{"code":"key_not_found","detail":"there is no such key"}"#,
                "key_not_found: there is no such key",
            ),
            (400, "{\"code\":\"x\\u001b[2J\",\"detail\":\"a\\nb\"}", "x [2J: a b"),
            (302, "", "redirected: "),
            (502, "<html>", "unexpected_answer: the server answered 502"),
            (500, r#"{"code":1}"#, "unexpected_answer: the server answered 500"),
        ];
        for (status, body, line) in table {
            let shown = Failure::refused(status, body.as_bytes()).to_string();
            assert!(shown.starts_with(line) && !shown.contains(char::is_control), "{shown}");
        }
    }
}
