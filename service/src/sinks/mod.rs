//! Where audit records go beside the file.

mod otlp;
mod stdout;
mod syslog;

use std::io;

use claviger_actors::audit::{Sink, Sinks};

use crate::config::{AuditSink, Settings};

/// The sinks of a configuration.
///
/// # Errors
/// The setting, and why it can't be used.
pub fn open(settings: &Settings) -> Result<Sinks, (&'static str, io::Error)> {
    let open = |setting, sinks: &[AuditSink]| -> Result<Vec<Box<dyn Sink>>, (&'static str, io::Error)> {
        sinks.iter().map(|sink| one(sink, settings).map_err(|error| (setting, error))).collect()
    };
    Ok(Sinks {
        required: open("audit.required_sinks", &settings.audit.required_sinks)?,
        optional: open("audit.optional_sinks", &settings.audit.optional_sinks)?,
    })
}

fn one(sink: &AuditSink, settings: &Settings) -> io::Result<Box<dyn Sink>> {
    let node = settings.node.clone();
    Ok(match sink {
        AuditSink::Stdout => Box::new(stdout::Stdout),
        AuditSink::SyslogUdp(to) => Box::new(syslog::Syslog::new(syslog::Way::Udp(*to), node)),
        AuditSink::SyslogTcp(to) => Box::new(syslog::Syslog::new(syslog::Way::Tcp(*to), node)),
        AuditSink::SyslogUnix(to) => Box::new(syslog::Syslog::new(syslog::Way::Unix(to.clone()), node)),
        AuditSink::Otlp(to) => Box::new(otlp::Otlp::new(to, node, settings.ca_file.as_deref())?),
    })
}
