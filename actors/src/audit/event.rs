//! Names of events: what an operator looks for, out of the names of operations, which are those of permissions and of the change log.
//!
//! None begins with `audit_`: that is how the log speaks of itself.

/// Whoever may not do what they asked for.
pub const ACCESS_DENIED: &str = "access_denied";
/// A credential that is none.
pub const AUTH_FAILED: &str = "auth_failed";
/// A refresh token that was presented a second time: somebody has it who should not.
pub const REFRESH_REUSED: &str = "refresh_reused";
/// An operation that has no name here.
pub const OTHER: &str = "other";

/// The event of an operation: `key.rotate`, as callers ask for it, and `key.rotated`, as the change log has it, are both `key_rotated`.
#[must_use]
pub fn event_of(operation: &str) -> &'static str {
    match operation {
        "key.create" | "key.created" => "key_created",
        "key.import" => "key_imported",
        "key.update" | "key.label" | "key.updated" => "key_updated",
        "key.rotate" | "key.rotated" => "key_rotated",
        "key.suspend"
        | "key.suspended"
        | "key.resume"
        | "key.resumed"
        | "key.compromise"
        | "key.compromised"
        | "key.destroy"
        | "key.destroyed"
        | "key.retire"
        | "key.retired"
        | "key.publish_standby"
        | "key.standby_published" => "key_state_changed",
        "key.delete" | "key.deletion_scheduled" => "key_deletion_scheduled",
        "key.restore" | "key.restored" => "key_restored",
        "key.export" => "key_exported",
        "key.used" => "key_used",
        "key.encrypt" => "encrypt",
        "key.decrypt" | "key.rescue" => "decrypt",
        "key.rewrap" => "rewrap",
        "key.datakey" => "datakey",
        "key.sign" => "sign",
        "key.verify" => "verify",
        "key.hmac" => "hmac",
        "random.generate" => "random",
        "token.issue" | "token.issue_credential" => "token_issued",
        "token.verify" => "token_verified",
        "token.refresh" => "token_refreshed",
        "token.revoke" | "token.revoke_any" | "token.revoked" => "token_revoked",
        "token.introspect" => "token_introspected",
        "api_key.create" | "api_key.created" => "api_key_created",
        "api_key.rotate" | "api_key.rotated" => "api_key_rotated",
        "api_key.delete" | "api_key.deleted" => "api_key_deleted",
        operation if operation.starts_with("device.") => event_of_device(operation),
        operation if operation.starts_with("backup.") || operation.starts_with("restore.") => {
            event_of_backup(operation)
        }
        "seal.rotate" | "seal.rekeyed" | "seal.reveal_old" | "seal.remove_old" => event_of_seal(operation),
        "policy.write" | "policy.written" | "policy.delete" | "policy.deleted" => "policy_changed",
        "secret.read" => "secret_read",
        "secret.write" => "secret_written",
        "secret.delete" => "secret_deleted",
        "secret.list" => "secret_listed",
        "secret.batch" => "secret_batch",
        "auth_token.read" => "auth_token_read",
        "auth_token.write" => "auth_token_written",
        "auth_token.delete" => "auth_token_deleted",
        "auth_token.exchange" => "auth_token_exchanged",
        "auth_token.logout" => "auth_token_logged_out",
        "auth_token.verify" => "auth_token_verified",
        "auth_token.refresh" => "auth_token_refreshed",
        "auth_token.end" => "auth_token_ended",
        "auth_token.batch" => "auth_token_batch",
        "offline_token.read" => "offline_token_read",
        "offline_token.write" => "offline_token_written",
        "offline_token.delete" => "offline_token_deleted",
        "ring.changed" | "config.change" => "config_changed",
        "node.start" => "node_started",
        "node.stop" => "node_stopped",
        "key.read" | "key.read_public" | "api_key.read" | "policy.read" | "cluster.read" | "audit.read"
        | "metrics.read" | "seal.read" | "events.read" => "read",
        "session.open" | "session.upgrade" => "session_opened",
        "audit.verify" => "log_verified",
        "audit.hash" => "hash",
        _ => event_of_incident(operation),
    }
}

fn event_of_incident(operation: &str) -> &'static str {
    match operation {
        "incident.open" | "incident.opened" => "incident_opened",
        "incident.approve" | "incident.approved" => "incident_approved",
        "incident.close" | "incident.closed" => "incident_closed",
        "incident.finished" => "incident_finished",
        "incident.step" => "incident_step",
        "incident.read" | "report.read" => "read",
        "credential.scan" => "scanned",
        _ => event_of_alert(operation),
    }
}

