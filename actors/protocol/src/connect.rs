//! `params` of `connect`, read by the schema of the protocol.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Longest text of a member, in bytes.
const TEXT_MAX_BYTES: usize = 1_024;
/// Longest credential, in bytes.
const CREDENTIAL_MAX_BYTES: usize = 16_384;
/// Most scopes that are asked for.
const SCOPES_MAX: usize = 32;

/// What a client says of itself. No `Debug`: it holds credentials.
pub struct Connect {
    /// Least protocol that it speaks.
    pub min_protocol: u64,
    /// Greatest protocol that it speaks.
    pub max_protocol: u64,
    /// What it is.
    pub client: Client,
    /// Its role, as it was sent; absent = operator.
    pub role: String,
    /// Scopes that it asks for, in the order sent.
    pub scopes: Vec<String>,
    /// Its credentials.
    pub auth: Auth,
    /// Its device.
    pub device: Option<DeviceClaim>,
}

/// What a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What it runs on.
    pub platform: String,
    /// More of the same.
    pub device_family: Option<String>,
    /// How it is used.
    pub mode: String,
}

/// Credentials of a client. No `Debug`.
#[derive(Default)]
pub struct Auth {
    /// An API key or a token.
    pub token: Option<Zeroizing<String>>,
    /// The password.
    pub password: Option<Zeroizing<String>>,
    /// The token of a device.
    pub device_token: Option<Zeroizing<String>>,
    /// The challenge.
    pub nonce: Option<String>,
}

/// A device, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceClaim {
    /// Its id.
    pub id: String,
    /// Its public key, base64url.
    pub public_key: String,
    /// Its signature, base64url.
    pub signature: String,
    /// When it signed, in milliseconds.
    pub signed_at: i64,
    /// The challenge that it signed.
    pub nonce: Option<String>,
}

/// A member that breaks the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Where, as a JSON pointer.
    pub path: String,
    /// What would be right.
    pub rule: String,
}

impl Connect {
    /// Reads `params`. Unknown members are ignored, and nothing is quoted in an error.
    ///
    /// # Errors
    /// The first member that breaks the schema.
    pub fn parse(params: Option<&Value>) -> Result<Self, SchemaError> {
        let root = Reader::of(params, "")?;
        let connect = Self {
            min_protocol: root.protocol("minProtocol")?,
            max_protocol: root.protocol("maxProtocol")?,
            client: Client::parse(&root.object("client")?)?,
            role: root.text_or("role", TEXT_MAX_BYTES)?.unwrap_or_else(|| "operator".to_owned()),
            scopes: root.scopes()?,
            auth: root.object_or("auth")?.map_or_else(|| Ok(Auth::default()), |auth| Auth::parse(&auth))?,
            device: root.object_or("device")?.map(|device| DeviceClaim::parse(&device)).transpose()?,
        };
        for name in ["locale", "userAgent"] {
            root.text_or(name, TEXT_MAX_BYTES)?;
        }
        if connect.device.is_some() {
            connect.separable()?;
        }
        Ok(connect)
    }

    /// The fields of what a device signs are joined, so none may look like two, or hide what it is.
    fn separable(&self) -> Result<(), SchemaError> {
        let text = |secret: &Option<Zeroizing<String>>| secret.as_ref().map(|secret| secret.to_string());
        let scopes = self.scopes.iter().enumerate();
        let scopes = scopes.map(|(place, scope)| (format!("/scopes/{place}"), Some(scope.clone())));
        let fields = [
            ("/device/id", self.device.as_ref().map(|device| device.id.clone())),
            ("/client/id", Some(self.client.id.clone())),
            ("/client/mode", Some(self.client.mode.clone())),
            ("/role", Some(self.role.clone())),
            ("/auth/token", text(&self.auth.token)),
            ("/auth/deviceToken", text(&self.auth.device_token)),
            ("/device/nonce", self.device.as_ref().and_then(|device| device.nonce.clone())),
            ("/client/platform", Some(self.client.platform.clone())),
            ("/client/deviceFamily", self.client.device_family.clone()),
        ];
        let fields = fields.into_iter().map(|(path, text)| (path.to_owned(), text));
        for (path, text) in scopes.chain(fields) {
            let is_ambiguous = |letter: char| matches!(letter, '|' | ',') || letter.is_control();
            if text.map(Zeroizing::new).is_some_and(|text| text.contains(is_ambiguous)) {
                let rule = "must not hold |, a comma or a control character".to_owned();
                return Err(SchemaError { path, rule });
            }
        }
        Ok(())
    }

