//! Every route and the permission that it needs.
//!
//! The door looks a request up here before anything else; what is not here does not exist. Public routes are marked as such, one by
//! one. The OpenAPI document is checked against this table.

use std::sync::LazyLock;

use actix_web::http::Method;
use claviger_policy::{Permission, Target};

use super::tree::{Segments, Tree};

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever holds this permission.
    Needs(Permission),
}

/// What a permission is asked about, and who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The deployment; the door asks.
    Deployment,
    /// The key, API key or policy that the path names; the door asks.
    Path(Target),
    /// What the body names or the answer lists; the handler asks, and an answer of one that did not is withheld.
    Handler,
}

/// What a route does, for audit and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Looks at metadata.
    Read,
    /// Uses a key.
    Use,
    /// Changes the ring; its record is part of the database transaction.
    Change,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Method.
    pub method: Method,
    /// Pattern as registered.
    pub pattern: &'static str,
    /// Who may pass.
    pub access: Access,
    /// A batch reads and writes: whoever may do this is let in too, and the handler asks for each item.
    pub also: Option<Permission>,
    /// Name of the operation in the audit log.
    pub event: &'static str,
    /// What it does.
    pub kind: Kind,
}

const fn public(pattern: &'static str, event: &'static str) -> Route {
    Route { method: Method::GET, pattern, access: Access::Public, also: None, event, kind: Kind::Read }
}

/// A permission is named after its operation: one word for roles, policies and the audit log.
const fn route(method: Method, pattern: &'static str, permission: Permission, kind: Kind) -> Route {
    Route { method, pattern, access: Access::Needs(permission), also: None, event: permission.as_str(), kind }
}

