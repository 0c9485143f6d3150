//! Changes of devices, through the same door as those of keys, and what is asked about pairing beside the ring.

use std::sync::Arc;

use claviger_crypto::random;
use claviger_entity::{DeviceId, DeviceRole, RoleName};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    KeyRingHandle,
    actor::{Applied, ChangeContext, RingFailure},
    command::RingCommand,
    internal,
    record::Time,
    snapshot::{Position, Snapshot},
};
use crate::{
    access::NewSecret,
    audit::event,
    devices::{
        After, Approval, DeviceChange, DeviceCommand, DeviceError, DeviceSubject, DeviceToken,
        PairingPending, PairingRecord, PairingRequest, Settled,
    },
    store::{ChangeSet, Database, DeviceWrite, LeftRequest, LogLine},
};

/// Random bytes of a device token.
const TOKEN_BYTES: usize = 32;
/// How often a request is tried again when the same device asks twice at once.
const TRIES: u32 = 3;

impl RingCommand for DeviceCommand {
    type Change = DeviceChange;
    type Subject = DeviceSubject;

    fn decide(self, base: &Snapshot, now: Time) -> Result<DeviceChange, RingFailure> {
        Ok(Self::decide(self, base.devices(), now)?)
    }

    fn settles(change: &DeviceChange) -> Option<Uuid> {
        match change.settled {
            Some(Settled::Request(id)) => Some(id),
            Some(Settled::OfDevice(_)) | None => None,
        }
    }

    fn subject(change: &DeviceChange) -> DeviceSubject {
        DeviceSubject { id: change.id, role: change.role, secret: change.secret.clone() }
    }

    fn describe(change: &DeviceChange) -> serde_json::Value {
        let grant = match (&change.after, change.role) {
            (After::Put(device), Some(role)) => device.grants.get(&role),
            (After::Put(_) | After::Same | After::Gone, _) => None,
        };
        // Whoever follows the log reads the row only if it was written.
        let is_same = matches!(change.after, After::Same);
        json!({
            "event": change.event,
            "device": (!is_same).then_some(change.id),
            "asking_device": is_same.then_some(change.id),
            "role": change.role,
            "scopes": grant.map(|grant| &grant.scopes),
            "roles": grant.map(|grant| &grant.roles),
            "pairing_request": Self::settles(change),
        })
    }

    fn fill(change: &DeviceChange, set: &mut ChangeSet) {
        set.device = match &change.after {
            After::Same => None,
            After::Put(device) => Some(DeviceWrite::Put(device.clone())),
            After::Gone => Some(DeviceWrite::Delete(change.id)),
        };
        set.settled = change.settled;
        set.lines = vec![LogLine::of(change.event, format!("device/{}", change.id))];
    }

    fn evolve(change: DeviceChange, base: &Snapshot, position: Position) -> Snapshot {
        let after = match change.after {
            After::Same => return base.with_devices(position, base.devices().clone(), false),
            After::Put(device) => Some(*device),
            After::Gone => None,
        };
        let decides = base.devices().judges_otherwise(&change.id, after.as_ref());
        base.with_devices(position, base.devices().with(&change.id, after), decides)
    }
}

impl KeyRingHandle {
    /// Leaves the request of a device that is not paired for what it asks; the one before, while it waits and asks for the same. The
    /// caller has checked the device's signature, and that this node is not merely behind.
    ///
    /// # Errors
    /// [`DeviceError::TooManyRequests`], or the database failed.
    pub async fn request_pairing(
        &self,
        context: ChangeContext,
        request: PairingRequest,
        now: Time,
    ) -> Result<PairingPending, RingFailure> {
        let _permit = self.pairing.try_acquire().map_err(|_| RingFailure::Overloaded)?;
        let snapshot = self.snapshot();
        let requested_by = context.actor_id.clone().unwrap_or_else(|| context.actor.clone());
        let record = request.record(Uuid::now_v7(), requested_by, now);
        let audit = json!({
            "ts": now,
            "event": event::event_of("device.pair.requested"),
            "operation": "device.pair.requested",
            "actor": context.actor,
            "actor_id": context.actor_id,
            "address": record.address,
            "device": record.device,
            "role": record.role,
            "scopes": record.scopes,
            "pairing_request": record.id,
            "request_id": context.request_id,
            "node": self.node(),
            "epoch": snapshot.epoch,
            "outcome": "ok",
        });
        let keychain = Arc::clone(snapshot.keychain());
        drop(snapshot);
        let question = |database: Database| async move {
            let mut left = database.leave_request(&keychain, &record, audit.to_string()).await?;
            for _ in 1..TRIES {
                if matches!(left, LeftRequest::Raced) {
                    left = database.leave_request(&keychain, &record, audit.to_string()).await?;
                }
            }
            Ok(left)
        };
        match self.database().at_home(question).await.map_err(RingFailure::Storage)? {
            LeftRequest::New(record) => Ok(record.pending(true)),
            LeftRequest::There(record) => Ok(record.pending(false)),
            LeftRequest::Full(refused) => Err(refused.into()),
            LeftRequest::Raced => Err(RingFailure::Overloaded),
        }
    }

