//! What a client is told before it starts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_rustls::TlsConnector;

use crate::{
    address::Address,
    backoff::Backoff,
    client::{Client, Events, State},
    connect::{Credential, Introduction, Mode, Role, is_separable},
    identity::{Identity, TokenFile},
    transport::Trust,
};

/// Topics that one client may name.
const TOPICS_MAX: usize = 100;
/// Longest text of a setting, in bytes.
const TEXT_MAX_BYTES: usize = 256;

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No address was given.
    #[error("give the address of a server")]
    NoAddress,
    /// An address can't be used.
    #[error("the address {0}")]
    Address(&'static str),
    /// The authorities can't be used.
    #[error("{0}")]
    Trust(String),
    /// A file of the device can't be used.
    #[error("{0}")]
    Device(String),
    /// A node is who its device is.
    #[error("a node needs a device: name the file of its key")]
    NoDevice,
    /// A node's mirror needs to hear of all keys.
    #[error("a node hears of all keys; name no topics")]
    Topics,
    /// It is too long, or could be mistaken for two.
    #[error("{0} must be 1 to 256 bytes without |, a comma or a control character")]
    Text(&'static str),
    /// More than a server takes.
    #[error("name at most 100 topics")]
    TooManyTopics,
}

type Told = Arc<dyn Fn(&State) + Send + Sync>;

/// Settings of a client.
#[derive(Clone)]
pub struct Builder {
    addresses: Vec<String>,
    introduction: Introduction,
    credential: Option<Credential>,
    device: Option<PathBuf>,
    trust: Trust,
    topics: Option<Vec<String>>,
    since: Option<u64>,
    backoff: Backoff,
    patience: Duration,
    call_timeout: Duration,
    told: Option<Told>,
}

impl Builder {
    /// For a deployment, by the addresses of its nodes: the next one is tried when one fails. `https`, or `http` on this machine.
    #[must_use]
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            introduction: Introduction {
                id: "claviger-client".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                mode: Mode::Backend,
                role: Role::Operator,
                scopes: Vec::new(),
            },
            credential: None,
            device: None,
            trust: Trust::default(),
            topics: None,
            since: None,
            backoff: Backoff::default(),
            patience: Duration::from_secs(30),
            call_timeout: Duration::from_secs(30),
            told: None,
        }
    }

    /// What operators see of this client: its name, and how it is used.
    #[must_use]
    pub fn introduce(mut self, id: impl Into<String>, mode: Mode) -> Self {
        (self.introduction.id, self.introduction.mode) = (id.into(), mode);
        self
    }

    /// What the session is for; [`Role::Operator`] unless given.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.introduction.role = role;
        self
    }

    /// What it asks for, such as `operator.read`. Without any, nothing can be called.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.introduction.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// By what it is recognised, until its device has a token of its own.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// The file of the device's key (Ed25519, PKCS#8, PEM), which is made if it is absent. Its token is kept beside it, in a file with
    /// `.operator.token` or `.node.token` at the end of its name, and is used in place of the credential as soon as it is there.
    #[must_use]
    pub fn device(mut self, path: impl Into<PathBuf>) -> Self {
        self.device = Some(path.into());
        self
    }

    /// Whom to believe that a server is who it says.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Subscribes to events: names of keys, names of events, or `*`.
    #[must_use]
    pub fn topics<S: Into<String>>(mut self, topics: impl IntoIterator<Item = S>) -> Self {
        self.topics = Some(topics.into_iter().map(Into::into).collect());
        self
    }

    /// Begins with what has happened since this epoch.
    #[must_use]
    pub const fn since(mut self, epoch: Option<u64>) -> Self {
        self.since = epoch;
        self
    }

    /// How attempts to connect follow each other.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Longest time for each step of connecting; 30 s unless given.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Longest time for the answer of a call; 30 s unless given.
    #[must_use]
    pub const fn call_timeout(mut self, call_timeout: Duration) -> Self {
        self.call_timeout = call_timeout;
        self
    }

    /// Is told whenever the state of the connection changes. It must not block.
    #[must_use]
    pub fn on_state(mut self, told: impl Fn(&State) + Send + Sync + 'static) -> Self {
        self.told = Some(Arc::new(told));
        self
    }

    /// Starts the client, within a Tokio runtime. It ends when the client and its events are dropped.
    ///
    /// # Errors
    /// A setting makes no sense, or a file can't be used. What servers say comes later, as a [`State`].
    pub fn start(self) -> Result<(Client, Events), SettingsError> {
        self.settings().map(Client::start)
    }

    fn settings(self) -> Result<Settings, SettingsError> {
        let addresses = self.addresses.iter().map(|address| Address::parse(address));
        let addresses: Vec<Address> = addresses.collect::<Result<_, _>>().map_err(SettingsError::Address)?;
        if addresses.is_empty() {
            return Err(SettingsError::NoAddress);
        }
        let role = self.introduction.role;
        let is_fine = |text: &String| (1..=TEXT_MAX_BYTES).contains(&text.len()) && is_separable(text);
        if !is_fine(&self.introduction.id) {
            return Err(SettingsError::Text("the name of the client"));
        }
        if !self.introduction.scopes.iter().all(is_fine) {
            return Err(SettingsError::Text("a scope"));
        }
        let topics = self.topics.unwrap_or_default();
        match role {
            Role::Node if !topics.is_empty() => return Err(SettingsError::Topics),
            Role::Node if self.device.is_none() => return Err(SettingsError::NoDevice),
            Role::Node | Role::Operator => {}
        }
        if topics.len() > TOPICS_MAX {
            return Err(SettingsError::TooManyTopics);
        }
        if !topics.iter().all(is_fine) {
            return Err(SettingsError::Text("a topic"));
        }
        let device = self.device.map(|path| {
            let identity = Identity::open(&path);
            let identity =
                identity.map_err(|error| SettingsError::Device(format!("{} {error}", path.display())))?;
            Ok(Device { identity, token: TokenFile::beside(&path, role) })
        });
        let tls = addresses.iter().any(|address| address.is_tls).then(|| self.trust.connector());
        Ok(Settings {
            addresses,
            introduction: self.introduction,
            credential: self.credential,
            device: device.transpose()?,
            tls: tls.transpose().map_err(SettingsError::Trust)?,
            topics,
            since: self.since,
            backoff: self.backoff,
            patience: self.patience,
            call_timeout: self.call_timeout,
            told: self.told,
        })
    }
}