    /// What stands for a credential in what a device signs.
    #[must_use]
    pub fn signed_token(&self) -> &str {
        let given = self.auth.token.as_ref().or(self.auth.device_token.as_ref());
        given.map_or("", |token| token.as_str())
    }
}

impl Client {
    fn parse(client: &Reader<'_>) -> Result<Self, SchemaError> {
        let id = client.text("id", TEXT_MAX_BYTES)?;
        if id.is_empty() {
            return Err(client.wrong("id", "must not be empty"));
        }
        Ok(Self {
            id,
            version: client.text("version", TEXT_MAX_BYTES)?,
            platform: client.text("platform", TEXT_MAX_BYTES)?,
            device_family: client.text_or("deviceFamily", TEXT_MAX_BYTES)?,
            mode: client.text("mode", TEXT_MAX_BYTES)?,
        })
    }
}

impl Auth {
    fn parse(auth: &Reader<'_>) -> Result<Self, SchemaError> {
        let secret = |name| {
            let given = auth.text_or(name, CREDENTIAL_MAX_BYTES)?.filter(|secret| !secret.is_empty());
            Ok(given.map(Zeroizing::new))
        };
        Ok(Self {
            token: secret("token")?,
            password: secret("password")?,
            device_token: secret("deviceToken")?,
            nonce: auth.text_or("nonce", TEXT_MAX_BYTES)?,
        })
    }

    /// Nothing to be recognised by.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.token.is_none() && self.password.is_none() && self.device_token.is_none()
    }
}

impl DeviceClaim {
    fn parse(device: &Reader<'_>) -> Result<Self, SchemaError> {
        let signed_at = device.member("signedAt").and_then(Value::as_i64);
        Ok(Self {
            id: device.text("id", TEXT_MAX_BYTES)?,
            public_key: device.text("publicKey", TEXT_MAX_BYTES)?,
            signature: device.text("signature", TEXT_MAX_BYTES)?,
            signed_at: signed_at
                .ok_or_else(|| device.wrong("signedAt", "must be a whole number of milliseconds"))?,
            nonce: device.text_or("nonce", TEXT_MAX_BYTES)?.filter(|nonce| !nonce.is_empty()),
        })
    }
}

/// An object and where it stands.
struct Reader<'a> {
    members: &'a Map<String, Value>,
    path: String,
}

impl<'a> Reader<'a> {
    fn of(value: Option<&'a Value>, path: &str) -> Result<Self, SchemaError> {
        match value.and_then(Value::as_object) {
            Some(members) => Ok(Self { members, path: path.to_owned() }),
            None => {
                let path = if path.is_empty() { "/" } else { path };
                Err(SchemaError { path: path.to_owned(), rule: "must be an object".to_owned() })
            }
        }
    }

    fn wrong(&self, name: &str, rule: impl Into<String>) -> SchemaError {
        SchemaError { path: format!("{}/{name}", self.path), rule: rule.into() }
    }

