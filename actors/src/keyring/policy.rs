//! Cryptoperiods: what a rotation policy means for a key, as pure functions of the key and the time.
//!
//! Nothing here is stored. `next_rotation_at` follows from the policy and the moment of the last activation, so a key that
//! slept through ten periods is due once, not ten times.

use chrono::TimeDelta;
use claviger_entity::{HumanDuration, KeyType, RotationPolicy, Tier, Usage};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use super::{
    internal,
    record::{Key, KeyRecord, Time},
};

/// Longest text of a cron expression.
const CRON_MAX_BYTES: usize = 128;
/// How many gaps of a cron schedule are measured against the lead: four years of a monthly schedule.
const CRON_GAPS: usize = 48;

/// Least time that a standby must have been published before it signs.
///
/// An asymmetric key's verifiers are outside: JWKS `max-age` (300 s), the largest client cache in the wild (600 s), propagation
/// and skew. A symmetric key's only verifiers are our own nodes.
#[must_use]
pub fn lead(key_type: KeyType, policy: &RotationPolicy) -> HumanDuration {
    policy.lead.unwrap_or(if key_type.is_asymmetric() {
        HumanDuration::from_secs(3_600)
    } else {
        HumanDuration::from_secs(5)
    })
}

const fn lead_floor(key_type: KeyType) -> HumanDuration {
    HumanDuration::from_secs(if key_type.is_asymmetric() { 1_200 } else { 5 })
}

/// How long a version verifies after its deactivation; `None` = until an operator ends it.
///
/// What token and sign keys make expires by itself. Ciphertexts and MACs live with clients for as long as they please, so no
/// clock ever ends a version that may be needed to read them, whatever `rotation.grace` says.
#[must_use]
pub fn grace(key: &KeyRecord) -> Option<TimeDelta> {
    match key.usage {
        Usage::Token | Usage::Sign => {
            let by_claims = key.claims.max_ttl().to_delta() + TimeDelta::hours(1);
            Some(key.rotation.grace.map_or(by_claims, HumanDuration::to_delta))
        }
        Usage::Encrypt | Usage::Mac => None,
    }
}

/// Period of a tier when the policy names none.
#[must_use]
pub const fn tier_period(tier: Tier) -> HumanDuration {
    match tier {
        Tier::Master | Tier::Signing => HumanDuration::from_days(90),
        Tier::Data => HumanDuration::from_days(30),
        Tier::Session => HumanDuration::from_days(1),
        Tier::Temporary => HumanDuration::from_days(7),
    }
}

/// When the primary is due to be replaced; `None` for temporary keys, keys that are fixed, keys being deleted and keys without a primary.
#[must_use]
pub fn next_rotation_at(key: &Key) -> Option<Time> {
    let record = &key.record;
    if internal::is_fixed(&record.name, record.key_type)
        || record.temporary.is_some()
        || record.delete_at.is_some()
        || record.deleted_at.is_some()
    {
        return None;
    }
    let activated_at = key.primary()?.activated_at?;
    match &record.rotation.cron {
        Some(cron) => parse_cron(cron).ok()?.find_next_occurrence(&activated_at, false).ok(),
        None => {
            let every = record.rotation.every.unwrap_or_else(|| tier_period(record.tier));
            activated_at.checked_add_signed(every.to_delta())
        }
    }
}

/// When the standby may sign for the first time.
#[must_use]
pub fn earliest_activation(key: &Key) -> Option<Time> {
    let lead = lead(key.record.key_type, &key.record.rotation).to_delta();
    key.standby().and_then(|standby| standby.created_at.checked_add_signed(lead))
}

