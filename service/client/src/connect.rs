//! What a client says of itself, and what its device signs. Pure.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::frame::PROTOCOL_VERSION;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Calls methods, and listens.
    Operator,
    /// Mirrors the public state of the ring. Needs a device.
    Node,
}

impl Role {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }
}

/// How the client is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A command.
    Cli,
    /// A service.
    Backend,
    /// A workload that mirrors the ring.
    Node,
}

impl Mode {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Backend => "backend",
            Self::Node => "node",
        }
    }
}

/// By what a client is recognised. No `Debug`: it is a secret.
#[derive(Clone)]
pub enum Credential {
    /// An API key, or a JWT.
    Token(Zeroizing<String>),
    /// The password.
    Password(Zeroizing<String>),
    /// The token of a device.
    DeviceToken(Zeroizing<String>),
}

impl Credential {
    fn member(&self) -> (&'static str, &str) {
        match self {
            Self::Token(secret) => ("token", secret),
            Self::Password(secret) => ("password", secret),
            Self::DeviceToken(secret) => ("deviceToken", secret),
        }
    }

    /// What stands for it in what a device signs.
    fn signed(&self) -> &str {
        match self {
            Self::Token(secret) | Self::DeviceToken(secret) => secret,
            Self::Password(_) => "",
        }
    }
}

/// What a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) mode: Mode,
    pub(crate) role: Role,
    pub(crate) scopes: Vec<String>,
}

/// A challenge of a server. Its time is used in place of a clock of this side, which may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) nonce: String,
    pub(crate) ts: i64,
}

impl Challenge {
    pub(crate) fn parse(payload: &Value) -> Option<Self> {
        let nonce = payload.get("nonce")?.as_str()?;
        let is_plain = !nonce.is_empty() && nonce.len() <= 256 && is_separable(nonce);
        let ts = payload.get("ts")?.as_i64()?;
        is_plain.then(|| Self { nonce: nonce.to_owned(), ts })
    }
}

/// Fields of what is signed are joined, so none may look like two.
pub(crate) fn is_separable(text: &str) -> bool {
    !text.contains(|letter: char| matches!(letter, '|' | ',') || letter.is_control())
}

const PLATFORM: &str = std::env::consts::OS;

/// The key of a device, as far as it is needed here.
pub(crate) trait Signer {
    fn id(&self) -> &str;
    /// base64url.
    fn public_key(&self) -> &str;
    /// base64url.
    fn sign(&self, text: &str) -> String;
}

/// `params` of `connect`.
pub(crate) fn params(
    introduction: &Introduction,
    credential: Option<&Credential>,
    challenge: &Challenge,
    device: Option<&dyn Signer>,
) -> Value {
    let Introduction { id, version, mode, role, scopes } = introduction;
    let mut params = json!({
        "minProtocol": PROTOCOL_VERSION,
        "maxProtocol": PROTOCOL_VERSION,
        "client": { "id": id, "version": version, "platform": PLATFORM, "mode": mode.as_str() },
        "role": role.as_str(),
        "scopes": scopes,
        "auth": { "nonce": challenge.nonce },
    });
    if let (Some(auth), Some((name, secret))) =
        (params.pointer_mut("/auth").and_then(Value::as_object_mut), credential.map(Credential::member))
    {
        auth.insert(name.to_owned(), secret.into());
    }
    if let (Some(members), Some(device)) = (params.as_object_mut(), device) {
        let text = signed(introduction, credential, challenge, device.id());
        members.insert(
            "device".to_owned(),
            json!({
                "id": device.id(),
                "publicKey": device.public_key(),
                "signature": device.sign(&text),
                "signedAt": challenge.ts,
                "nonce": challenge.nonce,
            }),
        );
    }
    params
}

/// The third form, which says what the client runs on.
fn signed(
    introduction: &Introduction,
    credential: Option<&Credential>,
    challenge: &Challenge,
    device_id: &str,
) -> Zeroizing<String> {
    let (scopes, ts) = (introduction.scopes.join(","), challenge.ts.to_string());
    let fields = [
        "v3",
        device_id,
        &introduction.id,
        introduction.mode.as_str(),
        introduction.role.as_str(),
        &scopes,
        &ts,
        credential.map_or("", Credential::signed),
        &challenge.nonce,
        PLATFORM,
        // The device family, which is not sent.
        "",
    ];
    Zeroizing::new(fields.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl Signer for Plain {
        fn id(&self) -> &'static str {
            "device"
        }
        fn public_key(&self) -> &'static str {
            "key"
        }
        fn sign(&self, text: &str) -> String {
            text.to_owned()
        }
    }

    fn introduction() -> Introduction {
        Introduction {
            id: "cli".to_owned(),
            version: "1".to_owned(),
            mode: Mode::Cli,
            role: Role::Operator,
            scopes: vec!["operator.read".to_owned(), "operator.write".to_owned()],
        }
    }

    #[test]
    fn what_is_signed_is_what_is_sent() {
        let challenge = Challenge { nonce: "n".to_owned(), ts: 5 };
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let table = [
            (Some(Credential::Token(secret("t"))), "t", "token"),
            (Some(Credential::DeviceToken(secret("d"))), "d", "deviceToken"),
            (Some(Credential::Password(secret("p"))), "", "password"),
            (None, "", "nonce"),
        ];
        for (credential, signed, member) in table {
            let params = params(&introduction(), credential.as_ref(), &challenge, Some(&Plain));
            let expected =
                format!("v3|device|cli|cli|operator|operator.read,operator.write|5|{signed}|n|{PLATFORM}|");
            assert_eq!(params["device"]["signature"], expected);
            assert_eq!(params["client"]["platform"], PLATFORM);
            assert_eq!((&params["auth"]["nonce"], &params["device"]["signedAt"]), (&json!("n"), &json!(5)));
            assert!(params["auth"][member].is_string(), "{params}");
        }
        let params = params(&introduction(), None, &challenge, None);
        assert!(params.get("device").is_none() && params["auth"].as_object().unwrap().len() == 1);
    }

    #[test]
    fn a_challenge_must_be_one() {
        let read = |payload| Challenge::parse(&payload).is_some();
        assert!(read(json!({"nonce": "n", "ts": 1, "more": 2})));
        for bad in [
            json!(null),
            json!({"ts": 1}),
            json!({"nonce": "n"}),
            json!({"nonce": "", "ts": 1}),
            json!({"nonce": "a|b", "ts": 1}),
            json!({"nonce": "a\n", "ts": 1}),
            json!({"nonce": "n".repeat(257), "ts": 1}),
            json!({"nonce": "n", "ts": "1"}),
        ] {
            assert!(!read(bad.clone()), "{bad}");
        }
    }
}
