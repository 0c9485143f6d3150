//! What this node tells the monitor of alerts, and how it is set up.

use std::sync::Arc;

use actix_web::web::Data;
use chrono::DateTime;
use claviger_actors::alerts::{
    AlertSettings, Expiring, Override, Route, Routing, Rule, Rules, Sample, Severity, Watched,
};
use claviger_config::{AlertRule, Channel, Settings};
use claviger_crypto::digest;

use crate::{http::state::AppState, tls::Certificate};

/// What serves requests, as the monitor sees it.
pub(crate) struct Live {
    state: Data<AppState>,
    certificate: Option<Arc<Certificate>>,
}

impl Live {
    pub(crate) const fn new(state: Data<AppState>, certificate: Option<Arc<Certificate>>) -> Self {
        Self { state, certificate }
    }
}

impl Watched for Live {
    fn look(&self) -> Sample {
        let (verifications, failures) = self.state.metrics.verifications();
        Sample {
            verifications,
            failures,
            operations: self.state.metrics.operation_times(),
            denied: self.state.metrics.denied(),
            audit: self.state.audit.is_writable() && !self.state.audit.is_stuck(),
            backups: self.state.backups.standing(),
            certificates: self.certificate.iter().filter_map(|certificate| ending(certificate)).collect(),
        }
    }
}

/// When the certificate of the listener ends. It goes by a part of its hash: several nodes may have the same one.
fn ending(certificate: &Certificate) -> Option<Expiring> {
    let der = certificate.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let at = DateTime::from_timestamp(parsed.validity().not_after.timestamp(), 0)?;
    let hash = hex::encode(digest::sha256(&der));
    Some(Expiring { name: format!("tls.cert {}", hash.get(..16)?), at })
}

/// As the settings say.
///
/// # Errors
/// A sentence that names the rule whose limits contradict each other.
pub(crate) fn settings(settings: &Settings) -> Result<AlertSettings, String> {
    let alerts = &settings.alerts;
    let wanted: Vec<(Rule, Override)> =
        alerts.rules.iter().filter_map(|(name, rule)| Some((Rule::parse(name)?, overridden(rule)))).collect();
    let rules = Rules::new(&wanted).map_err(|rule| {
        format!("the limits of {} contradict each other: what clears it would raise it", rule.as_str())
    })?;
    Ok(AlertSettings {
        node: settings.node.clone(),
        tick: alerts.tick,
        window: alerts.window,
        learning: alerts.learning,
        rules,
        runbook: alerts.runbook.clone(),
        routing: Routing(settings.channels.iter().filter_map(route).collect()),
        escalate_after: alerts.escalate_after,
        max_staleness: settings.max_staleness,
    })
}

fn route(channel: &Channel) -> Option<Route> {
    Some(Route {
        channel: channel.name.clone(),
        least: Severity::parse(&channel.least)?,
        escalations_only: channel.escalations_only,
    })
}

fn overridden(rule: &AlertRule) -> Override {
    Override {
        raise: rule.raise,
        hold: rule.hold,
        clear: rule.clear,
        calm: rule.calm,
        severity: rule.severity.as_deref().and_then(Severity::parse),
        is_on: rule.enabled,
    }
}

#[cfg(test)]
mod tests {
    use claviger_config::ALERT_RULES;

    use super::*;

    #[test]
    fn settings_know_every_rule() {
        let rules: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        assert_eq!(ALERT_RULES.as_slice(), rules);
    }
}
