//! How often versions have encrypted. Beside the ring: no epoch moves.

use claviger_crypto::digest;
use claviger_entity::{Kid, tables::key_use};
use sea_orm::{
    ActiveModelTrait as _, EntityTrait as _, IntoActiveModel as _, QuerySelect as _, TransactionTrait as _,
    sea_query::OnConflict,
};

use super::{Database, StoreError, retry, rows, slow};
use crate::{
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
};

impl Database {
    /// Sets further encryptions of a version aside, and answers with how many that makes for all nodes. Of a row that was edited nobody knows how
    /// many there were: then there are at least `unknown`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_uses_aside(
        &self,
        keychain: &Keychain,
        kid: &Kid,
        (wanted, now): (u64, Time),
        unknown: u64,
    ) -> Result<u64, StoreError> {
        let (transaction, all) = retry::retried(|| async {
            let transaction = self.connection.begin_with_options(Self::writing()).await?;
            let empty = key_use::Model {
                kid: kid.as_str().to_owned(),
                set_aside: 0,
                updated_at: rows::millis(now),
                mac: Vec::new(),
            };
            let there = OnConflict::column(key_use::Column::Kid).do_nothing().to_owned();
            let insert = key_use::Entity::insert(signed(keychain, empty).into_active_model().reset_all());
            insert.on_conflict(there).exec_without_returning(&transaction).await?;
            let row = key_use::Entity::find_by_id(kid.as_str()).lock_exclusive().one(&transaction).await?;
            let mut row = row.ok_or(StoreError::Conflict)?;
            let known = u64::try_from(row.set_aside).unwrap_or(0);
            let is_sound = digest::ct_eq(&mac_of_row(keychain, "key_uses", &row), &row.mac);
            let known = if is_sound {
                known
            } else {
                tracing::error!(%kid, "the count of encryptions was changed outside the service; the key is rotated");
                known.max(unknown)
            };
            let all = known.saturating_add(wanted);
            row.set_aside = i64::try_from(all).unwrap_or(i64::MAX);
            row.updated_at = rows::millis(now);
            signed(keychain, row).into_active_model().reset_all().update(&transaction).await?;
            Ok((transaction, all))
        })
        .await?;
        slow::commit(transaction).await?;
        Ok(all)
    }
}

fn signed(keychain: &Keychain, mut row: key_use::Model) -> key_use::Model {
    row.mac = mac_of_row(keychain, "key_uses", &row).to_vec();
    row
}