/// The key of a device, and where its token is.
pub(crate) struct Device {
    pub(crate) identity: Identity,
    pub(crate) token: TokenFile,
}

/// Settings that were judged.
pub(crate) struct Settings {
    pub(crate) addresses: Vec<Address>,
    pub(crate) introduction: Introduction,
    pub(crate) credential: Option<Credential>,
    pub(crate) device: Option<Device>,
    pub(crate) tls: Option<TlsConnector>,
    /// Empty = no events, but for a node.
    pub(crate) topics: Vec<String>,
    pub(crate) since: Option<u64>,
    pub(crate) backoff: Backoff,
    pub(crate) patience: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) told: Option<Told>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.pem");
        let local = || Builder::new(["http://127.0.0.1:1"]);
        let refused = |builder: Builder| builder.settings().err();
        assert_eq!(refused(Builder::new([] as [&str; 0])), Some(SettingsError::NoAddress));
        assert!(matches!(refused(Builder::new(["http://a.example"])), Some(SettingsError::Address(_))));
        assert_eq!(refused(local().role(Role::Node)), Some(SettingsError::NoDevice));
        let node = local().role(Role::Node).device(&path);
        assert_eq!(refused(node.clone().topics(["*"])), Some(SettingsError::Topics));
        assert_eq!(refused(node), None);
        assert!(matches!(refused(local().introduce("a|b", Mode::Cli)), Some(SettingsError::Text(_))));
        assert!(matches!(refused(local().introduce("", Mode::Cli)), Some(SettingsError::Text(_))));
        assert!(matches!(refused(local().scopes(["a,b"])), Some(SettingsError::Text(_))));
        assert!(matches!(refused(local().topics(["a\n"])), Some(SettingsError::Text(_))));
        assert_eq!(refused(local().topics(vec!["a"; 101])), Some(SettingsError::TooManyTopics));
        let nowhere = refused(local().device("/proc/nowhere/device.pem")).unwrap().to_string();
        assert!(nowhere.contains("/proc/nowhere/device.pem"), "{nowhere}");
    }
}
