//! Devices that wait for an approval.

use std::{collections::BTreeSet, net::IpAddr};

use chrono::TimeDelta;
use claviger_entity::{DeviceId, DeviceRole, Scope};
use uuid::Uuid;

use super::{ClientFacts, DeviceError, device_id};
use crate::keyring::record::Time;

/// How long a request waits.
pub const PAIRING_LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// How long a request can't be replaced by another one of its device: whoever looks at it has that time, and a device that asks now for this
/// and now for that makes no flood of changes, records and events.
pub const REQUEST_STAYS: TimeDelta = TimeDelta::seconds(30);
/// Requests that wait at most, in the whole deployment. None of them is ever put out for another one.
pub const REQUESTS_MAX: u64 = 1_024;
/// Requests that wait at most of those who presented one credential, so that no caller takes all places.
pub const REQUESTS_A_PRINCIPAL: u64 = 256;
/// Requests that wait at most from one address.
pub const REQUESTS_AN_ADDRESS: u64 = 64;

/// What a device asks for. The caller has checked that it holds the private key.
#[derive(Debug, Clone)]
pub struct PairingRequest {
    /// Raw Ed25519 public key.
    pub public_key: [u8; 32],
    /// What it wants to connect as.
    pub role: DeviceRole,
    /// How far. Those of another role are left out.
    pub scopes: BTreeSet<Scope>,
    /// What it says of itself.
    pub client: ClientFacts,
    /// Where it connects from.
    pub address: Option<IpAddr>,
}

/// A request that waits. What is under an id never changes: whoever approves it approves what they have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRecord {
    /// Identity.
    pub id: Uuid,
    /// The device.
    pub device: DeviceId,
    /// Raw Ed25519 public key.
    pub public_key: [u8; 32],
    /// What it wants to connect as.
    pub role: DeviceRole,
    /// How far.
    pub scopes: BTreeSet<Scope>,
    /// What it says of itself.
    pub client: ClientFacts,
    /// Where it connected from.
    pub address: Option<String>,
    /// Whose credential it presented.
    pub requested_by: String,
    /// When it asked first.
    pub created_at: Time,
    /// When the request lapses.
    pub expires_at: Time,
}

/// What a device that waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingPending {
    /// Its request.
    pub request_id: Uuid,
    /// When that lapses.
    pub expires_at: Time,
    /// It was made just now.
    pub is_new: bool,
}

impl PairingRequest {
    /// The request as it is kept.
    #[must_use]
    pub fn record(self, id: Uuid, requested_by: String, now: Time) -> PairingRecord {
        // As it will be read again.
        let now = Time::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now);
        let role = self.role;
        PairingRecord {
            id,
            device: device_id(&self.public_key),
            public_key: self.public_key,
            role,
            scopes: self.scopes.into_iter().filter(|scope| scope.role() == role).collect(),
            client: self.client,
            address: self.address.map(|address| address.to_string()),
            requested_by,
            created_at: now,
            expires_at: now + PAIRING_LIFETIME,
        }
    }
}

impl PairingRecord {
    /// It can still be approved.
    #[must_use]
    pub fn waits(&self, now: Time) -> bool {
        now < self.expires_at
    }

    /// It has only just come, and gives way to no other.
    #[must_use]
    pub fn stays(&self, now: Time) -> bool {
        now < self.created_at + REQUEST_STAYS
    }

    /// The other asks for the same.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        (self.device, self.role, &self.scopes) == (other.device, other.role, &other.scopes)
    }

    /// What a device that waits is told.
    #[must_use]
    pub const fn pending(&self, is_new: bool) -> PairingPending {
        PairingPending { request_id: self.id, expires_at: self.expires_at, is_new }
    }
}

/// Whether a further request is taken beside so many that wait: in all, of the same principal, and from the same address.
///
/// # Errors
/// [`DeviceError::TooManyRequests`].
pub(crate) fn has_room(all: u64, of_principal: u64, of_address: u64) -> Result<(), DeviceError> {
    let has_room =
        all < REQUESTS_MAX && of_principal < REQUESTS_A_PRINCIPAL && of_address < REQUESTS_AN_ADDRESS;
    has_room.then_some(()).ok_or(DeviceError::TooManyRequests)
}
