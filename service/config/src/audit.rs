//! How the audit log is kept.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use claviger_entity::HumanDuration;

use crate::{
    DatabaseUrl,
    settings::{Judge, SECONDS, bounded, duration, outgoing, path},
};

/// How the audit log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The folder.
    pub dir: PathBuf,
    /// What is recorded.
    pub level: AuditLevel,
    /// Records are on the disk itself before an answer leaves, not only with the operating system.
    pub fsync: bool,
    /// A write that takes longer counts as failed.
    pub write_timeout: Duration,
    /// Bytes after which a segment is closed.
    pub segment_bytes: usize,
    /// Longest time for which records are not signed.
    pub checkpoint_interval: Duration,
    /// How long closed segments are kept.
    pub keep: HumanDuration,
    /// Where records go beside the file before an answer leaves.
    pub required_sinks: Vec<AuditSink>,
    /// Where they go as long as there is time.
    pub optional_sinks: Vec<AuditSink>,
}

/// A place that records are copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output, each record on a line.
    Stdout,
    /// RFC 5426, to an address of this machine.
    SyslogUdp(SocketAddr),
    /// RFC 6587 with octet counting, to an address of this machine.
    SyslogTcp(SocketAddr),
    /// A datagram socket, such as /dev/log.
    SyslogUnix(PathBuf),
    /// OTLP/HTTP with JSON: the URL of a collector, without its path.
    Otlp(String),
}

impl fmt::Display for AuditSink {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::SyslogUdp(to) => write!(f, "syslog+udp://{to}"),
            Self::SyslogTcp(to) => write!(f, "syslog+tcp://{to}"),
            Self::SyslogUnix(to) => write!(f, "syslog+unix://{}", to.display()),
            Self::Otlp(to) => write!(f, "otlp+{to}"),
        }
    }
}

impl AuditSink {
    /// Whatever leaves the machine is encrypted, which syslog is not: a relay on this machine can do that.
    fn parse(text: &str) -> Option<Self> {
        let local = |text: &str| {
            let address: SocketAddr = text.parse().ok()?;
            address.ip().is_loopback().then_some(address)
        };
        match text.split_once("://") {
            None => (text == "stdout").then_some(Self::Stdout),
            Some(("syslog+udp", address)) => local(address).map(Self::SyslogUdp),
            Some(("syslog+tcp", address)) => local(address).map(Self::SyslogTcp),
            Some(("syslog+unix", path)) => path.starts_with('/').then(|| Self::SyslogUnix(path.into())),
            Some(("otlp+http" | "otlp+https", _)) => outgoing(text.strip_prefix("otlp+")?).map(Self::Otlp),
            Some(_) => None,
        }
    }
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditLevel {
    /// Every operation.
    Full,
    /// Changes and refusals; uses and looks are counted.
    Control,
}

impl AuditLevel {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Control => "control",
        }
    }
}

/// P7: what is recorded is vouched for after this time at the latest.
const CHECKPOINT_MAX: Duration = Duration::from_secs(10);

impl Judge<'_> {
    pub(crate) fn audit(&mut self, database: &DatabaseUrl) -> Audit {
        Audit {
            dir: self.audit_dir(database),
            level: self
                .parse("audit.level", "must be full or control", |text| match text {
                    "full" => Some(AuditLevel::Full),
                    "control" => Some(AuditLevel::Control),
                    _ => None,
                })
                .unwrap_or(AuditLevel::Full),
            fsync: self
                .parse("audit.fsync", "must be true or false", |text| text.parse().ok())
                .unwrap_or(false),
            write_timeout: self
                .parse("audit.write_timeout", SECONDS, duration)
                .unwrap_or(Duration::from_secs(2)),
            segment_bytes: self
                .parse("audit.segment_bytes", "must be bytes, from 65536 to 1073741824", |text| {
                    bounded(text, 64 << 10, 1 << 30)
                })
                .unwrap_or(64 << 20),
            checkpoint_interval: self
                .parse("audit.checkpoint_interval", "must be a duration from \"1s\" to \"10s\"", |text| {
                    duration(text).filter(|interval| *interval <= CHECKPOINT_MAX)
                })
                .unwrap_or(Duration::from_secs(5)),
            keep: self
                .parse("audit.keep", "must be a duration such as \"90d\", at least one day", |text| {
                    let keep: HumanDuration = text.parse().ok()?;
                    (keep.as_secs() >= 86_400).then_some(keep)
                })
                .unwrap_or(HumanDuration::from_days(90)),
            required_sinks: self.required_sinks(),
            optional_sinks: self.sinks("audit.optional_sinks"),
        }
    }

    /// A datagram of UDP that nobody took is no error to its sender, so nobody can answer for it.
    fn required_sinks(&mut self) -> Vec<AuditSink> {
        const SETTING: &str = "audit.required_sinks";
        let sinks = self.sinks(SETTING);
        if sinks.iter().any(|sink| matches!(sink, AuditSink::SyslogUdp(_))) {
            let origin =
                self.layers.get(SETTING).map_or_else(|| SETTING.to_owned(), |given| given.origin.clone());
            self.problem(
                origin,
                "can't hold syslog+udp, which is never confirmed; use syslog+tcp or syslog+unix",
            );
        }
        sinks
    }

    fn sinks(&mut self, setting: &str) -> Vec<AuditSink> {
        let rule = "must be a list of stdout, syslog+udp://127.0.0.1:514, syslog+tcp://127.0.0.1:601, syslog+unix:///dev/log, otlp+https://host";
        let parse = |text: &str| text.split(',').map(|sink| AuditSink::parse(sink.trim())).collect();
        self.parse(setting, rule, parse).unwrap_or_default()
    }

    pub(crate) fn audit_dir(&mut self, database: &DatabaseUrl) -> PathBuf {
        self.parse("audit.dir", "must be a path", path).unwrap_or_else(|| database.folder().join("audit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_on_this_machine_or_encrypted() {
        for (text, fits) in [
            ("stdout", true),
            ("syslog+udp://127.0.0.1:514", true),
            ("syslog+tcp://[::1]:601", true),
            ("syslog+udp://10.0.0.1:514", false),
            ("syslog+tcp://localhost:601", false),
            ("syslog+unix:///dev/log", true),
            ("syslog+unix://log", false),
            ("otlp+https://collector.example:4318", true),
            ("otlp+http://127.0.0.1:4318", true),
            ("otlp+http://collector.example:4318", false),
            ("https://collector.example", false),
            ("file", false),
            ("", false),
        ] {
            assert_eq!(AuditSink::parse(text).is_some(), fits, "{text}");
        }
    }
}
