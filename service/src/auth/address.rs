//! Where a request comes from.
//!
//! Anybody can write a forwarding header; it counts only when a trusted proxy has sent it, and then only its last hop that is not such a
//! proxy: whatever stands left of that was written by somebody whom nobody here knows.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};

use actix_web::http::header::{HOST, HeaderMap};
use claviger_config::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Headers by which proxies tell of whom they stand for.
const FORWARDING: [&str; 5] =
    ["forwarded", FORWARDED_FOR, "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Who may say where a request comes from.
#[derive(Debug, Default)]
pub struct Addresses {
    trusted: Vec<Network>,
    ignored: AtomicU64,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whence {
    /// The client, as far as it is known.
    pub client: IpAddr,
    /// It came through a trusted proxy.
    pub by_proxy: bool,
    /// From this machine, to this machine, through nobody unknown.
    pub is_local_direct: bool,
}

impl Addresses {
    /// These may.
    #[must_use]
    pub const fn new(trusted: Vec<Network>) -> Self {
        Self { trusted, ignored: AtomicU64::new(0) }
    }

    /// Requests of others that came with a forwarding header, which was ignored.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// The client of a request from this peer. Without a peer there is no network: it counts as unspecified, and is trusted by nobody.
    #[must_use]
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> IpAddr {
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
        if self.trusted.is_empty() || !self.trusts(peer) {
            if headers.contains_key(FORWARDED_FOR) {
                self.ignored.fetch_add(1, Ordering::Relaxed);
            }
            return peer;
        }
        let hops = headers.get_all(FORWARDED_FOR).map(|value| value.to_str().unwrap_or("?"));
        let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).collect();
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            // What can't be read hides whoever is behind it: the proxy that wrote it is all that is known.
            let Some(address) = hop_address(hop.trim()) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    /// All of it.
    #[must_use]
    pub fn whence(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Whence {
        let client = self.client(peer, headers);
        let by_proxy = peer.is_some_and(|peer| self.trusts(peer.ip().to_canonical()));
        let is_forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
        let is_here = headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_local_host);
        let is_local_direct = client.is_loopback() && is_here && (!is_forwarded || by_proxy);
        Whence { client, by_proxy, is_local_direct }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

fn is_local_host(host: &str) -> bool {
    let host = host.trim().to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        Some(_) | None => &host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        || name.strip_suffix(".ts.net").is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn addresses(trusted: &[&str]) -> Addresses {
        Addresses::new(trusted.iter().map(|network| Network::parse(network).unwrap()).collect())
    }

    fn peer(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().unwrap(), 4_711))
    }

    #[test]
    fn only_trusted_proxies_say_who_is_behind_them() {
        let all = addresses(&["10.0.0.0/8", "::1"]);
        let client = |from: &str, forwarded: &[&str]| {
            let pairs: Vec<_> = forwarded.iter().map(|value| (FORWARDED_FOR, *value)).collect();
            all.client(peer(from), &headers(&pairs)).to_string()
        };
        assert_eq!(client("203.0.113.9", &["127.0.0.1"]), "203.0.113.9", "forged");
        assert_eq!(all.ignored(), 1);
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 198.51.100.7, 10.0.0.2"]), "198.51.100.7", "rightmost");
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6", "198.51.100.7", "10.0.0.2"]),
            "198.51.100.7",
            "several lines"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are trusted");
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6, nonsense, 10.0.0.2"]),
            "10.0.0.2",
            "what can't be read hides"
        );
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(client("::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("::1", &["192.0.2.1:80"]), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1", "IPv4 written as IPv6");
        assert_eq!(all.ignored(), 1);
        assert_eq!(all.client(None, &headers(&[])).to_string(), "0.0.0.0");
    }

    #[test]
    fn local_direct_requests_are_such_in_every_respect() {
        let none = addresses(&[]);
        let local = |from: &str, pairs: &[(&'static str, &str)]| {
            none.whence(peer(from), &headers(pairs)).is_local_direct
        };
        for host in [
            "localhost",
            "localhost:7420",
            "LOCALHOST",
            "127.0.0.1:7420",
            "[::1]",
            "[::1]:7420",
            "box.tail1.ts.net",
        ] {
            assert!(local("127.0.0.1", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            ".ts.net",
            "ts.net",
            "",
            "[::2]",
        ] {
            assert!(!local("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!local("127.0.0.1", &[]) && !local("192.0.2.1", &[("host", "localhost")]));
        for header in FORWARDING {
            assert!(!local("127.0.0.1", &[("host", "localhost"), (header, "127.0.0.1")]), "{header}");
        }
        let proxied = addresses(&["127.0.0.0/8"]);
        let whence = |pairs: &[(&'static str, &str)]| proxied.whence(peer("127.0.0.1"), &headers(pairs));
        assert!(whence(&[("host", "localhost"), (FORWARDED_FOR, "127.0.0.1")]).is_local_direct);
        let remote = whence(&[("host", "localhost"), (FORWARDED_FOR, "192.0.2.1")]);
        assert!(remote.by_proxy && !remote.is_local_direct);
    }
}
