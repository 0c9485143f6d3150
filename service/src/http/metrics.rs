//! `GET /metrics`.

use actix_web::{HttpResponse, web::Data};

use super::state::AppState;

/// Figures of this node for Prometheus. On the internal listener no credential is asked for.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"),
))]
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(state.metrics.text(&state))
}
