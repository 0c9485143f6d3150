//! `POST /v1/keys/import`: keys that come from elsewhere.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_actors::keyring::{
    Snapshot,
    core::{CreateKey, Imported},
    internal,
};
use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{KeyType, Kid};
use claviger_policy::Permission;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    after_change, note_key, shown,
    spec::{NewKey, authorize},
    view::KeyView,
};
use crate::http::{
    body::StrictJson,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// A key to import: exactly one of `material` and `legacy_secret`.
#[derive(utoipa::ToSchema)]
pub struct ImportedKey {
    #[serde(flatten)]
    key: NewKey,
    #[serde(flatten)]
    own: Own,
}

/// The members of its own.
#[derive(Deserialize, utoipa::ToSchema)]
struct Own {
    /// Identifier of version 1; derived when absent.
    #[serde(default)]
    kid: Option<Kid>,
    /// Raw bytes in base64 (symmetric) or an unencrypted PKCS#8 PEM (asymmetric).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    material: Option<Zeroizing<String>>,
    /// The single text secret of a replaced system.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    legacy_secret: Option<Zeroizing<String>>,
}

impl<'de> Deserialize<'de> for ImportedKey {
    /// serde's `flatten` would let unknown members pass, so the members of a new key are judged by [`NewKey`] alone.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut rest = Map::<String, Value>::deserialize(deserializer)?;
        let mut own = Map::new();
        for name in ["kid", "material", "legacy_secret"] {
            own.extend(rest.remove(name).map(|value| (name.to_owned(), value)));
        }
        let own = serde_json::from_value(Value::Object(own)).map_err(D::Error::custom)?;
        let key = serde_json::from_value(Value::Object(rest)).map_err(D::Error::custom)?;
        Ok(Self { key, own })
    }
}

/// The imported key, with what its owner should know.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ImportAnswer {
    #[serde(flatten)]
    key: KeyView,
    /// What its owner should do.
    warnings: Vec<&'static str>,
}

const ROTATE_SECRET: &str = "systems that used this secret may have published an id that is the key itself; rotate this key \
                             and retire the secret as soon as its tokens have expired";
const VERIFY_ONLY: &str = "the secret is shorter than 32 bytes, so it only verifies and decrypts; a generated version signs and encrypts";

/// Imports a key; its material becomes version 1.
///
/// # Errors
/// `invalid_request`, `key_exists`.
#[utoipa::path(post, path = "/v1/keys/import", tag = "keys", request_body = ImportedKey, responses(
    (status = 201, description = "The key", body = ImportAnswer,
        headers(("Location" = String, description = "The key"), ("ETag" = String, description = "For If-Match"))),
))]
pub async fn import(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<ImportedKey>,
) -> Result<HttpResponse, Problem> {
    let mut spec = CreateKey::from(given.key);
    authorize(&state, &caller, Permission::KeyImport, &spec)?;
    note_key(&request, &state, &spec.name);
    let (imported, warnings) = imported(&state.ring.snapshot(), spec.key_type, given.own)?;
    if spec.bits.is_some() && spec.bits != imported.material.bits {
        return Err(Problem::invalid("bits differs from the size of the imported key"));
    }
    spec.bits = imported.material.bits;
    let applied = state.ring.import(caller.context(), spec, imported).await?;
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/keys/{}", key.record.name)));
    Ok(shown(response, &key, &ImportAnswer { key: KeyView::new(&snapshot, &key), warnings }))
}

fn imported(
    snapshot: &Snapshot,
    key_type: KeyType,
    given: Own,
) -> Result<(Imported, Vec<&'static str>), Problem> {
    match (given.material, given.legacy_secret) {
        (Some(text), None) => {
            let kid = given.kid;
            let material = if key_type.is_asymmetric() {
                Material::import_pem(key_type, &pem_of(&text), kid)?
            } else {
                let bytes = STANDARD.decode(text.trim().as_bytes());
                let bytes = bytes.map_err(|_| {
                    Problem::invalid("material of a symmetric key must be raw bytes in standard base64")
                })?;
                Material::import_raw(key_type, SecretBytes::new(bytes), kid)?
            };
            Ok((Imported { material, may_produce: true, alias_hash: None }, Vec::new()))
        }
        (None, Some(secret)) => {
            let secret = SecretBytes::new(secret.as_bytes().to_vec());
            let legacy = Material::import_legacy(key_type, &secret, given.kid.as_ref())?;
            let hash = internal::alias_hash(snapshot, legacy.alias.expose());
            let alias_hash =
                hash.ok_or_else(|| Problem::new(Code::Internal, "the service failed; its log says why"))?;
            let mut warnings = vec![ROTATE_SECRET];
            if !legacy.may_produce {
                warnings.push(VERIFY_ONLY);
            }
            let imported = Imported {
                material: legacy.material,
                may_produce: legacy.may_produce,
                alias_hash: Some(alias_hash),
            };
            Ok((imported, warnings))
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::invalid("give exactly one of material and legacy_secret"))
        }
    }
}

/// PEM as text, or wrapped in base64 as other binary values are.
fn pem_of(text: &Zeroizing<String>) -> Zeroizing<String> {
    let unwrapped =
        STANDARD.decode(text.trim().as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    unwrapped.map_or_else(|| text.clone(), Zeroizing::new)
}
