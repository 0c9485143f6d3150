//! The URL of Redis.

use std::net::IpAddr;

use zeroize::Zeroizing;

/// Where Redis is. The parts may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisUrl {
    /// One server.
    Server(Zeroizing<String>),
    /// Sentinels, and the master that they watch.
    Sentinels {
        /// URL of each.
        urls: Vec<String>,
        /// Name of the master.
        master: String,
        /// Password of the master.
        password: Option<Zeroizing<String>>,
        /// Number of the database.
        database: i64,
        /// Speak TLS with all of them.
        tls: bool,
    },
}

const FORM: &str = "must be redis://, rediss://host:port or redis+sentinel://[:password@]host:26379,host:26379/master/database";
const CLEAR: &str = "speaks in clear with another machine; use rediss:// or rediss+sentinel://";
const CLUSTER: &str = "names Redis Cluster, which is of no use here; use one server or Sentinel";

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
        // The client would take a fragment for leave not to look at certificates.
        if text.contains('#') {
            return Err(FORM);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(FORM);
        }
        let local = hosts.iter().all(|host| is_local(host));
        match scheme {
            "redis" | "redis+sentinel" if !local => Err(CLEAR),
            "redis" | "rediss" if hosts.len() == 1 => Ok(Self::Server(Zeroizing::new(text.to_owned()))),
            "redis+sentinel" | "rediss+sentinel" => {
                let tls = scheme.starts_with("rediss");
                let (master, database) = path.split_once('/').unwrap_or((path, "0"));
                if master.is_empty() {
                    return Err(FORM);
                }
                let inner = if tls { "rediss" } else { "redis" };
                let password = user.rsplit(':').next().filter(|password| !password.is_empty());
                Ok(Self::Sentinels {
                    urls: hosts.iter().map(|host| format!("{inner}://{host}")).collect(),
                    master: master.to_owned(),
                    password: password.map(|password| Zeroizing::new(password.to_owned())),
                    database: database.parse().map_err(|_| FORM)?,
                    tls,
                })
            }
            scheme if scheme.contains("cluster") => Err(CLUSTER),
            _ => Err(FORM),
        }
    }
}

fn is_local(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|host| host.split_once(']'));
    let name =
        bracketed.map_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name), |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_redis() {
        let sentinels = RedisUrl::parse("redis+sentinel://:pw@127.0.0.1:1,[::1]:2/main/3");
        let expected = RedisUrl::Sentinels {
            urls: vec!["redis://127.0.0.1:1".to_owned(), "redis://[::1]:2".to_owned()],
            master: "main".to_owned(),
            password: Some(Zeroizing::new("pw".to_owned())),
            database: 3,
            tls: false,
        };
        assert!(sentinels == Ok(expected));
        for good in [
            "redis://localhost",
            "redis://:pw@127.0.0.1:6379/1",
            "rediss://cache:6379",
            "rediss+sentinel://a,b/m",
        ] {
            assert!(RedisUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, rule) in [
            ("redis://cache:6379", CLEAR),
            ("redis+sentinel://127.0.0.1,cache/m", CLEAR),
            ("redis+cluster://127.0.0.1", CLUSTER),
            ("rediss://a,b", FORM),
            ("rediss://a/#insecure", FORM),
            ("redis+sentinel://127.0.0.1", FORM),
            ("redis+sentinel://127.0.0.1/m/x", FORM),
            ("http://127.0.0.1", FORM),
            ("redis://", FORM),
            ("", FORM),
        ] {
            assert_eq!(RedisUrl::parse(bad).err(), Some(rule), "{bad}");
        }
    }
}
