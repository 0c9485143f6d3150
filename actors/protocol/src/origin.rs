//! Pages of which origins may connect.

/// The origin of a page is the request's own host, or one of those that are allowed.
#[must_use]
pub fn is_allowed(origin: &str, host: Option<&str>, allowed: &[String]) -> bool {
    let origin = origin.trim().to_ascii_lowercase();
    let origin = origin.trim_end_matches('/');
    if allowed.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _other => return false,
    };
    let host = host.trim().to_ascii_lowercase();
    let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_owned();
    !authority.is_empty() && bare(authority) == bare(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_host_and_what_is_allowed() {
        let allowed = ["https://console.example".to_owned(), "http://localhost:5173".to_owned()];
        let judge = |origin, host| is_allowed(origin, host, &allowed);
        for (origin, host) in [
            ("https://console.example", None),
            ("https://CONSOLE.example/", None),
            ("http://localhost:5173", Some("kms.example")),
            ("https://kms.example", Some("kms.example")),
            ("https://kms.example", Some("KMS.example:443")),
            ("http://kms.example:80", Some("kms.example")),
            ("http://127.0.0.1:7420", Some("127.0.0.1:7420")),
            ("http://[::1]:7420", Some("[::1]:7420")),
        ] {
            assert!(judge(origin, host), "{origin} {host:?}");
        }
        for (origin, host) in [
            ("null", Some("null")),
            ("", Some("")),
            ("https://", Some("")),
            ("https://evil.example", Some("kms.example")),
            ("https://kms.example.evil.example", Some("kms.example")),
            ("https://kms.example:8443", Some("kms.example")),
            ("https://kms.example:80", Some("kms.example")),
            ("http://console.example", None),
            ("file://kms.example", Some("kms.example")),
            ("https://kms.example", None),
        ] {
            assert!(!judge(origin, host), "{origin} {host:?}");
        }
    }
}
