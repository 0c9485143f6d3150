//! The OpenAPI document, out of the handlers themselves.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

mod answers;
pub(crate) mod schemas;

use self::{
    answers::Answers,
    schemas::{Flattened, OptionalBodies},
};
use super::{
    alerts, api_keys, audit, backups, cluster, compress, crypto, devices, discovery, events, health,
    incidents, keys, metrics, policies, report, restore, scan, seal, stores, tokens, ws,
};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Claviger", description = "Actor-based, clustered key-management service."),
    paths(
        health::healthz, health::readyz, health::health, metrics::metrics, serve,
        discovery::jwks, discovery::metadata,
        keys::create::create, keys::read::list, keys::import::import, keys::read::key, keys::update::update,
        keys::deletion::schedule, keys::deletion::restore, keys::read::versions, keys::rotate::rotate,
        keys::public::jwks, keys::public::pem, keys::export::export,
        keys::versions::suspend, keys::versions::resume, keys::versions::compromise, keys::versions::destroy,
        crypto::encrypt::encrypt, crypto::decrypt::decrypt, crypto::decrypt::rewrap, crypto::datakey::datakey,
        crypto::sign::sign, crypto::verify::verify, crypto::sign::hmac, crypto::random::random,
        tokens::issue::issue, tokens::verify::verify, tokens::introspect::introspect, tokens::refresh::refresh, tokens::revoke::revoke,
        api_keys::create, api_keys::list, api_keys::show, api_keys::delete, api_keys::rotate,
        devices::list, devices::remove, devices::rotate, devices::revoke,
        devices::requests::list, devices::requests::approve, devices::requests::reject,
        policies::list, policies::show, policies::put, policies::delete,
        stores::secrets::list, stores::secrets::show, stores::secrets::put, stores::secrets::delete,
        stores::secrets::versions, stores::secret_batch::batch,
        stores::auth_tokens::show, stores::auth_tokens::put, stores::auth_tokens::delete, stores::auth_token_batch::batch,
        stores::providers::exchange, stores::providers::logout, stores::providers::verify,
        stores::offline_tokens::show, stores::offline_tokens::put, stores::offline_tokens::delete,
        ws::general, ws::topic, ws::ring::presence, ws::ring::ring,
        incidents::open, incidents::list, incidents::show, incidents::approve, incidents::close,
        alerts::list, alerts::show, alerts::acknowledge,
        alerts::silences::make, alerts::silences::list, alerts::silences::end, alerts::deliveries::list,
        alerts::deliveries::retry,
        report::report, scan::scan, scan::fingerprints, cluster::show, events::stream, seal::show, seal::rotate, backups::create, backups::check, restore::release, audit::list::list, audit::keys::keys, audit::checkpoints::checkpoints, audit::verify::verify, audit::hash::hash,
    ),
    components(schemas(super::problem::ProblemBody)),
    modifiers(&Bearer, &Flattened, &OptionalBodies, &Answers),
    security(("bearer" = [])),
)]
pub struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// What is served: made from the handlers by `make openapi`, not at the start, where it took more memory than all keys do.
const SERVED: &str = include_str!("../../../docs/openapi.json");

/// The document of the handlers as they are, as text.
#[must_use]
pub fn text() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The OpenAPI document of this service.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, description = "The document", body = Object)))]
pub async fn serve(request: HttpRequest, document: Data<compress::Document>) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/json").insert_header((header::CACHE_CONTROL, "public, max-age=300"));
    document.answer(request.headers(), &mut answer)
}

/// The document, as it is served.
#[must_use]
pub fn document() -> compress::Document {
    compress::Document::new(SERVED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::table::ROUTES;

    #[test]
    fn what_is_served_is_what_the_handlers_say() {
        assert!(text() == SERVED, "docs/openapi.json is not up to date; run make openapi");
    }

    /// P8: a handler that is not in the table can't be reached, and one that is documented is in the table.
    #[test]
    fn document_and_table_name_the_same_routes() {
        let document: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let table: BTreeSet<(String, String)> =
            ROUTES.iter().map(|route| (route.pattern.to_owned(), route.method.to_string())).collect();
        assert_eq!(documented, table);
    }
}
