//! The database URL: its password, and whether it travels in clear.

use claviger_config::PostgresUrl;

use super::{
    Examiner, Files, Finding,
    words::{Guessable, Rule},
};

/// What the password of a database must have.
const PASSWORD: Rule = Rule { length: 12, distinct: 5, rest: 8 };

impl<F: Files> Examiner<'_, F> {
    pub(super) fn database(&mut self) {
        let Some(given) = self.survey.layers.get("database.url") else { return };
        let Some(url) = PostgresUrl::parse(given.text.trim()) else { return };
        if let Some((code, detail)) = weak_password(&url) {
            self.found.push(Finding::error(code, &given.origin, detail));
        }
        if url.is_clear() {
            self.found.push(Finding::error(
                "database-without-tls",
                &given.origin,
                "lets passwords and data travel in clear to another machine; use sslmode=verify-full",
            ));
        }
    }
}

/// The URL holds a password.
pub(super) fn holds_password(url: &str) -> bool {
    PostgresUrl::parse(url.trim())
        .is_some_and(|url| url.password.is_some_and(|password| !password.is_empty()))
}

/// Code and detail of what is wrong with the password.
fn weak_password(url: &PostgresUrl<'_>) -> Option<(&'static str, &'static str)> {
    let password = url.password.as_deref().unwrap_or_default();
    if password.is_empty() {
        // Over a socket the system vouches for the user.
        let socket = url.hosts.iter().all(|host| host.starts_with('/'));
        let missing = "has no password; give the user one";
        return (!socket).then_some(("database-password-missing", missing));
    }
    let weak = "database-password-weak";
    if password.eq_ignore_ascii_case(&url.user) {
        return Some((weak, "has the user's name for a password; choose a random one"));
    }
    if password.eq_ignore_ascii_case(&url.database) {
        return Some((weak, "has the database's name for a password; choose a random one"));
    }
    match PASSWORD.judge(password)? {
        Guessable::Known => Some((weak, "has a password of known words; choose a random one")),
        Guessable::Monotonous => {
            Some((weak, "has a password of few different characters; choose a random one"))
        }
        Guessable::Short => Some((weak, "has a password shorter than 12 characters; choose a longer one")),
    }
}
