//! What a device signs, and whether it did.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::digest;
use claviger_entity::DeviceId;

use super::{
    close::Refusal,
    connect::{Connect, DeviceClaim},
};

/// How far a signature's time may lie from now, in milliseconds.
const SIGNED_WITHIN_MS: u64 = 120_000;

/// The identity of the device with this Ed25519 public key.
#[must_use]
pub fn device_id(public_key: &[u8; 32]) -> DeviceId {
    DeviceId::new(digest::sha256(public_key))
}

/// A form of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadForm {
    /// Without the nonce.
    V1,
    /// With it.
    V2,
    /// With platform and device family too.
    V3,
}

/// A device that has proved to hold its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// SHA-256 of the public key.
    pub id: DeviceId,
    /// Ed25519.
    pub public_key: [u8; 32],
}

/// Checks an Ed25519 signature: public key, message, signature.
pub type Verifier<'a> = &'a dyn Fn(&[u8; 32], &[u8], &[u8]) -> bool;

/// What a proof is held against.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Challenge of this connection.
    pub nonce: &'a str,
    /// Now, in milliseconds.
    pub now_ms: i64,
    /// A nonce may be absent, and the first form be used: a local direct request, where that is configured.
    pub lenient: bool,
}

/// The text that a device signs.
#[must_use]
pub fn payload(form: PayloadForm, connect: &Connect, device: &DeviceClaim) -> String {
    let scopes = connect.scopes.join(",");
    let signed_at = device.signed_at.to_string();
    let nonce = device.nonce.as_deref().unwrap_or_default();
    let plain = |text: &str| text.trim().to_ascii_lowercase();
    let platform = plain(&connect.client.platform);
    let family = connect.client.device_family.as_deref().map(plain).unwrap_or_default();
    let version = match form {
        PayloadForm::V1 => "v1",
        PayloadForm::V2 => "v2",
        PayloadForm::V3 => "v3",
    };
    let mut fields = vec![
        version,
        &device.id,
        &connect.client.id,
        &connect.client.mode,
        &connect.role,
        &scopes,
        &signed_at,
        connect.signed_token(),
    ];
    match form {
        PayloadForm::V1 => {}
        PayloadForm::V2 => fields.push(nonce),
        PayloadForm::V3 => fields.extend([nonce, &platform, &family]),
    }
    fields.join("|")
}