/// Refuses a policy that could never be kept.
///
/// # Errors
/// One sentence that names the member and its rule.
pub fn validate(key_type: KeyType, policy: &RotationPolicy) -> Result<(), &'static str> {
    let lead = lead(key_type, policy);
    if lead < lead_floor(key_type) {
        return Err(if key_type.is_asymmetric() {
            "rotation.lead of an asymmetric key must be at least 20m, since clients cache its public half"
        } else {
            "rotation.lead of a symmetric key must be at least 5s"
        });
    }
    let shortest = TimeDelta::seconds(lead.to_delta().num_seconds().saturating_mul(2));
    match (&policy.every, &policy.cron) {
        (Some(_), Some(_)) => Err("rotation.every and rotation.cron exclude each other"),
        (Some(every), None) if every.to_delta() < shortest => Err(
            "rotation.every must be at least twice the lead (rotation.lead, default 1h for asymmetric keys and 5s for others)",
        ),
        (None, Some(cron)) => validate_cron(cron, shortest),
        (Some(_), None) | (None, None) => Ok(()),
    }
}

fn validate_cron(text: &str, shortest: TimeDelta) -> Result<(), &'static str> {
    const INVALID: &str =
        "rotation.cron must be a cron expression of five fields (UTC) that comes round again";
    let cron = parse_cron(text).map_err(|()| INVALID)?;
    // Any fixed start will do: the gaps of a schedule repeat.
    let mut at = Time::UNIX_EPOCH;
    for index in 0..=CRON_GAPS {
        let next = cron.find_next_occurrence(&at, false).map_err(|_| INVALID)?;
        if index > 0 && next - at < shortest {
            return Err("rotation.cron comes round sooner than twice the lead (rotation.lead)");
        }
        at = next;
    }
    Ok(())
}

/// The last moment at or before `now` that a cron expression names.
///
/// # Errors
/// It is none of five fields.
#[expect(clippy::result_unit_err, reason = "there is nothing more to say")]
pub fn last_due(cron: &str, now: Time) -> Result<Option<Time>, ()> {
    Ok(parse_cron(cron)?.find_previous_occurrence(&now, true).ok())
}

/// The first moment after another one that a cron expression names.
///
/// # Errors
/// It is none of five fields.
#[expect(clippy::result_unit_err, reason = "there is nothing more to say")]
pub fn next_due(cron: &str, after: Time) -> Result<Option<Time>, ()> {
    Ok(parse_cron(cron)?.find_next_occurrence(&after, false).ok())
}

fn parse_cron(text: &str) -> Result<Cron, ()> {
    if text.len() > CRON_MAX_BYTES || text.split_ascii_whitespace().count() != 5 {
        return Err(());
    }
    CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(text)
        .map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(every: Option<u64>, cron: Option<&str>, lead: Option<u64>) -> RotationPolicy {
        RotationPolicy {
            every: every.map(HumanDuration::from_secs),
            cron: cron.map(str::to_owned),
            lead: lead.map(HumanDuration::from_secs),
            grace: None,
        }
    }

    #[test]
    fn policies_that_can_not_be_kept_are_refused() {
        let table = [
            (KeyType::Es256, policy(None, None, None), true),
            (KeyType::Es256, policy(Some(7_200), None, None), true),
            (KeyType::Es256, policy(Some(7_199), None, None), false),
            (KeyType::Es256, policy(Some(2_400), None, Some(1_200)), true),
            (KeyType::Es256, policy(None, None, Some(1_199)), false),
            (KeyType::Aes256Gcm, policy(Some(10), None, None), true),
            (KeyType::Aes256Gcm, policy(Some(9), None, None), false),
            (KeyType::Aes256Gcm, policy(None, None, Some(4)), false),
            (KeyType::Es256, policy(None, Some("0 3 1 * *"), None), true),
            (KeyType::Es256, policy(Some(86_400), Some("0 3 1 * *"), None), false),
            (KeyType::Es256, policy(None, Some("*/30 * * * *"), None), false),
            (KeyType::Es256, policy(None, Some("0 0 3 1 * *"), None), false),
            (KeyType::Es256, policy(None, Some("0 3 31 2 *"), None), false),
            (KeyType::Es256, policy(None, Some("nonsense"), None), false),
            (KeyType::Es256, policy(None, Some(""), None), false),
        ];
        for (key_type, policy, allowed) in table {
            assert_eq!(validate(key_type, &policy).is_ok(), allowed, "{key_type} {policy:?}");
        }
    }
}
