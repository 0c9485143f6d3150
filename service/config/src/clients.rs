//! Roles of clients, by the names in their certificates.

use claviger_crypto::json;
use claviger_entity::RoleName;

use crate::{
    SubjectPattern,
    issuers::{Problems, roles},
    settings::Judge,
};

/// Names as `uri:…`, `dns:…` or `email:…`, and the roles that they have.
#[derive(Debug, Clone, Default)]
pub struct ClientNames(pub(crate) Vec<(SubjectPattern, Vec<RoleName>)>);

const SETTING: &str = "tls.client_roles";
const DEPTH: usize = 3;
const KINDS: [&str; 3] = ["uri:", "dns:", "email:"];

impl ClientNames {
    /// Every role that a pattern gives to the name.
    #[must_use]
    pub fn roles_of(&self, name: &str) -> Vec<RoleName> {
        SubjectPattern::roles_of(&self.0, name)
    }

    /// Nobody is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Judge<'_> {
    pub(crate) fn client_names(&mut self) -> ClientNames {
        let Some(given) = self.layers.get(SETTING) else { return ClientNames::default() };
        let origin = given.origin.clone();
        let Ok(map) = json::parse_object(given.text.as_bytes(), DEPTH) else {
            self.problem(origin, "must be {\"uri:spiffe://example/app\": [\"role\"]}");
            return ClientNames::default();
        };
        if map.keys().any(|name| !KINDS.iter().any(|kind| name.len() > kind.len() && name.starts_with(kind)))
        {
            self.problem(origin.clone(), "must have names that begin with uri:, dns: or email:");
        }
        let mut problems =
            Problems { section: "tls", origin: &origin, name: "client_roles", found: Vec::new() };
        let names = roles(&map.into(), &mut problems);
        let mut found = problems.found;
        self.problems.append(&mut found);
        ClientNames(names)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{ConfigError, Settings};

    const FILES: [(&str, &str); 3] =
        [("CLAVIGER_TLS__CERT", "c"), ("CLAVIGER_TLS__KEY", "k"), ("CLAVIGER_TLS__CLIENT_CA", "a")];
    const ROLES: &str = "CLAVIGER_TLS__CLIENT_ROLES";

    fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<ClientNames, ConfigError> {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(file, variables, none).map(|settings| settings.tls.unwrap().client_roles)
    }

    #[test]
    fn file_and_environment_say_the_same() {
        let file = "[tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\n[tls.client_roles]\n\"uri:spiffe://x/pay/*\" = [\"signer\"]\n";
        let json = r#"{"uri:spiffe://x/pay/*": ["signer"]}"#;
        let [cert, key, ca] = FILES;
        for names in [load(Some(file), &[]).unwrap(), load(None, &[cert, key, ca, (ROLES, json)]).unwrap()] {
            let given = |name: &str| names.roles_of(name).first().map(|role| role.as_str().to_owned());
            assert_eq!(given("uri:spiffe://x/pay/api").as_deref(), Some("signer"));
            assert_eq!(given("uri:spiffe://x/pay/"), None);
            assert_eq!(given("dns:spiffe://x/pay/api"), None);
        }
        assert!(load(None, &FILES).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let [cert, key, ca] = FILES;
        for json in [
            "[]",
            r#"{"spiffe://x": ["signer"]}"#,
            r#"{"uri:": ["signer"]}"#,
            r#"{"cn:x": ["signer"]}"#,
            r#"{"dns:*": ["signer"]}"#,
            r#"{"uri:*": ["admin"]}"#,
            r#"{"uri:x": "signer"}"#,
        ] {
            // Every name of a kind may be meant, but not with the role that may do everything.
            let is_right = json.contains("dns:*");
            let read = load(None, &[cert, key, ca, (ROLES, json)]);
            assert_eq!(read.is_ok(), is_right, "{json}");
            if let Err(error) = read {
                assert!(
                    error.setting.starts_with(ROLES) || error.setting.contains("client_roles"),
                    "{}",
                    error.setting
                );
            }
        }
        let json = r#"{"uri:x": ["signer"]}"#;
        assert!(load(None, &[cert, key, (ROLES, json)]).is_err());
        assert!(load(None, &[(ROLES, json)]).is_err());
        assert!(load(None, &[cert, key, ("CLAVIGER_TLS__CLIENT_CRL", "r")]).is_err());
    }
}
