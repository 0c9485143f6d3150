//! Policies: Cedar text, held against the schema before it is taken.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{access::PolicyRecord, audit::Subject};
use claviger_entity::PolicyName;
use claviger_policy::{Permission, PolicyDocument};
use serde::{Deserialize, Serialize};

use super::{
    body::{self, StrictQuery, Whole, segment},
    keys::note,
    page::{self, from_cursor, limit, page},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// A policy to write; its Cedar text alone, which never begins with a brace, is taken too.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyBody {
    /// Cedar text: one or more statements.
    #[schema(
        example = "permit (principal in Claviger::Role::\"shop\", action in Claviger::Action::\"encrypting\", resource) when { resource.name like \"shop-*\" };"
    )]
    policy: String,
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: Option<String>,
}

/// A policy.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Policy)]
pub struct PolicyView {
    name: PolicyName,
    /// Cedar text.
    policy: String,
    description: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What is legal but hardly meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A page of policies, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PolicyPage {
    items: Vec<PolicyView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

impl PolicyView {
    fn new(record: &PolicyRecord) -> Self {
        Self {
            name: record.name.clone(),
            policy: record.text.clone(),
            description: record.description.clone(),
            created_at: record.created_at,
            updated_at: record.updated_at,
            warnings: record.document.warnings.clone(),
        }
    }
}

/// Lists policies. The shipped roles are not among them: they are the same everywhere.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(get, path = "/v1/policies", tag = "access", params(page::Listing), responses(
    (status = 200, description = "A page", body = PolicyPage),
))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    StrictQuery(listing): StrictQuery<page::Listing>,
) -> Result<HttpResponse, Problem> {
    caller.decided();
    let snapshot = state.ring.snapshot();
    let limit = limit(listing.limit)?;
    let after: Option<PolicyName> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let all = snapshot.access().policies_after(after.as_ref());
    let is_seen = |policy: &&Arc<PolicyRecord>| {
        state.authorizer.permits_policy(&snapshot, &caller.identity, Permission::PolicyRead, &policy.name)
    };
    let view = |policy: &&Arc<PolicyRecord>| PolicyView::new(policy);
    let cursor = |policy: &&Arc<PolicyRecord>| policy.name.as_str().to_owned();
    let (items, next_cursor) = page(all, is_seen, limit, view, cursor).await;
    Ok(HttpResponse::Ok().json(PolicyPage { items, next_cursor }))
}

/// Shows a policy, with its `ETag`.
///
/// # Errors
/// `not_found`.
#[utoipa::path(get, path = "/v1/policies/{name}", tag = "access", params(("name" = PolicyName, Path)), responses(
    (status = 200, description = "The policy", body = PolicyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let name = name_of(&request)?;
    shown(&request, &state, &name, HttpResponse::Ok())
}

/// Writes a policy, new or anew; `If-Match` makes it conditional. It decides from the next request on.
///
/// # Errors
/// `invalid_request` with the place in the text, `precondition_failed`.
#[utoipa::path(put, path = "/v1/policies/{name}", tag = "access", params(("name" = PolicyName, Path)), request_body(content((PolicyBody = "application/json"), (String = "text/plain"))), responses(
    (status = 200, description = "The policy, which was there before", body = PolicyView,
        headers(("ETag" = String, description = "For If-Match"))),
    (status = 201, description = "The policy, which is new", body = PolicyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn put(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    Whole(body): Whole,
) -> Result<HttpResponse, Problem> {
    let name = name_of(&request)?;
    let given = given(&body)?;
    let document =
        PolicyDocument::parse(&name, &given.policy).map_err(|error| Problem::invalid(error.to_string()))?;
    let current = state.ring.snapshot().access().policy(&name).map(|policy| policy.revision);
    let if_match = body::if_match(&request, current, "policy")?;
    note(&request, Subject { policy: Some(name.to_string()), ..Subject::default() });
    let details = (given.description, if_match);
    let written = state.ring.put_policy(caller.context(), name, given.policy, document, details).await?;
    let response = if written.subject.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    shown(&request, &state, &written.subject.name, response)
}

/// Removes a policy; `If-Match` makes it conditional.
///
/// # Errors
/// `not_found`, `precondition_failed`.
#[utoipa::path(delete, path = "/v1/policies/{name}", tag = "access", params(("name" = PolicyName, Path)), responses(
    (status = 204, description = "Removed"),
))]
pub async fn delete(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let name = name_of(&request)?;
    let current = state.ring.snapshot().access().policy(&name).map(|policy| policy.revision);
    let if_match = body::if_match(&request, current, "policy")?;
    let removed = state.ring.delete_policy(caller.context(), name, if_match).await?;
    note(&request, Subject { policy: Some(removed.subject.name.to_string()), ..Subject::default() });
    Ok(HttpResponse::NoContent().finish())
}

/// The body: JSON, or the text itself.
fn given(bytes: &[u8]) -> Result<PolicyBody, Problem> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return body::typed(body::value(bytes)?);
    }
    let policy =
        String::from_utf8(bytes.to_vec()).map_err(|_| Problem::invalid("the policy is not UTF-8"))?;
    Ok(PolicyBody { policy, description: None })
}

fn name_of(request: &HttpRequest) -> Result<PolicyName, Problem> {
    let name = segment(request, "name", |name| name.parse().ok());
    name.ok_or_else(|| Problem::new(Code::NotFound, "there is no such policy"))
}

fn shown(
    request: &HttpRequest,
    state: &AppState,
    name: &PolicyName,
    mut response: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let snapshot = state.ring.snapshot();
    let policy = snapshot.access().policy(name);
    let policy = policy.ok_or_else(|| Problem::new(Code::NotFound, "there is no such policy"))?;
    note(request, Subject { policy: Some(name.to_string()), ..Subject::default() });
    response.insert_header((header::ETAG, format!("\"{}\"", policy.revision)));
    Ok(response.json(PolicyView::new(policy)))
}
