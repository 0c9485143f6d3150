//! Every route and the permission that it needs.
//!
//! The door looks a request up here before anything else; what is not here does not exist. Public routes are marked as such, one by
//! one. The OpenAPI document is checked against this table.

use actix_web::http::Method;

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever holds this permission.
    Needs(Permission),
}

/// A right that roles are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission(pub &'static str);

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
    /// Name of the operation in the audit log.
    pub event: &'static str,
    /// What it does.
    pub kind: Kind,
}

const fn public(pattern: &'static str, event: &'static str) -> Route {
    Route { method: Method::GET, pattern, access: Access::Public, event, kind: Kind::Read }
}

const fn route(method: Method, pattern: &'static str, event: &'static str, kind: Kind) -> Route {
    // A permission is named after its operation: one word for roles, policies and the audit log.
    Route { method, pattern, access: Access::Needs(Permission(event)), event, kind }
}

/// The table.
pub const ROUTES: &[Route] = &[
    public("/healthz", "health"),
    public("/readyz", "health"),
    public("/health", "health"),
    public("/openapi.json", "openapi"),
    public("/.well-known/jwks.json", "jwks"),
    public("/.well-known/openid-configuration", "discovery"),
    route(Method::POST, "/v1/random", "random.generate", Kind::Use),
    route(Method::POST, "/v1/tokens", "token.issue", Kind::Use),
    route(Method::POST, "/v1/tokens/verify", "token.verify", Kind::Use),
    route(Method::POST, "/v1/keys", "key.create", Kind::Change),
    route(Method::GET, "/v1/keys", "key.list", Kind::Read),
    route(Method::POST, "/v1/keys/import", "key.import", Kind::Change),
    route(Method::GET, "/v1/keys/{name}", "key.read", Kind::Read),
    route(Method::PATCH, "/v1/keys/{name}", "key.update", Kind::Change),
    route(Method::DELETE, "/v1/keys/{name}", "key.delete", Kind::Change),
    route(Method::POST, "/v1/keys/{name}/restore", "key.restore", Kind::Change),
    route(Method::GET, "/v1/keys/{name}/versions", "key.read", Kind::Read),
    route(Method::POST, "/v1/keys/{name}/rotate", "key.rotate", Kind::Change),
    route(Method::GET, "/v1/keys/{name}/jwks.json", "key.read_public", Kind::Read),
    route(Method::GET, "/v1/keys/{name}/versions/{version}/public.pem", "key.read_public", Kind::Read),
    route(Method::POST, "/v1/keys/{name}/export", "key.export", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/suspend", "key.suspend", Kind::Change),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/resume", "key.resume", Kind::Change),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/compromise", "key.compromise", Kind::Change),
    route(Method::POST, "/v1/keys/{name}/versions/{version}/destroy", "key.destroy", Kind::Change),
    route(Method::POST, "/v1/keys/{name}/encrypt", "key.encrypt", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/decrypt", "key.decrypt", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/rewrap", "key.rewrap", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/datakey", "key.datakey", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/sign", "key.sign", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/verify", "key.verify", Kind::Use),
    route(Method::POST, "/v1/keys/{name}/hmac", "key.hmac", Kind::Use),
];

/// Permission to decrypt with a compromised version.
pub const RESCUE: Permission = Permission("key.rescue");
/// Permission to issue tokens that are credentials of this service.
pub const ISSUE_CREDENTIAL: Permission = Permission("token.issue_credential");

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

/// Looks a request up by method and matched pattern.
#[must_use]
pub fn find(method: &Method, pattern: Option<&str>) -> Found {
    let Some(pattern) = pattern else { return Found::Nothing };
    let mut here = ROUTES.iter().filter(|route| route.pattern == pattern).peekable();
    match here.peek() {
        None => Found::Nothing,
        Some(first) => {
            let pattern = first.pattern;
            here.find(|route| route.method == method).map_or(Found::OtherMethod(pattern), Found::Route)
        }
    }
}

/// Methods that a pattern knows, for `Allow`.
#[must_use]
pub fn allowed(pattern: &str) -> String {
    let methods = ROUTES.iter().filter(|route| route.pattern == pattern).map(|route| route.method.as_str());
    methods.collect::<Vec<_>>().join(", ")
}