    /// Requests that wait, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pairing_requests(&self, now: Time) -> Result<Vec<PairingRecord>, RingFailure> {
        let keychain = Arc::clone(self.snapshot().keychain());
        let question = |database: Database| async move { database.waiting_requests(&keychain, now).await };
        self.database().at_home(question).await.map_err(RingFailure::Storage)
    }

    /// A request, if it waits.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pairing_request(&self, id: Uuid, now: Time) -> Result<Option<PairingRecord>, RingFailure> {
        let keychain = Arc::clone(self.snapshot().keychain());
        let question = |database: Database| async move { database.find_request(&keychain, id).await };
        let found = self.database().at_home(question).await.map_err(RingFailure::Storage)?;
        Ok(found.filter(|request| request.waits(now)))
    }

    /// Grants a request. `judged` are the roles that the approver may hand on: [`Approval::roles`]. One that was not found is refused,
    /// unless it was granted under the same `Idempotency-Key`.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn approve_pairing(
        &self,
        context: ChangeContext,
        request: Option<PairingRecord>,
        approval: Approval,
        judged: Vec<RoleName>,
    ) -> Result<Applied<DeviceSubject>, RingFailure> {
        let (request, by) = (request.map(Box::new), context.actor.clone());
        self.apply(context, DeviceCommand::Approve { request, approval, judged, by }).await
    }

    /// Refuses a request; as [`Self::approve_pairing`] if it was not found.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn reject_pairing(
        &self,
        context: ChangeContext,
        request: Option<PairingRecord>,
    ) -> Result<Applied<DeviceSubject>, RingFailure> {
        self.apply(context, DeviceCommand::Reject { request: request.map(Box::new) }).await
    }

    /// A device is nobody any more.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn remove_device(
        &self,
        context: ChangeContext,
        id: DeviceId,
    ) -> Result<Applied<DeviceSubject>, RingFailure> {
        self.apply(context, DeviceCommand::Remove { id }).await
    }

    /// The first token of a device, for the first `hello-ok` after its approval; `None` when it was handed out before, wherever and
    /// to whomever: there is no second one until an operator rotates it.
    ///
    /// # Errors
    /// See [`RingFailure`]. Whoever gets one must not hand out anything: the token may be taken.
    pub async fn take_first_token(
        &self,
        context: ChangeContext,
        id: DeviceId,
        role: DeviceRole,
    ) -> Result<Option<Zeroizing<String>>, RingFailure> {
        let secret = {
            let snapshot = self.snapshot();
            let grant = snapshot.devices().find(&id).and_then(|device| device.grants.get(&role));
            if grant.is_none_or(|grant| grant.token != DeviceToken::Awaited) {
                return Ok(None);
            }
            new_token(&snapshot)?
        };
        match self.apply(context, DeviceCommand::TakeToken { id, role, secret }).await {
            Ok(taken) => Ok(taken.subject.secret),
            Err(RingFailure::Device(
                DeviceError::Changed | DeviceError::NotFound | DeviceError::NotPaired,
            )) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A new token of a device in place of the one before; the answer has it. `judged` are the roles of the grant as the caller was
    /// judged by them.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn rotate_device_token(
        &self,
        context: ChangeContext,
        (id, role): (DeviceId, DeviceRole),
        judged: Vec<RoleName>,
    ) -> Result<Applied<DeviceSubject>, RingFailure> {
        let secret = new_token(&self.snapshot())?;
        self.apply(context, DeviceCommand::RotateToken { id, role, judged, secret }).await
    }

    /// A token of a device is not accepted any more.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn revoke_device_token(
        &self,
        context: ChangeContext,
        id: DeviceId,
        role: DeviceRole,
    ) -> Result<Applied<DeviceSubject>, RingFailure> {
        self.apply(context, DeviceCommand::RevokeToken { id, role }).await
    }
}

/// `clvd_<secret>`: known for what it is wherever it turns up.
fn new_token(snapshot: &Snapshot) -> Result<NewSecret, RingFailure> {
    let secret = Zeroizing::new(random::text(TOKEN_BYTES).map_err(|_| RingFailure::Seal)?);
    let text = Zeroizing::new(format!("clvd_{}", secret.as_str()));
    let hash = internal::device_token_hash(snapshot, text.as_bytes()).ok_or(RingFailure::Seal)?;
    Ok(NewSecret { text, hash })
}