/// One of several operations for which a permission stands.
const fn part(
    method: Method,
    pattern: &'static str,
    (permission, event): (Permission, &'static str),
    kind: Kind,
) -> Route {
    Route { method, pattern, access: Access::Needs(permission), also: None, event, kind }
}

/// A batch over what is stored. What it reads must be on record before it leaves, as any use.
const fn batch(pattern: &'static str, [read, write]: [Permission; 2], event: &'static str) -> Route {
    let access = Access::Needs(read);
    Route { method: Method::POST, pattern, access, also: Some(write), event, kind: Kind::Use }
}

const METRICS: &str = "/metrics";
/// On the internal listener, which only the deployment itself reaches, whoever watches needs no credential.
static OPEN_METRICS: Route = public(METRICS, "metrics");

/// The table. One place in memory, so that a route is known by where it is.
pub static ROUTES: &[Route] = &[
    public("/healthz", "health"),
    public("/readyz", "health"),
    public("/health", "health"),
    public("/openapi.json", "openapi"),
    route(Method::GET, METRICS, Permission::MetricsRead, Kind::Read),
    public("/.well-known/jwks.json", "jwks"),
    public("/.well-known/openid-configuration", "discovery"),
    route(Method::GET, "/v1/cluster", Permission::ClusterRead, Kind::Read),
    public("/v1/ws", "session.upgrade"),
    public("/sockets/events/{topic}", "session.upgrade"),
    route(Method::GET, "/v1/presence", Permission::ClusterRead, Kind::Read),
    route(Method::GET, "/v1/ring", Permission::EventsRead, Kind::Read),
    route(Method::GET, "/v1/events", Permission::EventsRead, Kind::Read),
    route(Method::GET, "/v1/seal", Permission::SealRead, Kind::Read),
    route(Method::POST, "/v1/seal/rotate", Permission::SealRotate, Kind::Change),
    route(Method::POST, "/v1/backups", Permission::BackupCreate, Kind::Use),
    part(Method::POST, "/v1/backups/checks", (Permission::BackupCreate, "backup.check"), Kind::Use),
    route(Method::POST, "/v1/restore/release", Permission::RestoreRelease, Kind::Change),
    route(Method::GET, "/v1/audit", Permission::AuditRead, Kind::Read),
    route(Method::GET, "/v1/audit/keys", Permission::AuditRead, Kind::Read),
    route(Method::GET, "/v1/audit/checkpoints", Permission::AuditRead, Kind::Read),
    route(Method::POST, "/v1/audit/verify", Permission::AuditVerify, Kind::Read),
    route(Method::POST, "/v1/audit/hash", Permission::AuditHash, Kind::Read),
    route(Method::POST, "/v1/incidents", Permission::IncidentOpen, Kind::Change),
    route(Method::GET, "/v1/incidents", Permission::IncidentRead, Kind::Read),
    route(Method::GET, "/v1/incidents/{id}", Permission::IncidentRead, Kind::Read),
    route(Method::POST, "/v1/incidents/{id}/approve", Permission::IncidentApprove, Kind::Change),
    route(Method::POST, "/v1/incidents/{id}/close", Permission::IncidentClose, Kind::Change),
    route(Method::GET, "/v1/alerts", Permission::AlertRead, Kind::Read),
    route(Method::POST, "/v1/alerts/silences", Permission::AlertSilence, Kind::Change),
    route(Method::GET, "/v1/alerts/silences", Permission::AlertRead, Kind::Read),
    part(
        Method::DELETE,
        "/v1/alerts/silences/{id}",
        (Permission::AlertSilence, "alert.unsilence"),
        Kind::Change,
    ),
    route(Method::GET, "/v1/alerts/deliveries", Permission::AlertRead, Kind::Read),
    part(
        Method::POST,
        "/v1/alerts/deliveries/{id}/retry",
        (Permission::AlertAck, "alert.retry"),
        Kind::Change,
    ),
    route(Method::GET, "/v1/alerts/{id}", Permission::AlertRead, Kind::Read),
    route(Method::POST, "/v1/alerts/{id}/ack", Permission::AlertAck, Kind::Change),
    route(Method::GET, "/v1/report", Permission::ReportRead, Kind::Read),
    route(Method::POST, "/v1/scan", Permission::CredentialScan, Kind::Read),
    route(Method::GET, "/v1/scan", Permission::CredentialScan, Kind::Read),
    route(Method::POST, "/v1/random", Permission::RandomGenerate, Kind::Use),
    route(Method::POST, "/v1/tokens", Permission::TokenIssue, Kind::Use),
    route(Method::POST, "/v1/tokens/verify", Permission::TokenVerify, Kind::Use),
    route(Method::POST, "/v1/tokens/introspect", Permission::TokenIntrospect, Kind::Use),
    // Their records are part of their transactions: a full disk must not stand in the way of one, nor withhold what the other has spent a
    // token for.
    route(Method::POST, "/v1/tokens/refresh", Permission::TokenRefresh, Kind::Change),
    route(Method::POST, "/v1/tokens/revoke", Permission::TokenRevoke, Kind::Change),
    route(Method::POST, "/v1/keys", Permission::KeyCreate, Kind::Change),
    route(Method::GET, "/v1/keys", Permission::KeyRead, Kind::Read),
    route(Method::POST, "/v1/keys/import", Permission::KeyImport, Kind::Change),
    route(Method::GET, "/v1/keys/{name}", Permission::KeyRead, Kind::Read),
    route(Method::PATCH, "/v1/keys/{name}", Permission::KeyUpdate, Kind::Change),
    route(Method::DELETE, "/v1/keys/{name}", Permission::KeyDelete, Kind::Change),
    route(Method::POST, "/v1/keys/{name}/restore", Permission::KeyRestore, Kind::Change),
    route(Method::GET, "/v1/keys/{name}/versions", Permission::KeyRead, Kind::Read),
    route(Method::POST, "/v1/keys/{name}/rotate", Permission::KeyRotate, Kind::Change),
    route(Method::GET, "/v1/keys/{name}/jwks.json", Permission::KeyReadPublic, Kind::Read),
    route(
        Method::GET,
        "/v1/keys/{name}/versions/{version}/public.pem",
        Permission::KeyReadPublic,
        Kind::Read,
    ),
    route(Method::POST, "/v1/keys/{name}/export", Permission::KeyExport, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/suspend", Permission::KeySuspend, Kind::Change),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/resume", Permission::KeyResume, Kind::Change),
    route(
        Method::POST,
        "/v1/keys/{name}/versions/{version}/compromise",
        Permission::KeyCompromise,
        Kind::Change,
    ),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/destroy", Permission::KeyDestroy, Kind::Change),
    route(Method::POST, "/v1/keys/{name}/encrypt", Permission::KeyEncrypt, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/decrypt", Permission::KeyDecrypt, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/rewrap", Permission::KeyRewrap, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/datakey", Permission::KeyDatakey, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/sign", Permission::KeySign, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/verify", Permission::KeyVerify, Kind::Use),
    route(Method::POST, "/v1/keys/{name}/hmac", Permission::KeyHmac, Kind::Use),
    route(Method::POST, "/v1/api-keys", Permission::ApiKeyCreate, Kind::Change),
    route(Method::GET, "/v1/api-keys", Permission::ApiKeyRead, Kind::Read),
    route(Method::GET, "/v1/api-keys/{id}", Permission::ApiKeyRead, Kind::Read),
    route(Method::DELETE, "/v1/api-keys/{id}", Permission::ApiKeyDelete, Kind::Change),
    route(Method::POST, "/v1/api-keys/{id}/rotate", Permission::ApiKeyRotate, Kind::Change),
    route(Method::GET, "/v1/devices", Permission::DeviceRead, Kind::Read),
    part(Method::DELETE, "/v1/devices/{id}", (Permission::DevicePair, "device.pair.remove"), Kind::Change),
    part(
        Method::POST,
        "/v1/devices/{id}/tokens/{role}/rotate",
        (Permission::DeviceToken, "device.token.rotate"),
        Kind::Change,
    ),
    part(
        Method::POST,
        "/v1/devices/{id}/tokens/{role}/revoke",
        (Permission::DeviceToken, "device.token.revoke"),
        Kind::Change,
    ),
    route(Method::GET, "/v1/devices/requests", Permission::DeviceRead, Kind::Read),
    part(
        Method::POST,
        "/v1/devices/requests/{id}/approve",
        (Permission::DevicePair, "device.pair.approve"),
        Kind::Change,
    ),
    part(
        Method::POST,
        "/v1/devices/requests/{id}/reject",
        (Permission::DevicePair, "device.pair.reject"),
        Kind::Change,
    ),
    route(Method::GET, "/v1/policies", Permission::PolicyRead, Kind::Read),
    route(Method::GET, "/v1/policies/{name}", Permission::PolicyRead, Kind::Read),
    route(Method::PUT, "/v1/policies/{name}", Permission::PolicyWrite, Kind::Change),
    route(Method::DELETE, "/v1/policies/{name}", Permission::PolicyDelete, Kind::Change),
    route(Method::GET, SECRETS, Permission::SecretList, Kind::Read),
    batch(SECRETS_BATCH, [Permission::SecretRead, Permission::SecretWrite], "secret.batch"),
    route(Method::GET, "/v1/secrets/{owner}/{name}", Permission::SecretRead, Kind::Use),
    route(Method::PUT, "/v1/secrets/{owner}/{name}", Permission::SecretWrite, Kind::Change),
    route(Method::DELETE, "/v1/secrets/{owner}/{name}", Permission::SecretDelete, Kind::Change),
    route(Method::GET, "/v1/secrets/{owner}/{name}/versions", Permission::SecretList, Kind::Read),
    batch(
        "/v1/auth-tokens:batch",
        [Permission::AuthTokenRead, Permission::AuthTokenWrite],
        "auth_token.batch",
    ),
    route(Method::GET, "/v1/auth-tokens/{user}/{provider}", Permission::AuthTokenRead, Kind::Use),
    route(Method::PUT, "/v1/auth-tokens/{user}/{provider}", Permission::AuthTokenWrite, Kind::Change),
    route(Method::DELETE, "/v1/auth-tokens/{user}/{provider}", Permission::AuthTokenDelete, Kind::Change),
    // Their records are part of their transactions: what a provider has given for a code must not be withheld.
    route(
        Method::POST,
        "/v1/auth-tokens/{user}/{provider}/exchange",
        Permission::AuthTokenExchange,
        Kind::Change,
    ),
    route(
        Method::POST,
        "/v1/auth-tokens/{user}/{provider}/logout",
        Permission::AuthTokenLogout,
        Kind::Change,
    ),
    route(Method::POST, "/v1/auth-tokens/{user}/{provider}/verify", Permission::AuthTokenVerify, Kind::Use),
    route(Method::GET, "/v1/offline-tokens/{user}", Permission::OfflineTokenRead, Kind::Use),
    route(Method::PUT, "/v1/offline-tokens/{user}", Permission::OfflineTokenWrite, Kind::Change),
    route(Method::DELETE, "/v1/offline-tokens/{user}", Permission::OfflineTokenDelete, Kind::Change),
];

/// All secrets of an owner, who may be called anything.
const SECRETS: &str = "/v1/secrets/{owner}";
/// Several of them at once.
const SECRETS_BATCH: &str = "/v1/secrets/{owner}:batch";

impl Route {
    /// It shows what everybody may see, and nothing comes of it.
    pub(super) fn is_look(&self) -> bool {
        self.access == Access::Public && self.event != "session.upgrade"
    }

    /// An `Idempotency-Key` is honoured.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        // What is valid, and what may be decrypted, is a question about now: an answer of before must not outlive the key's good name.
        let about_now = [
            Permission::TokenVerify,
            Permission::TokenIntrospect,
            Permission::KeyVerify,
            Permission::KeyDecrypt,
            Permission::AuthTokenVerify,
            // A backup is of its moment, and too long to be kept.
            Permission::BackupCreate,
        ];
        let asks_about_now = about_now.iter().any(|permission| self.access == Access::Needs(*permission));
        self.method == Method::POST && self.kind != Kind::Read && !asks_about_now
    }

    /// It changes nothing, and an event of the control plane all the same.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.access == Access::Needs(Permission::BackupCreate)
    }

    /// The answer itself is kept for a retry. Of a batch over what is stored only the outcome of its changes is: what it reads is a
    /// question about now.
    #[must_use]
    pub fn keeps_answer(&self) -> bool {
        self.is_retried() && self.also.is_none()
    }

    /// The route that this path is for another method: what ends an owner's name is no verb for whoever lists.
    fn of_namesake(&self, method: &Method) -> Option<&'static Self> {
        let is_it = |route: &&Self| route.pattern == SECRETS && route.method == method;
        ROUTES.iter().find(|route| self.pattern == SECRETS_BATCH && is_it(route))
    }

    /// What its permission is asked about.
    #[must_use]
    pub fn scope(&self, permission: Permission) -> Scope {
        match permission.target() {
            Target::Deployment => Scope::Deployment,
            target @ (Target::Key | Target::ApiKey | Target::Policy) if self.pattern.contains('{') => {
                Scope::Path(target)
            }
            target @ Target::Secret if self.pattern.contains("/{name}") => Scope::Path(target),
            target @ Target::AuthToken if self.pattern.contains("{provider}") => Scope::Path(target),
            target @ Target::OfflineToken if self.pattern.contains("{user}") => Scope::Path(target),
            Target::Key | Target::ApiKey | Target::Policy => Scope::Handler,
            Target::Secret | Target::AuthToken | Target::OfflineToken => Scope::Handler,
        }
    }
}

