//! The settings that matter for security, as texts that may be shown: a change of one of them belongs on record.

use std::{collections::BTreeMap, path::Path};

use claviger_entity::RoleName;

use crate::{
    AuditSink, Channel, DatabaseUrl, Limits, Mesh, Quota, RedisUrl, Settings, SubjectPattern, Tls,
    TokenProvider, TrustedIssuer,
};

const NONE: &str = "none";

impl Settings {
    /// Settings that matter for security, by name. None is a secret: of URLs that may hold a password only the kind is told.
    #[must_use]
    pub fn posture(&self) -> BTreeMap<String, String> {
        let tls = |file: fn(&Tls) -> Option<&Path>| shown(self.tls.as_ref().and_then(file));
        let audit = &self.audit;
        let database = match &self.database {
            DatabaseUrl::Sqlite(_) => "sqlite",
            DatabaseUrl::Postgres(_) => "postgres",
        };
        let redis = match &self.redis {
            None => NONE,
            Some(RedisUrl::Server(url)) if url.starts_with("rediss:") => "server, tls",
            Some(RedisUrl::Server(_)) => "server",
            Some(RedisUrl::Sentinels { tls: true, .. }) => "sentinels, tls",
            Some(RedisUrl::Sentinels { tls: false, .. }) => "sentinels",
        };
        let seal = if self.masters.is_some() { "given" } else { "file" };
        let internal = self.watching.internal_listen.map(|address| address.to_string());
        [
            ("audit.checkpoint_interval", seconds(audit.checkpoint_interval)),
            ("audit.dir", audit.dir.display().to_string()),
            ("audit.fsync", audit.fsync.to_string()),
            ("audit.keep", audit.keep.to_string()),
            ("audit.level", audit.level.as_str().to_owned()),
            ("audit.optional_sinks", sinks(&audit.optional_sinks)),
            ("audit.required_sinks", sinks(&audit.required_sinks)),
            ("audit.write_timeout", seconds(audit.write_timeout)),
            ("auth.failed_attempts", self.doors.failed_attempts.to_string()),
            ("auth.mesh", mesh(self.doors.mesh.as_ref())),
            (
                "auth.proxy_user_header",
                self.doors.proxy_user_header.clone().unwrap_or_else(|| NONE.to_owned()),
            ),
            ("auth.trusted_proxies", listed(&self.doors.trusted_proxies)),
            ("backup.recipient", listed(&self.backup.recipients)),
            ("backup.schedule", self.backup.schedule.clone().unwrap_or_else(|| NONE.to_owned())),
            ("channels", channels(&self.channels)),
            ("cluster.max_staleness", seconds(self.max_staleness)),
            ("database.url", database.to_owned()),
            ("deletion.waiting_period", self.deletion_waiting_period.to_string()),
            ("http.cors_origins", listed(&self.doors.cors_origins)),
            ("issuers", issuers(&self.issuers)),
            ("providers", providers(&self.providers)),
            ("redis.url", redis.to_owned()),
            ("seal.master_key", seal.to_owned()),
            ("seal.rotate_every", self.master_rotate_every.map_or_else(|| "never".to_owned(), seconds)),
            ("server.development", self.development.to_string()),
            ("server.internal_listen", internal.unwrap_or_else(|| NONE.to_owned())),
            ("server.listen", self.listen.to_string()),
            ("server.plain_http", self.plain_http.to_string()),
            (
                "telemetry.otlp_endpoint",
                self.watching.otlp_endpoint.clone().unwrap_or_else(|| NONE.to_owned()),
            ),
            ("tls.ca_file", shown(self.ca_file.as_deref())),
            ("tls.cert", tls(|tls| Some(&tls.cert))),
            ("tls.client_ca", tls(|tls| tls.client_ca.as_deref())),
            ("tls.client_crl", tls(|tls| tls.client_crl.as_deref())),
            ("tls.client_roles", client_roles(self.tls.as_ref())),
            ("tls.key", tls(|tls| Some(&tls.key))),
            ("tokens.encryption_key", self.encryption_key.to_string()),
            ("tokens.issuer", self.issuer.clone().unwrap_or_else(|| "of the deployment".to_owned())),
            ("tokens.signing_key", self.signing_key.to_string()),
            ("ws.local_without_nonce", self.doors.local_without_nonce.to_string()),
            ("ws.password_file", shown(self.doors.password_file.as_deref())),
            ("ws.require_device", self.doors.require_device.to_string()),
        ]
        .into_iter()
        .chain(quotas(&self.limits))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

fn quotas(limits: &Limits) -> [(&'static str, String); 5] {
    let text = |quota: Option<Quota>| quota.map_or_else(|| NONE.to_owned(), |quota| quota.to_string());
    [
        ("limits.address", text(limits.address)),
        ("limits.failures", text(limits.failures)),
        ("limits.grants", text(limits.grants)),
        ("limits.key", text(limits.key)),
        ("limits.principal", text(limits.principal)),
    ]
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| NONE.to_owned(), |path| path.display().to_string())
}

fn client_roles(tls: Option<&Tls>) -> String {
    let names = tls.map(|tls| &tls.client_roles).filter(|names| !names.is_empty());
    names.map_or_else(|| NONE.to_owned(), |names| roles(&names.0))
}

fn seconds(time: std::time::Duration) -> String {
    format!("{}s", time.as_secs())
}

/// One after the other, by name: whom they name and what that gives.
fn issuers(issuers: &[TrustedIssuer]) -> String {
    let each = issuers.iter().map(|issuer| {
        let TrustedIssuer { name, issuer: url, audience, jwks_uri, token_file, max_stale, cooldown, .. } =
            issuer;
        let from = jwks_uri.as_deref().unwrap_or("discovery");
        let (token, stale, wait) = (shown(token_file.as_deref()), seconds(*max_stale), seconds(*cooldown));
        format!(
            "{name}: {url} for {audience}, {}; keys by {from}, token {token}, {stale}, {wait}",
            roles(&issuer.roles)
        )
    });
    let each: Vec<_> = each.collect();
    if each.is_empty() { NONE.to_owned() } else { each.join("; ") }
}

/// Where what is kept for users is sent to. Queries of URLs are nobody's business.
fn providers(providers: &[TokenProvider]) -> String {
    let place = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    let each = providers.iter().map(|provider| {
        let optional = [
            ("revocation", &provider.revocation_endpoint),
            ("introspection", &provider.introspection_endpoint),
            ("keys", &provider.jwks_uri),
            ("issuer", &provider.issuer),
            ("audience", &provider.audience),
        ];
        let optional = optional
            .into_iter()
            .filter_map(|(what, value)| Some(format!(", {what} {}", place(value.as_deref()?))));
        format!(
            "{}: {} as {} by {}{}",
            provider.name,
            place(&provider.token_endpoint),
            provider.client_id,
            provider.auth_style.as_str(),
            optional.collect::<String>()
        )
    });
    let each: Vec<_> = each.collect();
    if each.is_empty() { NONE.to_owned() } else { each.join("; ") }
}

/// Who is told of alerts; where exactly may be a secret.
fn channels(channels: &[Channel]) -> String {
    let each = channels.iter().map(|channel| {
        let only = if channel.escalations_only { ", escalations only" } else { "" };
        format!("{}: {} from {}{only}", channel.name, channel.kind.as_str(), channel.least)
    });
    let each: Vec<_> = each.collect();
    if each.is_empty() { NONE.to_owned() } else { each.join("; ") }
}

fn sinks(sinks: &[AuditSink]) -> String {
    listed(sinks)
}

fn listed<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return NONE.to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn mesh(mesh: Option<&Mesh>) -> String {
    mesh.map_or_else(|| NONE.to_owned(), |mesh| format!("{}: {}", mesh.socket.display(), roles(&mesh.roles)))
}

/// Whom the patterns name and what that gives.
fn roles(roles: &[(SubjectPattern, Vec<RoleName>)]) -> String {
    let each = roles.iter().map(|(pattern, roles)| {
        let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
        format!("{pattern}={}", roles.join("+"))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posture(environment: &[(&str, &str)]) -> BTreeMap<String, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let none = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let settings = Settings::load(None, environment, none).map_err(|error| error.to_string());
        settings.unwrap().posture()
    }

    #[test]
    fn each_setting_that_matters_shows_and_no_secret_does() {
        let database = "postgres://u:db-secret-77@localhost/d";
        let master = "seal-secret-0123456789-abcdefghijklmnop-XYZ";
        let base = [("CLAVIGER_DATABASE__URL", database), ("CLAVIGER_SEAL__MASTER_KEY", master)];
        let plain = posture(&base);
        let changes = [
            ("audit.level", "control", "control"),
            ("audit.required_sinks", "stdout", "stdout"),
            ("audit.optional_sinks", "syslog+udp://127.0.0.1:514", "syslog+udp://127.0.0.1:514"),
            ("audit.fsync", "true", "true"),
            ("audit.dir", "elsewhere", "elsewhere"),
            ("redis.url", "redis://:redis-secret-9@127.0.0.1:6379", "server"),
            ("redis.url", "redis+sentinel://:redis-secret-9@127.0.0.1:26379/m/0", "sentinels"),
            ("auth.trusted_proxies", "10.0.0.0/8, ::1", "10.0.0.0/8, ::1/128"),
            ("auth.mesh", r#"{"socket": "/m", "roles": {"a": ["signer"]}}"#, "/m: a=signer"),
            ("auth.failed_attempts", "0", "0"),
            ("http.cors_origins", "https://console.example", "https://console.example"),
            ("limits.principal", "100/s", "100/1s"),
            ("limits.key", "100/m", "100/60s"),
            ("limits.address", "100/10s", "100/10s"),
            ("limits.failures", "none", "none"),
            ("limits.grants", "1/s", "1/1s"),
            ("ws.password_file", "password", "password"),
            ("ws.require_device", "true", "true"),
            ("ws.local_without_nonce", "true", "true"),
            ("server.listen", "127.0.0.1:1", "127.0.0.1:1"),
            ("server.internal_listen", "127.0.0.1:2", "127.0.0.1:2"),
            ("server.development", "true", "true"),
            ("server.plain_http", "true", "true"),
            ("tokens.issuer", "https://id.example", "https://id.example"),
            ("cluster.max_staleness", "60s", "60s"),
            (
                "issuers",
                r#"{"a": {"issuer": "https://a", "audience": "us", "roles": {"s": ["signer", "x"]}}}"#,
                "a: https://a for us, s=signer+x; keys by discovery, token none, 86400s, 30s",
            ),
            (
                "providers",
                r#"{"a": {"token_endpoint": "https://a/t?x", "client_id": "us", "client_secret": "client-secret-5", "jwks_uri": "https://a/k"}}"#,
                "a: https://a/t as us by post, keys https://a/k",
            ),
            (
                "channels",
                r#"{"ops": {"type": "slack", "url": "https://hooks.example/a-secret"}}"#,
                "ops: slack from warning",
            ),
            ("seal.rotate_every", "0s", "never"),
        ];
        for (name, value, shown) in changes {
            let variable = format!("CLAVIGER_{}", name.to_uppercase().replace('.', "__"));
            let given = posture(&[base[0], base[1], (&variable, value)]);
            let differing: Vec<_> =
                given.iter().filter(|(name, value)| plain.get(*name) != Some(value)).collect();
            assert_eq!(differing, [(&name.to_owned(), &shown.to_owned())]);
            assert!(!format!("{given:?}").contains("secret"), "{given:?}");
        }
    }
}