/// The device is who it says, and says so now, to this connection.
///
/// # Errors
/// The first check that fails, in the order of the protocol.
pub fn prove(
    connect: &Connect,
    device: &DeviceClaim,
    here: Circumstances<'_>,
    verify: Verifier<'_>,
) -> Result<Proven, Refusal> {
    let public_key = URL_SAFE_NO_PAD.decode(&device.public_key).ok();
    let public_key: Option<[u8; 32]> = public_key.and_then(|key| key.try_into().ok());
    let public_key = public_key.filter(|key| device_id(key).to_string() == device.id);
    let public_key = public_key.ok_or_else(|| Refusal::invalid("device identity mismatch"))?;
    if here.now_ms.abs_diff(device.signed_at) > SIGNED_WITHIN_MS {
        return Err(Refusal::invalid("device signature expired"));
    }
    if device.nonce.is_none() && !here.lenient {
        return Err(Refusal::invalid("device nonce required"));
    }
    let mut nonces = [device.nonce.as_deref(), connect.auth.nonce.as_deref()].into_iter().flatten();
    if nonces.any(|nonce| nonce != here.nonce) {
        return Err(Refusal::invalid("device nonce mismatch"));
    }
    let forms: &[PayloadForm] = if device.nonce.is_none() {
        &[PayloadForm::V3, PayloadForm::V2, PayloadForm::V1]
    } else {
        &[PayloadForm::V3, PayloadForm::V2]
    };
    let signature = URL_SAFE_NO_PAD.decode(&device.signature).unwrap_or_default();
    let signs =
        |form: &PayloadForm| verify(&public_key, payload(*form, connect, device).as_bytes(), &signature);
    if signature.len() != 64 || !forms.iter().any(signs) {
        return Err(Refusal::invalid("device signature invalid"));
    }
    Ok(Proven { id: device_id(&public_key), public_key })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;

    const NONCE: &str = "6f1d2c3b-0000-4000-8000-000000000001";
    const NOW: i64 = 1_700_000_000_000;

    fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
    }

    fn pair() -> Ed25519KeyPair {
        let seed: Vec<u8> = (0..32).collect();
        Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
    }

    fn id() -> String {
        device_id(pair().public_key().as_ref().try_into().unwrap()).to_string()
    }

    fn params() -> Value {
        json!({
            "minProtocol": 1, "maxProtocol": 1, "role": "operator",
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
            "scopes": ["operator.read", "operator.write"],
            "auth": {"token": "secret"},
            "device": {
                "id": id(), "publicKey": URL_SAFE_NO_PAD.encode(pair().public_key()),
                "signature": "", "signedAt": NOW, "nonce": NONCE,
            },
        })
    }

    fn connect(params: &Value) -> (Connect, DeviceClaim) {
        let connect = Connect::parse(Some(params)).map_err(|error| error.path).unwrap();
        let device = connect.device.clone().unwrap();
        (connect, device)
    }

    fn sign(params: &mut Value, form: PayloadForm) {
        let (connect, device) = connect(params);
        let signature = pair().sign(payload(form, &connect, &device).as_bytes());
        params["device"]["signature"] = URL_SAFE_NO_PAD.encode(signature).into();
    }

    fn judge(params: &Value, lenient: bool, now_ms: i64) -> Result<Proven, String> {
        let (connect, device) = connect(params);
        let here = Circumstances { nonce: NONCE, now_ms, lenient };
        let judged = prove(&connect, &device, here, &verify);
        judged.map_err(|refusal| refusal.close.reason().to_owned())
    }

    /// The vector of the protocol, which independent libraries have made.
    #[test]
    fn the_vector_of_the_protocol_holds() {
        let mut params = params();
        assert_eq!(params["device"]["publicKey"], "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
        assert_eq!(id(), "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c");
        let (connect, device) = connect(&params);
        let expected =
            format!("v2|{}|cli|cli|operator|operator.read,operator.write|1700000000000|secret|{NONCE}", id());
        assert_eq!(payload(PayloadForm::V2, &connect, &device), expected);
        params["device"]["signature"] =
            json!("gKKR6M858mnNyHpjAiZP5wuDc86R9NwanTC-uqaCxJL7I4DymmXof_Z_chaoVAswqAbZRIKdiViO77VmrlqCBg");
        assert_eq!(judge(&params, false, NOW).map(|proven| proven.id.to_string()), Ok(id()));
    }

    #[test]
    fn the_third_form_says_what_it_runs_on_in_one_spelling() {
        let mut params = params();
        params["client"]["platform"] = json!("  Linux X86 ");
        params["client"]["deviceFamily"] = json!("Desk\u{c9}");
        let (connect, device) = connect(&params);
        let text = payload(PayloadForm::V3, &connect, &device);
        assert!(
            text.starts_with("v3|") && text.ends_with(&format!("|{NONCE}|linux x86|desk\u{c9}")),
            "{text}"
        );
        sign(&mut params, PayloadForm::V3);
        assert!(judge(&params, false, NOW).is_ok());
    }

    #[test]
    fn each_check_fails_in_its_turn() {
        let reason = |change: &dyn Fn(&mut Value), now_ms: i64| {
            let mut params = params();
            sign(&mut params, PayloadForm::V3);
            change(&mut params);
            judge(&params, false, now_ms).expect_err("refused")
        };
        let mismatch = "device identity mismatch";
        assert_eq!(reason(&|params| params["device"]["id"] = json!("00"), NOW), mismatch);
        assert_eq!(reason(&|params| params["device"]["id"] = json!(id().to_uppercase()), NOW), mismatch);
        assert_eq!(reason(&|params| params["device"]["publicKey"] = json!("AAAA"), NOW), mismatch);
        assert_eq!(reason(&|params| params["device"]["publicKey"] = json!("!"), NOW), mismatch);
        assert_eq!(reason(&|_| {}, NOW + 120_001), "device signature expired");
        assert_eq!(reason(&|_| {}, NOW - 120_001), "device signature expired");
        assert_eq!(
            reason(&|params| params["device"]["signedAt"] = json!(i64::MIN), NOW),
            "device signature expired"
        );
        assert_eq!(reason(&|params| params["device"]["nonce"] = Value::Null, NOW), "device nonce required");
        assert_eq!(reason(&|params| params["device"]["nonce"] = json!(""), NOW), "device nonce required");
        assert_eq!(
            reason(&|params| params["device"]["nonce"] = json!("other"), NOW),
            "device nonce mismatch"
        );
        assert_eq!(reason(&|params| params["auth"]["nonce"] = json!("other"), NOW), "device nonce mismatch");
        let invalid = "device signature invalid";
        let changes: [&dyn Fn(&mut Value); 8] = [
            &|params| params["scopes"] = json!(["operator.write", "operator.read"]),
            &|params| params["scopes"] = json!(["operator.admin"]),
            &|params| params["role"] = json!("node"),
            &|params| params["auth"]["token"] = json!("other"),
            &|params| params["client"]["id"] = json!("other"),
            &|params| params["client"]["mode"] = json!("ui"),
            &|params| params["device"]["signedAt"] = json!(NOW + 1),
            &|params| params["device"]["signature"] = json!("AAAA"),
        ];
        for change in changes {
            assert_eq!(reason(change, NOW), invalid);
        }
        // Two minutes are still within, and the token of the device stands where there is no other.
        let mut params = params();
        params["auth"] = json!({"deviceToken": "dt", "nonce": NONCE});
        sign(&mut params, PayloadForm::V2);
        assert!(judge(&params, false, NOW + 120_000).is_ok());
        params["auth"]["deviceToken"] = json!("other");
        assert_eq!(judge(&params, false, NOW).expect_err("other token"), invalid);
    }

    #[test]
    fn the_first_form_is_for_local_requests_without_nonce_where_it_is_configured() {
        let mut params = params();
        params["device"]["nonce"] = Value::Null;
        for form in [PayloadForm::V1, PayloadForm::V2, PayloadForm::V3] {
            sign(&mut params, form);
            assert!(judge(&params, true, NOW).is_ok(), "{form:?}");
            assert_eq!(judge(&params, false, NOW).expect_err("strict"), "device nonce required");
        }
        params["device"]["nonce"] = json!(NONCE);
        sign(&mut params, PayloadForm::V1);
        assert_eq!(
            judge(&params, true, NOW).expect_err("a nonce must be signed"),
            "device signature invalid"
        );
    }
}
