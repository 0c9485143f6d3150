//! REST: one file a route group, one table of routes, one table of errors.
//!
//! Every request passes the [`door`](door::door): request id, authentication, authorization by the [`table`], audit, headers. A route
//! that is not in the table is not reachable, whatever is registered here.

pub mod api_keys;
mod authority;
pub mod body;
pub mod crypto;
pub mod discovery;
pub mod door;
mod failure;
pub mod health;
mod idempotency;
pub mod keys;
pub mod openapi;
mod page;
pub mod policies;
pub mod problem;
pub mod state;
pub mod table;
pub mod tokens;

use actix_web::web::{self, ServiceConfig};

/// Registers every handler.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/healthz", web::get().to(health::healthz))
        .route("/readyz", web::get().to(health::readyz))
        .route("/health", web::get().to(health::health))
        .route("/openapi.json", web::get().to(openapi::serve))
        .route("/.well-known/jwks.json", web::get().to(discovery::jwks))
        .route("/.well-known/openid-configuration", web::get().to(discovery::metadata))
        .route("/v1/random", web::post().to(crypto::random::random))
        .service(web::resource("/v1/tokens").route(web::post().to(tokens::issue::issue)))
        .route("/v1/tokens/verify", web::post().to(tokens::verify::verify))
        .service(
            web::resource("/v1/keys")
                .route(web::post().to(keys::create::create))
                .route(web::get().to(keys::read::list)),
        )
        .route("/v1/keys/import", web::post().to(keys::import::import))
        .service(
            web::resource("/v1/keys/{name}")
                .route(web::get().to(keys::read::key))
                .route(web::patch().to(keys::update::update))
                .route(web::delete().to(keys::deletion::schedule)),
        )
        .configure(one_key)
        .configure(access);
}

fn access(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/v1/api-keys")
                .route(web::post().to(api_keys::create))
                .route(web::get().to(api_keys::list)),
        )
        .service(
            web::resource("/v1/api-keys/{id}")
                .route(web::get().to(api_keys::show))
                .route(web::delete().to(api_keys::delete)),
        )
        .route("/v1/api-keys/{id}/rotate", web::post().to(api_keys::rotate))
        .route("/v1/policies", web::get().to(policies::list))
        .service(
            web::resource("/v1/policies/{name}")
                .route(web::get().to(policies::show))
                .route(web::put().to(policies::put))
                .route(web::delete().to(policies::delete)),
        );
}

fn one_key(config: &mut ServiceConfig) {
    config
        .route("/v1/keys/{name}/versions", web::get().to(keys::read::versions))
        .route("/v1/keys/{name}/restore", web::post().to(keys::deletion::restore))
        .route("/v1/keys/{name}/rotate", web::post().to(keys::rotate::rotate))
        .route("/v1/keys/{name}/jwks.json", web::get().to(keys::public::jwks))
        .route("/v1/keys/{name}/versions/{version}/public.pem", web::get().to(keys::public::pem))
        .route("/v1/keys/{name}/export", web::post().to(keys::export::export))
        .route("/v1/keys/{name}/versions/{version}/suspend", web::post().to(keys::versions::suspend))
        .route("/v1/keys/{name}/versions/{version}/resume", web::post().to(keys::versions::resume))
        .route("/v1/keys/{name}/versions/{version}/compromise", web::post().to(keys::versions::compromise))
        .route("/v1/keys/{name}/versions/{version}/destroy", web::post().to(keys::versions::destroy))
        .route("/v1/keys/{name}/encrypt", web::post().to(crypto::encrypt::encrypt))
        .route("/v1/keys/{name}/decrypt", web::post().to(crypto::decrypt::decrypt))
        .route("/v1/keys/{name}/rewrap", web::post().to(crypto::decrypt::rewrap))
        .route("/v1/keys/{name}/datakey", web::post().to(crypto::datakey::datakey))
        .route("/v1/keys/{name}/sign", web::post().to(crypto::sign::sign))
        .route("/v1/keys/{name}/verify", web::post().to(crypto::verify::verify))
        .route("/v1/keys/{name}/hmac", web::post().to(crypto::sign::hmac));
}
