//! What offline verifiers need: the public keys and where they are.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::Data,
};
use claviger_actors::keyring::Jwks;
use claviger_entity::{Algorithm, Usage};
use serde_json::json;

use super::state::AppState;

/// Public keys of all token keys (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "discovery",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of the set that the caller has")), responses(
    (status = 200, description = "The set", body = Object, headers(("ETag" = String, description = "For If-None-Match"))),
    (status = 304, description = "Unchanged"),
))]
pub async fn jwks(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    serve(&request, &state.ring.snapshot().jwks())
}

/// Issuer metadata (OpenID Connect Discovery 1.0).
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "discovery", responses(
    (status = 200, description = "The metadata", body = Object),
))]
pub async fn metadata(state: Data<AppState>) -> HttpResponse {
    let snapshot = state.ring.snapshot();
    let algorithms: std::collections::BTreeSet<&str> = snapshot
        .ring()
        .keys()
        .map(|key| &key.record)
        .filter(|key| key.usage == Usage::Token && key.key_type.is_asymmetric() && key.deleted_at.is_none())
        .filter_map(|key| key.key_type.algorithm().map(Algorithm::as_str))
        .collect();
    let issuer = state.issuer();
    let mut response = HttpResponse::Ok();
    for (name, value) in public_headers() {
        response.insert_header((name, value));
    }
    response.json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "revocation_endpoint": format!("{issuer}/v1/tokens/revoke"),
        "introspection_endpoint": format!("{issuer}/v1/tokens/introspect"),
        "id_token_signing_alg_values_supported": algorithms,
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
    }))
}

/// A set with its caching headers, or 304.
pub(super) fn serve(request: &HttpRequest, jwks: &Jwks) -> HttpResponse {
    let known = |value: &HeaderValue| {
        value.to_str().is_ok_and(|tags| {
            tags.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == jwks.etag
            })
        })
    };
    let unchanged = request.headers().get(header::IF_NONE_MATCH).is_some_and(known);
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    for (name, value) in public_headers() {
        response.insert_header((name, value));
    }
    response.insert_header((header::ETAG, jwks.etag.as_str()));
    if unchanged {
        response.finish()
    } else {
        response.content_type("application/json").body(jwks.body.clone())
    }
}

const fn public_headers() -> [(header::HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300, must-revalidate")),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ]
}
