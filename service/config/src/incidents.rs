//! What follows from an incident's level.

use crate::settings::Judge;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// The playbook is run.
    Act,
    /// It is run once somebody approves it.
    Ask,
    /// The incident is put on record.
    Watch,
}

/// What follows from each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    /// It is so.
    pub high: Response,
    /// It may be so.
    pub medium: Response,
    /// Something is odd.
    pub low: Response,
}

impl Judge<'_> {
    pub(crate) fn responses(&mut self) -> Responses {
        let mut response = |setting, default| {
            let read = |text: &str| match text {
                "act" => Some(Response::Act),
                "ask" => Some(Response::Ask),
                "watch" => Some(Response::Watch),
                _ => None,
            };
            self.parse(setting, "must be act, ask or watch", read).unwrap_or(default)
        };
        Responses {
            high: response("incidents.high", Response::Act),
            medium: response("incidents.medium", Response::Ask),
            low: response("incidents.low", Response::Watch),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::Settings;

    #[test]
    fn levels_map_to_what_follows() {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let load = |file: Option<&str>, variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Settings::load(file, variables, none).map(|settings| settings.responses)
        };
        let shipped = Responses { high: Response::Act, medium: Response::Ask, low: Response::Watch };
        assert_eq!(load(None, &[]).unwrap(), shipped);
        let careful = load(Some("[incidents]\nhigh = \"ask\"\n"), &[("CLAVIGER_INCIDENTS__LOW", "ask")]);
        assert_eq!(careful.unwrap(), Responses { high: Response::Ask, low: Response::Ask, ..shipped });
        let wrong = load(None, &[("CLAVIGER_INCIDENTS__HIGH", "panic")]);
        assert_eq!(wrong.expect_err("no response").setting, "CLAVIGER_INCIDENTS__HIGH");
    }
}
