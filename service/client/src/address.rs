//! Where servers are. Pure.

use std::net::IpAddr;

use url::Url;

/// Longest address, in bytes.
const ADDRESS_MAX_BYTES: usize = 2_048;

/// An address that was judged: TLS, or this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// As it was given.
    pub(crate) shown: String,
    /// `ws://` or `wss://`.
    pub(crate) socket: Url,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    /// Whatever the resolver says, this name is this machine.
    pub(crate) is_localhost: bool,
}

impl Address {
    /// Judges a base URL: `https`, or `http` on this machine, since whoever can read a credential on its way can use it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let no_address = "is no address such as https://host[:port], without user and query";
        let mut url =
            Url::parse(text.trim()).ok().filter(|_| text.len() <= ADDRESS_MAX_BYTES).ok_or(no_address)?;
        let is_tls = match url.scheme() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(no_address),
        };
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !is_plain || url.query().is_some() || url.fragment().is_some() {
            return Err(no_address);
        }
        let host = url.host_str().ok_or(no_address)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_localhost = host == "localhost";
        let is_local = is_localhost || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !is_tls && !is_local {
            return Err("is plain http to another machine, where a credential could be read; use https");
        }
        let port = url.port_or_known_default().ok_or(no_address)?;
        let shown = url.as_str().trim_end_matches('/').to_owned();
        url.path_segments_mut().map_err(|()| no_address)?.pop_if_empty().extend(["v1", "ws"]);
        url.set_scheme(if is_tls { "wss" } else { "ws" }).map_err(|()| no_address)?;
        Ok(Self { shown, socket: url, host, port, is_tls, is_localhost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_this_machine_or_over_tls() {
        for (text, socket, host, port) in [
            ("http://127.0.0.1:7420", "ws://127.0.0.1:7420/v1/ws", "127.0.0.1", 7420),
            ("http://[::1]:7420/", "ws://[::1]:7420/v1/ws", "::1", 7420),
            ("http://localhost", "ws://localhost/v1/ws", "localhost", 80),
            ("https://claviger.example", "wss://claviger.example/v1/ws", "claviger.example", 443),
            ("https://a.example:8443/base/", "wss://a.example:8443/base/v1/ws", "a.example", 8443),
            ("wss://a.example/base", "wss://a.example/base/v1/ws", "a.example", 443),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.socket.as_str(), address.host.as_str(), address.port), (socket, host, port));
        }
        for text in [
            "",
            "127.0.0.1:7420",
            "ftp://h",
            "http://claviger.example",
            "ws://10.0.0.1:7420",
            "http://0.0.0.0",
            "http://localhost.example",
            "http://u:p@localhost",
            "https://h?x",
            "https://h#x",
            "https://",
            "mailto:a@b",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(Address::parse(&format!("https://h/{}", "a".repeat(ADDRESS_MAX_BYTES))).is_err());
    }
}
