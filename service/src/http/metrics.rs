//! `GET /metrics`.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data},
};

use super::{compress, state::AppState};

/// Figures of this node for Prometheus. On the internal listener no credential is asked for.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"),
))]
pub async fn metrics(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let text = Bytes::from(state.metrics.text(&state));
    let mut answer = HttpResponse::Ok();
    answer.content_type(prometheus::TEXT_FORMAT);
    compress::either(request.headers(), &mut answer, text.clone(), || compress::gzip(&text))
}
