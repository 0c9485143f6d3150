//! Durations as the contract writes them: humantime text (`"90d"`, `"1h30m"`) or whole seconds.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A length of time with a resolution of one second, at most 100 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(u64);

impl utoipa::PartialSchema for HumanDuration {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Type};
        let text = ObjectBuilder::new().schema_type(Type::String).examples(["90d"]);
        let seconds =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(Self::MAX.0));
        let either = OneOfBuilder::new().item(text).item(seconds);
        either
            .description(Some("A length of time: text such as `1h30m`, or whole seconds; at most 100 years."))
            .into()
    }
}

impl utoipa::ToSchema for HumanDuration {}

impl HumanDuration {
    /// The longest that is accepted: 100 years of 365.25 days.
    pub const MAX: Self = Self(3_155_760_000);

    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// From days of 86,400 seconds.
    #[must_use]
    pub const fn from_days(days: u64) -> Self {
        Self(days.saturating_mul(86_400))
    }

    /// Whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// As chrono's signed duration.
    #[must_use]
    pub fn to_delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(i64::try_from(self.0.min(Self::MAX.0)).unwrap_or(0))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let duration =
            humantime::parse_duration(text).map_err(|_| "is no duration such as \"90d\" or \"1h30m\"")?;
        Self::bounded(duration)
    }

    fn bounded(duration: Duration) -> Result<Self, &'static str> {
        if duration.subsec_nanos() != 0 {
            return Err("has a resolution of one second");
        }
        if duration.as_secs() > Self::MAX.0 {
            return Err("is longer than 100 years");
        }
        Ok(Self(duration.as_secs()))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime writes months and years of broken length; days and below are exact.
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        match (days, rest) {
            (0, rest) => write!(f, "{}", humantime::format_duration(Duration::from_secs(rest))),
            (days, 0) => write!(f, "{days}d"),
            (days, rest) => write!(f, "{days}d {}", humantime::format_duration(Duration::from_secs(rest))),
        }
    }
}

impl std::str::FromStr for HumanDuration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"90d\", or whole seconds")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                HumanDuration::parse(text).map_err(|rule| E::custom(format_args!("duration {rule}")))
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<HumanDuration, E> {
                HumanDuration::bounded(Duration::from_secs(seconds))
                    .map_err(|rule| E::custom(format_args!("duration {rule}")))
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<HumanDuration, E> {
                u64::try_from(seconds)
                    .map_err(|_| E::custom("duration is negative"))
                    .and_then(|seconds| self.visit_u64(seconds))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_and_seconds() {
        for (text, seconds) in [("\"90d\"", 7_776_000), ("\"1h30m\"", 5_400), ("3600", 3_600), ("\"0s\"", 0)]
        {
            assert_eq!(serde_json::from_str::<HumanDuration>(text).unwrap().as_secs(), seconds, "{text}");
        }
        for bad in
            ["-1", "\"\"", "\"soon\"", "1.5", "null", "18446744073709551615", "\"1ms\"", "\"999999999y\""]
        {
            assert!(serde_json::from_str::<HumanDuration>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for seconds in [0, 1, 59, 3_600, 86_400, 90_061, 7_776_000, 31_557_600, HumanDuration::MAX.as_secs()]
        {
            let text = serde_json::to_string(&HumanDuration(seconds)).unwrap();
            assert_eq!(serde_json::from_str::<HumanDuration>(&text).unwrap().as_secs(), seconds, "{text}");
        }
        assert_eq!(HumanDuration::from_days(90).to_string(), "90d");
    }
}
