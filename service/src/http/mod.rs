//! REST: one file a route group, one table of routes, one table of errors.
//!
//! Every request passes the [`door`](door::door): request id, authentication, authorization by the [`table`], audit, headers. A route
//! that is not in the table is not reachable, whatever is registered here.

pub mod alerts;
pub mod api_keys;
pub mod audit;
mod authority;
pub mod backups;
pub mod body;
pub mod cluster;
pub mod compress;
mod cors;
pub mod crypto;
pub mod devices;
pub mod discovery;
mod dispatch;
pub mod door;
pub mod events;
mod failure;
pub mod health;
mod idempotency;
pub mod incidents;
pub mod keys;
pub mod metrics;
pub mod openapi;
mod page;
pub mod patience;
pub mod policies;
pub mod problem;
pub mod quota;
mod recognise;
pub mod record;
pub mod report;
pub mod restore;
pub mod scan;
pub mod seal;
mod slice;
pub mod state;
pub mod stores;
pub mod table;
pub mod tokens;
mod tree;
mod turn;
pub mod ws;

use actix_web::web::{self, ServiceConfig};

use self::dispatch::Registered;

/// One line a route: what registers it also names it, so that a test can hold it against the [`table`].
macro_rules! routes {
    ($($method:ident $pattern:literal => $handler:path,)+) => {
        /// Registers every handler.
        pub fn configure(config: &mut ServiceConfig) {
            config.default_service(Registered::new([
                $((stringify!($method), $pattern, web::$method().to($handler)),)+
            ]));
        }

        /// Method and pattern of every handler.
        #[cfg(test)]
        const REGISTERED: &[(&str, &str)] = &[$((stringify!($method), $pattern),)+];
    };
}

