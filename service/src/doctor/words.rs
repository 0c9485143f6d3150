//! Secrets that can be guessed.

use std::collections::BTreeSet;

/// What people write when they mean to choose a secret later. Longer ones first, so that none hides another.
const WORDS: [&str; 38] = [
    "administrator",
    "bootstrap",
    "change_me",
    "change-me",
    "changeme",
    "claviger",
    "database",
    "insecure",
    "password",
    "postgres",
    "default",
    "example",
    "letmein",
    "private",
    "welcome",
    "dragon",
    "foobar",
    "hunter",
    "master",
    "monkey",
    "passwd",
    "public",
    "qwerty",
    "sample",
    "secret",
    "system",
    "admin",
    "dummy",
    "guest",
    "local",
    "token",
    "demo",
    "pass",
    "root",
    "test",
    "user",
    "dev",
    "key",
];
/// Shortest run of letters that follow or repeat each other and count as a word: `1234`, `aaaa`.
const RUN: usize = 4;

/// How a secret can be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guessable {
    /// It consists of known words, or of one letter after another.
    Known,
    /// It has too few different characters.
    Monotonous,
    /// It is too short.
    Short,
}

/// What a kind of secret must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Fewest characters.
    pub(super) length: usize,
    /// Fewest different characters.
    pub(super) distinct: usize,
    /// Fewest letters and digits beside known words, in a secret that holds any.
    pub(super) rest: usize,
}

impl Rule {
    /// The first thing that is wrong with a secret.
    pub(super) fn judge(&self, secret: &str) -> Option<Guessable> {
        let lower = secret.to_lowercase();
        let rest = without_runs(&WORDS.iter().fold(lower.clone(), |text, word| text.replace(word, " ")));
        if rest != lower && rest.chars().filter(|letter| letter.is_alphanumeric()).count() < self.rest {
            return Some(Guessable::Known);
        }
        if secret.chars().collect::<BTreeSet<_>>().len() < self.distinct {
            return Some(Guessable::Monotonous);
        }
        (secret.chars().count() < self.length).then_some(Guessable::Short)
    }
}

/// The text with a blank in place of every run.
fn without_runs(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let follows = |pair: &[char]| match pair {
        [a, b] => {
            let step = i64::from(u32::from(*b)) - i64::from(u32::from(*a));
            a.is_alphanumeric() && b.is_alphanumeric() && ((0..=1).contains(&step) || (*a, *b) == ('9', '0'))
        }
        _ => false,
    };
    let mut left = String::with_capacity(text.len());
    for run in chunks(&letters, follows) {
        if run.len() >= RUN {
            left.push(' ');
        } else {
            left.extend(run);
        }
    }
    left
}

/// Cuts where a pair of neighbours does not belong together.
fn chunks(letters: &[char], together: impl Fn(&[char]) -> bool) -> impl Iterator<Item = &[char]> {
    letters.chunk_by(move |a, b| together(&[*a, *b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { length: 32, distinct: 8, rest: 16 };

    #[test]
    fn what_everybody_tries_is_known() {
        for secret in [
            "changeme",
            "admin",
            "root",
            "test",
            "secret",
            "token",
            "password",
            "default",
            "claviger",
            "12345",
            "1234567890",
            "ADMIN",
            "admin-token-1234567890",
            "secret-secret-secret-secret-secret-secret",
            "Change-Me-Change-Me-Change-Me-2024",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdefghijklmnopqrstuvwxyz",
            "my-secret-token-for-claviger",
        ] {
            assert_eq!(RULE.judge(secret), Some(Guessable::Known), "{secret}");
        }
    }

    #[test]
    fn what_is_random_is_judged_by_its_length() {
        for (secret, expected) in [
            ("clv_bootstrap_5xI55dTltIUPCSb1M0hoJt6IjOtgyvHMiFh4O6Pg52Hp", None),
            ("kJ8vQ2pX7rT4wZ1nB6mC9dF3gH5sL0yA", None),
            ("root8vQ2pX7rT4wZ1nB6mC9dF3gH5sL0yA", None),
            ("kJ8vQ2pX7rT4wZ1n", Some(Guessable::Short)),
            ("abababababababababababababababababab", Some(Guessable::Monotonous)),
            ("", Some(Guessable::Monotonous)),
        ] {
            assert_eq!(RULE.judge(secret), expected, "{secret}");
        }
    }
}
