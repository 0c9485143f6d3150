//! Changes of devices.

use std::collections::{BTreeMap, BTreeSet};

use claviger_entity::{DeviceId, DeviceRole, RoleName, Scope};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Device, DeviceError, DeviceToken, Devices, Grant, PairingRecord};
use crate::{access::NewSecret, keyring::record::Time};

/// Most devices of a deployment.
const DEVICES_MAX: usize = 65_536;
/// Most roles of one grant.
const ROLES_MAX: usize = 16;

/// What an approver gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval {
    /// Some of the scopes that were asked for; all unless given.
    pub scopes: Option<BTreeSet<Scope>>,
    /// Roles; those called as the scopes unless given.
    pub roles: Option<Vec<RoleName>>,
}

/// What can happen to devices. Requests are read and secrets drawn before a command is sent.
pub enum DeviceCommand {
    /// A request is granted.
    Approve {
        /// Which; `None` when none was found, unless the answer of before is found.
        request: Option<Box<PairingRecord>>,
        /// How far.
        approval: Approval,
        /// The roles that the approver was judged by.
        judged: Vec<RoleName>,
        /// Whose approval it is.
        by: String,
    },
    /// A request is refused.
    Reject {
        /// Likewise.
        request: Option<Box<PairingRecord>>,
    },
    /// A device is nobody any more, whatever it was given.
    Remove {
        /// Which.
        id: DeviceId,
    },
    /// A device that was approved takes its first token.
    TakeToken {
        /// Which.
        id: DeviceId,
        /// As what it is connected.
        role: DeviceRole,
        /// The token.
        secret: NewSecret,
    },
    /// A new token in place of the one before, also of one that was revoked or never taken.
    RotateToken {
        /// Which.
        id: DeviceId,
        /// For what.
        role: DeviceRole,
        /// The roles that the caller was judged by.
        judged: Vec<RoleName>,
        /// The token.
        secret: NewSecret,
    },
    /// The token is not accepted any more.
    RevokeToken {
        /// Which.
        id: DeviceId,
        /// For what.
        role: DeviceRole,
    },
}

/// What a command does, decided but not yet written.
pub struct DeviceChange {
    /// Which device.
    pub id: DeviceId,
    /// What becomes of it.
    pub after: After,
    /// For what, unless all of it.
    pub role: Option<DeviceRole>,
    /// What becomes of requests.
    pub settled: Option<Settled>,
    /// Such as `device.pair.approved`.
    pub event: &'static str,
    /// The token, for the answer.
    pub secret: Option<Zeroizing<String>>,
}

/// What becomes of a device's row.
pub enum After {
    /// It is not touched.
    Same,
    /// It is written.
    Put(Box<Device>),
    /// It goes.
    Gone,
}

/// Requests that a change ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// This one, which must still wait.
    Request(Uuid),
    /// Whatever the device has asked for.
    OfDevice(DeviceId),
}

/// What an answer names. It is kept sealed for retries, so it may hold the token.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct DeviceSubject {
    /// Which device.
    pub id: DeviceId,
    /// For what, unless all of it.
    pub role: Option<DeviceRole>,
    /// The token, where there is a new one.
    pub secret: Option<Zeroizing<String>>,
}

impl Approval {
    /// The scopes that it gives.
    ///
    /// # Errors
    /// It gives some that were not asked for.
    pub fn scopes(&self, request: &PairingRecord) -> Result<BTreeSet<Scope>, DeviceError> {
        let given = self.scopes.as_ref().unwrap_or(&request.scopes);
        if given.is_subset(&request.scopes) {
            Ok(given.clone())
        } else {
            Err(DeviceError::Invalid("scopes must be among those that the device asks for"))
        }
    }

    /// All roles that the device will have for what it asks, those that it has already among them.
    ///
    /// # Errors
    /// As [`Self::scopes`]; or they are too many.
    pub fn roles(
        &self,
        request: &PairingRecord,
        before: Option<&Device>,
    ) -> Result<Vec<RoleName>, DeviceError> {
        let named = |scope: &Scope| scope.as_str().parse::<RoleName>().ok();
        let given = match &self.roles {
            Some(roles) => roles.clone(),
            None => self.scopes(request)?.iter().filter_map(named).collect(),
        };
        let had = before.and_then(|device| device.grants.get(&request.role)).map(|grant| &grant.roles);
        let all: BTreeSet<RoleName> = had.into_iter().flatten().cloned().chain(given).collect();
        if all.len() > ROLES_MAX {
            return Err(DeviceError::Invalid("a device has at most 16 roles"));
        }
        Ok(all.into_iter().collect())
    }
}

