//! How much may be asked for.

use std::{fmt, time::Duration};

use claviger_entity::HumanDuration;

use crate::settings::{Judge, bounded};

/// So many requests within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// At once, and within the time.
    pub count: u32,
    /// A second to an hour.
    pub window: Duration,
}

/// Quotas; `None` = nothing is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of a principal to what uses keys or is stored.
    pub principal: Option<Quota>,
    /// The same for a key.
    pub key: Option<Quota>,
    /// The same from an address.
    pub address: Option<Quota>,
    /// Failed attempts from an address.
    pub failures: Option<Quota>,
    /// Refreshes of a family, trials of the password from an address.
    pub grants: Option<Quota>,
}

const COUNT_MAX: usize = 1_000_000;
const WINDOW_MAX: u64 = 3_600;
const RULE: &str = "must be requests and a time of 1s to 1h, such as 100/s, 500/10s or 6000/m, or none";
/// Two a second, ten at once.
const TWO_A_SECOND: Quota = Quota { count: 10, window: Duration::from_secs(5) };

impl Quota {
    fn parse(text: &str) -> Option<Self> {
        let (count, window) = text.split_once('/')?;
        let count = u32::try_from(bounded(count.trim(), 1, COUNT_MAX)?).ok()?;
        let window = window.trim();
        let window = match window {
            "s" | "m" | "h" => format!("1{window}"),
            longer => longer.to_owned(),
        };
        let seconds = window.parse::<HumanDuration>().ok()?.as_secs();
        (1..=WINDOW_MAX).contains(&seconds).then(|| Self { count, window: Duration::from_secs(seconds) })
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.count, self.window.as_secs())
    }
}

impl Judge<'_> {
    pub(crate) fn limits(&mut self) -> Limits {
        let mut quota = |setting, default| {
            let read = |text: &str| if text == "none" { Some(None) } else { Quota::parse(text).map(Some) };
            self.parse(setting, RULE, read).unwrap_or(default)
        };
        Limits {
            principal: quota("limits.principal", None),
            key: quota("limits.key", None),
            address: quota("limits.address", None),
            failures: quota("limits.failures", Some(TWO_A_SECOND)),
            grants: quota("limits.grants", Some(TWO_A_SECOND)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{ConfigError, Settings};

    fn load(file: Option<&str>, name: &str, value: &str) -> Result<Limits, ConfigError> {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let variables = [(name.to_owned(), value.to_owned())];
        Settings::load(file, variables, none).map(|settings| settings.limits)
    }

    fn quota(count: u32, seconds: u64) -> Option<Quota> {
        Some(Quota { count, window: Duration::from_secs(seconds) })
    }

    #[test]
    fn what_is_not_named_is_not_limited_but_guessing_is() {
        let limits = load(None, "PATH", "").unwrap();
        assert_eq!((limits.principal, limits.key, limits.address), (None, None, None));
        assert_eq!((limits.failures, limits.grants), (quota(10, 5), quota(10, 5)));
        let limits = load(Some("[limits]\nkey = \"7/m\"\n"), "CLAVIGER_LIMITS__FAILURES", "none").unwrap();
        assert_eq!((limits.key, limits.failures), (quota(7, 60), None));
    }

    #[test]
    fn texts_of_quotas() {
        for (text, read) in [
            ("100/s", quota(100, 1)),
            ("1/h", quota(1, 3_600)),
            ("1000000/m", quota(1_000_000, 60)),
            (" 500 / 10s ", quota(500, 10)),
            ("none", None),
        ] {
            assert_eq!(load(None, "CLAVIGER_LIMITS__PRINCIPAL", text).unwrap().principal, read, "{text}");
        }
        for text in
            ["", "0/s", "1000001/s", "1/0s", "1/2h", "1/d", "-1/s", "1", "/s", "1/", "1.5/s", "None", "1/s/s"]
        {
            let error = load(None, "CLAVIGER_LIMITS__PRINCIPAL", text).expect_err(text);
            assert_eq!(error.setting, "CLAVIGER_LIMITS__PRINCIPAL");
        }
    }
}
