//! What offline verifiers need: the public keys and where they are.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::{Bytes, Data},
};
use claviger_actors::keyring::Jwks;
use claviger_entity::{Algorithm, Usage};
use serde_json::json;

use super::{compress, state::AppState};

/// End of the tag of a set in gzip.
const GZIP_TAG: &str = "-gzip\"";

/// Public keys of all token keys (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "discovery",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of the set that the caller has")), responses(
    (status = 200, description = "The set", body = Object, headers(("ETag" = String, description = "For If-None-Match"))),
    (status = 304, description = "Unchanged"),
))]
pub async fn jwks(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let jwks = state.ring.snapshot().jwks();
    let gzip = || jwks.gzip.get_or_init(|| compress::gzip(jwks.body.as_bytes())).clone();
    let mut response = serve(&request, &jwks, compress::takes_gzip(request.headers()).then(gzip).flatten());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
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

/// A set with its caching headers, or 304. In gzip it is another representation, with a tag of its own.
pub(super) fn serve(request: &HttpRequest, jwks: &Jwks, gzip: Option<Bytes>) -> HttpResponse {
    let of_gzip = jwks.etag.trim_end_matches('"').to_owned() + GZIP_TAG;
    let known = |value: &HeaderValue| {
        value.to_str().is_ok_and(|tags| {
            tags.split(',').any(|tag| {
                let tag = tag.trim();
                let bare = tag.strip_prefix("W/").unwrap_or(tag);
                tag == "*" || bare == jwks.etag || bare == of_gzip
            })
        })
    };
    let unchanged = request.headers().get(header::IF_NONE_MATCH).is_some_and(known);
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    for (name, value) in public_headers() {
        response.insert_header((name, value));
    }
    let tag = if gzip.is_some() { of_gzip.as_str() } else { jwks.etag.as_str() };
    response.insert_header((header::ETAG, tag));
    if unchanged {
        return response.finish();
    }
    response.content_type("application/json");
    match gzip {
        Some(gzip) => response.insert_header((header::CONTENT_ENCODING, "gzip")).body(gzip),
        None => response.body(jwks.body.clone()),
    }
}

const fn public_headers() -> [(header::HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300, must-revalidate")),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ]
}