impl DeviceCommand {
    /// Judges the command; nothing has changed yet.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn decide(self, devices: &Devices, now: Time) -> Result<DeviceChange, DeviceError> {
        match self {
            Self::Approve { request, approval, judged, by } => {
                let request = request.ok_or(DeviceError::NoRequest)?;
                approve(devices, &request, &approval, (&judged, by), now)
            }
            Self::Reject { request } => {
                let request = request.ok_or(DeviceError::NoRequest)?;
                let settled = settled(&request, now)?;
                let (id, role) = (request.device, Some(request.role));
                let event = "device.pair.rejected";
                Ok(DeviceChange { id, after: After::Same, role, settled: Some(settled), event, secret: None })
            }
            Self::Remove { id } => {
                if devices.find(&id).is_none() && !devices.is_damaged(&id) {
                    return Err(DeviceError::NotFound);
                }
                let settled = Some(Settled::OfDevice(id));
                let event = "device.pair.removed";
                Ok(DeviceChange { id, after: After::Gone, role: None, settled, event, secret: None })
            }
            Self::TakeToken { id, role, secret } => {
                let grant = granted(devices, &id, role)?;
                if grant.token != DeviceToken::Awaited {
                    // Somebody was first; there is no second one.
                    return Err(DeviceError::Changed);
                }
                issue(devices, (id, role), secret, "device.token.issued", now)
            }
            Self::RotateToken { id, role, judged, secret } => {
                if granted(devices, &id, role)?.roles != judged {
                    return Err(DeviceError::Changed);
                }
                issue(devices, (id, role), secret, "device.token.rotated", now)
            }
            Self::RevokeToken { id, role } => {
                // Again is as good as once: it says what is true.
                let token = DeviceToken::Revoked { revoked_at: now };
                let device = with_token(devices, (id, role), token, now)?;
                Ok(token_change(device, role, "device.token.revoked", None))
            }
        }
    }
}

fn approve(
    devices: &Devices,
    request: &PairingRecord,
    approval: &Approval,
    (judged, by): (&[RoleName], String),
    now: Time,
) -> Result<DeviceChange, DeviceError> {
    let settled = settled(request, now)?;
    let before = devices.find(&request.device);
    if before.is_none() && devices.len() >= DEVICES_MAX {
        return Err(DeviceError::TooManyDevices);
    }
    let roles = approval.roles(request, before.map(AsRef::as_ref))?;
    if roles != judged {
        return Err(DeviceError::Changed);
    }
    let mut device = before.map_or_else(
        || Device {
            id: request.device,
            public_key: request.public_key,
            client: request.client.clone(),
            grants: BTreeMap::new(),
            created_at: now,
            updated_at: now,
        },
        |before| Device::clone(before),
    );
    device.client = request.client.clone();
    device.updated_at = now;
    let had = device.grants.get(&request.role);
    // What it had it keeps; a token of before stays what it is, so that none is revived in passing.
    let mut scopes = approval.scopes(request)?;
    scopes.extend(had.iter().flat_map(|grant| &grant.scopes));
    let token = had.map_or(DeviceToken::Awaited, |grant| grant.token.clone());
    let grant = Grant { scopes, roles, approved_at: now, approved_by: by, token };
    device.grants.insert(request.role, grant);
    Ok(DeviceChange {
        id: device.id,
        after: After::Put(Box::new(device)),
        role: Some(request.role),
        settled: Some(settled),
        event: "device.pair.approved",
        secret: None,
    })
}

/// Approvals and rejections come too late for a request that has lapsed, also while its row is still there.
fn settled(request: &PairingRecord, now: Time) -> Result<Settled, DeviceError> {
    if request.waits(now) { Ok(Settled::Request(request.id)) } else { Err(DeviceError::NoRequest) }
}

fn granted<'a>(devices: &'a Devices, id: &DeviceId, role: DeviceRole) -> Result<&'a Grant, DeviceError> {
    devices.find(id).ok_or(DeviceError::NotFound)?.grants.get(&role).ok_or(DeviceError::NotPaired)
}

fn with_token(
    devices: &Devices,
    (id, role): (DeviceId, DeviceRole),
    token: DeviceToken,
    now: Time,
) -> Result<Device, DeviceError> {
    let mut device = devices.find(&id).map(|device| Device::clone(device)).ok_or(DeviceError::NotFound)?;
    device.grants.get_mut(&role).ok_or(DeviceError::NotPaired)?.token = token;
    device.updated_at = now;
    Ok(device)
}

fn issue(
    devices: &Devices,
    of: (DeviceId, DeviceRole),
    secret: NewSecret,
    event: &'static str,
    now: Time,
) -> Result<DeviceChange, DeviceError> {
    let device = with_token(devices, of, DeviceToken::Issued { hash: secret.hash, created_at: now }, now)?;
    Ok(token_change(device, of.1, event, Some(secret.text)))
}

fn token_change(
    device: Device,
    role: DeviceRole,
    event: &'static str,
    secret: Option<Zeroizing<String>>,
) -> DeviceChange {
    let (id, after) = (device.id, After::Put(Box::new(device)));
    DeviceChange { id, after, role: Some(role), settled: None, event, secret }
}
