//! Rights, one an operation.

/// What a permission is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One key.
    Key,
    /// One API key.
    ApiKey,
    /// One policy.
    Policy,
    /// One secret of one owner.
    Secret,
    /// The tokens of one user with one provider.
    AuthToken,
    /// The offline token of one user.
    OfflineToken,
    /// The deployment as a whole.
    Deployment,
}

impl Target {
    /// What is kept for somebody, beside the ring.
    #[must_use]
    pub const fn is_stored(self) -> bool {
        matches!(self, Self::Secret | Self::AuthToken | Self::OfflineToken)
    }
}

macro_rules! permissions {
    ($($(#[$meta:meta])* $variant:ident = $text:literal $target:ident,)+) => {
        /// A right; its text is the Cedar action and the word in the audit log.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $($(#[$meta])* $variant,)+ }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it is about.
            #[must_use]
            pub const fn target(self) -> Target {
                match self { $(Self::$variant => Target::$target,)+ }
            }
        }
    };
}

permissions! {
    /// Create a key.
    KeyCreate = "key.create" Key,
    /// Import a key.
    KeyImport = "key.import" Key,
    /// See a key and its versions.
    KeyRead = "key.read" Key,
    /// Fetch public halves.
    KeyReadPublic = "key.read_public" Key,
    /// Change settings.
    KeyUpdate = "key.update" Key,
    /// Change labels, which policies may ask about.
    KeyLabel = "key.label" Key,
    /// Schedule destruction.
    KeyDelete = "key.delete" Key,
    /// Cancel a scheduled destruction.
    KeyRestore = "key.restore" Key,
    /// Rotate.
    KeyRotate = "key.rotate" Key,
    /// Take material out, sealed.
    KeyExport = "key.export" Key,
    /// Suspend a version.
    KeySuspend = "key.suspend" Key,
    /// Resume a version.
    KeyResume = "key.resume" Key,
    /// Mark a version compromised.
    KeyCompromise = "key.compromise" Key,
    /// Destroy a version.
    KeyDestroy = "key.destroy" Key,
    /// Encrypt.
    KeyEncrypt = "key.encrypt" Key,
    /// Decrypt.
    KeyDecrypt = "key.decrypt" Key,
    /// Decrypt with a compromised version.
    KeyRescue = "key.rescue" Key,
    /// Encrypt anew under the primary.
    KeyRewrap = "key.rewrap" Key,
    /// Make data keys.
    KeyDatakey = "key.datakey" Key,
    /// Sign.
    KeySign = "key.sign" Key,
    /// Verify signatures and codes.
    KeyVerify = "key.verify" Key,
    /// Make authentication codes.
    KeyHmac = "key.hmac" Key,
    /// Issue tokens.
    TokenIssue = "token.issue" Key,
    /// Issue tokens that are credentials of this service.
    TokenIssueCredential = "token.issue_credential" Key,
    /// Verify tokens.
    TokenVerify = "token.verify" Key,
    /// Exchange refresh tokens.
    TokenRefresh = "token.refresh" Key,
    /// Revoke tokens of a key.
    TokenRevoke = "token.revoke" Key,
    /// Revoke tokens of whatever key.
    TokenRevokeAny = "token.revoke_any" Deployment,
    /// Ask about tokens.
    TokenIntrospect = "token.introspect" Key,
    /// Draw random bytes.
    RandomGenerate = "random.generate" Deployment,
    /// See the nodes.
    ClusterRead = "cluster.read" Deployment,
    /// Be told of what happens: of each key to whoever may see it.
    EventsRead = "events.read" Deployment,
    /// See which master is in use, and how far a rotation is.
    SealRead = "seal.read" Deployment,
    /// Rotate the master.
    SealRotate = "seal.rotate" Deployment,
    /// Take everything out, encrypted.
    BackupCreate = "backup.create" Deployment,
    /// Let a restored deployment serve as usual.
    RestoreRelease = "restore.release" Deployment,
    /// See what is on record, and the keys that vouch for it.
    AuditRead = "audit.read" Deployment,
    /// Look whether the audit log is whole.
    AuditVerify = "audit.verify" Deployment,
    /// Learn what stands for a value in audit records.
    AuditHash = "audit.hash" Deployment,
    /// Read the metrics.
    MetricsRead = "metrics.read" Deployment,
    /// See incidents, with what is known of who used what they are about.
    IncidentRead = "incident.read" Deployment,
    /// Open incidents: whatever they are about is taken from everybody.
    IncidentOpen = "incident.open" Deployment,
    /// Have the playbook of an incident run that waits for it.
    IncidentApprove = "incident.approve" Deployment,
    /// Close incidents, and let in again what they shut out.
    IncidentClose = "incident.close" Deployment,
    /// See alerts.
    AlertRead = "alert.read" Deployment,
    /// Take alerts up.
    AlertAck = "alert.ack" Deployment,
    /// Keep alerts quiet.
    AlertSilence = "alert.silence" Deployment,
    /// Learn whether something that was found is a credential, and whether it is live.
    CredentialScan = "credential.scan" Deployment,
    /// See the whole of it as auditors do: keys, who may do what, incidents.
    ReportRead = "report.read" Deployment,
    /// Create API keys.
    ApiKeyCreate = "api_key.create" Deployment,
    /// See API keys.
    ApiKeyRead = "api_key.read" ApiKey,
    /// Give an API key a new secret.
    ApiKeyRotate = "api_key.rotate" ApiKey,
    /// Delete API keys.
    ApiKeyDelete = "api_key.delete" ApiKey,
    /// See devices, and those that wait for an approval.
    DeviceRead = "device.read" Deployment,
    /// Approve, reject and remove devices.
    DevicePair = "device.pair" Deployment,
    /// Give a device a new token, or take it.
    DeviceToken = "device.token" Deployment,
    /// See policies.
    PolicyRead = "policy.read" Policy,
    /// Write policies.
    PolicyWrite = "policy.write" Policy,
    /// Delete policies.
    PolicyDelete = "policy.delete" Policy,
    /// Read a secret, former versions included.
    SecretRead = "secret.read" Secret,
    /// Write a secret.
    SecretWrite = "secret.write" Secret,
    /// Delete a secret with its history.
    SecretDelete = "secret.delete" Secret,
    /// See that there is a secret, without its value.
    SecretList = "secret.list" Secret,
    /// Read tokens of a third party.
    AuthTokenRead = "auth_token.read" AuthToken,
    /// Write tokens of a third party.
    AuthTokenWrite = "auth_token.write" AuthToken,
    /// Delete tokens of a third party.
    AuthTokenDelete = "auth_token.delete" AuthToken,
    /// Have tokens of a third party fetched for an authorization code.
    AuthTokenExchange = "auth_token.exchange" AuthToken,
    /// Have tokens of a third party revoked there, and delete them.
    AuthTokenLogout = "auth_token.logout" AuthToken,
    /// Have a token of a third party verified.
    AuthTokenVerify = "auth_token.verify" AuthToken,
    /// Read an offline token.
    OfflineTokenRead = "offline_token.read" OfflineToken,
    /// Write an offline token.
    OfflineTokenWrite = "offline_token.write" OfflineToken,
    /// Delete an offline token.
    OfflineTokenDelete = "offline_token.delete" OfflineToken,
}

impl Permission {
    /// Position in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Permissions(u128);

impl Permissions {
    /// All of them.
    pub(crate) const ALL: Self = Self(u128::MAX);

    pub(crate) const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission.index()) != 0
    }

    pub(crate) const fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) const fn insert(&mut self, permission: Permission) {
        self.0 |= 1 << permission.index();
    }
}

// One bit each.
const _: () = assert!(Permission::ALL.len() <= 128, "the set has a bit a permission");