    /// A member; `null` counts as absent.
    fn member(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn object(&self, name: &str) -> Result<Self, SchemaError> {
        Self::of(self.member(name), &format!("{}/{name}", self.path))
    }

    fn object_or(&self, name: &str) -> Result<Option<Self>, SchemaError> {
        self.member(name).map(|_| self.object(name)).transpose()
    }

    fn text(&self, name: &str, most: usize) -> Result<String, SchemaError> {
        self.text_or(name, most)?.ok_or_else(|| self.wrong(name, "must be a text"))
    }

    fn text_or(&self, name: &str, most: usize) -> Result<Option<String>, SchemaError> {
        let Some(value) = self.member(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong(name, "must be a text"))?;
        if text.len() > most {
            return Err(self.wrong(name, format!("must have at most {most} bytes")));
        }
        Ok(Some(text.to_owned()))
    }

    fn protocol(&self, name: &str) -> Result<u64, SchemaError> {
        let number = self.member(name).and_then(Value::as_u64).filter(|number| *number > 0);
        number.ok_or_else(|| self.wrong(name, "must be a whole number above 0"))
    }

    fn scopes(&self) -> Result<Vec<String>, SchemaError> {
        let Some(value) = self.member("scopes") else { return Ok(Vec::new()) };
        let list = value.as_array().filter(|list| list.len() <= SCOPES_MAX);
        let list = list
            .ok_or_else(|| self.wrong("scopes", format!("must be a list of at most {SCOPES_MAX} texts")))?;
        let each = list.iter().enumerate().map(|(place, scope)| {
            let text = scope.as_str().filter(|scope| scope.len() <= TEXT_MAX_BYTES);
            text.map(str::to_owned).ok_or_else(|| self.wrong(&format!("scopes/{place}"), "must be a text"))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "minProtocol": 1, "maxProtocol": 1,
            "client": {"id": "cli", "version": "1.0", "platform": "linux", "mode": "cli"},
            "scopes": ["operator.read"],
            "auth": {"token": "t"},
            "device": {"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"},
        })
    }

    fn error(params: &Value) -> String {
        match Connect::parse(Some(params)) {
            Ok(_) => panic!("{params} is right"),
            Err(SchemaError { path, rule }) => format!("at {path}: {rule}"),
        }
    }

    #[test]
    fn what_is_absent_has_its_default_and_what_is_unknown_is_ignored() {
        let mut params = good();
        params["future"] = json!({"x": 1});
        params["client"]["future"] = json!(1);
        for absent in ["device", "auth", "scopes", "role", "locale"] {
            params[absent] = Value::Null;
        }
        let connect = Connect::parse(Some(&params)).map_err(|error| error.path).unwrap();
        assert_eq!((connect.role.as_str(), connect.scopes.len()), ("operator", 0));
        assert!(connect.auth.is_empty() && connect.device.is_none());
        assert_eq!(connect.client.device_family, None);
    }

    #[test]
    fn each_member_is_named_by_its_path() {
        for (path, value, expected) in [
            ("/minProtocol", json!(null), "at /minProtocol: must be a whole number above 0"),
            ("/minProtocol", json!("1"), "at /minProtocol: must be a whole number above 0"),
            ("/maxProtocol", json!(1.5), "at /maxProtocol: must be a whole number above 0"),
            ("/client", json!([]), "at /client: must be an object"),
            ("/client/id", json!(1), "at /client/id: must be a text"),
            ("/client/id", json!(""), "at /client/id: must not be empty"),
            ("/client/version", json!(null), "at /client/version: must be a text"),
            ("/client/platform", json!({}), "at /client/platform: must be a text"),
            ("/client/mode", json!(null), "at /client/mode: must be a text"),
            ("/scopes", json!("operator.read"), "at /scopes: must be a list of at most 32 texts"),
            ("/scopes/0", json!(7), "at /scopes/0: must be a text"),
            ("/auth", json!("t"), "at /auth: must be an object"),
            ("/auth/token", json!(1), "at /auth/token: must be a text"),
            ("/device/signedAt", json!("1"), "at /device/signedAt: must be a whole number of milliseconds"),
            ("/device/publicKey", json!(null), "at /device/publicKey: must be a text"),
        ] {
            let mut params = good();
            *params.pointer_mut(path).unwrap() = value;
            assert_eq!(error(&params), expected);
        }
        for (member, expected) in
            [("role", "at /role: must be a text"), ("locale", "at /locale: must be a text")]
        {
            let mut params = good();
            params[member] = json!(1);
            assert_eq!(error(&params), expected);
        }
        assert_eq!(error(&json!([])), "at /: must be an object");
        assert!(Connect::parse(None).is_err());
    }

    #[test]
    fn what_is_signed_must_not_be_ambiguous() {
        let ambiguous = "must not hold |, a comma or a control character";
        for path in
            ["/client/id", "/client/mode", "/client/platform", "/auth/token", "/device/nonce", "/scopes/0"]
        {
            for text in ["a|b", "a,b", "a\nb", "a\u{7f}b"] {
                let mut params = good();
                *params.pointer_mut(path).unwrap() = json!(text);
                assert_eq!(error(&params), format!("at {path}: {ambiguous}"));
                // Nothing is signed without a device.
                params["device"] = Value::Null;
                assert!(Connect::parse(Some(&params)).is_ok());
            }
        }
    }
}
