//! Master secrets and tokens.

use std::path::Path;

use claviger_config::{MasterWeakness, lines_of_secret};
use zeroize::Zeroizing;

use super::{
    Examiner, Files, Finding,
    words::{Guessable, Rule},
};

/// What a master secret must have beyond the rules of the start.
const MASTER: Rule = Rule { length: 32, distinct: 8, rest: 16 };
/// What a token must have.
const TOKEN: Rule = Rule { length: 32, distinct: 8, rest: 16 };

impl<F: Files> Examiner<'_, F> {
    pub(super) fn secrets(&mut self) {
        let folder = self.folder().to_owned();
        if let Some(given) = self.survey.layers.get("seal.master_key") {
            self.master(&given.origin, &given.text);
        } else if let Some(text) = self.lying("seal.master_key", &folder.join("master.key")) {
            self.master("seal.master_key", &text);
        }
        if let Some(given) = self.survey.layers.get("bootstrap_token") {
            self.token(&given.origin, given.text.trim());
        } else if let Some(text) = self.lying("bootstrap_token", &folder.join("bootstrap.token")) {
            self.token("bootstrap_token", text.trim());
        }
        self.token_of_clients();
    }

    fn master(&mut self, setting: &str, text: &str) {
        for (number, line) in lines_of_secret(text) {
            let (code, rule) = match (MasterWeakness::of(line), MASTER.judge(line)) {
                (Some(MasterWeakness::Short), _) => ("master-secret-short", MasterWeakness::Short),
                (Some(MasterWeakness::Known), _) | (None, Some(_)) => {
                    ("master-secret-weak", MasterWeakness::Known)
                }
                (None, None) => continue,
            };
            self.found.push(Finding::error(code, setting, format!("(line {number}) {rule}")));
        }
    }

    fn token(&mut self, setting: &str, token: &str) {
        let finding = match TOKEN.judge(token) {
            Some(Guessable::Known) => {
                Finding::error("token-weak", setting, "consists of known words; replace it with a random one")
            }
            Some(Guessable::Monotonous) => Finding::error(
                "token-weak",
                setting,
                "has fewer than 8 different characters; replace it with a random one",
            ),
            Some(Guessable::Short) => Finding::warning(
                "token-short",
                setting,
                "is shorter than 32 characters; replace it with a longer one",
            ),
            None => return,
        };
        self.found.push(finding);
    }

    /// The token that client commands take from the same environment.
    fn token_of_clients(&mut self) {
        let deployment = self.deployment;
        let given = |wanted: &str| {
            let mut variables = deployment.environment.iter();
            variables.find_map(|(name, value)| (name == wanted).then_some(value.as_str()))
        };
        let (token, file) = (given("CLAVIGER_TOKEN"), given("CLAVIGER_TOKEN_FILE"));
        if token.is_some() && file.is_some() {
            self.found.push(Finding::invalid(
                "CLAVIGER_TOKEN_FILE",
                "and CLAVIGER_TOKEN are both set; keep one of them",
            ));
        }
        if let Some(token) = token {
            self.token("CLAVIGER_TOKEN", token.trim());
        }
        if let Some(path) = file {
            match self.files.read(Path::new(path)).map(Zeroizing::new) {
                Ok(token) => self.token("CLAVIGER_TOKEN_FILE", token.trim()),
                Err(error) => self.found.push(Finding::invalid(
                    "CLAVIGER_TOKEN_FILE",
                    &format!("names a file that can't be read ({})", error.kind()),
                )),
            }
            self.private_file("CLAVIGER_TOKEN_FILE", Path::new(path));
        }
    }
}
