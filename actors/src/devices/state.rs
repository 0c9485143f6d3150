//! Devices at one moment, cheap to clone.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use claviger_entity::{DeviceId, DeviceRole};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::{ActingDevice, Device, Grant};

/// All devices.
#[derive(Clone, Default)]
pub struct Devices {
    devices: RedBlackTreeMapSync<DeviceId, Arc<Device>>,
    tokens: HashTrieMapSync<[u8; 32], (DeviceId, DeviceRole)>,
    /// Devices whose rows were found damaged; they are nobody until they are approved anew.
    damaged: Arc<BTreeSet<DeviceId>>,
}

impl Devices {
    /// From what was loaded.
    #[must_use]
    pub fn new(devices: impl IntoIterator<Item = Device>, damaged: BTreeSet<DeviceId>) -> Self {
        let mut all = Self { damaged: Arc::new(damaged), ..Self::default() };
        for device in devices {
            all.index(Arc::new(device));
        }
        all
    }

    /// A device.
    #[must_use]
    pub fn find(&self, id: &DeviceId) -> Option<&Arc<Device>> {
        self.devices.get(id)
    }

    /// The device that holds the token of this keyed hash, and as what it may connect with it. Revoked tokens are not found.
    #[must_use]
    pub fn by_token(&self, hash: &[u8; 32]) -> Option<(&Arc<Device>, DeviceRole)> {
        let (id, role) = self.tokens.get(hash)?;
        Some((self.devices.get(id)?, *role))
    }

    /// What a connected device was given, unless it was removed, or the token that it came by is not accepted any more: then its
    /// sessions end.
    #[must_use]
    pub fn still(&self, acting: &ActingDevice) -> Option<&Grant> {
        let grant = self.devices.get(&acting.id)?.grants.get(&acting.role)?;
        let is_accepted = acting.token.is_none_or(|hash| grant.token_hash() == Some(&hash));
        is_accepted.then_some(grant)
    }

    /// Devices whose ids come after `after`, in order.
    pub fn after(&self, after: Option<&DeviceId>) -> impl Iterator<Item = &Arc<Device>> {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        self.devices.range((start, Bound::Unbounded)).map(|(_, device)| device)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.size()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// There is a row of it, which can't be relied on.
    #[must_use]
    pub fn is_damaged(&self, id: &DeviceId) -> bool {
        self.damaged.contains(id)
    }

    /// With one device written or, without a device, gone.
    #[must_use]
    pub(crate) fn with(&self, id: &DeviceId, device: Option<Device>) -> Self {
        let mut next = self.clone();
        if let Some(before) = self.devices.get(id) {
            for hash in before.grants.values().filter_map(Grant::token_hash) {
                next.tokens.remove_mut(hash);
            }
            next.devices.remove_mut(id);
        }
        if self.damaged.contains(id) {
            // Whoever writes the row or removes it has mended it.
            Arc::make_mut(&mut next.damaged).remove(id);
        }
        if let Some(device) = device {
            next.index(Arc::new(device));
        }
        next
    }

    /// Policies may judge it otherwise than the same device before: it is new, or has other roles.
    pub(crate) fn judges_otherwise(&self, id: &DeviceId, after: Option<&Device>) -> bool {
        let Some(after) = after else { return false };
        let roles = |device: &Device| {
            let of_each = device.grants.iter().map(|(role, grant)| (*role, grant.roles.clone()));
            of_each.collect::<Vec<_>>()
        };
        self.devices.get(id).is_none_or(|before| roles(before) != roles(after))
    }

    fn index(&mut self, device: Arc<Device>) {
        for (role, grant) in &device.grants {
            if let Some(hash) = grant.token_hash() {
                self.tokens.insert_mut(*hash, (device.id, *role));
            }
        }
        self.devices.insert_mut(device.id, device);
    }
}
