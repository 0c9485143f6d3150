//! Which server a client command speaks to, and whether it may be told a secret.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;

use super::failure::Failure;
use crate::outgoing::is_loopback;

/// Options that every client command knows.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Target {
    /// Address of the server.
    #[arg(
        long,
        global = true,
        env = "CLAVIGER_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7420"
    )]
    url: String,
    /// Trust the authorities of this PEM file, and no others.
    #[arg(long, global = true, env = "CLAVIGER_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

/// An address that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Ends with a slash.
    pub(super) url: Url,
    /// The host is this machine.
    pub(super) local: bool,
}

impl Target {
    /// The same for another address.
    pub(super) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ca_file: self.ca_file.clone() }
    }

    /// Parses the address.
    ///
    /// # Errors
    /// It is no address of a server.
    pub(super) fn address(&self) -> Result<Address, Failure> {
        Address::parse(&self.url).ok_or_else(|| {
            Failure::Local("--url must be http(s)://host[:port], without user and query".to_owned())
        })
    }
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let mut url = Url::parse(text.trim()).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        let whole = url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !plain || !whole {
            return None;
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let local = is_loopback(&url);
        Some(Self { url, local })
    }

    /// Whoever can read a token on its way can use it.
    ///
    /// # Errors
    /// Plain http to another machine.
    pub(super) fn may_be_told_a_secret(&self) -> Result<(), Failure> {
        if self.local || self.url.scheme() == "https" {
            return Ok(());
        }
        Err(Failure::Local("a token is sent over https only, or to this machine; change --url".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_this_machine_or_over_https() {
        for (text, secret) in [
            ("http://127.0.0.1:7420", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:7420", true),
            ("http://localhost:7420", true),
            ("https://claviger.example/base", true),
            ("http://claviger.example", false),
            ("http://10.0.0.1:7420", false),
            ("http://0.0.0.0:7420", false),
            ("http://localhost.example:7420", false),
            ("http://127.0.0.1.example", false),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.may_be_told_a_secret().is_ok(), secret, "{text}");
            assert!(address.url.as_str().ends_with('/'));
        }
        for text in
            ["", "127.0.0.1:7420", "ftp://h", "http://u:p@localhost", "http://localhost?x", "http://h#x"]
        {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
