//! `PATCH /v1/keys/{name}`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::{
    RingFailure, Snapshot,
    core::{RingError, UpdateKey, labels_after},
    record::KeyRecord,
};
use claviger_entity::{KeyName, RotationPolicy, VersionNumber, domain::claims::ClaimRules};
use claviger_policy::{KeyFacts, Permission};
use serde_json::{Map, Value};

use super::{after_change, note_key, shown, view::KeyView};
use crate::{
    auth::facts,
    http::{
        authority,
        body::{PathName, StrictJson, if_match},
        problem::Problem,
        state::{AppState, Caller},
    },
};

/// How often a relabelling is judged anew because the key has changed meanwhile.
const RELABELLINGS: u32 = 3;

/// What may change; null puts a member back to its default.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "for the document alone: a merge patch is applied as it came, see RFC 7396")]
pub struct KeyPatch {
    /// Merged into the policy in force.
    rotation: Option<RotationPolicy>,
    /// Merged into the labels: null removes one.
    labels: Option<BTreeMap<String, Option<String>>>,
    /// Merged into the rules in force.
    claims: Option<ClaimRules>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    deletion_allowed: Option<bool>,
    /// Versions before this one do not decrypt.
    min_decryption_version: Option<VersionNumber>,
}

/// Policies may ask about labels, so whoever changes them changes who may do what: that needs `key.label` on the key as it is and as it
/// will be. Tells whether the labels change.
fn may_relabel(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    record: &KeyRecord,
    patch: &Map<String, Value>,
) -> Result<bool, Problem> {
    if !patch.contains_key("labels") {
        return Ok(false);
    }
    let labels = labels_after(record, patch)?;
    if labels == record.labels {
        return Ok(false);
    }
    authority::on_key(state, snapshot, caller, Permission::KeyLabel, record)?;
    let after = KeyFacts { labels: &labels, ..facts(record) };
    authority::on_new_key(state, snapshot, caller, Permission::KeyLabel, after)?;
    Ok(true)
}

/// Changes settings by an RFC 7396 merge patch of `rotation`, `labels`, `claims`, `description`, `deletion_allowed` and
/// `min_decryption_version`; `If-Match` makes it conditional. Changing labels needs the permission `key.label` too.
///
/// # Errors
/// `invalid_request`, `key_not_found`, `forbidden`, `precondition_failed`.
#[utoipa::path(patch, path = "/v1/keys/{name}", tag = "keys", params(("name" = KeyName, Path)), request_body = KeyPatch, responses(
    (status = 200, description = "The key", body = KeyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn update(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    StrictJson(patch): StrictJson<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let mut tries = RELABELLINGS;
    let applied = loop {
        let (if_match, judged) = {
            let snapshot = state.ring.snapshot();
            let record = &snapshot.key(&name)?.record;
            let given = if_match(&request, Some(record.revision), "key")?;
            let relabels = may_relabel(&state, &snapshot, &caller, record, &patch)?;
            // What was judged is what must be made, so the key has to be as it was seen.
            (given.or(relabels.then_some(record.revision)), relabels && given.is_none())
        };
        let update = UpdateKey { name: name.clone(), patch: patch.clone(), if_match };
        match state.ring.update(caller.context(), update).await {
            Err(RingFailure::Refused(RingError::RevisionMismatch)) if judged && tries > 0 => tries -= 1,
            done => break done?,
        }
    };
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    Ok(shown(HttpResponse::Ok(), &key, &KeyView::new(&snapshot, &key)))
}