fn event_of_alert(operation: &str) -> &'static str {
    match operation {
        "alert.raised" => "alert_raised",
        "alert.cleared" => "alert_cleared",
        "alert.ack" => "alert_acknowledged",
        "alert.escalated" => "alert_escalated",
        "alert.silence" => "alert_silenced",
        "alert.unsilence" => "alert_silence_ended",
        "alert.retry" => "alert_told_again",
        "alert.read" => "read",
        _ => OTHER,
    }
}

fn event_of_seal(operation: &str) -> &'static str {
    match operation {
        "seal.rotate" => "master_rotated",
        "seal.rekeyed" => "data_key_replaced",
        "seal.reveal_old" => "old_master_revealed",
        "seal.remove_old" => "old_master_removed",
        _ => OTHER,
    }
}

fn event_of_backup(operation: &str) -> &'static str {
    match operation {
        "backup.create" => "backup_created",
        "backup.check" => "backup_tested",
        "restore.restored" => "deployment_restored",
        "restore.release" | "restore.released" => "deployment_released",
        _ => OTHER,
    }
}

fn event_of_device(operation: &str) -> &'static str {
    match operation {
        "device.read" => "read",
        "device.pair" => "device_pairing",
        "device.pair.requested" => "device_pairing_requested",
        "device.pair.approve" | "device.pair.approved" => "device_approved",
        "device.pair.reject" | "device.pair.rejected" => "device_rejected",
        "device.pair.remove" | "device.pair.removed" => "device_removed",
        "device.token" => "device_token",
        "device.token.issued" => "device_token_issued",
        "device.token.rotate" | "device.token.rotated" => "device_token_rotated",
        "device.token.revoke" | "device.token.revoked" => "device_token_revoked",
        _ => OTHER,
    }
}

/// The event of an operation that ended so: `outcome` is `ok` or a problem's code. A refusal is one of its own kind, whatever was refused.
#[must_use]
pub fn event_of_outcome(operation: &str, outcome: &str) -> &'static str {
    match outcome {
        "forbidden" => ACCESS_DENIED,
        "unauthorized" | "issuer_unavailable" => AUTH_FAILED,
        "token_reused" => REFRESH_REUSED,
        code if code.starts_with("token_") => AUTH_FAILED,
        _ => event_of(operation),
    }
}

#[cfg(test)]
mod tests {
    use claviger_policy::Permission;

    use super::*;

    #[test]
    fn every_permission_has_an_event() {
        for permission in Permission::ALL {
            let event = event_of(permission.as_str());
            assert_ne!(event, OTHER, "{permission:?}");
            assert!(!event.starts_with("audit_"), "{permission:?}");
            assert!(event.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{event}");
        }
    }

    #[test]
    fn an_operation_and_what_the_change_log_says_of_it_are_one_event() {
        for (asked, logged) in [
            ("key.create", "key.created"),
            ("key.update", "key.updated"),
            ("key.rotate", "key.rotated"),
            ("key.suspend", "key.suspended"),
            ("key.resume", "key.resumed"),
            ("key.compromise", "key.compromised"),
            ("key.destroy", "key.destroyed"),
            ("key.retire", "key.retired"),
            ("key.publish_standby", "key.standby_published"),
            ("key.delete", "key.deletion_scheduled"),
            ("key.restore", "key.restored"),
            ("api_key.create", "api_key.created"),
            ("api_key.rotate", "api_key.rotated"),
            ("api_key.delete", "api_key.deleted"),
            ("device.pair.approve", "device.pair.approved"),
            ("device.pair.reject", "device.pair.rejected"),
            ("device.pair.remove", "device.pair.removed"),
            ("device.token.rotate", "device.token.rotated"),
            ("device.token.revoke", "device.token.revoked"),
            ("policy.write", "policy.written"),
            ("policy.delete", "policy.deleted"),
            ("incident.open", "incident.opened"),
            ("incident.approve", "incident.approved"),
            ("incident.close", "incident.closed"),
        ] {
            assert_eq!(event_of(asked), event_of(logged), "{asked}");
            assert_ne!(event_of(asked), OTHER, "{asked}");
        }
        assert_eq!(event_of("key.frobnicate"), OTHER);
    }

    #[test]
    fn refusals_are_events_of_their_own() {
        assert_eq!(event_of_outcome("key.rotate", "ok"), "key_rotated");
        assert_eq!(event_of_outcome("key.rotate", "standby_too_young"), "key_rotated");
        assert_eq!(event_of_outcome("key.rotate", "forbidden"), ACCESS_DENIED);
        assert_eq!(event_of_outcome("key.encrypt", "unauthorized"), AUTH_FAILED);
        assert_eq!(event_of_outcome("key.encrypt", "token_expired"), AUTH_FAILED);
        assert_eq!(event_of_outcome("token.refresh", "token_reused"), REFRESH_REUSED);
    }
}