/// What a request meets.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// A route.
    Route(&'static Route),
    /// A path that knows other methods.
    OtherMethod(&'static str),
    /// Nothing.
    Nothing,
}

/// Patterns of the table.
static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::new(ROUTES.iter().map(|route| route.pattern)));

/// Looks a request up by method and path.
#[must_use]
pub fn find(method: &Method, path: &str) -> Found {
    let here = || TREE.find(path).iter().filter_map(|place| ROUTES.get(*place));
    match here().next() {
        None => Found::Nothing,
        Some(first) => here()
            .find(|route| route.method == method)
            .or_else(|| first.of_namesake(method))
            .map_or(Found::OtherMethod(first.pattern), Found::Route),
    }
}

/// Place of a route in the table; one that is open on another listener has that of its namesake.
#[must_use]
pub fn place(route: &'static Route) -> usize {
    let offset = std::ptr::from_ref(route).addr().wrapping_sub(ROUTES.as_ptr().addr());
    let place = offset / size_of::<Route>();
    if ROUTES.get(place).is_some_and(|known| std::ptr::eq(known, route)) {
        return place;
    }
    ROUTES.iter().position(|known| known.pattern == route.pattern).unwrap_or(ROUTES.len())
}

impl Found {
    /// The same on the internal listener.
    #[must_use]
    pub fn internally(self) -> Self {
        match self {
            Self::Route(route) if route.pattern == METRICS => Self::Route(&OPEN_METRICS),
            Self::Route(_) | Self::OtherMethod(_) | Self::Nothing => self,
        }
    }
}