routes! {
    post "/v1/keys/{name}/encrypt" => crypto::encrypt::encrypt,
    post "/v1/keys/{name}/decrypt" => crypto::decrypt::decrypt,
    post "/v1/keys/{name}/sign" => crypto::sign::sign,
    post "/v1/keys/{name}/verify" => crypto::verify::verify,
    post "/v1/keys/{name}/hmac" => crypto::sign::hmac,
    post "/v1/keys/{name}/rewrap" => crypto::decrypt::rewrap,
    post "/v1/keys/{name}/datakey" => crypto::datakey::datakey,
    post "/v1/tokens" => tokens::issue::issue,
    post "/v1/tokens/verify" => tokens::verify::verify,
    post "/v1/tokens/introspect" => tokens::introspect::introspect,
    post "/v1/tokens/refresh" => tokens::refresh::refresh,
    post "/v1/tokens/revoke" => tokens::revoke::revoke,
    get "/v1/secrets/{owner}/{name}" => stores::secrets::show,
    put "/v1/secrets/{owner}/{name}" => stores::secrets::put,
    get "/v1/auth-tokens/{user}/{provider}" => stores::auth_tokens::show,
    put "/v1/auth-tokens/{user}/{provider}" => stores::auth_tokens::put,
    get "/.well-known/jwks.json" => discovery::jwks,
    get "/healthz" => health::healthz,
    get "/readyz" => health::readyz,
    get "/health" => health::health,
    get "/metrics" => metrics::metrics,
    get "/openapi.json" => openapi::serve,
    get "/.well-known/openid-configuration" => discovery::metadata,
    get "/v1/cluster" => cluster::show,
    get "/v1/events" => events::stream,
    get "/v1/ws" => ws::general,
    get "/sockets/events/{topic}" => ws::topic,
    get "/v1/presence" => ws::ring::presence,
    get "/v1/ring" => ws::ring::ring,
    get "/v1/seal" => seal::show,
    post "/v1/seal/rotate" => seal::rotate,
    post "/v1/backups" => backups::create,
    post "/v1/backups/checks" => backups::check,
    post "/v1/restore/release" => restore::release,
    get "/v1/audit" => audit::list::list,
    get "/v1/audit/keys" => audit::keys::keys,
    get "/v1/audit/checkpoints" => audit::checkpoints::checkpoints,
    post "/v1/audit/verify" => audit::verify::verify,
    post "/v1/audit/hash" => audit::hash::hash,
    post "/v1/incidents" => incidents::open,
    get "/v1/incidents" => incidents::list,
    get "/v1/incidents/{id}" => incidents::show,
    post "/v1/incidents/{id}/approve" => incidents::approve,
    post "/v1/incidents/{id}/close" => incidents::close,
    get "/v1/alerts" => alerts::list,
    post "/v1/alerts/silences" => alerts::silences::make,
    get "/v1/alerts/silences" => alerts::silences::list,
    delete "/v1/alerts/silences/{id}" => alerts::silences::end,
    get "/v1/alerts/deliveries" => alerts::deliveries::list,
    post "/v1/alerts/deliveries/{id}/retry" => alerts::deliveries::retry,
    get "/v1/alerts/{id}" => alerts::show,
    post "/v1/alerts/{id}/ack" => alerts::acknowledge,
    get "/v1/report" => report::report,
    post "/v1/scan" => scan::scan,
    get "/v1/scan" => scan::fingerprints,
    post "/v1/random" => crypto::random::random,
    post "/v1/keys" => keys::create::create,
    get "/v1/keys" => keys::read::list,
    post "/v1/keys/import" => keys::import::import,
    get "/v1/keys/{name}" => keys::read::key,
    patch "/v1/keys/{name}" => keys::update::update,
    delete "/v1/keys/{name}" => keys::deletion::schedule,
    post "/v1/api-keys" => api_keys::create,
    get "/v1/api-keys" => api_keys::list,
    get "/v1/api-keys/{id}" => api_keys::show,
    delete "/v1/api-keys/{id}" => api_keys::delete,
    post "/v1/api-keys/{id}/rotate" => api_keys::rotate,
    get "/v1/devices" => devices::list,
    delete "/v1/devices/{id}" => devices::remove,
    post "/v1/devices/{id}/tokens/{role}/rotate" => devices::rotate,
    post "/v1/devices/{id}/tokens/{role}/revoke" => devices::revoke,
    get "/v1/devices/requests" => devices::requests::list,
    post "/v1/devices/requests/{id}/approve" => devices::requests::approve,
    post "/v1/devices/requests/{id}/reject" => devices::requests::reject,
    get "/v1/policies" => policies::list,
    get "/v1/policies/{name}" => policies::show,
    put "/v1/policies/{name}" => policies::put,
    delete "/v1/policies/{name}" => policies::delete,
    get "/v1/secrets/{owner}" => stores::secrets::list,
    post "/v1/secrets/{owner}:batch" => stores::secret_batch::batch,
    delete "/v1/secrets/{owner}/{name}" => stores::secrets::delete,
    get "/v1/secrets/{owner}/{name}/versions" => stores::secrets::versions,
    post "/v1/auth-tokens:batch" => stores::auth_token_batch::batch,
    delete "/v1/auth-tokens/{user}/{provider}" => stores::auth_tokens::delete,
    post "/v1/auth-tokens/{user}/{provider}/exchange" => stores::providers::exchange,
    post "/v1/auth-tokens/{user}/{provider}/logout" => stores::providers::logout,
    post "/v1/auth-tokens/{user}/{provider}/verify" => stores::providers::verify,
    get "/v1/offline-tokens/{user}" => stores::offline_tokens::show,
    put "/v1/offline-tokens/{user}" => stores::offline_tokens::put,
    delete "/v1/offline-tokens/{user}" => stores::offline_tokens::delete,
    get "/v1/keys/{name}/versions" => keys::read::versions,
    post "/v1/keys/{name}/restore" => keys::deletion::restore,
    post "/v1/keys/{name}/rotate" => keys::rotate::rotate,
    get "/v1/keys/{name}/jwks.json" => keys::public::jwks,
    get "/v1/keys/{name}/versions/{version}/public.pem" => keys::public::pem,
    post "/v1/keys/{name}/export" => keys::export::export,
    post "/v1/keys/{name}/versions/{version}/suspend" => keys::versions::suspend,
    post "/v1/keys/{name}/versions/{version}/resume" => keys::versions::resume,
    post "/v1/keys/{name}/versions/{version}/compromise" => keys::versions::compromise,
    post "/v1/keys/{name}/versions/{version}/destroy" => keys::versions::destroy,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{REGISTERED, table::ROUTES};

    /// P8: what is registered is in the table, once, and what is in the table is registered.
    #[test]
    fn router_and_table_name_the_same_routes() {
        let registered: BTreeSet<(String, &str)> =
            REGISTERED.iter().map(|(method, pattern)| (method.to_uppercase(), *pattern)).collect();
        let table: BTreeSet<(String, &str)> =
            ROUTES.iter().map(|route| (route.method.to_string(), route.pattern)).collect();
        assert_eq!(registered, table);
        assert_eq!((REGISTERED.len(), ROUTES.len()), (registered.len(), table.len()));
    }
}
