//! Devices that wait for an approval. Beside the ring: no epoch moves, and what lapses is forgotten.

use claviger_entity::tables::{
    device,
    pairing_request::{self, Column},
};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QueryTrait as _, TransactionTrait as _, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{Database, EventRow, StoreError, Turn, audit, load, rows, slow};
use crate::{
    devices::{DeviceError, PairingRecord, REQUESTS_MAX, Settled, has_room},
    keyring::record::Time,
    seal::Keychain,
};

const TABLE: &str = "pairing_requests";
/// Told from the locks that others take.
const DEVICE_LOCK: i64 = 0x636c_7664_6576_6963;

/// What came of leaving a request.
pub(crate) enum LeftRequest {
    /// It waits.
    New(PairingRecord),
    /// One for the same waits already.
    There(PairingRecord),
    /// It was not taken.
    Full(DeviceError),
    /// The same device asked elsewhere at the same time; ask again.
    Raced,
}

impl Database {
    /// Leaves a request in place of another one of the same device, unless that asks for the same or has only just come.
    pub(crate) async fn leave_request(
        &self,
        keychain: &Keychain,
        record: &PairingRecord,
        audit: String,
    ) -> Result<LeftRequest, StoreError> {
        // Whoever asks again and again costs a look, not a write.
        if let Some(answer) = there(&self.connection, keychain, record).await? {
            return Ok(answer);
        }
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        if self.is_shared() {
            // The same device may ask on another node: whoever comes second finds what the first has left.
            let lock = format!("SELECT pg_advisory_xact_lock({})", lock_of(record));
            transaction.execute_unprepared(&lock).await?;
        }
        pairing_request::Entity::delete_many()
            .filter(Column::ExpiresAt.lte(rows::millis(record.created_at)))
            .exec(&transaction)
            .await?;
        if let Some(answer) = there(&transaction, keychain, record).await? {
            return Ok(answer);
        }
        pairing_request::Entity::delete_by_id(record.device.to_string()).exec(&transaction).await?;
        let count = |condition| pairing_request::Entity::find().filter(condition).count(&transaction);
        let all = count(Column::DeviceId.is_not_null()).await?;
        let of_principal = count(Column::RequestedBy.eq(record.requested_by.as_str())).await?;
        let of_address = match &record.address {
            Some(address) => count(Column::Address.eq(address.as_str())).await?,
            None => 0,
        };
        if let Err(refused) = has_room(all, of_principal, of_address) {
            // The request of before stays.
            transaction.rollback().await?;
            return Ok(LeftRequest::Full(refused));
        }
        let row = rows::request_row(keychain, record)?.into_active_model();
        let there = OnConflict::new().do_nothing().to_owned();
        let inserted = pairing_request::Entity::insert(row).on_conflict(there);
        match inserted.exec_without_returning(&transaction).await {
            Ok(1) => {}
            Ok(_) | Err(DbErr::RecordNotInserted) => return Ok(LeftRequest::Raced),
            Err(error) => return Err(error.into()),
        }
        let event = EventRow::read(audit);
        audit::insert(&transaction, event.as_slice()).await?;
        slow::commit(transaction).await?;
        Ok(LeftRequest::New(record.clone()))
    }

    /// Requests that wait, oldest first. Rows that somebody else wrote are left out, and named in the log.
    pub(crate) async fn waiting_requests(
        &self,
        keychain: &Keychain,
        now: Time,
    ) -> Result<Vec<PairingRecord>, StoreError> {
        use sea_orm::QuerySelect as _;
        let query = pairing_request::Entity::find()
            .filter(Column::ExpiresAt.gt(rows::millis(now)))
            .order_by_asc(Column::Id)
            // Two nodes may each have taken the last place.
            .limit(2 * REQUESTS_MAX)
            .build(self.connection.get_database_backend());
        let found = self.connection.query_all_raw(query).await?;
        Ok(found.iter().filter_map(|row| judged(keychain, row)).collect())
    }

    /// A request by its id.
    pub(crate) async fn find_request(
        &self,
        keychain: &Keychain,
        id: Uuid,
    ) -> Result<Option<PairingRecord>, StoreError> {
        let query = pairing_request::Entity::find().filter(Column::Id.eq(id.to_string()));
        one(&self.connection, keychain, query).await
    }
}

impl Turn {
    /// A request still waits: whoever settles one takes this turn, so it will until the end of it, unless it lapses.
    pub(crate) async fn has_request(&self, id: Uuid) -> Result<bool, StoreError> {
        let count = pairing_request::Entity::find().filter(Column::Id.eq(id.to_string()));
        Ok(count.count(self.transaction()).await? > 0)
    }
}

/// Removes what a change settles.
pub(super) async fn settle(connection: &impl ConnectionTrait, settled: Settled) -> Result<(), StoreError> {
    let condition = match settled {
        Settled::Request(id) => Column::Id.eq(id.to_string()),
        Settled::OfDevice(id) => Column::DeviceId.eq(id.to_string()),
    };
    pairing_request::Entity::delete_many().filter(condition).exec(connection).await?;
    Ok(())
}

/// Number of the lock of a device.
fn lock_of(record: &PairingRecord) -> i64 {
    let start = record.device.as_bytes().first_chunk().copied().unwrap_or_default();
    i64::from_be_bytes(start) ^ DEVICE_LOCK
}

/// What comes of it when the same device waits already: the same request, or a refusal while the other one has only just come.
async fn there(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    record: &PairingRecord,
) -> Result<Option<LeftRequest>, StoreError> {
    let there =
        one(connection, keychain, pairing_request::Entity::find_by_id(record.device.to_string())).await?;
    let Some(there) = there.filter(|there| there.waits(record.created_at)) else { return Ok(None) };
    if there.asks_as(record) {
        return Ok(Some(LeftRequest::There(there)));
    }
    Ok(there.stays(record.created_at).then_some(LeftRequest::Full(DeviceError::StillWaits)))
}

async fn one(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    query: sea_orm::Select<pairing_request::Entity>,
) -> Result<Option<PairingRecord>, StoreError> {
    let row = connection.query_one_raw(query.build(connection.get_database_backend())).await?;
    Ok(row.and_then(|row| judged(keychain, &row)))
}

fn judged(keychain: &Keychain, row: &sea_orm::QueryResult) -> Option<PairingRecord> {
    let sound = load::authentic::<pairing_request::Model>(keychain, TABLE, row, |row| &row.mac);
    let record = sound.ok().and_then(|row| rows::request_record(&row));
    if record.is_none() {
        tracing::error!(table = TABLE, "a row was changed outside the service; it is left out");
    }
    record
}

/// What happens to a device's row. It is replaced whole, so that a damaged one is mended by writing it anew.
pub(super) async fn write_device(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    write: &super::DeviceWrite,
) -> Result<(), StoreError> {
    let id = match write {
        super::DeviceWrite::Put(device) => device.id,
        super::DeviceWrite::Delete(id) => *id,
    };
    device::Entity::delete_by_id(id.to_string()).exec(connection).await?;
    if let super::DeviceWrite::Put(record) = write {
        let row = rows::device_row(keychain, record)?.into_active_model();
        device::Entity::insert(row).exec_without_returning(connection).await?;
    }
    Ok(())
}