/// Methods that a pattern knows, for `Allow`.
#[must_use]
pub fn allowed(pattern: &str) -> String {
    let methods = ROUTES.iter().filter(|route| route.pattern == pattern).map(|route| route.method.as_str());
    methods.collect::<Vec<_>>().join(", ")
}

/// The segment of a path that stands for `{name}` in the pattern that it matched, without a verb behind it.
#[must_use]
pub fn segment<'a>(pattern: &str, path: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = Segments::of(pattern).zip(Segments::of(path));
    let (verb, segment) = pairs.find_map(|(part, segment)| {
        let (named, verb) = part.strip_prefix('{')?.split_once('}')?;
        (named == name).then_some((verb, segment))
    })?;
    segment.strip_suffix(verb).filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_place() {
        for (expected, route) in ROUTES.iter().enumerate() {
            assert_eq!(place(route), expected);
        }
        assert_eq!(ROUTES.get(place(&OPEN_METRICS)).map(|route| route.pattern), Some(METRICS));
    }

    #[test]
    fn segments_are_taken_by_their_place() {
        let pattern = "/v1/keys/{name}/versions/{version}/public.pem";
        let path = "/v1/keys/a.b/versions/7/public.pem";
        assert_eq!(segment(pattern, path, "name"), Some("a.b"));
        assert_eq!(segment(pattern, path, "version"), Some("7"));
        assert_eq!(segment(pattern, path, "id"), None);
        assert_eq!(segment("/v1/keys/{name}", "/v1/keys/", "name"), None);
        assert_eq!(segment(SECRETS_BATCH, "/v1/secrets/a:b:batch", "owner"), Some("a:b"));
        assert_eq!(segment(SECRETS_BATCH, "/v1/secrets/:batch", "owner"), None);
        assert_eq!(segment(SECRETS_BATCH, "/v1/secrets/a", "owner"), None);
    }
}
